"""Puts finished files in place: all of them complete, or none."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from stemrw.errors import UsageError
from stemrw.rewrite._edited import Edited

_OF_THE_CONTENT = frozenset({"security.ima", "security.evm"})
"""Extended attributes that sign the bytes: on changed bytes they would only be wrong."""

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)


def write_output(files: Sequence[tuple[Path, bytes | Edited]], *, like: Path | None = None) -> list[str]:
    """Write every file beside its place, then rename them one after the other.

    A symbolic link stays, and what it leads to is replaced.  The first file takes over mode, owner and extended
    attributes (file capabilities among them) of `like`, which may be the same file: a running program keeps its old
    inode.  Returns, as sentences, what of these could not be kept; set-user-id and set-group-id bits are kept only
    where owner and group are.  Raises UsageError; nothing is left behind then.
    """
    pending: list[tuple[Path, Path]] = []
    try:
        for path, content in files:
            pending.append((_write_beside(path, content), path))
        lost = _copy_attributes(like, pending[0][0]) if like is not None else []
        _put_in_place(pending)
    finally:
        for temporary, _ in pending:
            with contextlib.suppress(OSError):
                temporary.unlink()
    return lost


def _write_beside(path: Path, content: bytes | Edited) -> Path:
    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            what = "a directory" if place.is_dir() else "no regular file"
            raise UsageError(f"cannot be written: it is {what}", file=path, hint="name a file")
        descriptor, name = tempfile.mkstemp(prefix=".stemrw-", dir=place.parent)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle; ValueError: a NUL
        raise _unwritten(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, content)
        Path(name).chmod(0o666 & ~_umask())
    except BaseException as error:
        Path(name).unlink()
        if isinstance(error, OSError):
            raise _unwritten(path, error) from None
        raise
    return Path(name)


def _put_in_place(files: Sequence[tuple[Path, Path]]) -> None:
    """Rename each to its place, the last first.  Where one cannot be, the others get back what they had."""
    with contextlib.ExitStack() as undo:
        for temporary, path in reversed(files):
            place, before = path.resolve(), temporary.with_name(temporary.name + ".before")
            with contextlib.suppress(OSError):  # there is none, or it cannot be kept
                before.hardlink_to(place)
            try:
                temporary.replace(place)
            except OSError as error:
                before.unlink(missing_ok=True)
                raise _unwritten(path, error) from None
            undo.callback(_put_back, before, place)
        undo.pop_all()
        for temporary, _ in files:
            temporary.with_name(temporary.name + ".before").unlink(missing_ok=True)


def _put_back(before: Path, place: Path) -> None:
    with contextlib.suppress(OSError):
        if before.exists():
            before.replace(place)
        else:
            place.unlink()


def _unwritten(path: Path, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UsageError(f"cannot be written: {reason}", file=path, hint="name another place")


def _write(file: BinaryIO, content: bytes | Edited) -> None:
    """Write it with holes where it has blocks of zeros: large sparse files stay sparse."""
    for piece in content.pieces() if isinstance(content, Edited) else [content]:
        for at in range(0, len(piece), _BLOCK):
            block = bytes(piece[at : at + _BLOCK])  # views are compared byte by byte, fifty times slower
            if block == _ZEROS:
                file.seek(_BLOCK, os.SEEK_CUR)
            else:
                file.write(block)
    file.truncate(len(content))


def _copy_attributes(source: Path, target: Path) -> list[str]:
    """Mode, owner, extended attributes; returns what was lost."""
    lost = []
    try:
        old, new = source.stat(), target.stat()
    except OSError as error:
        raise UsageError(f"its mode and owner cannot be read: {error.strerror}", file=source) from None
    mode = stat.S_IMODE(old.st_mode)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with contextlib.suppress(OSError):
            os.chown(target, old.st_uid, old.st_gid)
            new = target.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        lost.append(f"owner {old.st_uid}:{old.st_gid} could not be kept")
        if mode & (stat.S_ISUID | stat.S_ISGID):
            lost.append("so its set-user-id and set-group-id bits were dropped")
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    target.chmod(mode)
    for name in _attributes(source):
        if name in _OF_THE_CONTENT:
            lost.append(f"{name} signs the original's bytes and was left out: sign the file anew")
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            lost.append(f"extended attribute {name} could not be kept: {error.strerror}")
    return lost


def _attributes(path: Path) -> list[str]:
    with contextlib.suppress(OSError, AttributeError):  # no such thing on this file system, or on this system
        return sorted(os.listxattr(path))
    return []


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
