"""Thousands of broken ELF files: each is refused with a sentence, or hardened correctly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile import broken_elf, elf_fields, victims
from hostile.contained import Contained, judge, leftovers
from hostile.victims import Victim

EACH = int(os.environ.get("STEMRW_MUTANTS", "40"))
"""Mutants of a family and victim.  scripts/fuzz files takes more."""
FAMILIES = (
    "truncated", "header", "segments", "sections", "dynamic", "unwind", "notes", "hashes", "symbols", "relocations",
    "debris", "composed",
)  # fmt: skip
LARGE = ("shared",)
"""Victims of which mutants are made that take seconds each."""
NOT_RUN = ("debris", "composed")
"""Families whose mutants are not started: what would run is not the compiler's code any more."""


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Victim]:
    """Builds a victim once."""
    built: dict[str, Victim] = {}

    def build(kind: str) -> Victim:
        if kind not in built:
            built[kind] = victims.build(kind, tmp_path_factory.mktemp("victim"))
        return built[kind]

    return build


@pytest.fixture(scope="module")
def contained() -> Iterator[Contained]:
    with Contained() as worker:
        yield worker


def test_there_are_two_thousand(victim: Callable[[str], Victim]) -> None:
    by_kind = {k: broken_elf.mutants(victim(k).data, k, EACH, large=k in LARGE) for k in victims.KINDS}
    names = {(k, f, mutant.name) for k, families in by_kind.items() for f, some in families.items() for mutant in some}
    assert len(names) >= 2000
    assert {family for _, family, _ in names} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", victims.KINDS)
def test_every_command_stands_it(
    victim: Callable[[str], Victim], contained: Contained, kind: str, family: str, tmp_path: Path
) -> None:
    whole = victim(kind)
    problems = []
    families = broken_elf.mutants(whole.data, kind, EACH, large=kind in LARGE)
    for number, mutant in enumerate(families.get(family, [])):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = Trial(whole, mutant.data, folder, contained, runs=family not in NOT_RUN)
        problem = trial.problem(number)
        if problem:
            problems.append(f"{kind}, {mutant.name}: {problem}")
        shutil.rmtree(folder)
    assert not problems, "\n".join([f"{len(problems)} problems", *problems[:20]])


class Trial:
    """One broken file, through every command that reads ELF files."""

    def __init__(self, whole: Victim, data: bytes, folder: Path, contained: Contained, *, runs: bool) -> None:
        self.whole, self.data, self.folder, self.contained, self.runs = whole, data, folder, contained, runs
        self.file = folder / "broken.elf"
        self.file.write_bytes(data)
        self.file.chmod(0o755)

    def problem(self, number: int) -> str | None:
        """What is wrong with the tool's conduct; None if nothing is."""
        region = (hex(self.whole.region), "victim", "main" if self.whole.program else "answer")[number % 3]
        words = ["patch", "broken.elf", "--region", region, "-o", "out"]
        outcome = self.contained.call(words, cwd=self.folder)
        wrong = judge(outcome, names="broken.elf")
        if wrong:
            return f"patch --region {region} {wrong}"
        left = leftovers(self.folder, {"broken.elf"})
        if self.file.read_bytes() != self.data:
            return "patch changed its input"
        if outcome.status == 2:
            return f"patch failed and left {left}" if left else self._as_seen_by_others(number)
        if left != ["out", "out.manifest.json"]:
            return f"patch left {left}"
        return self._misfit() or self._irreversible() or self._lame() or self._as_seen_by_others(number)

    def _misfit(self) -> str | None:
        """The hardened file: only what the manifest names is changed, and every loaded byte lies where it lay."""
        new = (self.folder / "out").read_bytes()
        manifest = json.loads((self.folder / "out.manifest.json").read_text())
        kept = bytearray(new[: len(self.data)])
        for change in manifest["changes"]:
            old = bytes.fromhex(change["original"])
            kept[change["offset"] : change["offset"] + len(old)] = old
        if kept != self.data:
            return "something was changed that the manifest does not name"
        before, after = (
            [(s.address, s.offset, s.size) for s in elf_fields.segments(data) if s.kind == elf_fields.PT_LOAD]
            for data in (self.data, new)
        )
        added = [load for load in after if load not in before]
        if [load for load in after if load not in added] != before or len(added) != 1:
            return f"loaded segments were {before} and are {after}"
        if after != sorted(after) or any(offset + size > len(new) for _, offset, size in after):
            return f"loaded segments do not ascend or leave the file: {after}"
        return None

    def _irreversible(self) -> str | None:
        outcome = self.contained.call(["revert", "out", "-o", "back"], cwd=self.folder)
        if outcome.status != 0:
            return f"revert refused what patch made: {outcome.stderr}"
        return None if (self.folder / "back").read_bytes() == self.data else "revert gave another file"

    def _lame(self) -> str | None:
        """What ran before runs after."""
        if not self.runs or not self.whole.program:
            return None
        before, after = run(self.file), run(self.folder / "out")
        return f"runs as {after}, before as {before}" if before == (0, b"3\n") and after != before else None

    def _as_seen_by_others(self, number: int) -> str | None:
        """The other commands, one of them every second time."""
        if number % 2:
            return self._as_module()
        hardened = (self.folder / "out").exists()
        file = "out" if hardened else "broken.elf"
        words = (["inspect", "broken.elf"], ["diff", "broken.elf", file], ["verify", file], ["inspect", "--json", file])
        chosen = words[number // 2 % len(words)]
        wrong = judge(self.contained.call(chosen, cwd=self.folder), answers=(0, 1))
        return f"{' '.join(chosen)}: {wrong}" if wrong else self._as_module()

    def _as_module(self) -> str | None:
        outcome = self.contained.call([self.file], cwd=self.folder, call="hostile.modules:ask")
        return None if outcome.status == 0 else f"as a module of a crashed process: {outcome}"


def run(program: Path) -> tuple[int | str, bytes]:
    """Exit status, or why there is none, and output."""
    try:
        done = subprocess.run([program], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__, b""
    return done.returncode, done.stdout
