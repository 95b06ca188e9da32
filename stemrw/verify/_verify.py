"""One verification, from files to document."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stemrw import __version__
from stemrw.documents.manifest import Manifest
from stemrw.documents.verification import Check, EmulatedFunction, Verification
from stemrw.elf import Elf, read_binary
from stemrw.errors import BinaryError, DocumentError, UsageError
from stemrw.rewrite import restore
from stemrw.runtime import load_image
from stemrw.verify import _commands
from stemrw.verify._run import Runner
from stemrw.verify._structure import structure_checks
from stemrw.verify._subject import Subject

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What is to be done besides the structure.

    `timeout` is in seconds and for each run of a command; `inputs` is how many are generated for each function.
    """

    replays: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    emulate: bool = False
    inputs: int = 32
    timeout: float = 60


def verify(
    hardened: Path, manifest: Manifest, wishes: Wishes, *, original: Path | None = None, progress: Progress = print
) -> Verification:
    """Check a hardened file against its manifest and its original (restored from the manifest where it is not given).

    Raises BinaryError (a file cannot be read) and UsageError (a command cannot be run, Unicorn is missing).
    """
    if wishes.emulate:
        _need_unicorn()  # before anything that takes long
    data = read_binary(hardened)
    digest = hashlib.sha256(data).hexdigest()
    checks: list[Check] = []
    functions: list[EmulatedFunction] = []
    subject = _subject(hardened, bytes(data), manifest, original)
    if isinstance(subject, Check):
        checks += [subject, *_left_out(wishes, "the original is not at hand")]
    else:
        progress("checking the structure")
        checks += structure_checks(subject)
        checks += _run(subject, hardened, original, wishes, progress)
        if wishes.emulate and subject.same_runtime:
            functions = _emulate(subject, wishes, progress)
            checks += map(_of_function, functions)
        elif wishes.emulate:
            why = f"the file carries another runtime than this stemrw; use stemrw {manifest.tool_version}"
            checks.append(Check(group="emulate", name="all functions", outcome="skipped", details=(why,)))
    return Verification(
        tool_version=__version__,
        sha256=digest,
        passed=all(check.outcome != "failed" for check in checks),
        checks=tuple(checks),
        functions=tuple(functions),
    )


def _subject(path: Path, data: bytes, manifest: Manifest, original: Path | None) -> Subject | Check:
    """Both files as ELF files; the failed check where one of them is not what the rest could be compared with."""
    image = load_image()
    try:
        hardened = Elf(data, path)
        before = Elf.open(original) if original is not None else Elf(bytes(restore(data, manifest)), path)
    except (BinaryError, DocumentError) as error:
        if original is not None and error.file == original:
            raise
        return Check(group="structure", name="sha256", outcome="failed", details=(error.message,))
    if before.sha256 != manifest.input.sha256:
        what = f"the original has sha256 {before.sha256}, the manifest says {manifest.input.sha256}"
        return Check(group="structure", name="sha256", outcome="failed", details=(what,))
    abi = image.constants["ABI_VERSION"]
    if manifest.runtime.abi != abi:
        hint = f"use stemrw {manifest.tool_version}, or harden the original anew"
        raise BinaryError(
            f"its runtime has layout {manifest.runtime.abi}, this stemrw reads layout {abi}", file=path, hint=hint
        )
    return Subject(before, hardened, manifest, image)


def _run(subject: Subject, path: Path, original: Path | None, wishes: Wishes, progress: Progress) -> Iterator[Check]:
    if not wishes.replays and not wishes.checks:
        return
    names = [original.name] if original is not None else []
    names += [path.name.removesuffix(".hardened"), path.name]
    with Runner.create(subject.original, path, names, wishes.timeout) as runner:
        for command in wishes.replays:
            progress(f"replay: {command}")
            yield _commands.replay(command, runner)
        for command in wishes.checks:
            progress(f"check: {command}")
            yield _commands.check(command, runner)


def _need_unicorn() -> None:
    if importlib.util.find_spec("unicorn") is None:
        hint = "pip install 'stemrw[emulate]'; Unicorn is GPL-2"
        raise UsageError("--emulate needs Unicorn, which is not installed", hint=hint)


def _emulate(subject: Subject, wishes: Wishes, progress: Progress) -> list[EmulatedFunction]:
    from stemrw.verify.emulate import Comparison

    comparison = Comparison(subject.original, subject.hardened, subject.manifest, subject.image)
    return list(comparison.functions(wishes.inputs, lambda what: progress(f"emulating {what}")))


def _of_function(function: EmulatedFunction) -> Check:
    name = f"{function.function:#x}" + (f" {function.name}" if function.name else "")
    compared = sum(function.ends.values())
    left_out = [f"{count} inputs left out: {reason}" for reason, count in function.left_out.items()]
    if function.differences:
        return Check(group="emulate", name=name, outcome="failed", details=function.differences)
    if not compared:
        return Check(group="emulate", name=name, outcome="skipped", details=tuple(left_out))
    ends = ", ".join(f"{count} {_ENDS.get(end, end)}" for end, count in function.ends.items())
    details = [f"{compared} inputs: {ends}" + (f", {function.rescued} rescued" if function.rescued else "")]
    if function.size:
        details[0] += f"; {100 * function.covered // function.size} % of {function.size} bytes ran"
    natively = [
        f"{count} runs were not emulated by the runtime: {reason}" for reason, count in function.natively.items()
    ]
    return Check(group="emulate", name=name, outcome="passed", details=(*details, *left_out, *natively))


_ENDS = {"returned": "returned", "fault": "faulted", "system call": "up to a system call or the end of the program"}


def _left_out(wishes: Wishes, why: str) -> Iterator[Check]:
    for command in wishes.replays:
        yield Check(group="replay", name=command, outcome="skipped", details=(why,))
    for command in wishes.checks:
        yield Check(group="check", name=command, outcome="skipped", details=(why,))
    if wishes.emulate:
        yield Check(group="emulate", name="all functions", outcome="skipped", details=(why,))
