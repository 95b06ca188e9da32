"""Reading a document from a file that anybody may have written: bounded time and memory, errors in one sentence."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stemrw.errors import DocumentError
from stemrw.text import printable

MAX_BYTES = 16 << 20
"""A document larger than this is none: reading stops before memory is spent on it."""
MAX_VALUES = 1 << 19
"""Values in one document.  Each wrong one becomes an object that says so, so that few bytes could take much memory."""
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN = 600
"""Characters of a complaint."""


def read_json(path: Path, what: str, *, hint: str | None = None) -> Any:
    """Decode a file that should hold a document; `what` names it in errors, `hint` says where one comes from.

    Keys that occur twice in an object are refused, for readers differ in which of them counts; so are NaN, infinity and
    text that is no Unicode.
    Raises DocumentError: it cannot be read, is too large, or is not JSON.
    """
    try:
        text = _content(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DocumentError(f"cannot read the {what}: {reason}", file=path, hint=hint) from None
    if len(text) > MAX_BYTES:
        raise DocumentError(f"larger than {MAX_BYTES >> 20} MiB: this is no {what}", file=path, hint=hint)
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise DocumentError(f"more than {MAX_VALUES:,} values: this is no {what}", file=path, hint=hint)
    try:
        decoded = text.decode(json.detect_encoding(text)).removeprefix("\ufeff")  # strictly: `json` is not strict
        found = json.loads(decoded, object_pairs_hook=_object, parse_constant=_constant)
        if _HALF.search(decoded):  # a pair of escapes, or half of one
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON: {printable(str(error)[:_SHOWN])}", file=path, hint=hint) from None


def complaint(error: ValidationError) -> str:
    """The first of pydantic's complaints as a sentence, and how many more there are."""
    details = error.errors(include_url=False, include_context=False)
    first = details[0]
    where = printable(".".join(str(part)[:100] for part in first["loc"])[:200])
    if first["type"] == "missing":
        text = f"field `{where}` is missing"
    elif first["type"] == "extra_forbidden":
        text = f"field `{where}` is not known"
    else:
        said = first["msg"].removeprefix("Value error, ")
        text = f"field `{where}` is {shown(first['input'])}: {said[:1].lower()}{said[1:]}"
    more = len(details) - 1
    return printable(text[:_SHOWN]) + (f"; and {more} more problem{'s' if more > 1 else ''}" if more else "")


def shown(value: Any) -> str:
    """A value of a document in an error: short, and safe for a terminal."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"  # Python refuses to write out the largest
    if isinstance(value, str):
        return printable(repr(value[:100])) + ("…" if len(value) > 100 else "")
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return printable(repr(value)[:100])


def _content(path: Path) -> bytes:
    """At most a little more than `MAX_BYTES`.  A pipe may be given, but is not waited for if nobody writes to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        os.set_blocking(descriptor, True)
        return file.read(MAX_BYTES + 1)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice in one object")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
