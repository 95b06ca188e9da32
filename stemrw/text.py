"""Text from files, reports and programs, made fit for people.  Light: imported before anything else is."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text from a report or program, made safe for a terminal: whatever does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
