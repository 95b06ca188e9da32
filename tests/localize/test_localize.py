"""From a report to the function: what is accepted, what is refused, and what each option changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elf_programs import compile_program, stripped, symbols

from stemrw.documents.fault_report import Block, FaultReport, Frame, Location, ModuleInfo, parse_report
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image
from stemrw.localize import localize

LIBC = ModuleInfo(path="/lib/x86_64-linux-gnu/libc.so.6", build_id="ab" * 20)
SOURCE = r"""
    .text
    .globl main, outer, inner, last
    .type inner, @function
inner:
    .cfi_startproc
    mov (%rdi), %eax
    ret
    .cfi_endproc
    .size inner, . - inner
    .type outer, @function
outer:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    call inner
    .globl behind_inner
behind_inner:
    test %eax, %eax
    js 1f
    xor %eax, %eax
1:  pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size outer, . - outer
    .type last, @function
last:                       # ends in a call that does not return: the return address is the next function's
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    call abort@PLT
    .cfi_endproc
    .size last, . - last
    .globl behind_last
behind_last:
    .type main, @function
main:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    call outer
    .globl behind_outer
behind_outer:
    call last
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size main, . - main
    .section .note.GNU-stack, "", @progbits
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stripped(compile_program(tmp_path_factory.mktemp("localize"), SOURCE, name="frames.S"))


@pytest.fixture(scope="module")
def names(program: Path) -> dict[str, int]:
    return symbols(program.with_name(program.name.removesuffix(".stripped")))


@pytest.fixture
def image(program: Path) -> Image:
    return Image.open(program)


def report_of(image: Image, frames: list[tuple[str | None, int]], **fields: Any) -> FaultReport:
    """A report whose backtrace has these (module, address) pairs, the crash first."""
    module = ModuleInfo(path=str(image.path), build_id=image.build_id, sha256=image.sha256)
    backtrace = tuple(
        Frame(module=path, address=address, return_address=position > 0, certain=fields.get("certain", True))
        for position, (path, address) in enumerate(frames)
    )
    return FaultReport(
        fault_class=fields.get("fault_class", "null-dereference"),
        program=fields.get("module", module),
        modules=(fields.get("module", module), LIBC),
        pc=Location(module=frames[0][0], address=frames[0][1]),
        backtrace=backtrace,
    )


def test_frames_of_the_file_with_their_functions(image: Image, names: dict[str, int]) -> None:
    me = str(image.path)
    report = report_of(image, [(me, names["inner"]), (me, names["behind_inner"]), (me, names["behind_outer"])])
    found = localize(report, image)
    assert [f.function for f in found.frames] == [names["inner"], names["outer"], names["main"]]
    assert [f.symbol for f in found.frames] == [None, None, "main"]
    assert (found.start, found.pinned, found.fault_pc) == (0, False, names["inner"])
    assert found.binary.build_id == image.build_id and found.binary.sha256 == image.sha256


def test_crash_in_a_library_is_attributed_to_the_innermost_frame_of_the_file(
    image: Image, names: dict[str, int]
) -> None:
    me = str(image.path)
    report = report_of(image, [(LIBC.path, 0x1234), (LIBC.path, 0x2345), (me, names["behind_inner"])])
    found = localize(report, image)
    assert [(f.index, f.function) for f in found.frames] == [(2, names["outer"])]
    assert found.fault_pc is None
    assert "innermost one of this file" in found.evidence[-1]


def test_return_address_behind_a_call_that_never_returns(image: Image, names: dict[str, int]) -> None:
    """It is the first byte of the next function, but belongs to the caller."""
    me = str(image.path)
    assert names["behind_last"] == names["main"]
    found = localize(report_of(image, [(LIBC.path, 0x1234), (me, names["behind_last"])]), image)
    assert found.frames[0].function == names["last"]


