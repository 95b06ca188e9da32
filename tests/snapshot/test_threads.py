"""With other threads at work the log holds exactly the bytes written: theirs, next to these, stay as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import Tool, execute

_SOURCE = Path(__file__).resolve().parent / "programs" / "neighbours.c"


def test_a_rollback_leaves_the_neighbours_bytes_alone(tool: Tool, tmp_path: Path) -> None:
    program, hardened = tmp_path / "program", tmp_path / "hardened"
    # All symbols bound at start: the dynamic linker's locked operations would end the undoing.
    subprocess.run(["gcc", "-O1", "-Wl,-z,now", "-pthread", "-o", str(program), str(_SOURCE)], check=True)
    tool.patch(program, hardened, "--region", "region", "--return", "-1")
    found = execute([hardened])
    assert found.returncode == 0, found
    assert found.stdout.startswith(b"0 wrong, 0 without a fault"), found
