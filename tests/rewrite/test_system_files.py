"""Stripped programs and libraries as shipped: many functions patched at once, and everything still runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from rewrite.conftest import plan_for, run_traced

from stemrw.elf import Elf
from stemrw.errors import BinaryError
from stemrw.rewrite import revert, rewrite
from stemrw.rewrite._entry import Target, find_entries
from stemrw.rewrite._surroundings import Surroundings
from stemrw.runtime import RuntimeImage

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
PYTHON = "import json, re; print(json.dumps([1, {'a': re.sub('b+', 'c', 'abba')}]), sum(i * i for i in range(1000)))"
SHELL = 'f() { echo "$1 $(($2 * 7))"; }; for i in 1 2 3; do f x $i; done; case abc in a*) echo yes;; esac; trap : INT'


@dataclass(frozen=True)
class Use:
    """A file, and a command that uses it and whose output must stay; "HARDENED" stands for the file itself."""

    file: Path
    command: tuple[str, ...]
    patched: int = 40


USES = [
    Use(Path("/usr/bin/dash"), ("HARDENED", "-c", SHELL)),
    Use(Path("/usr/bin/python3.11"), ("HARDENED", "-c", PYTHON)),
    Use(Path("/usr/bin/rg"), ("HARDENED", "-n", "--sort", "path", "t[a-z]*e", "in.md", "in.tcl")),  # Rust
    Use(Path("/usr/bin/yasm"), ("HARDENED", "-f", "elf64", "-o", "/dev/null", "in.s")),
    Use(LIBRARIES / "libsqlite3.so.0", ("/usr/bin/sqlite3", ":memory:", "create table t(a); insert into t values(1)")),
    Use(LIBRARIES / "libjq.so.1", ("/usr/bin/jq", "-n", "[1,2,3] | map(. * 2) | add")),
    Use(LIBRARIES / "librrd.so.8", ("/usr/bin/rrdtool", "create", "out.rrd", "DS:a:GAUGE:9:U:U", "RRA:LAST:0.5:1:9")),
    Use(LIBRARIES / "libtcl8.6.so", ("/usr/bin/tclsh8.6", "in.tcl")),
    Use(LIBRARIES / "libmarkdown.so.2", ("/usr/bin/markdown", "in.md")),
    Use(LIBRARIES / "libc.so.6", ("/usr/bin/env", "printf", "%s %.3f\\n", "text", "1.5")),
    Use(LIBRARIES / "libstdc++.so.6", ("/usr/bin/gdb", "-batch", "-ex", "print 6 * 7")),
]
INPUTS = {
    "in.s": "mov eax, 1\nl: jmp l\ndb 'text', 0\n",
    "in.tcl": "puts [expr {6 * 7}]\nputs [lsort {c b a}]\nputs [regsub {b+} abbbc x]\n",
    "in.md": "# title\n\n* one\n* two *three*\n\n[link](http://example.org)\n",
}


@pytest.mark.parametrize("use", USES, ids=lambda use: use.file.name)
def test_shipped_file_still_works(use: Use, null_image: RuntimeImage, tmp_path: Path) -> None:
    program = use.file if use.command[0] == "HARDENED" else Path(use.command[0])
    if not use.file.exists() or not program.exists():
        pytest.skip(f"no {use.file} or no {program}")
    for name, text in INPUTS.items():
        (tmp_path / name).write_text(text)
    data = use.file.read_bytes()
    functions = patchable(use.file, data, use.patched)
    done = rewrite(data, plan_for(data, functions), image=null_image)
    assert bytes(revert(done.data, done.manifest)) == data
    hardened = tmp_path / use.file.name
    hardened.write_bytes(done.data)
    hardened.chmod(0o755)

    expected, _ = run_traced([program, *use.command[1:]], cwd=tmp_path)
    replaced = hardened if program == use.file else program
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    output, passed = run_traced([replaced, *use.command[1:]], cwd=tmp_path, env=environment)
    assert output == expected
    regions = {patch.address for patch in done.manifest.patches if patch.kind == "region"}
    assert regions & set(passed)


def patchable(file: Path, data: bytes, count: int) -> list[tuple[int, int]]:
    """Evenly spread functions of the file (by unwind entries) whose entries can be replaced."""
    elf = Elf(data)
    with file.open("rb") as stream:
        frames = [entry for entry in ELFFile(stream).get_dwarf_info().EH_CFI_entries() if isinstance(entry, FDE)]
    around = Surroundings(elf)
    found: list[tuple[int, int]] = []
    for frame in frames[:: max(1, len(frames) // (2 * count))]:
        address, size = frame["initial_location"], frame["address_range"]
        try:
            find_entries(elf, [Target(address, size)], around)
        except BinaryError:
            continue
        if address % 16 == 0 and len(found) < count:
            found.append((address, size))
    return found
