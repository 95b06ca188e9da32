"""What a file's surroundings say of it: rights, extended attributes, protection by the kernel, checksums beside it."""

from __future__ import annotations

import os
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

_FS_IOC_GETFLAGS = 0x80086601
_FS_VERITY_FL, _FS_IMMUTABLE_FL = 0x00100000, 0x00000010


@dataclass(frozen=True)
class FileFacts:
    """`mode` without the file type; names of extended attributes; fs-verity and the immutable flag where the file
    system has them; `checksum` is a file beside it by which the program checks itself when it starts."""

    mode: int = 0
    attributes: tuple[str, ...] = ()
    verity: bool = False
    immutable: bool = False
    checksum: Path | None = None


def file_facts(path: Path) -> FileFacts:
    """Ask the file system; what it does not tell is taken as not there."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return FileFacts()
    flags = _flags(path)
    return FileFacts(
        mode=mode,
        attributes=_attributes(path),
        verity=bool(flags & _FS_VERITY_FL),
        immutable=bool(flags & _FS_IMMUTABLE_FL),
        checksum=_checksum(path),
    )


def _attributes(path: Path) -> tuple[str, ...]:
    if not hasattr(os, "listxattr"):
        return ()
    try:
        return tuple(sorted(os.listxattr(path)))
    except OSError:
        return ()


def _flags(path: Path) -> int:
    if sys.platform != "linux":
        return 0
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(struct.unpack("<Q", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8)))[0])
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _checksum(path: Path) -> Path | None:
    """The HMAC that FIPS builds of cryptographic libraries and programs have beside them."""
    for folder in (path.parent, path.parent / "fipscheck", path.parent / ".fips"):
        for name in (f".{path.name}.hmac", f"{path.name}.hmac"):
            if (folder / name).is_file():
                return folder / name
    return None
