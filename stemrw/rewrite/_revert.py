"""From a hardened file and its manifest back to the original, byte for byte."""

from __future__ import annotations

import hashlib
import mmap

from stemrw.documents.manifest import Manifest
from stemrw.errors import DocumentError
from stemrw.rewrite._edited import Edited


def revert(hardened: bytes | mmap.mmap, manifest: Manifest) -> Edited:
    """The original file's content.

    Raises DocumentError if the manifest is about another file, or does not lead to the original's sha256.
    """
    digest = hashlib.sha256(hardened).hexdigest()
    if digest != manifest.output.sha256:
        hint = "the manifest belongs to another file, or the hardened file was changed (stripped, signed …) since"
        raise DocumentError(f"the manifest is about a file with sha256 {manifest.output.sha256}", hint=hint)
    return restore(hardened, manifest)


def restore(hardened: bytes | mmap.mmap, manifest: Manifest) -> Edited:
    """As `revert`, but works too where only what was appended has changed since."""
    size = manifest.input.size
    if size > len(hardened):
        raise DocumentError(f"the manifest's original has {size} bytes, more than the hardened file")
    end = 0
    for change in manifest.changes:
        if change.offset < end or change.offset + len(change.data) > size:
            raise DocumentError(f"the manifest's changes overlap or leave the original, at offset {change.offset}")
        end = change.offset + len(change.data)
    original = Edited(hardened, size, tuple((change.offset, change.data) for change in manifest.changes))
    if original.sha256 != manifest.input.sha256:
        hint = "one of the two was changed; with the original, stemrw diff ORIGINAL HARDENED shows where"
        raise DocumentError("the manifest does not lead back to the original", hint=hint)
    return original
