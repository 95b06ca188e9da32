"""Run a program of the table natively and hardened (`main` as region) and compare all that can be seen of it.

    template folder ── a fresh copy each ──▶ native, native again, hardened ──▶ outputs, status, files made
                                                                     └─ ptrace, at the exit ──▶ the runtime's counters

The hardened file takes the original's place in a mount namespace of its own where that is allowed (root), so that its
name, /proc/self/exe and what children execute are the same; else it is found first on PATH under the same name.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import Tool, ToolError, recoveries
from inputs import make_inputs, make_old

from stemrw.errors import StemrwError
from stemrw.sense import ptrace
from stemrw.status import read_status

TABLE = Path(__file__).resolve().parent / "table"

_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "TERM": "dumb",
    "USER": "user",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "SOURCE_DATE_EPOCH": "1700000000",
}


@dataclass(frozen=True)
class Program:
    """One row of the table.

    `before` are shell commands that make more input: once, natively.  A relative `path` is of a program that they have
    built.  `lines` are the commands that are compared, in order, in one folder.  `ignored` says what is not compared
    ("stdout", "stderr", "status", or the name of a file), and why.  `seconds` is the limit of one run.
    """

    name: str
    path: Path
    package: str
    lines: tuple[str, ...]
    before: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ("--region", "main")
    seconds: float = 60


def read_table(path: Path) -> list[Program]:
    """The programs of one file of the table; table/README.md says how it is written.  Raises ValueError."""
    programs: list[Program] = []
    for block in re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n?", "", path.read_text())):
        head, *rest = block.strip("\n").split("\n")
        if not head:
            continue
        found = re.fullmatch(r"(\S+)(?: ([./]\S+))? \((\S+)\)(?: (\d+) s)?", head)
        if found is None:
            raise ValueError(f"{path.name}: {head}")
        name, where, package, seconds = found.groups()
        words = [(line.strip()[0], line.strip()[1:].strip()) for line in rest if line.strip()]
        if unknown := [line for line in words if line[0] not in "$!-@"]:
            raise ValueError(f"{path.name}: {name}: {unknown[0]}")
        programs.append(
            Program(
                name,
                Path(where or shutil.which(name, path="/usr/bin:/bin:/usr/sbin") or f"/usr/bin/{name}"),
                package,
                tuple(text for mark, text in words if mark == "$"),
                tuple(text for mark, text in words if mark == "!"),
                dict(text.split(": ", 1) for mark, text in words if mark == "-"),
                next((tuple(shlex.split(text)) for mark, text in words if mark == "@"), ("--region", "main")),
                float(seconds or 60),
            )
        )
    return programs


def whole_table() -> list[Program]:
    """All programs, sorted by name."""
    return sorted((each for path in TABLE.glob("*.txt") for each in read_table(path)), key=lambda each: each.name)


@dataclass
class Counters:
    """What the runtimes of a program counted, summed over its lines.

    `left`: regions that were run natively, from the start or from some point on; `reasons` also has those of calls in
    children that share the program's memory.  `lost`: lines whose counters could not be read.
    """

    entries: int = 0
    left: int = 0
    recoveries: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    def read(self, pid: int) -> None:
        """Add those of a stopped process."""
        try:
            status = read_status(pid)
        except StemrwError:
            status = None
        if status is None:
            self.lost += 1
            return
        for module in status.modules:
            self.recoveries += module.recoveries
            regions = [patch for patch in module.patches if patch.kind == "region"]
            self.entries += sum(patch.entries for patch in regions)
            self.left += sum(patch.degradations for patch in regions)
            for reason, count in module.reasons.items():
                self.reasons[reason] = self.reasons.get(reason, 0) + count


@dataclass(frozen=True)
class Result:
    """All that can be seen of a program's lines: for each its status (negative: signal) and outputs, then the files."""

    outputs: tuple[tuple[int | None, bytes, bytes], ...]
    files: Mapping[str, str]

    def differences(self, other: Result, ignored: Mapping[str, str]) -> list[str]:
        """What is not the same, in words."""
        found: list[str] = []
        for i, (mine, others) in enumerate(zip(self.outputs, other.outputs, strict=True)):
            found += [
                f"line {i + 1}, {name}: {_difference(one, two)}"
                for name, one, two in zip(("status", "stdout", "stderr"), mine, others, strict=True)
                if one != two and name not in ignored
            ]
        found += [
            f"file {name}: {self.files.get(name)} / {other.files.get(name)}"
            for name in sorted(self.files.keys() | other.files.keys())
            if self.files.get(name) != other.files.get(name)
            and not any(Path(name).match(pattern) for pattern in ignored)
        ]
        return found


@dataclass(frozen=True)
class Row:
    """What came of one program.  `unstable`: what differs between two native runs already; `differs`: the hardened."""

    program: Program
    error: str = ""
    unstable: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    counters: Counters = field(default_factory=Counters)
    native_seconds: float = 0.0
    hardened_seconds: float = 0.0
    recovered: int = 0

    @property
    def good(self) -> bool:
        """Identical, and the region was really entered in every process whose counters could be read."""
        entered = self.counters.entries > 0 or self.counters.lost == len(self.program.lines)
        return not (self.error or self.unstable or self.differs or self.recovered) and entered


def _difference(one: int | bytes | None, two: int | bytes | None) -> str:
    if not isinstance(one, bytes) or not isinstance(two, bytes):
        return f"{one!r} / {two!r}"
    at = next((i for i, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), min(len(one), len(two)))
    part = slice(max(0, at - 40), at + 160)
    return f"at byte {at} of {len(one)} / {len(two)}: {one[part]!r} / {two[part]!r}"


