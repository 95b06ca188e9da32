"""What is injected of the decoder: freestanding, without writable data, relocations or foreign symbols; small."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from decoder.native import DECODE, FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

TABLE_BUDGET = 24 << 10


@pytest.fixture(scope="module", params=["x86_64-linux-musl", "x86-linux-musl"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """decode.c as an object file for each architecture."""
    output = tmp_path_factory.mktemp("object") / "decode.o"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", request.param, *FLAGS, "-fno-sanitize=undefined"]
    subprocess.run([*command, "-c", str(DECODE / "decode.c"), "-o", str(output)], check=True)
    return output


def test_nothing_is_writable(compiled: Path) -> None:
    with compiled.open("rb") as file:
        writable = [
            section.name
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & 1 and section["sh_flags"] & 2 and section["sh_size"]
        ]
    assert not writable


def test_nothing_foreign_is_called(compiled: Path) -> None:
    with compiled.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        foreign = {symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}
    assert foreign <= {"_GLOBAL_OFFSET_TABLE_"}  # i386: only as the base of offsets


def test_nothing_is_left_to_relocate_at_load_time(compiled: Path) -> None:
    linked = compiled.with_suffix(".so")
    target = "x86_64-linux-musl" if "x86_64" in _machine(compiled) else "x86-linux-musl"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared", "-nostdlib", str(compiled)]
    subprocess.run([*command, "-o", str(linked)], check=True)
    with linked.open("rb") as file:
        elf = ELFFile(file)
        relocations = [section.name for section in elf.iter_sections() if section["sh_type"] in ("SHT_REL", "SHT_RELA")]
    assert not relocations


def _machine(path: Path) -> str:
    with path.open("rb") as file:
        return "x86_64" if ELFFile(file)["e_machine"] == "EM_X86_64" else "i386"


def test_tables_fit_their_budget() -> None:
    match = re.search(r"(\d+) bytes\. \*/", (DECODE / "tables.inc").read_text())
    assert match and int(match.group(1)) <= TABLE_BUDGET


@pytest.mark.slow
def test_tables_are_what_the_generator_writes() -> None:
    text = (DECODE / "tables.inc").read_text()
    generated_from = re.search(r"from iced-x86 ([\d.]+)\.", text)
    assert generated_from
    if generated_from.group(1).rstrip(".") != version("iced-x86"):
        pytest.skip("tables.inc was generated from another version of iced-x86")
    generator = DECODE.parents[1] / "scripts" / "generate_decoder"
    assert subprocess.run([sys.executable, str(generator), "--check"]).returncode == 0
