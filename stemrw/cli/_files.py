"""Reading what the user names, and naming it in errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stemrw.errors import StemrwError, UsageError


def read_file(path: Path) -> bytes:
    """The content of a file; raises UsageError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", file=path) from None


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Names `path` in errors of stages that know only its bytes."""
    try:
        yield
    except StemrwError as error:
        if error.file is not None:
            raise
        raise type(error)(error.message, file=path, address=error.address, hint=error.hint) from None
