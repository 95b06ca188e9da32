"""Every flavour of file (flavours.py): hardened, it is what it was but for what was announced, and it survives.

By default a selection in which every pair of values occurs. For scripts/matrix, STEMRW_MATRIX=COUNT:SEED draws
others at random, and STEMRW_MATRIX=all takes all.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lief
import pytest
from elftools.elf.elffile import ELFFile
from harness import execute, recoveries
from rewrite.conftest import plan_for, run_traced
from rewrite.flavours import Built, Cell, all_cells, covering_cells, name, refusals, some_cells

from stemrw.cli.patch import patch
from stemrw.cli.revert import revert as revert_command
from stemrw.documents.manifest import load_manifest, manifest_path
from stemrw.errors import BinaryError, StemrwError
from stemrw.image import Image
from stemrw.rewrite import Rewritten, revert, rewrite
from stemrw.runtime import RuntimeImage


def _chosen(which: str) -> Sequence[Cell]:
    if which == "all":
        return list(all_cells())
    count, _, seed = which.partition(":")
    return some_cells(int(count), int(seed or 0)) if count else covering_cells()


CELLS = _chosen(os.environ.get("STEMRW_MATRIX", ""))
every_cell = pytest.mark.parametrize("cell", CELLS, ids=name)
hardened_cell = pytest.mark.parametrize("cell", [cell for cell in CELLS if not refusals(cell)], ids=name)
refused_cell = pytest.mark.parametrize("cell", [cell for cell in CELLS if refusals(cell)], ids=name)


@dataclass(frozen=True)
class Hardened:
    """A program, its target's content, and what the rewriter made of it."""

    built: Built
    data: bytes
    done: Rewritten


@pytest.fixture(scope="module")
def hardened(built: Callable[[Cell], Built], null_image: RuntimeImage) -> Callable[[Cell], Hardened]:
    """Hardens one combination, every function of shapes.c, with the runtime that does nothing; once."""
    made: dict[str, Hardened] = {}

    def of(cell: Cell) -> Hardened:
        if name(cell) not in made:
            program = built(cell)
            data = program.target.read_bytes()
            made[name(cell)] = Hardened(program, data, harden(program, data, null_image))
        return made[name(cell)]

    return of


@pytest.fixture
def one(cell: Cell, hardened: Callable[[Cell], Hardened]) -> Hardened:
    return hardened(cell)


def harden(program: Built, data: bytes, image: RuntimeImage) -> Rewritten:
    return rewrite(data, plan_for(data, list(program.functions.values())), image=image)


def place(program: Built, data: bytes, folder: Path) -> Path:
    """Put the program into a folder, with `data` in the place of its target; gives the program's path there."""
    shutil.copy(program.program, folder)
    target = folder / program.target.name
    target.write_bytes(data)
    target.chmod(0o755)
    return folder / program.program.name


def run(program: Built, data: bytes, folder: Path) -> list[int]:
    """Run it with another target; it must say "ok". Gives the patches that were passed."""
    output, passed = run_traced([place(program, data, folder)])
    assert output == "ok\n"
    return passed


@every_cell
def test_original_runs_and_dies_of_its_fault(cell: Cell, built: Callable[[Cell], Built]) -> None:
    program = built(cell)
    assert run_traced([program.program]) == ("ok\n", [])
    assert execute([program.program, "fault"]).returncode == -signal.SIGSEGV


@refused_cell
def test_refused_with_the_reason(cell: Cell, built: Callable[[Cell], Built], null_image: RuntimeImage) -> None:
    program = built(cell)
    with pytest.raises(BinaryError) as caught:
        harden(program, program.target.read_bytes(), null_image)
    assert any(reason in caught.value.message for reason in refusals(cell)) and caught.value.hint


@hardened_cell
def test_program_runs_through_every_gate(one: Hardened, tmp_path: Path) -> None:
    passed = run(one.built, one.done.data, tmp_path)
    patches = one.done.manifest.patches
    regions = {patch.function: patch.address for patch in patches if patch.kind == "region"}
    never_called = one.built.functions["crashes"][0]
    assert {address for function, address in regions.items() if function != never_called} <= set(passed)
    assert len(regions) == len(one.built.functions) >= 25
    start = [patch.address for patch in patches if patch.kind == "start"]
    assert start or one.built.is_library  # a library need not have an initialiser
    assert passed[: len(start)] == start


