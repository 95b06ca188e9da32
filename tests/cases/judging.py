"""From crash to survival on one recorded case: sensor, patch, bad input, good input, events, revert.

A case is a folder with a `case.json` and input files, see data/README.md.  The hardened file takes the original's place
in a mount namespace of its own where that is allowed (root); else it is found first on PATH or LD_LIBRARY_PATH.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import (
    Outcome,
    Tool,
    ToolError,
    execute,
    manifest_path,
    recoveries,
    region_addresses,
    sha256,
)

CPU_LIMIT = 3
"""Seconds of CPU after which a case that is a hang is one."""

COULD_NOT_START = (126, 127)


@dataclass(frozen=True)
class Case:
    """One recorded crash."""

    folder: Path
    name: str
    fault: str
    crash_line: str
    good_line: str
    target: Path
    wrapped: bool
    hang: bool
    arch: str
    after: tuple[str, ...]
    limit: float

    @classmethod
    def load(cls, folder: Path) -> Case:
        """Read a case's folder."""
        data: dict[str, Any] = json.loads((folder / "case.json").read_text())
        return cls(
            folder=folder,
            name=data["name"],
            fault=data["class"],
            crash_line=data["crash_cmd"],
            good_line=data["good_cmd"],
            target=Path(data["patch"]).resolve(),
            wrapped=bool(data.get("wrapped")),
            hang=bool(data.get("hang")),
            arch=data["arch"],
            after=tuple(data.get("after", {}).get("stdout_contains", ())),
            limit=float(data.get("limit_s", 20)),
        )

    def inputs(self, place: Path, *, good: bool = False) -> Path:
        """A fresh copy of the input files, in a folder that is called as the case is."""
        copy = place / self.name
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("case.json", "good"))
        if good and (self.folder / "good").is_dir():
            shutil.copytree(self.folder / "good", copy, dirs_exist_ok=True)
        return copy

    def ended_well(self, outcome: Outcome) -> bool:
        """Whether the line ended by itself: no signal, no time-out, and it could be started."""
        status = outcome.returncode
        if status is None or status < 0 or status in COULD_NOT_START:
            return False
        return not (self.wrapped and 128 < status < 160)  # a driver script reports a signal as 128 + n


@dataclass(frozen=True)
class Hardened:
    """A case's file, hardened with some options."""

    file: Path
    regions: frozenset[int]
    options: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What the hardened file did."""

    survived: bool
    after: bool | None
    benign: bool
    reverted: bool
    differs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    seconds: float = 0.0
    """What patching took."""

    @property
    def good(self) -> bool:
        """Everything is as it should be."""
        return self.survived and self.benign and self.reverted and self.after is not False


@dataclass(frozen=True)
class Trace:
    """What a run left: exit status, outputs, and every file with its hash."""

    outcome: Outcome
    files: Mapping[str, str] = field(default_factory=dict)

    def differences(self, other: Trace) -> set[str]:
        """Names of what is not the same."""
        names = {name for name in ("returncode", "stdout", "stderr")
                 if getattr(self.outcome, name) != getattr(other.outcome, name)}  # fmt: skip
        return names | {name for name in self.files | other.files if self.files.get(name) != other.files.get(name)}


@functools.cache
def can_bind() -> bool:
    """Whether mount namespaces may be made."""
    probe = ["unshare", "-m", "sh", "-c", "mount --bind /bin/true /bin/true"]
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _in_place(hardened: Path, target: Path, place: Path) -> tuple[str, dict[str, str]]:
    """Shell text that puts the hardened file where the original is, and the environment that is needed."""
    if can_bind():
        return f"mount --bind {shlex.quote(str(hardened))} {shlex.quote(str(target))} || exit 126; ", {}
    links = {path.name for path in target.parent.iterdir() if path.is_symlink() and path.resolve() == target}
    folder = place / "first"
    folder.mkdir()
    for name in {target.name} | links:
        (folder / name).symlink_to(hardened)
    if ".so" in target.name:
        return "", {"LD_LIBRARY_PATH": str(folder)}
    return "", {"PATH": f"{folder}:{os.environ['PATH']}"}


def run_line(
    line: str, cwd: Path, limit: float, *, hardened: Hardened | None = None, target: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:  # fmt: skip
    """Run a shell line of a case, with or without the hardened file in the original's place."""
    shell, extra, namespace = "", {}, []
    if hardened is not None and target is not None:
        shell, extra = _in_place(hardened.file, target, cwd.parent)
        namespace = ["unshare", "-m"] if shell else []
    simple = not any(sign in line for sign in "|;")
    command = [*namespace, "bash", "-o", "pipefail", "-c", shell + ("exec " if simple else "") + line]
    return execute(command, cwd=cwd, timeout=limit, environment={**extra, **(environment or {})})


