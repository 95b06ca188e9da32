"""Puts finished files in place: all of them complete, or none."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stemrw.errors import UsageError


def write_output(files: Sequence[tuple[Path, bytes]], *, like: Path | None = None) -> None:
    """Write every file beside its place, then rename them one after the other.

    The first takes over mode and extended attributes of `like` (which may be the same file: a running program keeps
    its old inode).  Set-user-id and set-group-id bits are kept only where owner and group are the same.
    Raises UsageError; nothing is left behind then.
    """
    pending: list[tuple[Path, Path]] = []
    try:
        for path, data in files:
            pending.append((_write_beside(path, data), path))
        if like is not None:
            _copy_attributes(like, pending[0][0])
        while pending:
            temporary, path = pending[-1]
            temporary.replace(path)
            pending.pop()
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", file=pending[-1][1] if pending else path) from None
    finally:
        for temporary, _ in pending:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _write_beside(path: Path, data: bytes) -> Path:
    if path.is_dir():
        raise UsageError("cannot be written: it is a directory", file=path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", file=path) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).chmod(0o666 & ~_umask())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _copy_attributes(source: Path, target: Path) -> None:
    old, new = source.stat(), target.stat()
    mode = stat.S_IMODE(old.st_mode)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with contextlib.suppress(OSError):
            os.chown(target, old.st_uid, old.st_gid)
            new = target.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    target.chmod(mode)
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(source):
                with contextlib.suppress(OSError):  # security.* and trusted.* need privileges
                    os.setxattr(target, name, os.getxattr(source, name))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
