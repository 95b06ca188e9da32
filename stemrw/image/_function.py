"""A function of a file, and to which function an address belongs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Function:
    """A range of code with one owner: entry and size in bytes, name where known, and what told us of it.

    `fragment` is True for a part that was split off another function (GCC's `.cold`): it has its own unwind entry but
    is only jumped to, so it has no caller and no return address of its own.
    """

    entry: int
    size: int
    symbol: str | None
    source: str
    fragment: bool = False

    @property
    def end(self) -> int:
        return self.entry + self.size

    def __contains__(self, address: int) -> bool:
        return self.entry <= address < self.end

    def __str__(self) -> str:
        return f"{self.symbol} ({self.entry:#x})" if self.symbol else f"the function at {self.entry:#x}"


@dataclass(frozen=True, slots=True)
class Owner:
    """The function an address belongs to, and how that was found, in words for people."""

    function: Function
    evidence: tuple[str, ...]
