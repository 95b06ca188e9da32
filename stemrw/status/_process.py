"""A live process as /proc shows it: its mappings, and its memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stemrw.errors import SensorError

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
_DELETED = " (deleted)"


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps; `path` is empty for memory without a file."""

    start: int
    end: int
    executable: bool
    device: int
    inode: int
    path: str


class Process:
    """Raises SensorError: there is no such process, or its memory may not be read."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._folder = Path(f"/proc/{pid}")
        try:
            self._memory = os.open(self._folder / "mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(error) from None

    def close(self) -> None:
        os.close(self._memory)

    @property
    def command(self) -> str:
        """The name that the kernel has for it."""
        try:
            return (self._folder / "comm").read_text(errors="replace").rstrip("\n")
        except OSError as error:
            raise self._error(error) from None

    def mappings(self) -> Iterator[Mapping]:
        """All mappings, by address.  A process that has ended has none."""
        try:
            text = (self._folder / "maps").read_text(errors="surrogateescape")
        except OSError as error:
            raise self._error(error) from None
        for line in text.split("\n"):  # a line feed in a path stands there as \012
            if found := _LINE.fullmatch(line):
                start, end, rights, _, major, minor, inode, path = found.groups()
                device = os.makedev(int(major, 16), int(minor, 16))
                yield Mapping(int(start, 16), int(end, 16), "x" in rights, device, int(inode), path)

    def read(self, address: int, size: int) -> bytes:
        """Memory of the process; shorter, or empty, where it cannot be read."""
        try:
            return os.pread(self._memory, size, address)
        except (OSError, OverflowError):
            return b""

    def file(self, mapping: Mapping) -> Path | None:
        """Where the mapped file can be opened, though it may have been renamed or deleted, or lie in a container.

        None where it cannot, or where another file has its name now.
        """
        by_range = self._folder / "map_files" / f"{mapping.start:x}-{mapping.end:x}"  # for root
        by_name = Path(f"{self._folder}/root{mapping.path.removesuffix(_DELETED)}")
        for path in (by_range, by_name):
            try:
                status = path.stat()
            except OSError:
                continue
            if status.st_ino == mapping.inode and os.access(path, os.R_OK):
                return path
        return None

    def _error(self, error: OSError) -> SensorError:
        if isinstance(error, (FileNotFoundError, ProcessLookupError)):
            return SensorError(f"there is no process {self.pid}")
        if isinstance(error, PermissionError):
            hint = "its user may, or root; in a container CAP_SYS_PTRACE is needed, and Yama may forbid it"
            return SensorError(f"the memory of process {self.pid} may not be read", hint=hint)
        return SensorError(f"process {self.pid} cannot be read: {error.strerror}")
