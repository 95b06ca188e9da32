"""Real crashes of distribution-built programs: the whole way, with no option but the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import Tool
from judging import Case, Judge

DATA = Path(__file__).resolve().parent / "data"
FOLDERS = sorted(path.parent for path in DATA.glob("*/case.json"))

LIMITS = {"tinyscheme-quotient-fpe": "docs/limits.md: survives, but the interpreter takes the error value for the end"}
"""What does not reach its good outcome yet, and why; a limit that is lifted fails the test."""


def _cases() -> list[Any]:
    def marks(name: str) -> list[pytest.MarkDecorator]:
        limit = LIMITS.get(name)
        return [pytest.mark.xfail(reason=limit, strict=True, raises=AssertionError)] if limit else []

    return [pytest.param(folder, id=folder.name, marks=marks(folder.name)) for folder in FOLDERS]


@pytest.mark.parametrize("folder", _cases())
def test_case(tool: Tool, tmp_path: Path, folder: Path) -> None:
    judge = Judge(Case.load(folder), tool, tmp_path)
    reason = judge.unusable()
    if reason is not None:
        pytest.skip(reason)
    assert judge.sense() is None
    verdict = judge.judge(judge.harden())
    assert verdict.good, verdict
