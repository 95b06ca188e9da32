"""What the samples are: which source, which fault, by which signal it kills, what a tool should call it.

Used by `build.py`, by the tests and by whoever wants to try one by hand; standard library only.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
"""Where the sources are."""

BAD = "!bad"
"""The record on which every sample faults."""

MODES = ("pie", "nopie", "static", "static-pie", "shared")
"""Link modes; `shared`: process() is in a shared object beside the program."""

DRIVERS = ("main", "threads", "server")
"""Main programs (see drivers/): plain, every record in a new thread, records taken by a forked worker."""


@dataclass(frozen=True)
class Sample:
    """One sample program.

    `signal` is the one that kills it; `classes` are the fault classes (any of them is right) that a report and a
    recovery may name; `region` is the function whose emulation undoes all the work for the bad record; `flags` are
    extra compiler flags; `drivers` the main programs it can be built with; `glibc`: it needs the GNU C library.
    """

    name: str
    signal: signal.Signals
    classes: frozenset[str]
    region: str = "process"
    flags: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ("main",)
    glibc: bool = False

    @property
    def path(self) -> Path:
        """The source file."""
        for suffix in (".c", ".cpp"):
            path = FOLDER / f"{self.name}{suffix}"
            if path.exists():
                return path
        raise FileNotFoundError(self.name)

    @property
    def is_cpp(self) -> bool:
        """Whether it is C++."""
        return self.path.suffix == ".cpp"


def _sample(
    name: str,
    number: signal.Signals,
    *classes: str,
    region: str = "process",
    flags: tuple[str, ...] = (),
    drivers: tuple[str, ...] = ("main",),
    glibc: bool = False,
) -> Sample:
    return Sample(name, number, frozenset(classes), region=region, flags=flags, drivers=drivers, glibc=glibc)


_SEGV, _BUS, _FPE, _ILL = signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL
_ABRT, _TRAP, _SYS = signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS
_UNPROTECTED = ("-fno-stack-protector", "-U_FORTIFY_SOURCE")

SAMPLES = (
    # One per fault class.
    _sample("null-read", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("null-write", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("null-call", _SEGV, "null-dereference", "wild-jump"),
    _sample("wild-read", _SEGV, "wild-dereference"),
    _sample("wild-write", _SEGV, "wild-dereference", drivers=DRIVERS),
    _sample("non-canonical-read", _SEGV, "wild-dereference"),
    _sample("non-canonical-write", _SEGV, "wild-dereference"),
    _sample("read-only-write", _SEGV, "wild-dereference"),
    _sample("misaligned-vector", _SEGV, "bus", "wild-dereference"),
    _sample("bus-file", _BUS, "bus"),
    _sample("divide-by-zero", _FPE, "divide", drivers=DRIVERS),
    _sample("divide-overflow", _FPE, "divide"),
    _sample("illegal-instruction", _ILL, "illegal-instruction"),
    _sample("breakpoint", _TRAP, "trap"),
    _sample("stack-exhaustion", _SEGV, "stack-exhaustion", region="descend", drivers=DRIVERS),
    _sample("abort", _ABRT, "abort", drivers=DRIVERS),
    _sample("assert", _ABRT, "abort"),
    _sample("stack-protector", _ABRT, "abort", "stack-smash", flags=("-fstack-protector-all",), glibc=True),
    _sample("fortify", _ABRT, "abort", "out-of-bounds", flags=("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"), glibc=True),
    _sample("double-free", _ABRT, "abort", "double-free", glibc=True),
    _sample("terminate", _ABRT, "abort"),
    _sample("uncaught", _ABRT, "abort"),
    _sample("stack-smash", _SEGV, "return-address", "wild-jump", "wild-dereference", flags=_UNPROTECTED),
    _sample("stack-smash-low", _SEGV, "return-address", "wild-jump", "wild-dereference", flags=_UNPROTECTED),
    _sample("wild-jump", _SEGV, "wild-jump", "wild-dereference"),
    _sample("jump-nowhere", _SEGV, "wild-jump", "wild-dereference"),
    _sample("virtual-null", _SEGV, "null-dereference"),
    _sample("trapped-syscall", _SYS, "bad-syscall"),
    # How the function is made and what it returns.
    _sample("cold-part", _SEGV, "null-dereference"),
    _sample("pointer-result", _SEGV, "null-dereference", region="look_up"),
    _sample("bool-result", _SEGV, "null-dereference", region="take"),
    _sample("void-result", _SEGV, "null-dereference", region="take"),
    _sample("double-result", _SEGV, "null-dereference", region="weigh"),
    # What a region may have done before the fault.
    _sample("kernel-buffers", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("big-region", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("allocator", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("mutex", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("long-jump", _SEGV, "null-dereference"),
    _sample("float-control", _SEGV, "null-dereference"),
    _sample("vector", _SEGV, "null-dereference", drivers=("main", "threads")),
    _sample("thread-local", _SEGV, "null-dereference", drivers=("main", "threads")),
    _sample("atomic", _SEGV, "null-dereference", drivers=("main", "threads")),
    _sample("mappings", _SEGV, "null-dereference"),
    _sample("descriptors", _SEGV, "null-dereference"),
    _sample("children", _SEGV, "null-dereference"),
    _sample("timer", _SEGV, "null-dereference"),
    _sample("own-handler", _SEGV, "null-dereference"),
    _sample("exceptions", _SEGV, "null-dereference", drivers=DRIVERS),
    _sample("containers", _SEGV, "null-dereference", drivers=DRIVERS),
)
"""All samples."""

BY_NAME = {sample.name: sample for sample in SAMPLES}
"""The same, by name."""
