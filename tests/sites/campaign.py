"""Harden a program of generated sites twice, with reports (checks) and without (traps), and compare what the two do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness import Tool, execute, recoveries
from sites.generate import Site, generate, write

HOST = Path(__file__).with_name("host.c")
_PATIENCE = 110
"""Seconds; the program itself ends after 100."""


@dataclass
class Result:
    """Of one program: how many sites and calls there were, rescues, those that only a check could tell so, differences.

    A check tells the address of a fault where the kernel does not: such a rescue shows that the site is checked.
    """

    sites: int = 0
    calls: int = 0
    rescues: int = 0
    told: int = 0
    differences: list[str] = field(default_factory=list)


def has_avx() -> bool:
    """Whether this processor has AVX2."""
    return " avx2 " in Path("/proc/cpuinfo").read_text()


def run(tool: Tool, folder: Path, *, count: int, seed: int) -> Result:
    """Build, harden and run `count` sites in `folder`.  Raises CalledProcessError, ToolError."""
    sites = generate(count, seed, avx=has_avx())
    write(sites, folder)
    program = folder / "program"
    flags = ("-O1", "-w", "-no-pie", "-fno-pie", "-pthread", f"-I{folder}")
    subprocess.run(["gcc", *flags, HOST, folder / "sites.S", "-o", program], check=True)
    places = _symbols(program)
    checked, trapped = folder / "checked", folder / "trapped"
    reports = [word for site in sites for word in ("--fault", _report(site, places, program, folder))]
    tool.patch(program, checked, *reports, "--return", "-1")
    regions = [word for site in sites for word in ("--region", site.name)]
    tool.patch(program, trapped, *regions, "--return", "-1")
    return _compare(sites, _output(checked), _output(trapped))


def _symbols(program: Path) -> dict[str, int]:
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in listing.splitlines()]
    return {words[2]: int(words[0], 16) for words in lines if len(words) == 3}


def _report(site: Site, places: dict[str, int], program: Path, folder: Path) -> Path:
    report = folder / f"{site.name}.json"
    address = hex(places[f"at_{site.name}"])
    report.write_text(json.dumps({"binary": str(program), "address": address, "class": site.report}))
    return report


@dataclass(frozen=True)
class _Output:
    lines: list[str]
    rescues: list[tuple[str, ...]]
    addresses: list[str]


def _output(program: Path) -> _Output:
    events = program.with_suffix(".events")
    # Without randomisation both find the same addresses in their registers.
    done = execute(["setarch", "-R", program], environment={"STEMRW_EVENTS": str(events)}, timeout=_PATIENCE)
    lines = [*done.stdout.decode().splitlines(), f"exit status {done.returncode}"]
    found = recoveries(events)
    rescues = [(event["region"], event["pc"], event["class"], event["returned"]) for event in found]
    return _Output(lines, rescues, [event["address"] for event in found])


def _compare(sites: list[Site], checked: _Output, trapped: _Output) -> Result:
    result = Result(len(sites), len(checked.lines) - 1, len(checked.rescues))
    result.differences += _differences(sites, checked.lines, trapped.lines)
    if checked.rescues != trapped.rescues:
        pairs = zip(checked.rescues, trapped.rescues, strict=False)
        first = next((pair for pair in pairs if pair[0] != pair[1]), (len(checked.rescues), len(trapped.rescues)))
        result.differences.append(f"rescues: checked {first[0]}, trapped {first[1]}")
    result.told = sum(a != b for a, b in zip(checked.addresses, trapped.addresses, strict=False))
    if "exit status 0" not in checked.lines[-1]:
        result.differences.append(f"checked: {checked.lines[-1]}")
    return result


def _differences(sites: list[Site], checked: list[str], trapped: list[str]) -> Iterator[str]:
    instructions = {site.name: site.instruction for site in sites}
    if len(checked) != len(trapped):
        yield f"{len(checked)} lines checked, {len(trapped)} trapped"
    for a, b in zip(checked, trapped, strict=False):
        if a != b:
            yield f"checked {a!r}, trapped {b!r}: {instructions.get(a.split()[0], '')}"
