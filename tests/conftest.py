"""What all tests share: the tool as its users run it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for folder in ("samples", "tests", "tests/cases", "tests/programs", "tests/snapshot"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from harness import Tool, find_tool  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Background jobs of a shell start with these signals ignored, and hand that down to all their children."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tool() -> Tool:
    """The installed command line tool."""
    return find_tool()
