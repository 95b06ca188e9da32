"""From a fault report to the frames that lie in one file, each with its function.

Pure: decides from the two documents alone, changes nothing. Every decision leaves a sentence of evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

from stemrw.documents.fault_report import FaultReport, Frame, Location
from stemrw.documents.localization import BinaryIdentity, Detector, Localization, LocalizedFrame
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Function, Image
from stemrw.localize._match import Match, match_module
from stemrw.localize._symbols import frames_by_symbol


def identity(image: Image) -> BinaryIdentity:
    """What names the file in documents."""
    return BinaryIdentity(path=str(image.path), sha256=image.sha256, build_id=image.build_id)


def localize(
    report: FaultReport | None,
    image: Image,
    *,
    region: str | None = None,
    frame: int | None = None,
    force: bool = False,
    by_symbol: bool = False,
) -> Localization:
    """Find the frames of a fault that lie in a file, and the function of each.

    `region` (a symbol, or an address in or at a function) and `frame` (number of a frame in the report, 0 is the crash)
    override where planning starts, and pin it there. `force` accepts a report about another build of the file, and so
    does `by_symbol`, which then goes by the names of functions and by no address. Without a report, `region` alone says
    what is to be protected, against faults of any class.

    Raises LocalizationError: report about another binary or build, address outside code, unknown function or frame.
    UsageError: neither a report nor a region, or both a region and a frame.
    """
    if region is not None and frame is not None:
        raise UsageError("--region and --frame contradict each other", hint="give one of them")
    if report is None:
        return _without_report(region, image)
    match = match_module(report, image, force=force, by_symbol=by_symbol)
    evidence = [f"the report's {match.module.path} is this file: {match.evidence}"]
    frames = _frames(report, match, image)
    if not frames and region is None:
        raise LocalizationError(
            f"no frame of the backtrace lies in this file; the fault was in {report.pc.module or 'no file at all'}",
            file=image.path,
            hint="patch that file, or name a function with --region",
        )
    start, pinned = 0, False
    if region is not None:
        frames, start = _with_region(region, frames, image)
        pinned = True
        evidence.append(f"--region {region}: {frames[start].evidence[-1]}")
    elif frame is not None:
        start, pinned = _position(frame, frames, image), True
        evidence.append(f"--frame {frame}: {_name(frames[start])}")
    else:
        evidence.append(_where(report, frames))
    if frames[start].function is None:
        raise LocalizationError(
            "no function covers this address: there is neither an unwind entry nor a symbol",
            file=image.path,
            address=frames[start].address,
            hint="name a function with --region",
        )
    return Localization(
        binary=identity(image),
        fault_class=report.fault_class,
        fault_pc=None if match.other_build else _fault_pc(report, match.module.path, frames),
        frames=tuple(frames),
        start=start,
        pinned=pinned,
        truncated=report.backtrace_truncated is not None,
        cpu_seconds=_cpu_seconds(report),
        detector=_detector(report),
        predicate=report.predicate,
        allocated=tuple(_allocated(report, match, image)),
        below=report.block is not None and (report.block.offset or 0) < 0,
        library=_library(report, frames),
        evidence=tuple(evidence),
    )


def _library(report: FaultReport, frames: list[LocalizedFrame]) -> str | None:
    inner = frames[0].index - 1 if frames else -1
    return report.backtrace[inner].module if 0 <= inner < len(report.backtrace) else None


def _cpu_seconds(report: FaultReport) -> float | None:
    """What was used when the limit was met; a moment later, when the report was made, it is a bit more."""
    if report.hang is None:
        return None
    return report.hang.seconds if report.hang.limit == "cpu" else report.hang.cpu_seconds


def _without_report(region: str | None, image: Image) -> Localization:
    if region is None:
        raise UsageError("nothing says what to protect", file=image.path, hint="give --fault REPORT or --region")
    frames, start = _with_region(region, [], image)
    evidence = f"--region {region}: {frames[start].evidence[-1]}"
    return Localization(binary=identity(image), frames=tuple(frames), start=start, pinned=True, evidence=(evidence,))


def _frames(report: FaultReport, match: Match, image: Image) -> list[LocalizedFrame]:
    module = match.module.path
    if not report.backtrace:
        if match.other_build and report.pc.symbol is None:
            return []
        place = report.pc.model_copy(update={"address": None, "function": None}) if match.other_build else report.pc
        return [_by_hand(place, image)] if report.pc.module == module else []
    if match.other_build:
        return frames_by_symbol(report.backtrace, module, image)
    addressed = all(frame.address is not None for frame in report.backtrace)
    named = {} if addressed else {f.index: f for f in frames_by_symbol(report.backtrace, module, image)}
    found = []
    for index, frame in enumerate(report.backtrace):
        if frame.module == module:
            localized = _frame(index, frame, image) if frame.address is not None else named.get(index)
            if localized is not None:
                found.append(localized)
    return found


def _allocated(report: FaultReport, match: Match, image: Image) -> Iterator[LocalizedFrame]:
    """Frames of the allocation of the misused block; one that cannot be found in this file is no error."""
    module, frames = match.module.path, report.block.allocated if report.block else ()
    if match.other_build:  # its addresses are those of another file
        yield from frames_by_symbol(frames, module, image)
        return
    for index, frame in enumerate(frames):
        named = image.functions_named(frame.symbol) if frame.symbol else []
        if frame.module != module:
            continue
        if frame.address is None and len(named) == 1:
            yield _of(named[0], index, "named in the report")
        elif frame.address is not None and image.is_code(frame.address - 1):
            found = _frame(index, frame, image)
            if found is not None:
                yield found


def _frame(index: int, frame: Frame, image: Image) -> LocalizedFrame | None:
    """One frame of a backtrace; None for a guess that cannot be true."""
    if frame.address is None:
        return None
    # Behind a call that never returns may stand the next function already: look one byte below a return address.
    lookup = frame.address - 1 if frame.return_address else frame.address
    if not image.is_code(lookup):
        if not frame.certain:
            return None
        raise LocalizationError(
            f"frame {index} of the report lies outside the code of this file",
            file=image.path,
            address=frame.address,
            hint="is the report from this very file?",
        )
    owner = image.owner(lookup)
    evidence = list(owner.evidence) if owner else ["neither an unwind entry nor a symbol covers this address"]
    if not frame.certain:
        evidence.append("a guess: found on the stack, not unwound")
    function = owner.function if owner else None
    return LocalizedFrame(
        index=index,
        address=frame.address,
        function=function.entry if function else None,
        size=function.size if function else None,
        symbol=function.symbol if function else None,
        guess=not frame.certain,
        evidence=tuple(evidence),
    )


def _by_hand(location: Location, image: Image) -> LocalizedFrame:
    """The one place that a report without backtrace names: an address, an entry address or a symbol."""
    if location.address is not None:
        frame = _frame(0, Frame(module=location.module, address=location.address, return_address=False), image)
        assert frame is not None  # only guesses are dropped
        return frame
    if location.function is not None:
        return _of(_function_at(location.function, image), 0, "named by address in the report")
    return _of(_function_named(location.symbol or "", image), 0, "named in the report")


def _of(function: Function, index: int, how: str) -> LocalizedFrame:
    return LocalizedFrame(
        index=index,
        address=function.entry,
        function=function.entry,
        size=function.size,
        symbol=function.symbol,
        evidence=(how,),
    )


def _function_at(address: int, image: Image) -> Function:
    hint = "give an address inside a function, or a symbol: `stemrw inspect --functions` lists them"
    if not image.is_code(address):
        raise LocalizationError(
            "this address is not in the code of the file", file=image.path, address=address, hint=hint
        )
    if any(s.name in _STUBS and s.address <= address < s.address + s.size for s in image.elf.sections):
        raise LocalizationError(
            "this is a stub that leads to a function of another file",
            file=image.path,
            address=address,
            hint="name a function of this file that calls it, or harden the library",
        )
    owner = image.owner(address)
    if owner is None:
        raise LocalizationError("no function is known at this address", file=image.path, address=address, hint=hint)
    return owner.function


def _function_named(name: str, image: Image) -> Function:
    found = image.functions_named(name)
    if not found:
        raise LocalizationError(
            f"there is no function {name!r} in this file",
            file=image.path,
            hint="stripped programs keep no names of their own functions: give an address",
        )
    if len(found) > 1:
        places = ", ".join(hex(f.entry) for f in found)
        raise LocalizationError(
            f"several functions are called {name!r}: at {places}", file=image.path, hint="give the address of one"
        )
    return found[0]


def _with_region(region: str, frames: list[LocalizedFrame], image: Image) -> tuple[list[LocalizedFrame], int]:
    """The frames with that of the region, and its position; a region that is not in the backtrace comes first."""
    try:
        address: int | None = int(region, 0)
    except ValueError:
        address = None
    if address is None:
        function, how = _function_named(region, image), "named by the user"
    else:
        function = _function_at(address, image)
        inside = f"; {address:#x} lies inside it" if address != function.entry else ""
        how = f"{function} was named by the user{inside}"
    for position, frame in enumerate(frames):
        if frame.function == function.entry:
            said = frame.model_copy(update={"evidence": (*frame.evidence, how)})
            return [*frames[:position], said, *frames[position + 1 :]], position
    return [_of(function, -1, f"{how}; it is not in the backtrace" if frames else how), *frames], 0


def _position(index: int, frames: list[LocalizedFrame], image: Image) -> int:
    for position, frame in enumerate(frames):
        if frame.index == index:
            return position
    usable = ", ".join(str(f.index) for f in frames[:32])
    raise LocalizationError(
        f"frame {index} of the report does not lie in this file", file=image.path, hint=f"frames that do: {usable}"
    )


def _where(report: FaultReport, frames: list[LocalizedFrame]) -> str:
    first = frames[0]
    if first.index <= 0:
        known = first.address != first.function or report.pc.address == first.address
        return f"the fault is at {first.address:#x}, in {_name(first)}" if known else f"the fault is in {_name(first)}"
    place = report.pc.symbol or (hex(report.pc.address) if report.pc.address is not None else "an unknown address")
    module = report.pc.module or "a file that is not named"
    return (
        f"the fault is in {place} of {module}; frame {first.index}, in {_name(first)}, is the "
        f"innermost one of this file" + (" (a guess)" if first.guess else "")
    )


_STUBS = (".plt", ".plt.sec", ".plt.got", ".iplt")
_DETECTOR_FRAMES = 12
_DETECTORS: tuple[tuple[Detector, frozenset[str]], ...] = (
    ("assert", frozenset(("__assert_fail", "__assert_fail_base", "__assert_perror_fail", "__assert"))),
    ("stack-protector", frozenset(("__stack_chk_fail", "__stack_chk_fail_local"))),
    ("fortify", frozenset(("__fortify_fail", "__chk_fail"))),
    (
        "heap",
        frozenset(
            "malloc_printerr _int_free _int_malloc _int_realloc _int_memalign unlink_chunk malloc_consolidate "
            "munmap_chunk sysmalloc free cfree __free __libc_free realloc __realloc __libc_realloc malloc __malloc "
            "__libc_malloc calloc __calloc __libc_calloc".split()
        ),
    ),
)


def _detector(report: FaultReport) -> Detector | None:
    """Who noticed the fault, by the names of the innermost frames (of the C library, which may be in the file)."""
    names = {f.symbol for f in report.backtrace[:_DETECTOR_FRAMES] if f.symbol}
    return next((detector for detector, symbols in _DETECTORS if names & symbols), None)


def _fault_pc(report: FaultReport, module: str, frames: list[LocalizedFrame]) -> int | None:
    """The faulting instruction, if it is in this file and anything is known of it."""
    if report.pc.module != module or report.pc.address is None or _is_behind_call(report):
        return None
    return report.pc.address if any(f.index == 0 and f.function is not None for f in frames) else None


def _is_behind_call(report: FaultReport) -> bool:
    """A check that was compiled in found the fault (or a hang was found inside a call): `pc` is where it returns to."""
    return bool(report.backtrace) and report.backtrace[0].return_address


def _name(frame: LocalizedFrame) -> str:
    if frame.function is None:
        return "unknown code"
    return f"{frame.symbol} ({frame.function:#x})" if frame.symbol else f"the function at {frame.function:#x}"
