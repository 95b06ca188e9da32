"""Reading what the user names."""

from __future__ import annotations

from pathlib import Path

from stemrw.errors import UsageError


def read_file(path: Path) -> bytes:
    """The content of a file; raises UsageError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", file=path) from None