@functools.cache
def can_bind() -> bool:
    """Whether mount namespaces may be made."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-m", "sh", "-c", "mount --bind /bin/true /bin/true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _snapshot(folder: Path, begin: float) -> dict[str, str]:
    """Every file under a folder: type, mode, content, and its time where the program has set one in the past."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind = stat.filemode(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = f"{status.st_size} bytes {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        else:
            content = ""
        set_time = f" {status.st_mtime_ns}" if status.st_mtime < begin - 1 and not stat.S_ISDIR(status.st_mode) else ""
        found[str(path.relative_to(folder))] = f"{kind} {status.st_nlink} {content}{set_time}"
    return found


class Runner:
    """Runs one program's lines in fresh copies of its folder, always under the same name."""

    def __init__(self, program: Program, work: Path, inputs: Callable[[Path], None] = make_inputs) -> None:
        self.program, self._work = program, work
        self.events = work / "events.jsonl"
        self._template, self.folder = work / "template", work / "folder"
        self._path = work / "bin"
        self._path.mkdir()
        self._template.mkdir()
        inputs(self._template)
        for line in program.before:
            done = subprocess.run(
                ["bash", "-c", line], cwd=self._template, env=self._environment(), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            if done.returncode:
                raise ToolError(f"{line}: exit status {done.returncode}: {done.stderr}")
        make_old(self._template)

    @property
    def original(self) -> Path:
        """The file to harden."""
        return (self._template / self.program.path).resolve()

    def run(self, hardened: Path | None, counters: Counters | None = None) -> Result:
        """All lines, with the original or with the hardened file in its place."""
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["cp", "-a", self._template, self.folder], check=True)  # with FIFOs and hard links
        begin = time.time()
        outputs = tuple(self._line(line, hardened, counters) for line in self.program.lines)
        return Result(outputs, _snapshot(self.folder, begin))

    def _environment(self) -> dict[str, str]:
        return {
            **_ENVIRONMENT,
            "PATH": f"{self._path}:/usr/bin:/bin:/usr/sbin",
            "HOME": str(self.folder),
            "STEMRW_EVENTS": str(self.events),
        }

    def _line(self, line: str, hardened: Path | None, counters: Counters | None) -> tuple[int | None, bytes, bytes]:
        link, original = self._path / self.program.name, self.folder / self.program.path
        link.unlink(missing_ok=True)
        link.symlink_to(hardened if hardened and not can_bind() else original)
        bind = ""
        if hardened and can_bind():
            bind = f"mount --bind {shlex.quote(str(hardened))} {shlex.quote(str(original.resolve()))} || exit 126; "
        gate, opener = os.pipe()
        assignments, command = re.fullmatch(r"((?:\w+=\S* )*)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
        script = f"read -r _ <&{gate}; exec {gate}<&-; {bind}{assignments}exec {command}"
        launcher = [*(["unshare", "-m"] if can_bind() else []), "bash", "-c", script]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                launcher, cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=out,
                stderr=errors, pass_fds=(gate,), start_new_session=True,
            )  # fmt: skip
            os.close(gate)
            status = _follow(process, opener, counters, self.program.seconds)
            out.seek(0)
            errors.seek(0)
            return status, out.read(), errors.read()


def _follow(process: subprocess.Popen[bytes], opener: int, counters: Counters | None, seconds: float) -> int | None:
    """Let a process that waits for its gate run to its end; None if it took too long."""
    late = threading.Event()

    def end() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    if counters is not None:
        ptrace.seize(process.pid, (ptrace.EVENT_EXIT,))
    os.write(opener, b"\n")
    os.close(opener)
    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        for status in _stops(process.pid):
            event, number = status >> 16, os.WSTOPSIG(status)
            if event == ptrace.EVENT_EXIT and counters is not None:
                counters.read(process.pid)
            if event == ptrace.EVENT_STOP and number != signal.SIGTRAP:
                ptrace.listen(process.pid)
            else:
                ptrace.resume(process.pid, 0 if event else number)
    finally:
        timer.cancel()
        process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has left running
    return None if late.is_set() else process.returncode


def _stops(pid: int) -> Iterator[int]:
    """Wait statuses of a tracee's stops, until it has ended."""
    while True:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if ended is None or ended.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
            return
        _, status = os.waitpid(pid, os.WUNTRACED)
        yield status


def judge(program: Program, tool: Tool, work: Path) -> Row:
    """Twice natively, once hardened."""
    if program.path.is_absolute() and not program.path.exists():
        return Row(program, error="not installed")
    try:
        runner = Runner(program, work)
        hardened = work / "hardened"
        tool.patch(runner.original, hardened, *program.options)
        begin = time.monotonic()
        native = runner.run(None)
        native_seconds = time.monotonic() - begin
        unstable = native.differences(runner.run(None), program.ignored)
        counters = Counters()
        begin = time.monotonic()
        found = runner.run(hardened, counters)
        hardened_seconds = time.monotonic() - begin
        recovered = len(recoveries(runner.events))
    except (ToolError, OSError, subprocess.SubprocessError, ValueError) as error:
        return Row(program, error=str(error))
    differs = native.differences(found, program.ignored)
    return Row(
        program, "", tuple(unstable), tuple(differs), counters, native_seconds, hardened_seconds,
        max(recovered, counters.recoveries),
    )  # fmt: skip


def packages(programs: Sequence[Program]) -> list[str]:
    """The Debian packages that the programs come from."""
    return sorted({program.package for program in programs})
