"""The whole program as one region: `main` of five real programs, stripped as shipped, does what it does natively."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from harness import Tool, recoveries
from workloads import WORKLOADS, Step, Workload


def _run(program: Path, name: str, step: Step, folder: Path, events: Path) -> tuple[int, bytes, bytes]:
    """Run a step under the program's own name, whichever file is executed."""
    with open(step.stdin or "/dev/null", "rb") as source:
        done = subprocess.run(
            [name, *step.arguments],
            executable=program,
            cwd=folder,
            stdin=source,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "STEMRW_EVENTS": str(events)},
            timeout=120,
            check=False,
        )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.program)
def test_main_as_region_is_identical(tool: Tool, tmp_path: Path, workload: Workload) -> None:
    original = workload.path
    if original is None:
        pytest.skip(f"{workload.program} is not installed")
    hardened, events = tmp_path / "hardened", tmp_path / "events.jsonl"
    manifest = tool.patch(original, hardened, "--region", "main")
    assert len(manifest["regions"]) == 1
    name = f"/usr/bin/{workload.program}"
    for step in workload.steps(tmp_path, 2):
        expected = _run(original, name, step, tmp_path, events)
        assert expected[0] == step.status, expected[2]
        assert _run(hardened, name, step, tmp_path, events) == expected, step.name
    assert not recoveries(events)
    tool.revert(hardened, tmp_path / "reverted")
    assert (tmp_path / "reverted").read_bytes() == original.read_bytes()
