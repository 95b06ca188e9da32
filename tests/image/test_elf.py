"""What is not a usable ELF file is refused with the reason, and nothing else is ever raised."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemrw.elf import Elf, branch_candidates
from stemrw.errors import BinaryError
from stemrw.image import Image


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF\x02\x01\x01", "ends within its ELF header"),
        (b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HH", 2, 3) + bytes(44), "32-bit"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 183) + bytes(44), "machine 183"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 1, 62) + bytes(44), "relocatable object"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 4, 62) + bytes(44), "core dump"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(44), "no usable program headers"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(BinaryError, match=message) as error:
        Image.open(path)
    assert str(path) in str(error.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BinaryError, match="cannot be read"):
            Image.open(path)


def test_truncated_file_is_refused(parts: Path, tmp_path: Path) -> None:
    path = tmp_path / "truncated"
    path.write_bytes(parts.read_bytes()[:2048])
    with pytest.raises(BinaryError, match="truncated"):
        Image.open(path)


def test_build_id_and_hash_are_those_of_the_file(parts: Path) -> None:
    with parts.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".note.gnu.build-id")
        assert isinstance(section, NoteSection)
        note = next(section.iter_notes())
    assert Image.open(parts).build_id == note["n_desc"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 1 << 13), st.integers(0, 255)), max_size=12))
def test_damaged_file_never_raises_anything_but_binary_error(
    parts: Path, tmp_path: Path, edits: list[tuple[int, int]]
) -> None:
    """Headers, tables and unwind entries with random bytes in them."""
    data = bytearray(parts.read_bytes())
    for place, value in edits:
        data[place % len(data)] = value
    path = tmp_path / "damaged"
    path.write_bytes(data)
    try:
        image = Image.open(path)
        for segment in image.elf.code_segments[:2]:
            owner = image.owner(segment.address + 1)
            if owner is not None:
                image.may_return(owner.function)
        assert image.main is None or image.main.size > 0
    except BinaryError:
        pass


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(0, 400_000),
    base=st.integers(0, 1 << 32),
    sites=st.lists(st.tuples(st.integers(0, 399_990), st.integers(0, 2), st.integers(0, 500)), max_size=30),
    low=st.integers(-300_000, 700_000),
    width=st.integers(1, 6000),
)
def test_search_for_branches_misses_none(
    size: int, base: int, sites: list[tuple[int, int, int]], low: int, width: int
) -> None:
    """The substring search finds exactly what a look at every byte finds."""
    code = bytearray(size)
    for at, kind, offset in sites:
        opcode = (b"\xe8", b"\xe9", b"\x0f\x84")[kind]
        end = at + len(opcode) + 4
        if end <= size:
            code[at:end] = opcode + struct.pack("<i", low + offset % width - end)
    expected = []
    for at in range(size - 4):
        if code[at] in (0xE8, 0xE9):
            start, length = at, 1
        elif code[at] == 0x0F and code[at + 1] & 0xF0 == 0x80 and at + 6 <= size:
            start, length = at, 2
        else:
            continue
        target = start + length + 4 + int.from_bytes(code[start + length : start + length + 4], "little", signed=True)
        if low <= target < low + width and start + length + 4 <= size:
            expected.append((base + start, base + target))
    assert sorted(branch_candidates(bytes(code), base, base + low, base + low + width)) == expected


def test_segments_that_share_the_file_many_times_over_are_refused() -> None:
    """Each would be read as a whole: a file of one megabyte would need one gigabyte."""
    count, size = 1000, 1 << 20
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0x1000, 64, 0, 0, 64, 56, count, 64, 0, 0)
    loads = [struct.pack("<IIQQQQQQ", 1, 5, 0, i * size, i * size, size, size, 4096) for i in range(count)]
    with pytest.raises(BinaryError, match="several times over"):
        Elf((header + b"".join(loads)).ljust(size, b"\xe8"))
