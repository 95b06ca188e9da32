"""A library of stubs in place of what the file imports.

Most stubs write down who was called with what, and answer with the next of the answers that the input holds; so the
sequence of calls that leave the file is part of the memory that is compared.  A few are small models, without which
little would run: memory, strings, the allocator, thread-local storage.  Functions that never return end the run by a
system call.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from stemrw.image import NEVER_RETURN

CODE = 0x7D00_0000_0000
"""Address of the stubs."""
CALLS, CALLS_BYTES = 0x7D10_0000_0000, 0x30000
"""Address and size of what they write: position, end of the heap, records of calls, the heap."""
RECORDS, RECORD_BYTES, ANSWER_AT = CALLS + 64, 64, 40
HEAP = CALLS + 0x10000
RECORD_COUNT = (HEAP - RECORDS) // RECORD_BYTES

_STUB_BYTES = 64
_RECORD = bytes.fromhex("4d8b13 49c702") + b"%s" + bytes.fromhex("49897a08 49897210 49895218 49894a20")
_RET, _EXIT = b"\xc3", bytes.fromhex("b8e7000000 0f05 0f0b")
_R11 = b"\x49\xbb"
_ALLOCATE = (
    _R11 + struct.pack("<Q", CALLS + 8) + bytes.fromhex("498b03 488d4c381f 4883e1f0 49890b") + _RET
)  # rax = end; rcx = (rax + rdi + 31) & -16; end = rcx
_COPY = bytes.fromhex("4889f8 4889d1 f3a4") + _RET
_FILL = bytes.fromhex("4989f9 89f0 4889d1 f3aa 4c89c8") + _RET
_LENGTH = bytes.fromhex("31c0 803c0700 7405 48ffc0 ebf5") + _RET
_MODELS = {
    "memcpy": _COPY, "memmove": _COPY, "__memcpy_chk": _COPY, "__memmove_chk": _COPY,
    "memset": _FILL, "__memset_chk": _FILL,
    "strlen": _LENGTH, "__strlen_chk": _LENGTH,
    "malloc": _ALLOCATE, "_Znwm": _ALLOCATE, "_Znam": _ALLOCATE,
    "calloc": bytes.fromhex("480faffe") + _ALLOCATE,
    "realloc": bytes.fromhex("4889f7") + _ALLOCATE,
}  # fmt: skip
TLS_GET_ADDRESS, TLS_DESCRIPTOR = "__tls_get_addr", "*tlsdesc"


class Imports:
    """Stub addresses by name; `code` is what lies at CODE."""

    def __init__(self, names: Sequence[str], tls_size: int) -> None:
        self.names = tuple(dict.fromkeys([*names, TLS_DESCRIPTOR]))
        self.address = {name: CODE + _STUB_BYTES * i for i, name in enumerate(self.names)}
        self.code = b"".join(_stub(name, i, tls_size).ljust(_STUB_BYTES, b"\xcc") for i, name in enumerate(self.names))


def _stub(name: str, index: int, tls_size: int) -> bytes:
    if name == TLS_DESCRIPTOR:
        return bytes.fromhex("488b4008") + _RET
    if name == TLS_GET_ADDRESS:  # fs:0 + offset in the block - size of the block
        return bytes.fromhex("64488b042500000000 48034708 482d") + struct.pack("<i", tls_size) + _RET
    if name in _MODELS:
        return _MODELS[name]
    recorded = _R11 + struct.pack("<Q", CALLS) + _RECORD % struct.pack("<I", index)
    answered = bytes.fromhex("498b4228 f2410f104230 4983c240 4d8913")  # rax, xmm0; next record
    return recorded + answered + (_EXIT if name in NEVER_RETURN else _RET)


def calls_area(answers: Sequence[int]) -> bytes:
    """The content of CALLS before a run; `answers` are what the stubs return, call by call, again from the first."""
    area = bytearray(CALLS_BYTES)
    struct.pack_into("<QQ", area, 0, RECORDS, HEAP)
    for i in range(RECORD_COUNT):
        answer = answers[i % len(answers)]
        number = float(answer % 1000)
        struct.pack_into("<Qd", area, RECORDS - CALLS + RECORD_BYTES * i + ANSWER_AT, answer, number)
    return bytes(area)
