"""Mutations that know the format: one number of an ELF file, one value of a document.  For targets.py."""

from __future__ import annotations

import json
import random
import struct

from hostile import broken_documents, broken_elf, elf_fields


def elf(data: bytes, seed: int) -> bytes | None:
    """One to three numbers of the file's tables made absurd; None where the tables cannot be found any more."""
    chance = random.Random(seed)
    changed = bytearray(data)
    try:
        families = list(elf_fields.fields(data).values())
        for _ in range(chance.randint(1, 3)):
            field = chance.choice(chance.choice(families))
            if field.offset + field.size <= len(data):
                field.put(changed, chance.choice(broken_elf.absurd(field, data)))
    except (IndexError, struct.error, StopIteration, MemoryError, OverflowError):
        return None
    return bytes(changed)


def documents(data: bytes, seed: int) -> bytes | None:
    """One place of the document replaced, removed or given twice; None where it is no JSON object any more."""
    try:
        return broken_documents.one_broken(json.loads(data), random.Random(seed))
    except (ValueError, IndexError, RecursionError, TypeError):
        return None


MUTATORS = {"elf": elf, "documents": documents}