@hardened_cell
def test_signal_calls_are_observed(one: Hardened, cell: Cell, tmp_path: Path) -> None:
    passed = run(one.built, one.done.data, tmp_path)
    observed = {patch.name: patch.address for patch in one.done.manifest.patches if patch.kind == "observe"}
    assert set(observed.values()) <= set(passed) or cell["kind"] in ("static", "static-pie")
    seen = {str(name).removesuffix("@plt") for name in observed}
    if cell["kind"] in ("pie", "fixed", "plugin"):
        assert {"sigaction", "signal", "sigprocmask"} <= seen | set(one.done.manifest.unobserved)
        if cell["symbols"] != "headerless":  # there is no telling where the stubs are
            assert one.done.manifest.unobserved == ()


@hardened_cell
def test_revert_gives_the_identical_file(one: Hardened) -> None:
    assert bytes(revert(one.done.data, one.done.manifest)) == one.data


@hardened_cell
def test_same_input_same_bytes(one: Hardened, null_image: RuntimeImage) -> None:
    functions = list(one.built.functions.values())
    again = rewrite(one.data, plan_for(one.data, functions[::-1]), image=null_image)
    assert (again.data, again.manifest) == (one.done.data, one.done.manifest)


@hardened_cell
def test_only_announced_bytes_change(one: Hardened) -> None:
    changes = one.done.manifest.changes
    announced = {at for change in changes for at in range(change.offset, change.offset + len(change.data))}
    new = one.done.data
    changed = {
        at
        for block in range(0, len(one.data), 4096)
        if one.data[block : block + 4096] != new[block : min(block + 4096, len(one.data))]
        for at in range(block, min(block + 4096, len(one.data)))
        if one.data[at] != new[at]
    }
    assert changed <= announced
    entries = {change.address for change in changes if change.what == "function entry"}
    assert entries == {patch.address for patch in one.done.manifest.patches}


@hardened_cell
def test_sections_and_segments_stay_where_they_were(one: Hardened, cell: Cell, tmp_path: Path) -> None:
    place(one.built, one.done.data, tmp_path)
    with one.built.target.open("rb") as old_file, (tmp_path / one.built.target.name).open("rb") as new_file:
        old, new = ELFFile(old_file), ELFFile(new_file)
        for i, section in enumerate(old.iter_sections()):
            if section.name != ".shstrtab":
                assert new.get_section(i).header == section.header, section.name
                assert new.get_section(i).name == section.name
        added = [new.get_section(i).name for i in range(old.num_sections(), new.num_sections())]
        assert added == ([] if cell["symbols"] == "headerless" else [".stemrw", ".stemrw.state"])
        before = [s.header for s in old.iter_segments() if s.header.p_type not in ("PT_LOAD", "PT_NOTE", "PT_PHDR")]
        after = [s.header for s in new.iter_segments()]
        assert all(header in after for header in before)
    assert one.done.manifest.output.build_id == one.done.manifest.input.build_id


