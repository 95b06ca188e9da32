"""From a generated program to a verdict: build, crash, report, patch, survive; the tool is called in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cwe.generate import WORKERS, source
from cwe.model import Program
from harness import Outcome, execute, recoveries, symbol_address

CPU_LIMIT = 0.4
"""Seconds of CPU time after which a program that should take none is one that hangs."""
LIMIT = 10.0
"""Seconds that a hardened program may take."""
_BAD, _TAME, _CHECKED = WORKERS


class Unusable(Exception):
    """The program does not build, or its good variants do not work natively: nothing is said about the tool."""


@dataclass(frozen=True)
class Verdict:
    """What became of one program.

    `fault` is the class of the report (empty: the bad variant does not crash natively); `survived`: the hardened
    program ended by itself, with no signal, and recorded a recovery; `outcome`: it also printed what the program prints
    whose sink tests its data; `good`: the good variants, whose workers are regions too, print what they print natively.
    `sanitized` is the class of what AddressSanitizer found where nothing crashes natively, if it was asked; `caught`:
    hardened by that report, the program recorded a recovery and ended by itself.
    """

    name: str
    cwe: int
    fault: str = ""
    survived: bool = False
    outcome: bool = False
    good: bool = False
    sanitized: str = ""
    caught: bool = False
    unusable: str = ""
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Built:
    """A program's files: the one to run, the one that has the symbols, both with the same addresses."""

    program: Program
    file: Path
    symbols: Path

    def run(
        self, worker: str, records: Sequence[str], *, file: Path | None = None, events: Path | None = None
    ) -> Outcome:
        """One run; `events` is where a hardened `file` records what it does."""
        environment = {"STEMRW_EVENTS": str(events)} if events else {}
        return execute([file or self.file, worker, *records], environment=environment, timeout=LIMIT)


