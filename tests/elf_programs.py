"""Small programs for the tests of image, localize and plan, built by the compiler that comes with the test packages."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

ZIG = (sys.executable, "-m", "ziglang")
GNU = ("-target", "x86_64-linux-gnu.2.31")
KINDS = {
    "pie": (*GNU, "-fPIE", "-pie"),
    "fixed": (*GNU, "-fno-pie", "-no-pie"),
    "shared": (*GNU, "-fPIC", "-shared"),
}


def compile_program(folder: Path, source: str, *flags: str, kind: str = "pie", name: str = "program.c") -> Path:
    """Compile a text (C, or assembly where the name ends in .S); the result lies beside the source."""
    path = folder / name
    path.write_text(source)
    out = path.with_suffix(f".{kind}")
    command = [
        *ZIG,
        "cc",
        "-O2",
        *(() if "-g" in flags else ("-g0",)),
        "-fno-sanitize=all",
        "-Wl,--build-id",
        *KINDS[kind],
        *flags,
    ]
    subprocess.run([*command, "-o", str(out), str(path)], check=True, capture_output=True, text=True)
    return out


def stripped(path: Path) -> Path:
    """A copy whose symbols and debugging information are no sections any more, as in distributed programs."""
    from elftools.elf.elffile import ELFFile

    out = path.with_name(path.name + ".stripped")
    shutil.copy2(path, out)
    with path.open("rb") as stream, out.open("r+b") as file:
        elf = ELFFile(stream)
        for index, section in enumerate(elf.iter_sections()):
            if section.name.startswith((".symtab", ".strtab", ".debug")):
                file.seek(elf["e_shoff"] + index * elf["e_shentsize"])
                file.write(bytes(elf["e_shentsize"]))
    return out


def without_section_headers(path: Path) -> Path:
    """A copy whose ELF header knows no section headers."""
    out = path.with_name(path.name + ".sstripped")
    shutil.copy2(path, out)
    with out.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<Q", 0))
        file.seek(58)
        file.write(struct.pack("<HHH", 0, 0, 0))
    return out


def symbols(path: Path) -> dict[str, int]:
    """Name → address of every defined symbol, read by another library than the one under test."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    found: dict[str, int] = {}
    with path.open("rb") as stream:
        for section in ELFFile(stream).iter_sections("SHT_SYMTAB"):
            assert isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols():
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name:
                    found[symbol.name] = symbol["st_value"]
    return found
