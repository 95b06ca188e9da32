"""Compare ways to choose place and value (`patch --policy`): on crash cases, and on all samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from build import build
from catalogue import BAD, SAMPLES, Sample
from harness import Tool, ToolError, execute, recoveries
from judging import Case, Judge

POLICIES = ("minus-one", "types", "evidence")
GOOD_RECORDS = ("alpha", "", "beta", "gamma", "beta")
BAD_RECORDS = ("alpha", BAD, "", "beta", BAD, BAD, "gamma", "beta")


@dataclass(frozen=True)
class Outcome:
    """What one policy reached: survived, the stated good outcome (None: none is stated), benign runs unchanged."""

    survived: bool = False
    after: bool | None = None
    benign: bool = True


Row = tuple[str, str, Mapping[str, Outcome]]
"""("cases" or "samples", its name, the outcome of each policy)."""


def _case(case: Case, tool: Tool) -> Mapping[str, Outcome] | None:
    with tempfile.TemporaryDirectory(prefix="compare-") as work:
        judge = Judge(case, tool, Path(work))
        if judge.unusable() or judge.sense():
            return None
        found = {}
        for policy in POLICIES:
            found[policy] = Outcome(after=False if case.after else None)
            try:
                hardened = judge.harden(("--policy", policy))
            except ToolError:
                continue  # not hardened: it dies as before
            survived, after = judge.survives(hardened, case.limit)
            found[policy] = Outcome(survived, after, not judge.benign(hardened))
        return found


def _sample(sample: Sample, tool: Tool) -> Mapping[str, Outcome] | None:
    """Good outcome of a sample: every good record is answered as if the bad ones had not been."""
    with tempfile.TemporaryDirectory(prefix="compare-") as work:
        folder = Path(work)
        built = build(sample, folder, mode="pie")
        oracle, report = execute([built.program, *GOOD_RECORDS]), folder / "report.json"
        tool.report(report, [built.program, *BAD_RECORDS])
        if not report.exists() or sample.lost:
            return None
        found = {}
        for policy in POLICIES:
            hardened, events = folder / policy, folder / f"{policy}.jsonl"
            found[policy] = Outcome(after=False)
            try:
                tool.patch(built.target, hardened, "--fault", report, "--policy", policy)
            except ToolError:
                continue
            bad = execute([hardened, *BAD_RECORDS], environment={"STEMRW_EVENTS": str(events)}, timeout=20)
            survived = bad.returncode is not None and bad.returncode >= 0 and bool(recoveries(events))
            answers = [line for line in bad.stdout.splitlines() if not line.startswith(BAD.encode())]
            good = survived and bad.returncode == 0 and answers == oracle.stdout.splitlines()
            found[policy] = Outcome(survived, good, execute([hardened, *GOOD_RECORDS]) == oracle)
        return found


def compare(cases: Iterable[Case], tool: Tool, *, samples: bool, jobs: int) -> Iterator[Row]:
    """A row for each case and each sample that can be judged here, as they are done."""
    work: list[tuple[str, str, Callable[[], Mapping[str, Outcome] | None]]] = [
        ("cases", case.name, lambda case=case: _case(case, tool)) for case in cases
    ]
    if samples:
        work += [("samples", sample.name, lambda sample=sample: _sample(sample, tool)) for sample in SAMPLES]
    with ThreadPoolExecutor(jobs) as pool:
        for (kind, name, _), found in zip(work, pool.map(lambda each: each[2](), work), strict=True):
            if found is not None:
                yield kind, name, found


def line(row: Row) -> str:
    """One row as text: for each policy what was reached."""
    kind, name, found = row
    words = []
    for policy, reached in found.items():
        after = {True: ", after", False: ", NOT after", None: ""}[reached.after]
        benign = "" if reached.benign else ", benign run DIFFERS"
        words.append(f"{policy} {'survived' if reached.survived else 'DIED'}{after}{benign}")
    return f"{kind:8} {name:30} {'; '.join(words)}"


def table(rows: Iterable[Row]) -> str:
    """The counts as a Markdown table."""
    rows = list(rows)
    lines = ["| | policy | survived | good outcome | benign runs unchanged |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(row[0] for row in rows):
        for policy in POLICIES:
            reached = [found[policy] for each, _, found in rows if each == kind]
            stated = [each for each in reached if each.after is not None]
            counts = (
                (sum(each.survived for each in reached), len(reached)),
                (sum(bool(each.after) for each in stated), len(stated)),
                (sum(each.benign for each in reached), len(reached)),
            )
            cells = (f"{hits} of {of}" + (f" ({hits / of:.0%})" if of else "") for hits, of in counts)
            lines.append(f"| {kind} | {policy} | {' | '.join(cells)} |")
    return "\n".join(lines)
