"""The fault report document: both forms, and what is said about wrong ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stemrw.documents.fault_report import (
    FAULT_CLASSES,
    FaultReport,
    Frame,
    Location,
    ModuleInfo,
    load_report,
    parse_report,
    printable,
)
from stemrw.documents.read import MAX_BYTES
from stemrw.errors import DocumentError

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"binary": "/usr/bin/dash", "address": "0x4d6e", "class": "divide"}


def write(folder: Path, content: Any) -> Path:
    path = folder / "report.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_classes_are_those_of_the_abi() -> None:
    header = (ROOT / "runtime/include/abi.h").read_text()
    names = re.findall(r"^    FAULT_([A-Z_]+) = (\d+)", header, re.MULTILINE)
    numbered = {int(number): name.lower().replace("_", "-") for name, number in names}
    assert numbered.pop(0) == "none" and numbered.pop(len(numbered)) == "classes"
    assert tuple(numbered[number] for number in sorted(numbered)) == FAULT_CLASSES


def test_three_fields_by_hand(tmp_path: Path) -> None:
    report = load_report(write(tmp_path, SHORT))
    assert report.fault_class == "divide"
    assert report.program == ModuleInfo(path="/usr/bin/dash")
    assert report.pc == Location(module="/usr/bin/dash", address=0x4D6E)
    assert (report.backtrace, report.signal, report.registers) == ((), None, {})


@pytest.mark.parametrize(
    ("function", "symbol", "entry"),
    [("arith", "arith", None), ("0x4d30", None, 0x4D30), (19760, None, 0x4D30), ("_ZN1aC1Ev", "_ZN1aC1Ev", None)],
)
def test_function_by_hand_is_a_symbol_or_an_entry_address(function: Any, symbol: str | None, entry: int | None) -> None:
    report = parse_report({"binary": "/bin/x", "function": function, "class": "abort"})
    assert (report.pc.symbol, report.pc.function, report.pc.address) == (symbol, entry, None)


def test_build_id_may_be_given_by_hand() -> None:
    report = parse_report({**SHORT, "build_id": "be63", "schema": "stemrw.fault-report", "version": 1})
    assert report.program.build_id == "be63"


def full() -> FaultReport:
    module = ModuleInfo(path="/bin/x", build_id="aa", sha256="0" * 64)
    frame = Frame(module="/bin/x", address=0x1234, return_address=False)
    return FaultReport(
        fault_class="abort",
        program=module,
        modules=(module,),
        pc=frame,
        backtrace=(frame,),
        registers={"rip": 2**64 - 1},
    )


def test_written_report_reads_back_the_same_and_same_bytes(tmp_path: Path) -> None:
    text = full().to_json()
    assert load_report(write(tmp_path, text)).to_json() == text == full().to_json()
    data = json.loads(text)
    assert list(data)[:3] == ["schema", "version", "class"]
    assert (data["backtrace"][0]["address"], data["registers"]["rip"]) == ("0x1234", "0xffffffffffffffff")


def test_short_form_becomes_the_full_one() -> None:
    report = parse_report(SHORT)
    assert parse_report(json.loads(report.to_json())) == report


def test_known_module_is_found_by_path() -> None:
    assert full().module("/bin/x") == full().program
    assert full().module("/bin/y") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "JSON object"),
        ({}, "no program is named"),
        ({**SHORT, "version": 2}, "unknown fault report version 2"),
        ({**SHORT, "version": True}, "unknown fault report version True"),
        ({**SHORT, "schema": "stemrw.plan"}, "'stemrw.plan' document"),
        ({**SHORT, "class": "explosion"}, "unknown fault class 'explosion': one of null-dereference"),
        ({"binary": "/bin/x", "class": "bus"}, "neither `address` nor `function`"),
        ({"binary": "/bin/x", "address": 1}, "`class` is missing"),
        ({**SHORT, "address": "four"}, "`address` is 'four'"),
        ({**SHORT, "address": -1}, "`address` is -1"),
        ({**SHORT, "address": 2**64}, "`address` is 18446744073709551616"),
        ({**SHORT, "address": 1.5}, "`address` is 1.5"),
        ({**SHORT, "adress": 1}, "`adress` is not known"),
        ({**SHORT, "build_id": "not hex"}, "`build_id`"),
        ({**SHORT, "binary": 7}, "`binary` is 7"),
        ({"program": {"path": "/bin/x"}, "class": "bus"}, "`pc` is missing"),
        (
            {"program": {"path": "/bin/x"}, "class": "bus", "pc": {}, "backtrace": [{"address": "x"}]},
            "backtrace.0.address",
        ),
    ],
)
def test_wrong_report_is_refused_in_one_sentence_with_the_file(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DocumentError, match=re.escape(message)) as caught:
        load_report(path)
    assert caught.value.file == path and "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_unreadable_and_oversized_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="No such file"):
        load_report(tmp_path / "none.json")
    with pytest.raises(DocumentError, match="Is a directory"):
        load_report(tmp_path)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DocumentError, match="larger than 16 MiB"):
        load_report(large)


def test_hostile_strings_do_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2J\u202e\n\ud800"
    for content in ({**SHORT, "schema": hostile}, {**SHORT, "class": hostile}, {**SHORT, hostile: 1}):
        with pytest.raises(DocumentError) as caught:
            load_report(write(tmp_path, content))
        assert str(caught.value).isprintable()
    assert printable(hostile) == "\\x1b[2J\\u202e\\n\\ud800"
    assert printable("/usr/bin/naïve – ok") == "/usr/bin/naïve – ok"


def test_schema_lists_every_field_by_its_name_in_json() -> None:
    schema = FaultReport.model_json_schema(by_alias=True)
    assert set(schema["properties"]) == set(json.loads(full().to_json()))
    assert schema["properties"]["class"]["enum"] == list(FAULT_CLASSES)


def test_documentation_describes_every_field() -> None:
    text = (ROOT / "docs/fault-report.md").read_text()
    schema = FaultReport.model_json_schema(by_alias=True)
    parts = [schema, *schema["$defs"].values()]
    missing = {name for part in parts for name in part.get("properties", {}) if f"`{name}`" not in text}
    assert not missing
    assert not [name for name in FAULT_CLASSES if f"`{name}`" not in text]
    for example in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        parse_report(json.loads(example))
