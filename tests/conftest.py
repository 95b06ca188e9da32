"""What all tests share: the tool as its users run it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for folder in ("samples", "tests", "tests/cases", "tests/programs"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from harness import Tool, find_tool  # noqa: E402


@pytest.fixture(scope="session")
def tool() -> Tool:
    """The installed command line tool."""
    return find_tool()
