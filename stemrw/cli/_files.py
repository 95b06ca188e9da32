"""Reading what the user names, and naming it in errors."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stemrw.errors import StemrwError, UsageError

if TYPE_CHECKING:
    from stemrw.documents.manifest import Manifest
    from stemrw.elf import Elf


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Names `path` in errors of stages that know only its bytes."""
    try:
        yield
    except StemrwError as error:
        if error.file is not None:
            raise
        raise type(error)(error.message, file=path, address=error.address, hint=error.hint) from None


def open_file(path: Path, manifest: Path | None = None) -> tuple[Elf, Manifest | None]:
    """A file, and where it is hardened its manifest, which `manifest` names if it does not lie beside the file.

    Raises BinaryError, DocumentError, and UsageError for the manifest of a file that is not hardened.
    """
    from stemrw.documents.manifest import load_manifest, manifest_path
    from stemrw.elf import Elf
    from stemrw.rewrite import find_payload

    elf = Elf.open(path)
    if find_payload(elf) is not None:
        return elf, load_manifest(manifest or manifest_path(path))
    if manifest is not None:
        raise UsageError("this file is not hardened, so it has no manifest", file=path, hint="leave out --manifest")
    return elf, None


def open_original(path: Path, manifest: Path | None = None) -> tuple[Elf, Manifest | None]:
    """The file to harden: as it is, or where it is hardened already, its original, made from it and its manifest.

    The manifest is returned in the second case.  Arguments and errors are those of `open_file`.
    """
    from stemrw.elf import Elf
    from stemrw.rewrite import revert

    elf, known = open_file(path, manifest)
    if known is None:
        return elf, None
    with about(path):
        return Elf(bytes(revert(elf.data, known)), path), known


def warn(lost: list[str], path: Path) -> None:
    """Say on standard error what of the original's owner and attributes the file at `path` has not."""
    for what in lost:
        print(f"stemrw: warning: {path}: {what}", file=sys.stderr)


def write_document(path: Path, text: str) -> None:
    """Write a document that the user wants there, whole or not at all.  Raises UsageError."""
    try:
        write_whole(path, text)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"it could not be written: {reason}", file=path, hint="choose another --output") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file, or replace it by renaming.  Raises OSError."""
    if path.exists() and not path.is_file():
        path.write_text(text)  # a pipe or device cannot be replaced; nor has what /dev/stdout leads to a name
        return
    target = path.resolve()  # a link stays a link
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise
