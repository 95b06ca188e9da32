"""Text from files, reports and programs, made fit for people.  Light: imported before anything else is."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text from a report or program, made safe for a terminal: whatever does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def unicode(text: str) -> str:
    """A name from the system as text that every encoding of Unicode takes: names are bytes; other bytes are escaped."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def counted(number: int, one: str, more: str | None = None) -> str:
    """A number and what it counts: "1 region", "1,200 regions"; `more` where the plural is not formed by an s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
