"""Real crashes of distribution-built programs: the whole way, with no option but the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Tool
from judging import Case, Judge

DATA = Path(__file__).resolve().parent / "data"
FOLDERS = sorted(path.parent for path in DATA.glob("*/case.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_case(tool: Tool, tmp_path: Path, folder: Path) -> None:
    judge = Judge(Case.load(folder), tool, tmp_path)
    reason = judge.unusable()
    if reason is not None:
        pytest.skip(reason)
    assert judge.sense() is None
    verdict = judge.judge(judge.harden())
    assert verdict.good, verdict
