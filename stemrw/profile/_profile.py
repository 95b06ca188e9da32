"""The workload, run on a copy that counts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.documents.profile import Profile, RegionProfile
from stemrw.documents.rules import Budget
from stemrw.documents.status import ModuleStatus, PatchStatus
from stemrw.elf import Elf
from stemrw.errors import DocumentError, SensorError
from stemrw.plan import Wish
from stemrw.rewrite import rewrite
from stemrw.runtime import load_image
from stemrw.sense.monitor import Monitor
from stemrw.status import read_status
from stemrw.verify import place

DEFAULT_MULTIPLE = 10
_LEAST_MEMORY = 1 << 20
"""Bytes: what a region is taken to have used that took less."""


def measure(
    elf: Elf,
    plan: Plan,
    command: Sequence[str],
    *,
    names: Sequence[str],
    home: Path,
    multiple: int = DEFAULT_MULTIPLE,
) -> Profile:
    """Run a command with a counting copy of `elf` in place of the file, and tell what its regions used.

    `names` and `home` are those of `stemrw.verify.place`.  Standard streams are the caller's.  Raises UsageError for a
    command that does not run the file, SensorError where it cannot be watched, BinaryError as `rewrite` does.
    """
    counting = plan.model_copy(update={"regions": tuple(map(_counting, plan.regions))})
    collected = _Collected(counting.digest().hex())
    with tempfile.TemporaryDirectory(prefix="stemrw-profile-") as folder:
        placed = place(elf, command, Path(folder), names=names, home=home)
        placed.path.parent.mkdir()
        placed.path.write_bytes(rewrite(elf, counting).data)
        placed.path.chmod(0o755)
        with _environment(placed.environment):
            status = Monitor(on_crash=lambda _crash: None, on_exit=collected.look).run(placed.words)
    return Profile(
        binary=plan.binary,
        command=tuple(command),
        status=status,
        processes=collected.processes,
        recoveries=collected.recoveries,
        degradations=collected.degradations,
        multiple=multiple,
        regions=tuple(collected.region(region, multiple) for region in plan.regions),
    )


def wishes(profile: Profile, sha256: str) -> list[Wish]:
    """The budgets of a profile, for the file with this hash.  Raises DocumentError: it is about another file."""
    if profile.binary.sha256 != sha256:
        what = f"the profile is about a file with sha256 {profile.binary.sha256}, this one has {sha256}"
        raise DocumentError(what, hint="measure this one with `stemrw profile`")
    found = []
    for region in profile.regions:
        for name, amount in (("ticks", region.budget_ticks), ("memory_bytes", region.budget_memory_bytes)):
            why = f"{profile.multiple} times what one of {region.entries:,} entries used in a good run ({name})"
            if amount:
                found.append(Wish(hex(region.address), name, amount, why, required=False))
    return found


def _counting(region: PlannedRegion) -> PlannedRegion:
    """Everything else that the plan asks for stays, so that what is measured is what will run."""
    rules = [rule for rule in region.rules if not isinstance(rule, Budget)]
    return region.model_copy(update={"rules": (*rules, Budget())})


@dataclass
class _Collected:
    """What was read of all processes that ran the copy; `plan` is its hash, by which it is known."""

    plan: str
    processes: int = 0
    recoveries: int = 0
    degradations: int = 0
    highest: dict[int, PatchStatus] = field(default_factory=dict)

    def look(self, tid: int) -> None:
        """A thread is about to end: if its process ends with it, read what that has counted."""
        if not _is_last(tid):
            return
        try:
            status = read_status(tid)
        except SensorError:
            return  # killed meanwhile
        for module in status.modules if status is not None else ():
            if module.plan_sha256 == self.plan and module.state != "unused":
                self._add(module)

    def _add(self, module: ModuleStatus) -> None:
        self.processes += 1
        self.recoveries += module.recoveries
        self.degradations += module.degradations
        for patch in module.patches:
            before = self.highest.get(patch.function, patch)
            self.highest[patch.function] = patch.model_copy(
                update={name: max(getattr(before, name), getattr(patch, name)) for name in _KEPT}
            )

    def region(self, region: PlannedRegion, multiple: int) -> RegionProfile:
        """What is known of one region."""
        patch = self.highest.get(region.address)
        if patch is None or not patch.entries:
            return RegionProfile(address=region.address, symbol=region.symbol, entries=0, ticks=0, memory_bytes=0)
        ticks = max(patch.peak_ticks, load_image().constants["TICK_SLICE"])
        return RegionProfile(
            address=region.address,
            symbol=region.symbol,
            entries=patch.entries,
            ticks=ticks,
            memory_bytes=patch.peak_memory,
            budget_ticks=ticks * multiple,
            budget_memory_bytes=max(patch.peak_memory, _LEAST_MEMORY) * multiple,
        )


_KEPT = ("entries", "peak_ticks", "peak_memory")


def _is_last(tid: int) -> bool:
    """The first thread stands for its process, unless it has ended before others: then it has no memory any more."""
    try:
        lines = Path(f"/proc/{tid}/status").read_text(errors="replace").splitlines()
        leader = next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
        return tid == leader or not Path(f"/proc/{leader}/maps").read_bytes()
    except (OSError, StopIteration, ValueError):
        return False


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
