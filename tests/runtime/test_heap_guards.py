"""Heap guards from reports: which allocations a report arms, and what the hardened program makes of the fault."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Tool, execute, recoveries

from stemrw.image import Image

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__attribute__((noipa)) void *allocate(size_t size) {
    void *block = malloc(size);
    if (!block) _exit(9);
    return block;
}
__attribute__((noipa)) char *make(int size) { char *made = allocate(size); made[0] = 'a'; return made; }
__attribute__((noipa)) char *other(int size) { char *made = allocate(size); made[0] = 'b'; return made; }
__attribute__((noipa)) int a(void) { free(allocate(1)); return 1; }
__attribute__((noipa)) int b(void) { free(allocate(2)); return 2; }
__attribute__((noipa)) int c(void) { free(allocate(3)); return 3; }
__attribute__((noipa)) int fill(char *block, int count, int by) {
    for (int i = 1; i < count; i++)
        ((volatile char *)block)[i * by] = 'x';
    return 0;
}
int main(int argc, char **argv) {
    alarm(50);
    const int count = atoi(argv[1]), by = atoi(argv[2]);
    char *block = make(20), *beside = other(20);
    printf("%d\n", fill(block, count, by));
    printf("%c %d\n", block[0], block[1] == 'x');
    printf("%d\n", fill(beside, 23, 1));  /* not what the report is about; the C library's blocks have room for 24 */
    free(block);
    free(beside);
    return a() + b() + c() != 6;
}
"""


def _report(file: Path, allocated: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    image = Image.open(file)
    (fill,) = image.functions_named("fill")
    place = {"module": str(file), "address": hex(fill.entry + 4), "symbol": "fill"}
    module = {"path": str(file), "sha256": image.sha256}
    block = {"size": 20, "offset": 20, "allocated": allocated, **fields}
    report = {"schema": "stemrw.fault-report", "version": 1, "class": "heap-overflow", "program": module}
    return {
        **report,
        "modules": [module],
        "pc": place,
        "backtrace": [{**place, "return_address": False}],
        "block": block,
    }


def _behind_call(image: Image, name: str) -> int:
    """What the first call in a function returns to."""
    (function,) = image.functions_named(name)
    code = image.body(function)
    index = next(i for i, instruction in enumerate(code) if instruction.mnemonic == "call")
    return code[index + 1].address


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guards")
    (folder / "program.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-O1", "-o", folder / "program", folder / "program.c"], check=True)
    return folder / "program"


def _harden(tool: Tool, program: Path, folder: Path, report: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    (folder / "report.json").write_text(json.dumps(report))
    hardened = folder / "hardened"
    manifest = tool.patch(program, hardened, "--fault", folder / "report.json", "--return", "-1")
    manifest["rules"].sort(key=lambda rule: rule["kind"], reverse=True)  # sites first
    return hardened, manifest


def _run(hardened: Path, *arguments: str) -> tuple[list[str], list[str]]:
    events = hardened.with_name("events")
    events.unlink(missing_ok=True)
    outcome = execute([hardened, *arguments], environment={**os.environ, "STEMRW_EVENTS": str(events)})
    assert outcome.returncode == 0, outcome
    return outcome.stdout.decode().split("\n")[:3], [event["class"] for event in recoveries(events)]


def test_the_reported_allocation_is_guarded_through_its_wrapper(tool: Tool, program: Path, tmp_path: Path) -> None:
    image = Image.open(program)
    wrapper, caller = _behind_call(image, "allocate"), _behind_call(image, "make")
    libc = {"module": "/lib/libc.so.6", "address": "0x1000", "symbol": "malloc"}
    frames = [libc, *({"module": str(program), "address": hex(address)} for address in (wrapper, caller))]
    hardened, manifest = _harden(tool, program, tmp_path, _report(program, frames))
    site, access = manifest["rules"]
    assert (site["kind"], site["address"], site["outer"], site["below"]) == (
        "guard-site",
        hex(wrapper),
        [hex(caller)],
        False,
    )
    assert access["kind"] == "guard-access"
    assert _run(hardened, "20", "1") == (["0", "a 1", "0"], [])
    assert _run(hardened, "21", "1") == (["-1", "a 0", "0"], ["heap-overflow"])


def test_a_function_is_enough(tool: Tool, program: Path, tmp_path: Path) -> None:
    hardened, manifest = _harden(
        tool, program, tmp_path, _report(program, [{"module": str(program), "symbol": "allocate"}])
    )
    (function,) = Image.open(program).functions_named("allocate")
    assert (manifest["rules"][0]["address"], manifest["rules"][0]["end"]) == (hex(function.entry), hex(function.end))
    assert _run(hardened, "21", "1") == (["-1", "a 0", "-1"], ["heap-overflow", "heap-overflow"])


def test_far_below(tool: Tool, program: Path, tmp_path: Path) -> None:
    """The reported access lies below: the guard does, too."""
    report = _report(program, [{"module": str(program), "symbol": "allocate"}], offset=-8)
    hardened, manifest = _harden(tool, program, tmp_path, report)
    assert manifest["rules"][0]["below"]
    assert _run(hardened, "2", "-1")[1][:1] == ["heap-overflow"]


def test_without_the_allocation_all_of_the_file(tool: Tool, program: Path, tmp_path: Path) -> None:
    hardened, manifest = _harden(tool, program, tmp_path, _report(program, []))
    assert len(manifest["rules"]) == 2 and manifest["rules"][0]["kind"] == "guard-site"
    assert _run(hardened, "21", "1")[1] == ["heap-overflow"] * 2


def test_a_file_that_is_hardened_again_keeps_its_guards(tool: Tool, program: Path, tmp_path: Path) -> None:
    hardened, manifest = _harden(tool, program, tmp_path, _report(program, []))
    again = tool.patch(hardened, hardened, "--region", "other")
    assert sorted(again["rules"], key=lambda rule: rule["kind"], reverse=True) == manifest["rules"]
    assert {region["symbol"] for region in again["regions"]} > {"other"}


def test_nothing_is_armed_for_other_faults(tool: Tool, program: Path, tmp_path: Path) -> None:
    report = {**_report(program, []), "class": "null-dereference"}
    assert _harden(tool, program, tmp_path, report)[1]["rules"] == []
    report["class"] = "heap-overflow"
    (tmp_path / "report.json").write_text(json.dumps(report))
    disarmed = tool.patch(program, tmp_path / "x", "--fault", tmp_path / "report.json", "--guard", "none")
    assert disarmed["rules"] == []
