"""Every error a user can meet, as one tree.

StemrwError            (exit status 2) — the base; never raised itself
├── UsageError         — the command line or its combination of options makes no sense
├── DocumentError      — a report, plan or manifest is not what it should be
├── BinaryError        — an ELF file cannot be read, or cannot be hardened safely
├── LocalizationError  — the report does not lead to a function of this file
└── SensorError        — the command could not be run or watched

A message says what is wrong, where (file, address) and what to do next.
"""

from __future__ import annotations

from pathlib import Path


class StemrwError(Exception):
    """What went wrong (`message`), in which file and at which link-time address, and what the user can do about it."""

    exit_status = 2

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        address: int | None = None,
        hint: str | None = None,
    ) -> None:
        self.message, self.file, self.address, self.hint = message, file, address, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        where = ""
        if self.file is not None:
            where = f"{self.file}: "
        if self.address is not None:
            where += f"{self.address:#x}: "
        return where + self.message + (f" ({self.hint})" if self.hint else "")


class UsageError(StemrwError):
    """The command line or its combination of options makes no sense."""


class DocumentError(StemrwError):
    """A report, plan or manifest is not what it should be."""


class BinaryError(StemrwError):
    """An ELF file cannot be read, or cannot be hardened safely."""


class LocalizationError(StemrwError):
    """The report does not lead to a function of this file."""


class SensorError(StemrwError):
    """The command could not be run or watched."""
