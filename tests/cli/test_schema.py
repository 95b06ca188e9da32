"""Every document has a published schema, and the published one is that of the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stemrw.cli import call
from stemrw.documents.schemas import DOCUMENTS

ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_published_schema_is_current(name: str, capsys: Capture) -> None:
    assert call(["schema", name]) == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "docs" / f"{name}.schema.json").read_text(), "run scripts/generate_docs"
    schema = json.loads(printed)
    constant = schema["properties"]["schema"]
    assert constant.get("const", constant.get("default")) == f"stemrw.{name}"


def test_no_published_schema_is_left_over() -> None:
    published = {path.name.removesuffix(".schema.json") for path in (ROOT / "docs").glob("*.schema.json")}
    assert published == set(DOCUMENTS)


def test_without_name_lists_the_documents(capsys: Capture) -> None:
    assert call(["schema"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(DOCUMENTS)
    assert all(len(line.split()) > 3 for line in lines)


def test_unknown_name(capsys: Capture) -> None:
    assert call(["schema", "no\x1bsuch"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "there is no document" in printed.err and "\x1b" not in printed.err
    assert all(name in printed.err for name in DOCUMENTS)