@hardened_cell
def test_notes_can_still_be_read(one: Hardened, cell: Cell, tmp_path: Path) -> None:
    def notes(content: bytes) -> list[str]:
        file = tmp_path / "file"
        file.write_bytes(content)
        done = subprocess.run(["readelf", "-nW", file], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    before = notes(one.data)
    assert ("Build ID" in "".join(before)) == (cell["notes"] != "none")
    assert ("NT_GNU_PROPERTY_TYPE_0" in "".join(before)) == (cell["notes"] == "property")
    if cell["symbols"] != "headerless":  # there the program header was the way to the note
        assert notes(one.done.data) == before


@hardened_cell
def test_another_parser_finds_payload_and_state(one: Hardened) -> None:
    parsed = lief.ELF.parse(list(one.done.data))
    assert parsed is not None
    loads = [s for s in parsed.segments if s.type == lief.ELF.Segment.TYPE.LOAD]
    ends = [load.virtual_address + load.virtual_size for load in loads]
    assert all(end <= load.virtual_address for end, load in zip(ends, loads[1:], strict=False))
    payload = one.done.manifest.payload
    ours = (payload.address, payload.offset, payload.size)
    assert ours in [(load.virtual_address, load.file_offset, load.physical_size) for load in loads]
    assert payload.address % 4096 == payload.offset % 4096 == 0
    assert payload.state_address + payload.state_size in ends
    relro = [s for s in parsed.segments if s.type == lief.ELF.Segment.TYPE.GNU_RELRO]
    assert all(payload.state_address >= s.virtual_address + s.virtual_size for s in relro)


@pytest.mark.parametrize("checker", [["eu-elflint", "--gnu-ld"], ["readelf", "-aW"]], ids=["elflint", "readelf"])
@hardened_cell
def test_no_new_complaint(one: Hardened, cell: Cell, tmp_path: Path, checker: list[str]) -> None:
    # elflint compares file offsets with sizes in memory; where there are several writable segments, or gaps, it says
    # this of .bss too
    mistaken = "'.stemrw.state' not fully contained in segment"

    def complaints(content: bytes) -> set[str]:
        file = tmp_path / "checked"
        file.write_bytes(content)
        done = subprocess.run([*checker, file], capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr if checker[0] == "eu-elflint" else done.stderr
        # headers behind the payload's count one further
        return {re.sub(r"header entry \d+", "header entry", line) for line in text.splitlines() if mistaken not in line}

    assert complaints(one.done.data) <= complaints(one.data) | {"No errors"}


@pytest.mark.parametrize("tool", [["strip"], ["objcopy"], ["eu-strip"], ["strip", "objcopy"]], ids="-".join)
@hardened_cell
def test_survives_strip_and_objcopy(one: Hardened, cell: Cell, tmp_path: Path, tool: list[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(one.done.data)
    file.chmod(0o755)
    for command in tool:
        done = subprocess.run([command, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or cell["symbols"] == "headerless", done.stderr
    passed = run(one.built, file.read_bytes(), tmp_path)
    assert len(set(passed)) >= len(one.built.functions) - 1


@every_cell
def test_functions_are_found(cell: Cell, built: Callable[[Cell], Built]) -> None:
    """By symbol or unwind entry, with the right size."""
    program = built(cell)
    image = Image.open(program.target)
    for function, (address, size) in program.functions.items() if program.lists_functions else ():
        owner = image.owner(address + size - 1)
        assert owner is not None and (owner.function.entry, owner.function.size) == (address, size), function
    if cell["symbols"] == "minidebug":
        assert [f.entry for f in image.functions_named("crashes")] == [program.functions["crashes"][0]]


@hardened_cell
def test_fault_is_survived_and_a_second_patch_adds_a_region(one: Hardened, tmp_path: Path) -> None:
    """The whole way, with the real runtime: patch, patch again, survive, revert."""
    program = place(one.built, one.data, tmp_path)
    target, events = tmp_path / one.built.target.name, tmp_path / "events"
    regions = [one.built.functions[name][0] for name in ("crashes", "fibonacci")]
    if not one.built.lists_functions:
        with pytest.raises(StemrwError, match=r"no function|leads to a function"):
            patch(target, region=[hex(regions[0])], output=target)
        return
    for region in regions:
        patch(target, region=[hex(region)], output=target, return_value="-1", events=events)
    assert {region.address for region in load_manifest(manifest_path(target)).regions} >= set(regions)
    outcome = execute([program])
    assert (outcome.stdout, outcome.stderr, outcome.returncode) == (b"ok\n", b"", 0)
    assert recoveries(events) == []
    outcome = execute([program, "fault"])
    assert (outcome.stdout, outcome.stderr, outcome.returncode) == (b"ok\n", b"", 0)
    (recovery,) = recoveries(events)
    assert int(recovery["region"], 16) == regions[0] and recovery["class"] == "null-dereference"
    revert_command(target, output=tmp_path / "reverted")
    assert (tmp_path / "reverted").read_bytes() == one.data