def test_guesses_are_marked_and_impossible_guesses_dropped(image: Image, names: dict[str, int]) -> None:
    me = str(image.path)
    report = report_of(image, [(LIBC.path, 1), (me, 0x7FFF_FFFF), (me, names["behind_inner"])], certain=False)
    found = localize(report, image)
    assert [(f.index, f.guess) for f in found.frames] == [(2, True)]


@pytest.mark.parametrize("known", ["build_id", "sha256", "path"])
def test_file_is_recognised_by_the_best_that_is_known(
    image: Image, names: dict[str, int], known: str, tmp_path: Path
) -> None:
    """By build-id or hash wherever the file lies; by path alone where nothing else is known."""
    elsewhere = str(image.path) if known == "path" else str(tmp_path / "elsewhere")
    facts = {known: getattr(image, known)} if known != "path" else {}
    module = ModuleInfo(path=elsewhere, **facts)
    found = localize(report_of(image, [(elsewhere, names["inner"])], module=module), image)
    assert found.frames[0].function == names["inner"]
    assert {"build_id": "build-id", "sha256": "sha256", "path": "path"}[known] in found.evidence[0]


def test_another_build_is_refused_unless_forced(image: Image, names: dict[str, int]) -> None:
    me = str(image.path)
    module = ModuleInfo(path=me, build_id="00" * 20)
    report = report_of(image, [(me, names["inner"])], module=module)
    with pytest.raises(LocalizationError, match="another build") as error:
        localize(report, image)
    assert error.value.exit_status == 2 and "--force" in str(error.value)
    assert localize(report, image, force=True).frames[0].function == names["inner"]


def test_where_a_block_of_another_build_came_from_goes_by_name(program: Path, names: dict[str, int]) -> None:
    """The other build's address of the allocation lies in code here too, but in that of another function."""
    image = Image.open(program.with_name(program.name.removesuffix(".stripped")))
    me = str(image.path)
    module = ModuleInfo(path=me, build_id="00" * 20)
    made = Frame(module=me, address=names["behind_outer"], symbol="outer")
    crash = Frame(module=me, address=names["last"], symbol="inner", return_address=False)
    report = report_of(image, [(me, names["last"])], module=module, fault_class="heap-overflow")
    report = report.model_copy(update={"backtrace": (crash,), "block": Block(size=8, offset=8, allocated=(made,))})
    found = localize(report, image, by_symbol=True)
    assert [(frame.symbol, frame.address) for frame in found.allocated] == [("outer", names["outer"])]


@pytest.mark.parametrize("force", [False, True])
def test_changed_file_without_build_id_is_refused(image: Image, names: dict[str, int], force: bool) -> None:
    """`force` is about build-ids only."""
    me = str(image.path)
    report = report_of(image, [(me, names["inner"])], module=ModuleInfo(path=me, sha256="0" * 64))
    with pytest.raises(LocalizationError, match="has changed"):
        localize(report, image, force=force)


@pytest.mark.parametrize("force", [False, True])
def test_report_about_another_binary_is_refused(image: Image, force: bool) -> None:
    module = ModuleInfo(path="/usr/bin/something-else", build_id="11" * 20)
    report = report_of(image, [(module.path, 0x1000)], module=module)
    with pytest.raises(LocalizationError, match=r"another binary.*something-else"):
        localize(report, image, force=force)


def test_backtrace_without_this_file_is_refused(image: Image) -> None:
    with pytest.raises(LocalizationError, match="no frame of the backtrace"):
        localize(report_of(image, [(LIBC.path, 0x1000)]), image)


@pytest.mark.parametrize("address", [0, 0x40, 0xFFFF_FFFF_0000])
def test_address_outside_code_is_refused(image: Image, address: int) -> None:
    report = parse_report({"binary": str(image.path), "address": address, "class": "divide"})
    with pytest.raises(LocalizationError, match="outside the code"):
        localize(report, image)


