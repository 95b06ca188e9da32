"""Mutations that know the format: one number of an ELF file, one value of a document.  For targets.py."""

from __future__ import annotations

import json
import random
import re
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


def imports(data: bytes, seed: int) -> bytes | None:
    """Some lines of a text moved, repeated or left out, some numbers made absurd; None for a core file."""
    if data.startswith(b"\x7fELF"):
        return None
    chance = random.Random(seed)
    lines = data.splitlines(keepends=True) or [b""]
    for _ in range(chance.randint(1, 4)):
        at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        what = chance.randrange(4)
        if what == 0:
            lines[at], lines[other] = lines[other], lines[at]
        elif what == 1:
            lines.insert(at, lines[other])
        elif what == 2 and len(lines) > 1:
            del lines[at]
        else:
            number = chance.choice((b"0", b"-1", b"ffffffffffffffff", b"9" * 30, b"0x10000000000000000", b""))
            lines[at] = re.sub(rb"(?:0x)?[0-9a-f]*\d[0-9a-f]*", number, lines[at], count=chance.randint(0, 2))
    return b"".join(lines)


MUTATORS = {"elf": elf, "documents": documents, "imports": imports}
