"""At a reported site the fault is seen before the instruction executes, and it is the same fault that the trap tells.

checks/sites.c runs every kind of instruction with operands that fault and that do not.  Hardened twice, with the
reports (checks) and without (traps), it must print the same and record the same recoveries.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Outcome, Tool, execute, recoveries

SOURCE = Path(__file__).parent / "checks" / "sites.c"
CLASSES = {"undefined": "illegal-instruction", "udiv": "divide", "sdiv": "divide"}


@dataclass(frozen=True)
class Hardened:
    """The program with checks, the one that has traps only, and the sites' addresses by name."""

    checked: Path
    trapped: Path
    sites: dict[str, int]


@pytest.fixture(scope="module", params=[("-pie", "-fPIE"), ("-static", "-no-pie", "-fno-pie")], ids=["pie", "static"])
def hardened(request: pytest.FixtureRequest, tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    folder = tmp_path_factory.mktemp("checks")
    program = folder / "sites"
    compiler = ["gcc"] if shutil.which("gcc") else [sys.executable, "-m", "ziglang", "cc"]
    flags = ["-O1", "-w", "-mno-red-zone", "-pthread", *request.param]
    subprocess.run([*compiler, *flags, str(SOURCE), "-o", str(program)], check=True, capture_output=True)
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    symbols = {words[-1]: words[0] for words in map(str.split, listing.splitlines())}
    sites = {name[3:]: int(address, 16) for name, address in symbols.items() if name.startswith("at_")}
    faults: list[str | Path] = []
    for name, address in sites.items():
        found = next((c for prefix, c in CLASSES.items() if name.startswith(prefix)), "null-dereference")
        report = folder / f"{name}.json"
        report.write_text(json.dumps({"binary": str(program), "address": hex(address), "class": found}))
        faults += ["--fault", report]
    tool.patch(program, folder / "checked", *faults, "--return", "-1")
    regions = [word for name in sites for word in ("--region", name)]
    tool.patch(program, folder / "trapped", *regions, "--return", "-1")
    return Hardened(folder / "checked", folder / "trapped", sites)


def _run(program: Path, *arguments: str) -> tuple[Outcome, list[tuple[str, ...]]]:
    """What it printed, and its recoveries: region, instruction, class, returned value."""
    events = program.with_suffix(".events")
    events.unlink(missing_ok=True)
    outcome = execute([program, *arguments], environment={"STEMRW_EVENTS": str(events)})
    return outcome, [(e["region"], e["pc"], e["class"], e["returned"]) for e in recoveries(events)]


def test_checks_and_traps_agree(hardened: Hardened) -> None:
    checked, trapped = _run(hardened.checked), _run(hardened.trapped)
    assert checked == trapped
    assert checked[0].returncode == 0
    assert {pc for _, pc, _, _ in checked[1]} <= {hex(address) for address in hardened.sites.values()}
    classes = {found for _, _, found, _ in checked[1]}
    assert classes == {"null-dereference", "wild-dereference", "bus", "divide", "illegal-instruction"}


def test_a_check_needs_no_signal(hardened: Hardened) -> None:
    assert _run(hardened.trapped, "blocked")[0].returncode != 0
    assert _run(hardened.checked, "blocked") == _run(hardened.trapped, "certain")


def test_what_does_not_fault_is_as_it_was(hardened: Hardened) -> None:
    unpatched = execute([hardened.checked.with_name("sites")])
    assert unpatched.returncode not in (0, None), "the first bad address does not fault"
    assert execute([hardened.checked]).stdout.startswith(unpatched.stdout)
    assert unpatched.stdout
