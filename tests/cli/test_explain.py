"""`stemrw explain`: the choice before it is made and after, the same in words and as a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stemrw.cli import call
from stemrw.documents.explanation import Explanation

DASH = Path("/usr/bin/dash")
ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "report.json"
    frames = [
        {"module": str(DASH), "address": "0x4d6e", "return_address": False},
        {"module": str(DASH), "address": "0x5317", "return_address": True},
    ]
    program = {"path": str(DASH)}
    pc = {"module": str(DASH), "address": "0x4d6e"}
    fields = {"class": "divide", "program": program, "modules": [program], "pc": pc, "backtrace": frames}
    path.write_text(json.dumps({"schema": "stemrw.fault-report", "version": 1, **fields}))
    return path


def explained(capsys: Capture, *arguments: str) -> Explanation:
    assert call(["explain", "--json", *arguments]) == 0
    return Explanation.model_validate_json(capsys.readouterr().out)


def test_explains_what_patch_does(report: Path, capsys: Capture) -> None:
    before = explained(capsys, str(DASH), "--fault", str(report))
    assert not before.hardened and [fault.fault_class for fault in before.faults] == ["divide"]
    assert call(["patch", str(DASH), "--fault", str(report), "-o", "out"]) == 0
    capsys.readouterr()
    after = explained(capsys, "out")
    assert after.hardened and after.faults == ()
    assert (after.regions, after.rules, after.sha256) == (before.regions, before.rules, before.sha256)


def test_every_function_of_the_backtrace_has_a_verdict_and_a_reason(report: Path, capsys: Capture) -> None:
    before = explained(capsys, str(DASH), "--fault", str(report))
    considered = [point for region in before.regions for point in region.considered]
    assert [point.frame for point in considered] == [0, 1]
    assert [point.verdict for point in considered].count("chosen") == 1
    assert all(point.reasons for point in considered if point.verdict != "chosen")


def test_best_value_is_the_one_that_is_returned(report: Path, capsys: Capture) -> None:
    for region in explained(capsys, str(DASH), "--fault", str(report)).regions:
        best = region.candidates[0]
        assert (best.kind, best.value) == (region.return_kind, region.return_value)
        assert best.score == max(candidate.score for candidate in region.candidates)
        assert all(candidate.evidence for candidate in region.candidates)


def test_tree_is_plain_in_a_pipe_and_says_the_same(report: Path, capsys: Capture) -> None:
    before = explained(capsys, str(DASH), "--fault", str(report))
    assert call(["explain", str(DASH), "--fault", str(report)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "│" not in printed
    for region in before.regions:
        said = [*region.why, *(line for candidate in region.candidates for line in candidate.evidence)]
        said += [line for point in region.considered for line in point.reasons]
        assert not [line for line in said if line not in printed]


def test_function_named_by_the_user(capsys: Capture) -> None:
    (region,) = explained(capsys, str(DASH), "--region", "0x4d30").regions
    assert region.address == 0x4D30 and [point.verdict for point in region.considered] == ["chosen"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(DASH)], "nothing says what happened"),
        (["gone", "--fault", "report.json"], "gone: cannot be read"),
        ([str(DASH), "--fault", "gone.json"], "gone.json"),
        ([str(DASH), "--region", "main", "--frame", "1"], "--frame"),
        (["/bin/sh", "--manifest", "x"], "not hardened"),
    ],
)
def test_error_is_one_sentence(arguments: list[str], message: str, capsys: Capture) -> None:
    assert call(["explain", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("stemrw: ") and printed.err.count("\n") == 1
    assert message in printed.err


def test_documentation_describes_every_field() -> None:
    text = (ROOT / "docs" / "explain.md").read_text() + (ROOT / "docs" / "manifest.md").read_text()
    schema = Explanation.model_json_schema(by_alias=True, mode="serialization")
    parts = [schema, *schema["$defs"].values()]
    assert not {name for part in parts for name in part["properties"] if f"`{name}`" not in text}


def test_explains_what_patch_makes_of_a_hardened_file(report: Path, capsys: Capture) -> None:
    """With the regions and rules that it has, and all options that change the plan."""
    assert call(["patch", str(DASH), "--region", "main", "--guard", "heap", "-o", "out"]) == 0
    capsys.readouterr()
    options = [
        "--fault",
        str(report),
        "--budget",
        "5s",
        "--errno",
        "EIO",
        "--strategy",
        "oblivious",
        "--guard",
        "stack",
    ]
    before = explained(capsys, "out", *options)
    assert [rule.kind for rule in before.rules] == ["guard-access", "guard-site", "stack"]
    assert len(before.present) == 1 and set(before.present) < {region.address for region in before.regions}
    assert call(["explain", "out", *options]) == 0
    assert f"would be hardened with {len(before.regions)} regions, 1 of which it has" in capsys.readouterr().out
    assert call(["patch", "out", *options]) == 0
    capsys.readouterr()
    after = explained(capsys, "out")
    assert (after.regions, after.rules) == (before.regions, before.rules)


def test_options_without_anything_to_explain(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "out"]) == 0
    capsys.readouterr()
    assert call(["explain", "out", "--guard", "none"]) == 2
    assert "nothing says what to harden against" in capsys.readouterr().err
