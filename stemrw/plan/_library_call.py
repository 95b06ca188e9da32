"""A fault in a library that the program's outermost loop calls: with the function of that call the loop would be lost.

So the call alone is left out. It becomes a slice, as if the library had returned an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stemrw.documents.localization import Localization
from stemrw.documents.rules import AnyRule, SetOut
from stemrw.errors import LocalizationError
from stemrw.image import Function
from stemrw.plan._calls import Site, in_loop
from stemrw.plan._consequence import End
from stemrw.plan._frames import Candidate
from stemrw.plan._handed import reads_what_it_sets
from stemrw.plan._mine import Result, mine
from stemrw.plan._reading import Reading
from stemrw.plan._slice import call_rules

_PART_OF_CODE = re.compile(
    r"(^|/)(ld-linux|ld-musl|libc|libm|libmvec|libdl|librt|libpthread|libgcc_s|libatomic|libgomp|libstdc\+\+|libc\+\+|"
    r"lib[aultm]+san|vgpreload)[-._]"
)
"""The runtimes of C and C++, and what stands in for them: their functions are steps of the one that calls them."""

_OVER_ALL = frozenset(("hang", "memory-exhaustion"))
"""Faults of all that has run since a region was entered, rather than of the call that runs just then."""


def library_call(localization: Localization, reading: Reading, candidates: Sequence[Candidate]) -> tuple[AnyRule, ...]:
    """The rules by which the innermost call of the backtrace that leaves this file is skipped when it faults.

    None where it is not from the outermost loop, or what is behind it would not take an error for one.
    """
    innermost, library = candidates[0], localization.library
    if library is None or _PART_OF_CODE.search(library) or localization.fault_class in _OVER_ALL:
        return ()
    chain = _from_main(candidates, reading)
    if not chain or not in_loop(reading, chain[0]) or any(in_loop(reading, site) for site in chain[1:]):
        return ()
    call = next(
        (i for i in reading.image.whole_body(innermost.function) if i.is_call and i.end == chain[0].behind), None
    )
    if call is None:
        return ()
    name = reading.image.called_name(call)
    callee = Function(call.target or call.address, 0, name, "called")
    result = mine(reading, callee, chain)
    if result.kind == "double" or not _is_taken(result):
        return ()
    if result.kind == "void" and reads_what_it_sets(reading, innermost.function, call):
        return ()  # nothing keeps the code from that
    said = (
        f"the call of {name or 'another file'} lies in the outermost loop of the backtrace, which goes on if the call "
        f"{'just ends' if result.kind == 'void' else f'returns {result.value}'}: {'; '.join(result.evidence)}"
    )
    try:
        return call_rules(call.address, call.end, innermost.function, reading.image, result.value, said)
    except LocalizationError:
        return ()  # it returns more than one value, or the loop does not move on


def _from_main(candidates: Sequence[Candidate], reading: Reading) -> tuple[Site, ...]:
    """The calls from the one that leaves this file outwards to that in `main`; empty: not all are known."""
    innermost, main = candidates[0], reading.image.main
    if innermost.inside is None or main is None:
        return ()
    sites = (Site(innermost.inside, innermost.function), *innermost.sites)
    return sites if sites[-1].caller.entry == main.entry else ()


def _is_taken(result: Result) -> bool:
    """Whether the code behind the call expects no result, or looks at it and goes on with the loop."""
    if result.hazard is not None or result.counted is not None or any(isinstance(r, SetOut) for r in result.rules):
        return False
    return result.kind == "void" or (result.handled and result.outcome.share(End.LOOPED) > 0)