def test_report_by_hand_with_address_or_function(image: Image, names: dict[str, int]) -> None:
    binary = str(image.path)
    by_address = parse_report({"binary": binary, "address": hex(names["inner"]), "class": "divide"})
    assert localize(by_address, image).fault_pc == names["inner"]
    by_entry = parse_report({"binary": binary, "function": hex(names["outer"]), "class": "divide"})
    found = localize(by_entry, image)
    assert (found.frames[0].function, found.fault_pc) == (names["outer"], None)
    by_name = parse_report({"binary": binary, "function": "main", "class": "divide"})
    assert localize(by_name, image).frames[0].function == names["main"]


def test_unknown_function_name_is_refused(image: Image) -> None:
    report = parse_report({"binary": str(image.path), "function": "no_such_function", "class": "divide"})
    with pytest.raises(LocalizationError, match=r"no function 'no_such_function'.*address"):
        localize(report, image)


def test_region_by_name_address_or_inner_address(image: Image, names: dict[str, int]) -> None:
    me = str(image.path)
    report = report_of(image, [(me, names["inner"]), (me, names["behind_inner"]), (me, names["behind_outer"])])
    for region, position in (("main", 2), (hex(names["outer"]), 1), (hex(names["behind_inner"]), 1)):
        found = localize(report, image, region=region)
        assert (found.start, found.pinned) == (position, True)
    assert "lies inside it" in localize(report, image, region=hex(names["behind_inner"])).evidence[-1]


def test_region_that_is_no_function_is_refused(image: Image) -> None:
    stubs, data = image.elf.section(".plt"), image.elf.section(".dynamic")
    assert stubs is not None and data is not None
    for address, why in (
        (stubs.address + 16, "leads to a function of another file"),
        (data.address, "not in the code"),
    ):
        with pytest.raises(LocalizationError, match=why) as caught:
            localize(None, image, region=hex(address))
        assert caught.value.address == address and caught.value.hint


def test_region_outside_the_backtrace(image: Image, names: dict[str, int]) -> None:
    report = report_of(image, [(str(image.path), names["inner"])])
    found = localize(report, image, region=hex(names["last"]))
    assert found.frames[found.start].function == names["last"]
    assert "not in the backtrace" in found.evidence[-1]


@pytest.mark.parametrize("region", ["0x10", "no_such_function"])
def test_impossible_region_is_refused(image: Image, names: dict[str, int], region: str) -> None:
    with pytest.raises(LocalizationError):
        localize(report_of(image, [(str(image.path), names["inner"])]), image, region=region)


def test_frame_option_counts_as_the_report_does(image: Image, names: dict[str, int]) -> None:
    me = str(image.path)
    report = report_of(image, [(LIBC.path, 1), (me, names["behind_inner"]), (me, names["behind_outer"])])
    found = localize(report, image, frame=2)
    assert (found.frames[found.start].function, found.pinned) == (names["main"], True)
    with pytest.raises(LocalizationError, match=r"frame 0 .*frames that do: 1, 2"):
        localize(report, image, frame=0)


def test_region_alone_needs_no_report(image: Image, names: dict[str, int]) -> None:
    found = localize(None, image, region="main")
    assert (found.frames[0].function, found.pinned, found.fault_class) == (names["main"], True, None)
    with pytest.raises(UsageError):
        localize(None, image)
    with pytest.raises(UsageError, match="contradict"):
        localize(None, image, region="main", frame=1)


def test_detector_is_recognised_by_name(image: Image, names: dict[str, int]) -> None:
    me = str(image.path)
    report = report_of(image, [(LIBC.path, 1), (LIBC.path, 2), (me, names["behind_inner"])], fault_class="abort")
    frames = (report.backtrace[0], report.backtrace[1].model_copy(update={"symbol": "malloc_printerr"}))
    report = report.model_copy(update={"backtrace": (*frames, report.backtrace[2])})
    assert localize(report, image).detector == "heap"
