"""Entries in which no 5-byte jump fits (programs/entries.S): a short jump to padding near by, or a refusal."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import execute, recoveries
from rewrite.conftest import plan_for, run_traced
from rewrite.flavours import PROGRAMS

from stemrw.documents.plan import Plan
from stemrw.elf import Elf
from stemrw.errors import BinaryError
from stemrw.rewrite import Rewritten, Target, revert, rewrite
from stemrw.rewrite._entry import find_entries
from stemrw.runtime import RuntimeImage

SAYS = "0 6 9 6 9\n3 4 5 8 9 6\n"
STONE = ("tiny_zero", "tiny_load", "falls", "loops", "far_back", "switches", "calls")
DIRECT = ("touched", "fallen", "last", "uses_them")


@dataclass(frozen=True)
class Program:
    path: Path
    data: bytes
    functions: dict[str, tuple[int, int]]

    def plan(self, *names: str, return_value: int = 0) -> Plan:
        plan = plan_for(self.data, [self.functions[name] for name in names])
        regions = tuple(region.model_copy(update={"return_value": return_value}) for region in plan.regions)
        return plan.model_copy(update={"regions": regions})


@pytest.fixture(scope="module", params=[("-pie",), ("-no-pie",), ("-pie", "-s")], ids="".join)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    folder = tmp_path_factory.mktemp("entries")
    whole, path = folder / "whole", folder / "program"
    link, *strip = request.param
    compiler = ["gcc", "-O2", "-fPIE", link, PROGRAMS / "entries.S", PROGRAMS / "entries.c"]
    subprocess.run([*compiler, "-o", whole], check=True)
    subprocess.run([*compiler, *strip, "-o", path], check=True)
    listing = subprocess.run(["nm", "-S", whole], check=True, capture_output=True, text=True).stdout
    words = [line.split() for line in listing.splitlines()]
    functions = {w[3]: (int(w[0], 16), int(w[1], 16)) for w in words if len(w) == 4 and w[2] in "tT"}
    return Program(path, path.read_bytes(), functions)


def write(done: Rewritten, folder: Path) -> Path:
    hardened = folder / "hardened"
    hardened.write_bytes(done.data)
    hardened.chmod(0o755)
    return hardened


def patched_alone(program: Program, name: str) -> bool:
    """Whether the entry of one function holds a 5-byte jump; raises BinaryError where none fits at all."""
    (entry,) = find_entries(Elf(program.data), [Target(*program.functions[name], name)])
    return entry.stone is None


def test_shortest_way_that_fits_is_taken(program: Program) -> None:
    assert [name for name in (*STONE, *DIRECT) if patched_alone(program, name)] == list(DIRECT)


@pytest.mark.parametrize(
    ("name", "why"),
    [("only_returns", "only 1 byte, and"), ("protected", "only 1 byte behind its endbr64, and no room")],
)
def test_without_room_for_two_bytes_it_is_refused(program: Program, name: str, why: str) -> None:
    with pytest.raises(BinaryError, match=f"the function {name}: .*{why}") as caught:
        find_entries(Elf(program.data), [Target(*program.functions[name], name)])
    assert caught.value.address == program.functions[name][0] and caught.value.hint


def test_all_at_once_natively(program: Program, null_image: RuntimeImage, tmp_path: Path) -> None:
    """Neighbours that touch, one that falls into another, branches into the first bytes: what they do stays."""
    done = rewrite(program.data, program.plan(*STONE, *DIRECT), image=null_image)
    output, passed = run_traced([write(done, tmp_path)])
    assert output == SAYS == run_traced([program.path])[0]
    assert {program.functions[name][0] for name in (*STONE, *DIRECT)} <= set(passed)
    assert passed.count(program.functions["fallen"][0]) == 2  # called, and fallen into
    assert bytes(revert(done.data, done.manifest)) == program.data


def test_stones_lie_in_padding_and_are_told(program: Program, null_image: RuntimeImage) -> None:
    done = rewrite(program.data, program.plan(*STONE, *DIRECT), image=null_image)
    stones = {patch.function: patch.stone for patch in done.manifest.patches if patch.stone is not None}
    assert set(stones) == {program.functions[name][0] for name in STONE}
    code = [range(address, address + size) for address, size in program.functions.values()]
    ours = [range(stone, stone + 5) for stone in stones.values()]
    assert not any(a.start < b.stop and b.start < a.stop for a in ours for b in code)
    assert len({at for stone in ours for at in stone}) == 5 * len(ours)
    told = {change.address for change in done.manifest.changes if change.what == "padding"}
    assert told == set(stones.values())
    assert {r.address for r in _records(done, null_image)} >= told


@dataclass(frozen=True)
class _Record:
    address: int
    original: bytes


def _records(done: Rewritten, image: RuntimeImage) -> Sequence[_Record]:
    """The table that the runtime reads: sorted, with the original bytes of every place that was replaced."""
    payload = done.data[done.manifest.payload.offset :]
    header = {k: int.from_bytes(v, "little") for k, v in image.structs["payload_header"].unpack(payload).items()}
    patch = image.structs["patch"]
    found = []
    for i in range(header["patch_count"]):
        fields = patch.unpack(payload, header["patch_table"] + patch.size * i)
        length = fields["length"][0]
        found.append(_Record(int.from_bytes(fields["address"], "little"), fields["original"][:length]))
    assert [record.address for record in found] == sorted(record.address for record in found)
    return found


def test_original_bytes_of_every_changed_place_are_in_the_table(program: Program, null_image: RuntimeImage) -> None:
    done = rewrite(program.data, program.plan(*STONE, *DIRECT), image=null_image)
    changes = {c.address: c.data for c in done.manifest.changes if c.address is not None}
    assert {record.address: record.original for record in _records(done, null_image)} == changes


@pytest.mark.parametrize("regions", [("tiny_load",), ("uses_them",), (*STONE, *DIRECT)], ids="-".join)
def test_emulated_and_rescued(program: Program, tmp_path: Path, regions: tuple[str, ...]) -> None:
    """With the real runtime: inside a region the original instructions are what is emulated."""
    hardened = write(rewrite(program.data, program.plan(*regions, return_value=(1 << 64) - 3)), tmp_path)
    assert execute([hardened]).stdout == SAYS.encode()
    if "tiny_load" in regions:
        events = tmp_path / "events"
        outcome = execute([hardened, "fault"], environment={"STEMRW_EVENTS": str(events)})
        assert outcome.stdout == f"{SAYS}-3 -3\n".encode()
        assert [int(e["region"], 16) for e in recoveries(events)] == [program.functions["tiny_load"][0]] * 2
