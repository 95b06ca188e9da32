"""Every kind of link: hardened with a runtime that does nothing, a file is what it was but for what was announced."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import lief
import pytest
from elftools.elf.elffile import ELFFile
from rewrite.conftest import KINDS, Built, plan_for, run_traced

from stemrw.rewrite import Rewritten, revert, rewrite
from stemrw.runtime import RuntimeImage

pytestmark = pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
Hardened = tuple[Built, bytes, Rewritten]


@pytest.fixture
def hardened(kind: str, built: Callable[[str], Built], null_image: RuntimeImage) -> Hardened:
    program = built(kind)
    data = program.target.read_bytes()
    return program, data, rewrite(data, plan_for(data, list(program.functions.values())), image=null_image)


def run(program: Built, data: bytes, folder: Path) -> tuple[str, list[int]]:
    """Run the program with `data` in the place of its target: output, and the patches that were passed."""
    place(program, data, folder)
    output, passed = run_traced([folder / program.program.name])
    return output, passed


def place(program: Built, data: bytes, folder: Path) -> None:
    shutil.copy(program.program, folder)
    target = folder / program.target.name
    target.write_bytes(data)
    target.chmod(0o755)


def test_program_runs_through_every_gate(hardened: Hardened, tmp_path: Path) -> None:
    program, _, result = hardened
    output, passed = run(program, result.data, tmp_path)
    assert output == "ok\n"
    regions = {patch.address for patch in result.manifest.patches if patch.kind == "region"}
    assert regions <= set(passed)
    assert len(regions) == len(program.functions) >= 24


def test_start_gate_is_the_first_and_signal_calls_are_observed(hardened: Hardened, tmp_path: Path) -> None:
    program, _, result = hardened
    _, passed = run(program, result.data, tmp_path)
    starts = [patch.address for patch in result.manifest.patches if patch.kind == "start"]
    if not (program.kind.shared and not starts):  # a library need not have an initialiser
        assert passed[0] == starts[0]
    if program.kind.shared or "static" in program.kind.name:
        return
    observed = {patch.name: patch.address for patch in result.manifest.patches if patch.kind == "observe"}
    assert {"sigaction@plt", "signal@plt", "sigprocmask@plt"} <= set(observed)
    assert set(observed.values()) <= set(passed)
    assert result.manifest.unobserved == ()


def test_revert_gives_the_identical_file(hardened: Hardened) -> None:
    _, data, result = hardened
    assert bytes(revert(result.data, result.manifest)) == data


def test_same_input_same_bytes(hardened: Hardened, null_image: RuntimeImage) -> None:
    program, data, result = hardened
    again = rewrite(data, plan_for(data, list(program.functions.values())[::-1]), image=null_image)
    assert again == result


def test_only_announced_bytes_change(hardened: Hardened) -> None:
    _, data, result = hardened
    announced = {
        offset
        for change in result.manifest.changes
        for offset in range(change.offset, change.offset + len(change.data))
    }
    changed = {i for i, (old, new) in enumerate(zip(data, result.data, strict=False)) if old != new}
    assert changed <= announced
    entries = {change.address for change in result.manifest.changes if change.what == "function entry"}
    assert entries == {patch.address for patch in result.manifest.patches}


def test_sections_and_segments_stay_where_they_were(hardened: Hardened, tmp_path: Path) -> None:
    program, _, result = hardened
    place(program, result.data, tmp_path)
    with program.target.open("rb") as old_file, (tmp_path / program.target.name).open("rb") as new_file:
        old, new = ELFFile(old_file), ELFFile(new_file)
        for i, section in enumerate(old.iter_sections()):
            if section.name != ".shstrtab":
                assert new.get_section(i).header == section.header, section.name
                assert new.get_section(i).name == section.name
        added = [new.get_section(i) for i in range(old.num_sections(), new.num_sections())]
        assert [section.name for section in added] == [".stemrw", ".stemrw.state"]
        before = [s.header for s in old.iter_segments() if s.header.p_type not in ("PT_LOAD", "PT_NOTE", "PT_PHDR")]
        after = [s.header for s in new.iter_segments()]
        assert all(header in after for header in before)
    assert result.manifest.output.build_id == result.manifest.input.build_id


def test_notes_can_still_be_read(hardened: Hardened, tmp_path: Path) -> None:
    program, data, result = hardened

    def notes(content: bytes) -> list[str]:
        file = tmp_path / "file"
        file.write_bytes(content)
        done = subprocess.run(["readelf", "-nW", file], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert notes(result.data) == notes(data)
    assert "Build ID" in "".join(notes(data)) or program.kind.name.startswith("gold")


def test_another_parser_finds_payload_and_state(hardened: Hardened) -> None:
    _, _, result = hardened
    parsed = lief.ELF.parse(list(result.data))
    assert parsed is not None
    loads = [s for s in parsed.segments if s.type == lief.ELF.Segment.TYPE.LOAD]
    addresses = [load.virtual_address for load in loads]
    assert addresses == sorted(addresses)
    payload = result.manifest.payload
    assert (loads[-1].virtual_address, loads[-1].file_offset, loads[-1].physical_size) == (
        payload.address, payload.offset, payload.size,
    )  # fmt: skip
    assert payload.address % 4096 == payload.offset % 4096 == 0
    state_end = payload.state_address + payload.state_size
    assert any(s.virtual_address + s.virtual_size == state_end <= payload.address for s in loads[:-1])
    relro = [s for s in parsed.segments if s.type == lief.ELF.Segment.TYPE.GNU_RELRO]
    assert all(payload.state_address >= s.virtual_address + s.virtual_size for s in relro)


@pytest.mark.parametrize("checker", [["eu-elflint", "--gnu-ld"], ["readelf", "-aW"]], ids=["elflint", "readelf"])
def test_no_new_complaint(hardened: Hardened, tmp_path: Path, checker: list[str]) -> None:
    _, data, result = hardened
    if shutil.which(checker[0]) is None:
        pytest.skip(f"no {checker[0]}")

    # elflint compares file offsets with sizes in memory; where lld has two writable segments it says this of .bss too
    mistaken = "'.stemrw.state' not fully contained in segment" if b".relro_padding" in data else "no mistake"

    def complaints(content: bytes) -> set[str]:
        file = tmp_path / "checked"
        file.write_bytes(content)
        done = subprocess.run([*checker, file], capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr if checker[0] == "eu-elflint" else done.stderr
        return {line for line in text.splitlines() if mistaken not in line}

    assert complaints(result.data) <= complaints(data) | {"No errors"}


@pytest.mark.parametrize("tool", [["strip"], ["strip", "objcopy"], ["eu-strip"], ["strip-first"]], ids="-".join)
def test_survives_strip_and_objcopy(
    kind: str, built: Callable[[str], Built], null_image: RuntimeImage, tmp_path: Path, tool: list[str]
) -> None:
    program = built(kind)
    file = tmp_path / "file"
    shutil.copy(program.target, file)
    if tool == ["strip-first"]:
        subprocess.run(["strip", file], check=True)
        tool = ["strip"]
    data = file.read_bytes()
    file.write_bytes(rewrite(data, plan_for(data, list(program.functions.values())), image=null_image).data)
    for command in tool:
        if shutil.which(command) is None:
            pytest.skip(f"no {command}")
        subprocess.run([command, file], check=True)
    output, passed = run(program, file.read_bytes(), tmp_path)
    assert output == "ok\n"
    assert len(set(passed)) >= len(program.functions)