def build(program: Program, folder: Path, extra: Sequence[str] = ()) -> Built:
    """Write the source and compile it, with `extra` flags.  Raises Unusable."""
    text, symbols = folder / f"{program.name}.{program.language}", folder / program.name
    text.write_text(source(program))
    compiler = ["gcc"] if program.language == "c" else ["g++", "-std=c++17", "-fpermissive"]
    command: list[str | Path] = [*compiler, "-w", *program.flavour.flags, *extra, "-o", symbols, text, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unusable(f"does not compile: {next((x for x in done.stderr.splitlines() if 'error' in x), done.stderr)}")
    if not program.flavour.stripped:
        return Built(program, symbols, symbols)
    file = folder / f"{program.name}.stripped"
    subprocess.run(["strip", "-o", file, symbols], check=True)
    return Built(program, file, symbols)


def stemrw(*arguments: str | Path) -> tuple[int, str]:
    """Call the command line in this process; exit status and what it said on standard error."""
    from stemrw.cli import call

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = call([str(argument) for argument in arguments])
    return status, said.getvalue().strip()


def judge(program: Program, folder: Path, *, asan: bool = False) -> Verdict:
    """The verdict on one program; `folder` is empty, and holds everything afterwards.

    `asan`: where the bad variant does not crash natively, a build with AddressSanitizer is asked what is wrong with it.
    """
    started = time.monotonic()
    verdict = Verdict(program.name, program.flaw.cwe)
    try:
        built = build(program, folder)
        verdict = _judge(built, folder, verdict)
        if asan and not verdict.fault:
            verdict = _judge_sanitized(built, folder, verdict)
    except Unusable as error:
        verdict = replace(verdict, unusable=str(error))
    return replace(verdict, seconds=time.monotonic() - started)


def _judge(built: Built, folder: Path, verdict: Verdict) -> Verdict:
    natively = _good_runs(built, built.file)
    for worker, outcome in natively.items():
        if outcome.returncode != 0:
            raise Unusable(f"{worker} ends natively with {outcome.returncode}: {outcome.stderr.decode()[-200:]}")
    if built.run(_CHECKED, _good_records(built)).stdout != natively[_BAD].stdout:
        raise Unusable("a good record is refused by the sink that tests")
    report = folder / "report.json"
    records = built.program.flaw.records
    _, said = stemrw("run", "--cpu-limit", str(CPU_LIMIT), "-o", report, "--", built.file, _BAD, *records)
    if not report.exists():
        return verdict if "no crash" in said else replace(verdict, fault="none reported", detail=said)
    verdict = replace(verdict, fault=json.loads(report.read_text())["class"])

    hardened = folder / "hardened"
    status, said = stemrw("patch", built.file, "--fault", report, "-o", hardened)
    if status:
        return replace(verdict, detail=f"patch: {said}")
    events = folder / "events.jsonl"
    lived = built.run(_BAD, records, file=hardened, events=events)
    recovered = len(recoveries(events))
    survived = lived.returncode is not None and lived.returncode >= 0 and recovered > 0
    verdict = replace(verdict, survived=survived, outcome=survived and _printed(lived) == _printed(natively[_CHECKED]))
    if not survived:
        verdict = replace(verdict, detail=f"ended with {lived.returncode} after {recovered} recoveries")
    elif not verdict.outcome:
        verdict = replace(verdict, detail=_difference(lived, natively[_CHECKED]))
    return _judge_good(built, natively, hardened, folder, verdict)


def _judge_sanitized(built: Built, folder: Path, verdict: Verdict) -> Verdict:
    """By the report of another build, so by the names of functions: of the file that has them."""
    place, said, report = folder / "asan", folder / "asan.txt", folder / "asan.json"
    place.mkdir()
    twin = build(built.program, place, ("-fsanitize=address", "-g", "-fno-omit-frame-pointer"))
    said.write_bytes(twin.run(_BAD, built.program.flaw.records, file=twin.symbols).stderr)
    if b"AddressSanitizer" not in said.read_bytes():
        return verdict
    status, problem = stemrw("report", "import", said, "--program", twin.symbols, "-o", report)
    if status:
        return replace(verdict, sanitized="not imported", detail=f"import: {problem}")
    verdict = replace(verdict, sanitized=json.loads(report.read_text())["class"])
    guarded, events = folder / "guarded", folder / "guarded.jsonl"
    status, problem = stemrw("patch", built.symbols, "--fault", report, "--by-symbol", "-o", guarded)
    if status:
        return replace(verdict, detail=f"patch by symbol: {problem}")
    lived = built.run(_BAD, built.program.flaw.records, file=guarded, events=events)
    recovered = len(recoveries(events))
    caught = lived.returncode is not None and lived.returncode >= 0 and recovered > 0
    return replace(verdict, caught=caught, detail="" if caught else f"{lived.returncode}, {recovered} recoveries")


def _good_records(built: Built) -> list[str]:
    return [record for record in built.program.flaw.records if record != built.program.flaw.bad]


def _good_runs(built: Built, file: Path) -> dict[str, Outcome]:
    """The good variants on all records; the bad one on good records."""
    records = built.program.flaw.records
    return {
        _TAME: built.run(_TAME, records, file=file),
        _CHECKED: built.run(_CHECKED, records, file=file),
        _BAD: built.run(_BAD, _good_records(built), file=file),
    }


def _judge_good(built: Built, natively: dict[str, Outcome], hardened: Path, folder: Path, verdict: Verdict) -> Verdict:
    """Once in the file as it was hardened; once more with the workers of the good variants as regions as well."""
    wider = folder / "wider"
    regions = [hex(symbol_address(built.symbols, worker)) for worker in (_TAME, _CHECKED)]
    wanted = [word for region in regions for word in ("--region", region)]
    manifest = Path(f"{hardened}.manifest.json")
    status, said = stemrw("patch", hardened, "--manifest", manifest, "-o", wider, *wanted)
    if status:
        return replace(verdict, detail=f"{verdict.detail}; patch with more regions: {said}".lstrip("; "))
    for file in (hardened, wider):
        for worker, outcome in _good_runs(built, file).items():
            if outcome != natively[worker]:
                differs = f"{worker} of {file.name}: {_difference(outcome, natively[worker])}"
                return replace(verdict, detail=f"{verdict.detail}; {differs}".lstrip("; "))
    return replace(verdict, good=True)


def _printed(outcome: Outcome) -> tuple[int | None, bytes]:
    """Without what went to standard error: there the C library says what it found before it aborts."""
    return outcome.returncode, outcome.stdout


def _difference(found: Outcome, wanted: Outcome) -> str:
    if found.returncode != wanted.returncode:
        return f"ends with {found.returncode}, not {wanted.returncode}"
    pairs = zip(found.stdout.splitlines(), wanted.stdout.splitlines(), strict=False)
    for one, other in pairs:
        if one != other:
            return f"prints {one.decode(errors='replace')!r}, not {other.decode(errors='replace')!r}"
    sizes = [f"{len(each.stdout)} bytes and {len(each.stderr)} on standard error" for each in (found, wanted)]
    return f"prints {', not '.join(sizes)}"


def alone() -> None:
    """Make this process one that runs nothing but crashing programs: their output and core files go nowhere."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
