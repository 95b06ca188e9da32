"""Every way to break a JSON document at every one of its places, each with a name."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\u2066\r\n\x00\x9b31m\ud800"
"""Sets a terminal's title, clears it, turns text around, goes to the start of the line; the end is half a character."""

Path = tuple[str | int, ...]


class Literal(str):
    """Text that stands in the document as it is, not as a JSON string."""


REPLACEMENTS: dict[str, Any] = {
    "null": None,
    "true": True,
    "a number": 7,
    "a negative number": -1,
    "a number of 65 bits": 1 << 64,
    "a number of 4000 digits": 10**4000,
    "a number of 5000 digits": Literal("9" * 5000),
    "a fraction": 1.5,
    "a huge exponent": Literal("1e999"),
    "NaN": Literal("NaN"),
    "infinity": Literal("-Infinity"),
    "an empty string": "",
    "a word": "x",
    "a hostile string": HOSTILE,
    "a long string": "A" * 100_000,
    "a hexadecimal number of 100,000 digits": "0x" + "f" * 100_000,
    "a decimal number of 100,000 digits": "9" * 100_000,
    "a negative hexadecimal number": "-0x1",
    "an empty list": [],
    "a list of lists": [[]],
    "a long list": [0] * 3000,
    "an empty object": {},
    "an object with a hostile key": {HOSTILE: HOSTILE},
    "deep nesting": Literal("[" * 5000 + "]" * 5000),
}


def places(document: Any, at: Path = (), *, every: bool = False) -> Iterator[Path]:
    """Every place in a document; of lists the first element only, or every one."""
    if at:
        yield at
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = list(enumerate(document))[: None if every else 1]
    for step, value in inner:
        yield from places(value, (*at, step), every=every)


def broken(document: Any) -> Iterator[tuple[str, bytes]]:
    """(name, text) of every document with one place absent, given twice, or replaced."""
    for at in places(document):
        where = ".".join(map(str, at))
        if isinstance(at[-1], str):
            yield f"{where} is absent", _text(_changed(document, at, _ABSENT))
            yield f"{where} is there twice", _twice(document, at)
        yield f"something unknown beside {where}", _text(_changed(document, (*at[:-1], HOSTILE), 0))
        for name, value in REPLACEMENTS.items():
            yield f"{where} is {name}", _text(_changed(document, at, value))


def one_broken(document: Any, chance: random.Random) -> bytes:
    """One of what `broken` gives, and of what happens to later elements of lists."""
    at = chance.choice(list(places(document, every=True)))
    what = chance.randrange(len(REPLACEMENTS) + 3)
    if what < len(REPLACEMENTS):
        return _text(_changed(document, at, list(REPLACEMENTS.values())[what]))
    if what == len(REPLACEMENTS) and isinstance(at[-1], str):
        return _twice(document, at)
    return _text(_changed(document, at, _ABSENT))


def broken_texts(text: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, text) of what is wrong as a whole."""
    yield "empty", b""
    yield "nothing but a space", b" "
    yield "cut off in the middle", text[: len(text) // 2]
    yield "cut off at the last byte", text.rstrip()[:-1]
    yield "twice", text + text
    yield "with bytes behind it", text + b"\x00\x1b[2J"
    yield "invalid UTF-8", text.replace(b'"', b'"\xff\xfe\x80', 3)
    yield "Latin-1", text.replace(b'"', b'"\xe9', 3)
    yield "a byte order mark of UTF-16 before ASCII", b"\xff\xfe" + text
    yield "no JSON but a script", b"#!/bin/sh\n\x1b[2Jecho\n"
    yield "an ELF file", b"\x7fELF" + bytes(1000)
    for name, value in REPLACEMENTS.items():
        yield name, _text(value)
    yield "a hundred thousand brackets", b"[" * 100_000
    yield "a hundred thousand objects in each other", b'{"a":' * 100_000
    yield "a million empty objects", b"[" + b"{}," * 1_000_000 + b"{}]"
    yield "a million keys", b"{" + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}"
    yield "half a million keys", b"{" + b",".join(b'"%d":0' % i for i in range(500_000)) + b"}"
    yield "the same key half a million times", b"{" + b",".join([b'"a":0'] * 500_000) + b"}"
    yield "a string of 16 MiB", b'"' + b"x" * (16 << 20) + b'"'
    yield "a string of 15 MiB", b'"' + b"x" * (15 << 20) + b'"'


_ABSENT = object()


def _changed(document: Any, at: Path, value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for step in at[:-1]:
        inner = inner[step]
    if value is _ABSENT:
        del inner[at[-1]]
    elif isinstance(inner, list) and isinstance(at[-1], str):
        inner.append({at[-1]: value})
    else:
        inner[at[-1]] = value
    return changed


def _twice(document: Any, at: Path) -> bytes:
    """The same key again, with null."""
    marked = _changed(document, (*at[:-1], "the mark"), 0)
    return _text(marked).replace(b'"the mark": 0', json.dumps(at[-1]).encode() + b": null")


def _text(document: Any) -> bytes:
    """As JSON, with literals as they are."""
    literals: list[str] = []

    def marked(value: Any) -> Any:
        if isinstance(value, Literal):
            literals.append(value)
            return f"literal {len(literals) - 1}"
        if isinstance(value, dict):
            return {key: marked(inner) for key, inner in value.items()}
        return [marked(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(marked(document))
    for number, literal in enumerate(literals):
        text = text.replace(f'"literal {number}"', literal)
    return text.encode("utf-8", "surrogatepass")
