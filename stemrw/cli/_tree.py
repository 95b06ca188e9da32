"""A tree of lines on standard output: by rich on a terminal, indented by spaces in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from stemrw.cli._tables import show_text
from stemrw.text import printable


@dataclass
class Node:
    """A line in a rich style, with the lines below it."""

    text: str
    style: str = ""
    below: list[Node] = field(default_factory=list)

    def add(self, text: str, style: str = "") -> Node:
        """Put a line below this one; gives it."""
        node = Node(text, style)
        self.below.append(node)
        return node


def show_tree(root: Node) -> None:
    """Print a tree."""
    console = Console(file=sys.stdout, highlight=False)
    if console.is_terminal:
        console.print(_rich(root))
    else:
        show_text("".join(f"{'  ' * depth}{printable(node.text)}\n" for depth, node in _flat(root, 0)))


def _flat(node: Node, depth: int) -> Iterator[tuple[int, Node]]:
    yield depth, node
    for each in node.below:
        yield from _flat(each, depth + 1)


def _rich(node: Node, into: Tree | None = None) -> Tree:
    label = Text(printable(node.text), node.style)
    tree = Tree(label) if into is None else into.add(label)
    for each in node.below:
        _rich(each, tree)
    return tree
