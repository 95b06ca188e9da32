"""Which fault a signal is, where a source tells its name and perhaps the address."""

from __future__ import annotations

from stemrw.documents.fault_report import FaultClass
from stemrw.sense.classify import NULL_PAGES

_MAX_INSTRUCTION = 15

SIGNALS: dict[str, FaultClass] = {
    "SEGV": "wild-dereference",
    "BUS": "bus",
    "FPE": "divide",
    "ILL": "illegal-instruction",
    "TRAP": "trap",
    "ABRT": "abort",
    "SYS": "bad-syscall",
}
"""By name without "SIG".  An invalid access is wild unless its address says more."""


def of_segmentation(address: int | None, pc: int | None) -> FaultClass:
    """The class of a SIGSEGV at an address, as far as two numbers decide it."""
    if address is not None and pc is not None and (pc < NULL_PAGES or pc <= address < pc + _MAX_INSTRUCTION):
        return "wild-jump"
    if address is not None and address < NULL_PAGES:
        return "null-dereference"
    return "wild-dereference"
