"""Tables: nothing is cut off where the terminal is narrow, columns stand under each other in a pipe."""

from __future__ import annotations

import io
import re
import sys

import pytest

from stemrw.cli._tables import Table, show

TABLE = Table(
    ("address", "what", "function"),
    [("0x123456789abc", "a sentence that is much longer than the column", "f" * 30), ("0x1", "日本", "g")],
    wrap=("what",),
)


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, output: io.StringIO, width: int) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", output)
    show([TABLE])
    return re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())


@pytest.mark.parametrize("width", [20, 40, 64, 70, 80, 200])
def test_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    printed = shown(monkeypatch, Terminal(), width)
    for row in TABLE.rows:
        assert row[0] in printed and row[2] in printed
        assert set(row[1].split()) <= set(printed.split())


def test_what_fits_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown(monkeypatch, Terminal(), 70)
    assert max(map(len, printed.splitlines())) <= 70
    assert len(printed.splitlines()) > 3


def test_columns_are_aligned_by_the_cells_that_characters_take(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = (
        line.index(name)
        for line, name in zip(shown(monkeypatch, io.StringIO(), 80).splitlines()[1:], ("fff", "g"), strict=True)
    )
    assert wide == narrow + len("日本")
