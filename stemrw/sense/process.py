"""What /proc tells about a process: dispositions of signals, mappings, CPU time, files."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Status:
    """/proc/PID/status as far as signals and identity go."""

    tgid: int
    own_pid: int
    """The process id as the process itself sees it (PID namespaces)."""
    ignored: int
    caught: int

    def ignores(self, signal: int) -> bool:
        return bool(self.ignored >> (signal - 1) & 1)

    def catches(self, signal: int) -> bool:
        return bool(self.caught >> (signal - 1) & 1)


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps."""

    start: int
    end: int
    permissions: str
    offset: int
    device: int
    inode: int
    path: str
    """File, "[stack]" and the like, or empty."""

    @property
    def is_file(self) -> bool:
        return self.inode != 0 and self.path.startswith("/")

    @property
    def readable(self) -> bool:
        return "r" in self.permissions

    @property
    def writable(self) -> bool:
        return "w" in self.permissions

    @property
    def executable(self) -> bool:
        return "x" in self.permissions

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end


_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
_STATUS = re.compile(rb"^(Tgid|NStgid|SigIgn|SigCgt):\s*(.*)$", re.MULTILINE)


def read(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty if the process is gone or does not let us."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def status(tid: int) -> Status | None:
    """None: the thread is gone."""
    fields = dict(_STATUS.findall(read(tid, "status")))
    if b"Tgid" not in fields:
        return None
    tgid = int(fields[b"Tgid"])
    own = fields.get(b"NStgid", b"").split()
    return Status(
        tgid=tgid,
        own_pid=int(own[-1]) if own else tgid,
        ignored=int(fields.get(b"SigIgn", b"0"), 16),
        caught=int(fields.get(b"SigCgt", b"0"), 16),
    )


def mappings(pid: int) -> tuple[Mapping, ...]:
    """All mappings, ascending."""
    found = []
    for line in read(pid, "maps").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        start, end, permissions, offset, major, minor, inode, path = match.groups()
        name = os.fsdecode(path.replace(b"\\012", b"\n"))
        device = os.makedev(int(major, 16), int(minor, 16))
        found.append(
            Mapping(int(start, 16), int(end, 16), permissions.decode(), int(offset, 16), device, int(inode), name)
        )
    return tuple(found)


def link(pid: int, name: str) -> str | None:
    """Target of a link of /proc/PID, such as "exe" or "cwd"."""
    try:
        return os.readlink(f"/proc/{pid}/{name}").removesuffix(" (deleted)")
    except OSError:
        return None


def standard_input(pid: int) -> str | None:
    """Path of the process's standard input if it is a regular file."""
    try:
        regular = stat.S_ISREG(os.stat(f"/proc/{pid}/fd/0").st_mode)
    except OSError:
        return None
    return link(pid, "fd/0") if regular else None


def command_line(pid: int) -> tuple[str, ...]:
    text = read(pid, "cmdline")
    return tuple(os.fsdecode(part) for part in text.split(b"\0")[:-1]) if text else ()


@dataclass(frozen=True)
class Times:
    """CPU seconds used, and when the process or thread started (clock ticks since boot)."""

    cpu: float
    started: int


def times(pid: int, tid: int | None = None) -> Times | None:
    """Of a process, or of one of its threads; None if it is gone."""
    text = read(pid, "stat" if tid is None else f"task/{tid}/stat")
    fields = text[text.rfind(b")") + 2 :].split()  # the name before may hold anything
    if len(fields) < 20:
        return None
    return Times(cpu=(int(fields[11]) + int(fields[12])) / TICKS, started=int(fields[19]))


def threads(pid: int) -> tuple[int, ...]:
    try:
        return tuple(sorted(int(name) for name in os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return ()
