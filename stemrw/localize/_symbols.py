"""Frames of which a report tells the function's name, but no address that holds in this file.

So it is where another build was reported (one with a sanitizer, or with debug information), or a text without
addresses.
"""

from __future__ import annotations

from collections.abc import Sequence

from stemrw.documents.fault_report import Frame
from stemrw.documents.localization import LocalizedFrame
from stemrw.image import Function, Image


def frames_by_symbol(frames: Sequence[Frame], module: str, image: Image) -> list[LocalizedFrame]:
    """The frames of a module by the names of their functions, as far as this file has each name exactly once.

    A frame's address is the return address of the call of the next inner frame, if there is one such call only;
    otherwise it is its function's entry, which is no return address.
    """
    found: list[LocalizedFrame] = []
    for index, frame in enumerate(frames):
        function = _function(frame, module, image)
        if function is None:
            continue
        inner = found[-1] if found and found[-1].index == index - 1 else None
        call = _only_call(inner.function, function, image) if inner is not None else None
        how = f"found by the name {frame.symbol} in the report"
        also = "its call of the next inner frame is the only one" if call is not None else None
        found.append(
            LocalizedFrame(
                index=index,
                address=call or function.entry,
                function=function.entry,
                size=function.size,
                symbol=function.symbol,
                evidence=(how, also) if also else (how,),
            )
        )
    return found


def _function(frame: Frame, module: str, image: Image) -> Function | None:
    if frame.module != module or not frame.symbol:
        return None
    entries = {function.entry: function for function in image.functions_named(frame.symbol)}
    if len(entries) != 1:
        return None
    owner = image.owner(next(iter(entries)))
    return owner.function if owner is not None else None


def _only_call(callee: int | None, caller: Function, image: Image) -> int | None:
    """The return address of the only direct call of one function in another."""
    function = image.function_at(callee) if callee is not None else None
    if function is None or function.entry == caller.entry:
        return None
    sites = [site.end for site, where in image.callers(function) if site.is_call and where.entry == caller.entry]
    return sites[0] if len(sites) == 1 else None
