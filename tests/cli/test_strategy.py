"""`stemrw patch --strategy` and `--region A..B`: contradictions are told, and what was chosen is written down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
__attribute__((noipa)) int work(int *p) { __asm__ volatile(".skip 6, 0x90\\n.globl a\\na:"); int x = p[1];
    __asm__ volatile("" :: "r"(x)); __asm__ volatile(".globl b\\nb:"); return 5; }
int main(int argc, char **argv) { return work(&argc); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategy")
    (folder / "p.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-w", "p.c", "-o", "p"], cwd=folder, check=True)
    return folder / "p"


def _patch(program: Path, out: Path, *options: str) -> str:
    """What it complains about; empty where it does not."""
    words = [sys.executable, "-c", "from stemrw.cli import main; main()", "patch", program, "-o", out, *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done.stderr
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--region", "work", "--strategy", "pray"], "no such strategy"),
        (["--region", "work", "--strategy", "slice"], "no such strategy"),
        (["--region", "work", "--resume", "0x10"], "about a slice"),
        (["--region", "work", "--set", "rax=1"], "about a slice"),
        (["--region", "a..b", "--strategy", "retry"], "the one region"),
        (["--region", "a..b", "--region", "main"], "the one region"),
        (["--region", "b..a"], "not in one function"),
    ],
)
def test_contradictions(program: Path, tmp_path: Path, options: list[str], says: str) -> None:
    out = tmp_path / "out"
    assert says in _patch(program, out, *options)
    assert not out.exists()


def test_the_manifest_says_so(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _patch(program, out, "--region", "a..b", "--set", "rbx=3") == ""
    rules = json.loads(Path(f"{out}.manifest.json").read_text())["regions"][0]["rules"]
    assert [rule["kind"] for rule in rules] == ["escalate", "slice", "slice-exit", "slice-set"]
    assert _patch(out, out, "--region", "work", "--strategy", "oblivious") == ""
    rules = json.loads(Path(f"{out}.manifest.json").read_text())["regions"][0]["rules"]
    assert [(rule["kind"], rule["name"]) for rule in rules] == [("strategy", "oblivious")]
