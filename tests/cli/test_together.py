"""Options that do not go together are refused in one sentence that says what to do; nothing is written."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from stemrw.cli import call
from stemrw.cli._together import CONTRADICTIONS, NEEDS

DASH = "/usr/bin/dash"
Capture = pytest.CaptureFixture[str]
VALUES = {
    "--return": "--return -1",
    "--errno": "--errno EIO",
    "--out": "--out 0:8=0",
    "--budget": "--budget 5s",
    "--profile": "--profile gone",
    "--frame": "--frame 1",
    "--resume": "--resume 0x4d40",
    "--set": "--set rax=1",
    "--region": "--region 0x4d30",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").write_text(json.dumps({"binary": DASH, "address": "0x4d6e", "class": "divide"}))
    return tmp_path


def _refused(command: str, options: str, capsys: Capture, folder: Path) -> str:
    assert call([command, DASH, *shlex.split(options)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and printed.err.startswith("stemrw: ")
    assert [entry.name for entry in folder.iterdir()] == ["report"]
    return printed.err


@pytest.mark.parametrize(("one", "other"), [row[:2] for row in CONTRADICTIONS])
@pytest.mark.parametrize("command", ["patch", "explain"])
def test_every_contradiction(command: str, one: str, other: str, capsys: Capture, folder: Path) -> None:
    options = f"--fault report {VALUES.get(one, one)} {VALUES.get(other, other)}"
    said = _refused(command, options, capsys, folder)
    assert f"{one} and {other} contradict each other: " in said and said.endswith(")\n"), "and a hint"


@pytest.mark.parametrize("option", [row[0] for row in NEEDS])
def test_every_option_that_says_nothing_alone(option: str, capsys: Capture, folder: Path) -> None:
    needs_report = option in ("--force", "--by-symbol")
    words = "--region 0x4d30" if needs_report else "--require '0x4d6e: rdi != 0'"
    said = _refused("patch", f"{words} {VALUES.get(option, option)}", capsys, folder)
    assert f"{option} says nothing alone: " in said and said.endswith(")\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--region 0x4d30 --out 2:8=0 --out 2+4:4=1", "--out 2:8=0 and --out 2+4:4=1 write to the same place"),
        ("--region 0x4d30 --budget 5s --budget 700ms", "--budget 5s and --budget 700ms are about the same"),
        ("--fault report --region 0x4d30 --region 0x5140", "a fault is rescued in one region"),
        ("--fault report --require '0x4d40: rdi < 3' --frame 0", "--frame counts in one report"),
        ("--require '99999999999999999999: rdi < 3'", "'99999999999999999999' is no address"),
        ("--require 'main+0xffffffffffffffff: rdi < 3'", "'main+0xffffffffffffffff' is no address"),
        ("--region 0x4d40..99999999999999999999", "'99999999999999999999' is no address"),
        ("--region 0x4d30 --out 0:8=010", "--out '0:8=010' cannot be read"),
        ("--region 010..0x4d40", "'010' is no address"),
        ("--region 0x4d40..0x4d50 --set rax=1 --set rax=2", "twice for one register"),
        ("--region 0x4d30 -o -", "not written to standard output"),
        ("--fault report -o report", "report: this file was given to be read"),
    ],
)
def test_what_cannot_be_meant(options: str, says: str, capsys: Capture, folder: Path) -> None:
    assert says in _refused("patch", options, capsys, folder)


@pytest.mark.parametrize(
    "options",
    [
        "--region 0x4d30 --out 2:4=0 --out 2+4:4=1 --out 3:8=0 --errno EIO --return -1 --no-escalate",
        "--region 0x4d30 --budget 5s --budget 64MiB --budget 500000 --strategy oblivious --return 3",
        "--fault report --guard none --by-symbol --region 0x4d30 --strategy end-child --errno 5",
        "--fault report --policy types --strategy die --guard stack",
        "--fault report --policy minus-one --errno EIO --no-escalate --budget 0x4d30=5s --budget 6s",
        "--fault report --strategy return --return 1 --budget 5s",
    ],
)
def test_what_goes_together(options: str) -> None:
    assert call(["explain", DASH, *shlex.split(options)]) == 0


def test_documentation_tells_every_one() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "plan.md").read_text()
    rows = [row for row in text.partition("## Options that do not go together")[2].splitlines() if row[:3] == "| `"]
    for one, other, *_ in CONTRADICTIONS:
        assert any(f"`{one}`" in row and f"`{other}`" in row for row in rows), (one, other)
    for option, needed, *_ in NEEDS:
        assert any(f"`{option}`" in row and f"without `{needed[0]}`" in row for row in rows), option
