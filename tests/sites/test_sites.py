"""A fault that a check sees before its instruction is the one that the processor would have told (docs/checks.md)."""

from __future__ import annotations

from pathlib import Path

from harness import Tool
from sites.campaign import run


def test_checks_and_traps_agree_on_generated_sites(tool: Tool, tmp_path: Path) -> None:
    result = run(tool, tmp_path, count=100, seed=1)
    assert not result.differences
    assert result.rescues > result.calls / 2, "most addresses are bad"
    assert result.calls > result.rescues, "some are good"
    assert result.told > result.rescues / 10, "the sites are checked"
