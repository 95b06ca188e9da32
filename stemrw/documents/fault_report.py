"""The fault report: where, how and in which surroundings a program died (or span).

Written by a sensor with everything it saw, or by a human with three fields:

    {"binary": "/usr/bin/dash", "address": "0x4d6e", "class": "divide"}
    {"binary": "/usr/bin/dash", "function": "arith_apply", "class": "divide"}      (a symbol, or an entry address)

`load_report` reads both.  Every address is link-time, within its module.  See docs/fault-report.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, ValidationError

from stemrw.documents.base import Document
from stemrw.documents.base import Word as Word
from stemrw.documents.predicate import PredicateError, parse
from stemrw.documents.read import complaint, read_json, shown
from stemrw.errors import DocumentError
from stemrw.text import printable as printable

SCHEMA = "stemrw.fault-report"
VERSION = 1
_ORIGIN = "write one with `stemrw run`"

FaultClass = Literal[
    "null-dereference",
    "wild-dereference",
    "bus",
    "divide",
    "illegal-instruction",
    "trap",
    "stack-exhaustion",
    "abort",
    "return-address",
    "bad-syscall",
    "wild-jump",
    "hang",
    "stack-smash",
    "control-flow",
    "heap-overflow",
    "use-after-free",
    "double-free",
    "invalid-free",
    "out-of-bounds",
    "memory-exhaustion",
    "predicate",
]
FAULT_CLASSES: tuple[FaultClass, ...] = get_args(FaultClass)

Access = Literal["read", "write", "execute"]
Text = Annotated[str, Field(min_length=1)]
HexBytes = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModuleInfo(Document):
    """One ELF file, so that it can be recognised again.  What is not known (hand-written report, file gone) is None."""

    path: Text
    build_id: HexBytes | None = None
    sha256: Sha256 | None = None


class Location(Document):
    """A place in the program.

    `address` is link-time in `module`; where `module` is None (the program counter was in no file) it is the raw value.
    None only in hand-written reports that name a function instead.  `symbol` is the name of the symbol that covers the
    address; `function` is the entry address of its function, from unwind information.
    """

    module: Text | None = None
    address: Word | None = None
    symbol: Text | None = None
    function: Word | None = None


class Frame(Location):
    """One level of the backtrace.

    Where `return_address` is set, `address` is the one *behind* the call: the call itself ends at `address`.
    `certain` is False for a guess: a value found on the stack that points right behind a call instruction.
    """

    return_address: bool = True
    certain: bool = True


class Truncation(Document):
    """The middle of a deep backtrace was left out, after `innermost` frames; there were `total`, if that is known."""

    innermost: int = Field(ge=0)
    total: int | None = Field(default=None, ge=0)


class Instruction(Document):
    """The faulting instruction: its bytes (hexadecimal) and its text (Intel syntax)."""

    model_config = ConfigDict(serialize_by_alias=True)

    code: HexBytes = Field(validation_alias="bytes", serialization_alias="bytes")
    text: str


class Hang(Document):
    """What was observed of a program that did not end."""

    limit: Literal["wall", "cpu"]
    seconds: float = Field(ge=0)
    """The limit that was exceeded."""
    cpu_seconds: float = Field(ge=0)
    """CPU time that the reported thread's process had used."""
    samples: int = Field(ge=1)
    """How often the thread was stopped and unwound; `pc` is from the last sample."""
    spinning: bool
    """The thread used CPU time between samples; False: it waits (in a system call, usually)."""


class Block(Document):
    """What is known of the heap block that was misused."""

    size: int | None = Field(default=None, ge=0)
    """Bytes that were asked for."""
    offset: int | None = None
    """From the block's first byte to the first one accessed: negative below the block."""
    allocated: tuple[Frame, ...] = ()
    """Where it was allocated, innermost first: the first frame may be the allocator's."""
    freed: tuple[Frame, ...] = ()


class FaultReport(Document):
    """One fault.  Hand-written reports have only `program`, `pc` and `fault_class`."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_name: Literal["stemrw.fault-report"] = Field(
        default="stemrw.fault-report", validation_alias="schema", serialization_alias="schema"
    )
    version: Literal[1] = 1
    fault_class: FaultClass = Field(validation_alias="class", serialization_alias="class")
    program: ModuleInfo
    modules: tuple[ModuleInfo, ...] = ()
    """Every module in the backtrace, each once, the module of `pc` first."""

    signal: Text | None = None
    """Name, such as "SIGSEGV"; None for hangs."""
    si_code: int | None = None
    sent_by: int | None = None
    """Process id of the sender, where another process sent the signal: then there was no fault at `pc`."""
    fault_address: Word | None = None
    """The address accessed (computed from the instruction where the kernel does not tell); None where there is none."""
    access: Access | None = None
    access_size: int | None = Field(default=None, ge=1)
    """Bytes that the access was about."""
    block: Block | None = None
    instruction: Instruction | None = None
    registers: dict[str, Word] = Field(default_factory=dict)

    predicate: str | None = None
    """For the class `predicate`: what must hold at `pc` before the instruction executes."""

    pc: Location
    backtrace: tuple[Frame, ...] = ()
    """Innermost first; frame 0 is `pc`."""
    backtrace_truncated: Truncation | None = None
    backtrace_note: str | None = None
    """Why the backtrace ends before the program's outermost function, where it does."""
    hang: Hang | None = None

    command: tuple[str, ...] = ()
    cwd: str | None = None
    stdin: str | None = None
    """Path of standard input, if it was a regular file."""
    exe: str | None = None
    pid: int | None = None
    tid: int | None = None
    sensor: str | None = None
    """Tool and version that wrote the report."""

    def module(self, path: str) -> ModuleInfo | None:
        """What the report knows of the module at `path`, or None."""
        return next((module for module in (*self.modules, self.program) if module.path == path), None)