class Judge:
    """Judges one case in a work folder; `usable` first, then `sense`, then `harden` and `judge` per set of options."""

    def __init__(self, case: Case, tool: Tool, work: Path) -> None:
        self.case, self.tool, self.work = case, tool, work
        self.report = work / "report.json"
        self._runs = 0
        self._native: tuple[Trace, Trace] | None = None

    def _fresh(self, *, good: bool = False) -> Path:
        self._runs += 1
        return self.case.inputs(self.work / f"run{self._runs}", good=good)

    def unusable(self) -> str | None:
        """Why the case cannot be judged here; None if it can."""
        case = self.case
        if not case.target.exists():
            return f"{case.target} is not installed"
        died = run_line(case.crash_line, self._fresh(), CPU_LIMIT if case.hang else case.limit)
        if case.ended_well(died):
            return f"the original does not crash here (status {died.returncode})"
        return None

    def sense(self) -> str | None:
        """Take the fault report; the reason if there is none."""
        options = ["--cpu-limit", str(CPU_LIMIT)] if self.case.hang else []
        line = ("" if self.case.wrapped else "exec ") + self.case.crash_line
        command = [*self.tool.command, "run", "-o", str(self.report), *options, "--", "sh", "-c", line]
        outcome = execute(command, cwd=self._fresh(), timeout=self.case.limit + 40)
        if self.report.exists():
            return None
        return f"no report: {outcome.stderr[-200:].decode(errors='replace').strip()}"

    def harden(self, options: Sequence[str] = ()) -> Hardened:
        """Patch with the report.  Raises ToolError."""
        self._runs += 1
        out = self.work / f"hardened{self._runs}"
        begin = time.monotonic()
        manifest = self.tool.patch(self.case.target, out, "--fault", self.report, *options)
        return Hardened(out, frozenset(region_addresses(manifest)), tuple(options), time.monotonic() - begin)

    def survives(self, hardened: Hardened, limit: float | None = None) -> tuple[bool, bool | None]:
        """Run the bad input once: (ended by itself with a recovery of a listed region, what must happen after did)."""
        case, cwd = self.case, self._fresh()
        events = cwd.parent / "events.jsonl"
        outcome = run_line(case.crash_line, cwd, limit or case.limit * 3, hardened=hardened, target=case.target,
                           environment={"STEMRW_EVENTS": str(events)})  # fmt: skip
        recovered = recoveries(events)
        listed = all(int(event["region"], 0) in hardened.regions and int(event["pc"], 0) > 0 for event in recovered)
        survived = case.ended_well(outcome) and bool(recovered) and listed
        if not case.after:
            return survived, None
        printed = outcome.stdout.decode(errors="replace")
        return survived, survived and all(text in printed for text in case.after)

    def _good_run(self, hardened: Hardened | None = None) -> tuple[Trace, bool]:
        cwd = self._fresh(good=True)
        events = cwd.parent / "events.jsonl"
        outcome = run_line(self.case.good_line, cwd, 180, hardened=hardened, target=self.case.target,
                           environment={"STEMRW_EVENTS": str(events)})  # fmt: skip
        files = {str(path.relative_to(cwd)): sha256(path) for path in sorted(cwd.rglob("*")) if path.is_file()}
        return Trace(outcome, files), bool(recoveries(events))

    def benign(self, hardened: Hardened) -> tuple[str, ...]:
        """How the good input's run differs from the original's; what the original itself varies in does not count."""
        if self._native is None:
            self._native = self._good_run()[0], self._good_run()[0]
        first, second = self._native
        trace, recovered = self._good_run(hardened)
        differs = trace.differences(first) - first.differences(second)
        return tuple(sorted(differs | ({"a recovery"} if recovered else set())))

    def judge(self, hardened: Hardened, runs: int = 1) -> Verdict:
        """All of it."""
        results = [self.survives(hardened) for _ in range(runs)]
        differs = self.benign(hardened)
        back = hardened.file.with_name(hardened.file.name + ".reverted")
        with contextlib.suppress(ToolError):
            self.tool.revert(hardened.file, back)
        return Verdict(
            survived=all(survived for survived, _ in results),
            after=all(after for _, after in results) if self.case.after else None,
            benign=not differs,
            reverted=back.exists() and sha256(back) == sha256(self.case.target),
            differs=differs,
            options=hardened.options,
            seconds=hardened.seconds,
        )


__all__ = ["Case", "Hardened", "Judge", "ToolError", "Verdict", "can_bind", "manifest_path"]
