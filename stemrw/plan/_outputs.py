"""What a rescue tells the caller besides its result, as rules: errno, and values in out-parameters."""

from __future__ import annotations

import re
from typing import cast

from stemrw.documents.rules import SetErrno, SetOut, Size
from stemrw.elf.constants import DT_NEEDED
from stemrw.errors import LocalizationError, UsageError
from stemrw.image import Image
from stemrw.plan._errno import ERRNO

_LONGEST = 80
_OUT = re.compile(
    r"(?P<argument>[0-5])(?P<offset>[+-](0x[0-9a-f]+|0|[1-9]\d*))?:(?P<size>[1248])=(?P<value>-?(0x[0-9a-f]+|0|[1-9]\d*))",
    re.I,
)


def errno_rule(value: int, image: Image, why: str = "") -> SetErrno:
    """The rule by which a rescue sets errno to `value`.

    Raises LocalizationError: a static program whose `__errno_location` has no name any more.
    """
    if not image.is_program or image.elf.dynamic.get(DT_NEEDED):
        return SetErrno(value=value, why=why)
    found = image.functions_named("__errno_location")
    if not found:
        raise LocalizationError(
            "where errno lies is not known: this program is static, and __errno_location has no name in it",
            file=image.path,
            hint="leave errno as it is, or harden the program before it is stripped",
        )
    return SetErrno(value=value, address=found[0].entry, why=why)


def asked_errno(text: str, image: Image) -> SetErrno:
    """`--errno`: a name (ENOENT) or a number.  Raises UsageError: neither; and what `errno_rule` does."""
    number = ERRNO.get(text.upper())
    if number is None:
        try:
            number = int(text, 0)
        except ValueError:
            raise UsageError(f"--errno {text!r} is no error number", hint="such as ENOENT, or 2") from None
    if not 0 <= number < 1 << 31:
        raise UsageError(f"--errno {text} is no error number", hint="such as ENOENT, or 2")
    return errno_rule(number, image, f"--errno {text}")


def asked_out(text: str) -> SetOut:
    """`--out ARG[+OFFSET]:SIZE=VALUE`.  Raises UsageError: not of this form, or the value does not fit."""
    match = _OUT.fullmatch(text.replace(" ", ""))
    if match is None or len(text) > _LONGEST:
        raise UsageError(
            f"--out {text!r} cannot be read",
            hint="ARG[+OFFSET]:SIZE=VALUE, such as 2:8=0: 8 bytes of zero where the third argument points to",
        )
    size, value = int(match["size"]), int(match["value"], 0)
    if not -(1 << (8 * size - 1)) <= value < 1 << (8 * size):
        raise UsageError(f"--out {text}: {value} does not fit in {size} bytes")
    offset = int(match["offset"] or "0", 0)
    if not -(1 << 31) <= offset < 1 << 31:
        raise UsageError(f"--out {text}: the offset is too large")
    return SetOut(
        argument=int(match["argument"]), offset=offset, size=cast(Size, size), value=value, why=f"--out {text}"
    )