class _HandWritten(Document):
    """The short form of a report."""

    schema_name: Literal["stemrw.fault-report"] = Field(default="stemrw.fault-report", validation_alias="schema")
    version: Literal[1] = 1
    binary: Text
    function: Annotated[str | int, Field(union_mode="left_to_right")] | None = None
    address: Word | None = None
    fault_class: FaultClass = Field(validation_alias="class")
    predicate: str | None = None
    build_id: HexBytes | None = None
    sha256: Sha256 | None = None

    def location(self) -> Location:
        """`function` is an entry address if it reads as a number, a symbol otherwise."""
        if isinstance(self.function, int):
            return Location(module=self.binary, address=self.address, function=self.function)
        try:
            entry = int(self.function or "", 0)
        except ValueError:
            return Location(module=self.binary, address=self.address, symbol=self.function)
        return Location(module=self.binary, address=self.address, function=entry)

    def report(self) -> FaultReport:
        module = ModuleInfo(path=self.binary, build_id=self.build_id, sha256=self.sha256)
        where = self.location()
        return FaultReport(
            fault_class=self.fault_class, program=module, modules=(module,), pc=where, predicate=self.predicate
        )


def load_report(path: Path) -> FaultReport:
    """Read a fault report in either form.

    Raises DocumentError: unreadable, not JSON, another document, unknown version, missing or wrong fields.
    """
    return parse_report(read_json(path, "fault report", hint=_ORIGIN), path)


def parse_report(data: Any, path: Path | str | None = None) -> FaultReport:
    """A fault report from decoded JSON; `path` is named in errors.  Raises DocumentError."""
    if not isinstance(data, dict):
        raise DocumentError("a fault report is a JSON object", file=path, hint=_ORIGIN)
    schema, version = data.get("schema", SCHEMA), data.get("version", VERSION)
    if schema != SCHEMA:
        raise DocumentError(f"this is a {shown(schema)} document, not a fault report", file=path, hint=_ORIGIN)
    if version != VERSION or isinstance(version, bool):
        hint = f"this stemrw reads version {VERSION}; take the report again, or use the stemrw that wrote it"
        raise DocumentError(f"unknown fault report version {shown(version)}", file=path, hint=hint)
    if "binary" not in data and "program" not in data:
        hint = 'a report written by hand needs {"binary": …, "function" or "address": …, "class": …}'
        raise DocumentError("no program is named", file=path, hint=hint)
    try:
        if "binary" not in data:
            return _with_predicate(FaultReport.model_validate(data), path)
        short = _HandWritten.model_validate(data)
        if short.address is None and short.function is None:
            raise DocumentError("neither `address` nor `function` is given", file=path, hint="one of them says where")
        return _with_predicate(short.report(), path)
    except ValidationError as error:
        what = _unknown_class(data) or complaint(error)
        raise DocumentError(what, file=path, hint="docs/fault-report.md describes every field") from None


def _with_predicate(report: FaultReport, path: Path | str | None) -> FaultReport:
    """The report, if it says what a report of its class has to say about a predicate."""
    if (report.fault_class == "predicate") != (report.predicate is not None):
        hint = 'such as "class": "predicate", "predicate": "rdi < 64"'
        raise DocumentError("the class `predicate` and a predicate belong together", file=path, hint=hint)
    if report.predicate is not None:
        if report.pc.address is None:
            hint = "`address` is that of the instruction before which it must hold"
            raise DocumentError("a predicate needs an address", file=path, hint=hint)
        try:
            parse(report.predicate)
        except PredicateError as error:
            raise DocumentError(str(error), file=path, hint="docs/checks.md describes the language") from None
    return report


def _unknown_class(data: dict[str, Any]) -> str | None:
    if "class" not in data or data["class"] in FAULT_CLASSES:
        return None
    return f"unknown fault class {shown(data['class'])}: one of {', '.join(FAULT_CLASSES)}"
