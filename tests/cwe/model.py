"""What a generated program is made of: a flaw, the way its data takes, what its callers expect, how it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["c", "cpp"]


@dataclass(frozen=True)
class Flaw:
    """A weakness, as two pieces of C: a source that sets `data` from a record, a sink that uses it and sets `value`.

    `data` is the C type of what goes from one to the other. On the record `bad`, `source` sets what breaks the sink;
    `good_source` never does. `fine` is the condition that the sink's author forgot. `declarations` stand before all
    functions. `cpp`: the pieces are C++. `limit` is what `main` does first: setting a resource limit.
    """

    cwe: int
    name: str
    data: str
    source: str
    good_source: str
    sink: str
    fine: str
    bad: str
    good: tuple[str, str] = ("alpha:3", "beta:5")
    declarations: str = ""
    cpp: bool = False
    limit: str = ""

    @property
    def records(self) -> tuple[str, ...]:
        """What a program is given: good records around two bad ones, and one that is refused before the flaw."""
        first, second = self.good
        return (first, self.bad, second, "", self.bad, first)


@dataclass(frozen=True)
class Flow:
    """The way from source to sink.

    Within one function: `around` holds `@CODE@`, which is the source, then the sink; `@PART@` tells which. Where `call`
    is given the sink is a function `@SINK@` of `parameter`, and its body begins with `unpack`; the worker executes
    `prepare` and then calls. `wrappers` are functions between the two. Where `fetch` is set the source is a function of
    its own: it returns the data or stores it through a pointer. `refuse`: how the sink says no, if not by its result.
    """

    name: str
    around: str = "@CODE@"
    call: str = ""
    parameter: str = "data_t data"
    prepare: str = ""
    unpack: str = ""
    declarations: str = ""
    wrappers: str = ""
    fetch: Literal["", "returns", "stores"] = ""
    refuse: str = ""
    headers: tuple[str, ...] = ()
    cpp: bool = False


@dataclass(frozen=True)
class Contract:
    """What a worker returns, and what its caller makes of it.

    `refused` and `accepted` are the statements by which worker and sink return; `take` is the caller, with `@WORK@` for
    the call; it sets `said`. `hand_on` is what a worker does with the result of `@CALL@`.
    """

    name: str
    result: str
    refused: str
    accepted: str
    take: str
    hand_on: str = "result_t got = @CALL@; leave(); return got;"
    parameters: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class Flavour:
    """How a program is built: flags of gcc and g++, and whether it is stripped afterwards."""

    name: str
    flags: tuple[str, ...]
    stripped: bool = False


@dataclass(frozen=True)
class Program:
    """One program to generate."""

    flaw: Flaw
    flow: Flow
    contract: Contract
    flavour: Flavour

    @property
    def language(self) -> Language:
        """What it is written in."""
        return "cpp" if self.flaw.cpp or self.flow.cpp else "c"

    @property
    def name(self) -> str:
        """Unique, and good as a file name."""
        parts = (self.flaw.name, self.flow.name, self.contract.name, self.flavour.name)
        return f"CWE{self.flaw.cwe}-" + "--".join(parts)
