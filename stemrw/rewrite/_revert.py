"""From the hardened bytes and their manifest back to the original, byte for byte."""

from __future__ import annotations

import hashlib

from stemrw.documents.manifest import Manifest
from stemrw.errors import DocumentError


def revert(hardened: bytes, manifest: Manifest) -> bytes:
    """The original file.

    Raises DocumentError if the manifest is about another file, or does not lead to the original's sha256.
    """
    digest = hashlib.sha256(hardened).hexdigest()
    if digest != manifest.output.sha256:
        hint = "the manifest belongs to another file, or the hardened file was changed (stripped, signed …) since"
        raise DocumentError(f"the manifest is about a file with sha256 {manifest.output.sha256}", hint=hint)
    data = bytearray(hardened[: manifest.input.size])
    for change in manifest.changes:
        if change.offset + len(change.data) > len(data):
            raise DocumentError(f"the manifest changes bytes beyond the original's end, at offset {change.offset}")
        data[change.offset : change.offset + len(change.data)] = change.data
    if hashlib.sha256(data).hexdigest() != manifest.input.sha256:
        raise DocumentError("the manifest does not lead back to the original", hint="it was edited or damaged")
    return bytes(data)
