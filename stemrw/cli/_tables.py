"""Lines and tables on standard output: by rich on a terminal, plain in a pipe.

Plain means: no colour, nothing that depends on a width, columns aligned by spaces, one line per row.  Whatever is shown
goes through `printable`, so that strings of files cannot steer the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from stemrw.text import printable

_NARROW = 12
"""Cells to which a column can be folded."""


@dataclass(frozen=True)
class Line:
    """A line of text, in a rich style."""

    text: str = ""
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under column names; `styles` has a rich style for each row, or is empty. Numbers in `right` columns.

    On a terminal that is too narrow the columns named in `wrap` are folded, the last one where none is named. Where all
    names are empty they are not shown.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str] = ()
    right: Sequence[str] = ()
    wrap: Sequence[str] = ()


def heading(text: str) -> Iterator[Line]:
    """An empty line and a title."""
    yield Line()
    yield Line(text, "bold")


def show(parts: Iterable[Line | Table]) -> None:
    """Print on standard output."""
    console = Console(file=sys.stdout, highlight=False)
    with _reader_may_leave():
        for part in parts:
            if console.is_terminal and _fits(part, console.width):
                console.print(_rich(part), markup=False)
            elif isinstance(part, Line):
                print(_clean(part.text))
            else:
                print("\n".join(_plain(part)))


def show_text(text: str) -> None:
    """Print a document on standard output, as it is."""
    with _reader_may_leave():
        print(text, end="")


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """The exit status stays the command's answer, also where `head` has read enough of what it prints."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error that something goes on, on a terminal and as long as it lasts; gives what tells more."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _what: None
        return
    with console.status(Text(_clean(what))) as status:
        yield lambda more: status.update(Text(_clean(more)))


def _fits(part: Line | Table, width: int) -> bool:
    """Whether nothing would be cut off; else the terminal folds the plain lines."""
    if isinstance(part, Line):
        return True
    folded = part.wrap or part.columns[-1:]
    widths = zip(part.columns, _widths(part), strict=True)
    return sum(min(size, _NARROW) if name in folded else size for name, size in widths) + 2 * len(part.columns) <= width


def _clean(text: str) -> str:
    return printable(text)


def _rich(part: Line | Table) -> Text | RichTable:
    if isinstance(part, Line):
        return Text(_clean(part.text), part.style)
    named = any(part.columns)
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=named)
    for i, name in enumerate(part.columns):
        folds = name in part.wrap if part.wrap else i == len(part.columns) - 1
        justify: Literal["right", "left"] = "right" if name in part.right else "left"
        table.add_column(Text(name), justify=justify, no_wrap=not folds, overflow="fold")
    for i, row in enumerate(part.rows):
        table.add_row(*(Text(_clean(cell)) for cell in row), style=part.styles[i] if part.styles else None)
    return table


def _plain(table: Table) -> Iterator[str]:
    widths = _widths(table)
    for row in _shown(table):
        cells = []
        for cell, width, name in zip(row, widths, table.columns, strict=True):
            fill = " " * (width - cell_len(cell))
            cells.append(fill + cell if name in table.right else cell + fill)
        yield "  ".join(cells).rstrip()


def _shown(table: Table) -> list[Sequence[str]]:
    """The rows, fit to be printed, under the column names."""
    return [*([table.columns] if any(table.columns) else []), *(tuple(map(_clean, row)) for row in table.rows)]


def _widths(table: Table) -> list[int]:
    """Of each column, in cells of a terminal: some characters take two."""
    rows = _shown(table)
    return [max((cell_len(row[i]) for row in rows), default=0) for i in range(len(table.columns))]
