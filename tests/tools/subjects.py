"""The program that the tools are set on: in several flavours, each as it was and hardened.

Both files have the same name, in folders of their own, so that what tools print about them can be compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Tool

import stemrw.runtime

PROGRAMS = Path(__file__).resolve().parent / "programs"
REGIONS = ("quotient", "through", "wait_inside", "spin", "interrupted", "trace", "forks")
UNWINDER = Path(stemrw.runtime.__file__).with_name("gdb_unwinder.py")

FLAVOURS = {
    "dwarf": ("-pie", "-fPIE", "-g"),
    "debuginfo": ("-pie", "-fPIE"),  # stripped, its symbols in .gnu_debugdata
    "debugfile": ("-pie", "-fPIE", "-g"),  # stripped, its symbols in a file that is found by build-id
    "static": ("-static", "-g"),
    "shared": ("-pie", "-fPIE", "-g"),  # the functions are a library's, which is the hardened file
}
WITH_LINES = ("dwarf", "debugfile", "static", "shared")
"""Flavours with line numbers."""


@dataclass(frozen=True)
class Subject:
    """One flavour.  `original` and `hardened` are folders that hold the program and, if there is one, the library."""

    flavour: str
    original: Path
    hardened: Path
    debug: Path
    """A debug-file-directory."""
    functions: dict[str, int]
    """Link-time addresses."""
    manifest: dict[str, Any]

    @property
    def target(self) -> str:
        """Name of the file that is hardened."""
        return "libsubject.so" if self.flavour == "shared" else "subject"

    def files(self) -> tuple[Path, Path]:
        """The file as it was, and hardened."""
        return self.original / self.target, self.hardened / self.target

    def programs(self) -> tuple[Path, Path]:
        """The program as it was, and the one that runs hardened code."""
        return self.original / "subject", self.hardened / "subject"


def run(command: Sequence[str | Path], *, succeeds: bool = True, **options: Any) -> str:
    """Output and diagnostics of a command that must succeed, unless that does not matter."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
        timeout=120,
        **options,
    )
    assert done.returncode == 0 or not succeeds, f"{command}: exit status {done.returncode}\n{done.stdout}"
    return done.stdout


def need(*programs: str) -> None:
    """Skip the test where a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")


def build(flavour: str, folder: Path, tool: Tool) -> Subject:
    """Compile, separate the symbols where the flavour has them elsewhere, and harden."""
    need("gcc", "objcopy", "nm")
    original, hardened, debug = (folder / name for name in ("original", "hardened", "debug"))
    for made in (original, hardened, debug):
        made.mkdir()
    compiler: list[str | Path] = ["gcc", "-O2", "-Wl,--build-id", "-rdynamic", *FLAVOURS[flavour]]
    if flavour == "static":
        compiler.remove("-rdynamic")
    if flavour == "shared":
        library = [*compiler, "-fPIC", "-shared", "-Wl,-soname,libsubject.so", "-o", original / "libsubject.so"]
        run([word for word in library if word not in ("-pie", "-fPIE")] + [PROGRAMS / "subject.c"])
        linked: list[str | Path] = ["-L", original, "-lsubject", "-Wl,-rpath,$ORIGIN"]
        run([*compiler, "-o", original / "subject", PROGRAMS / "main.c", *linked])
        shutil.copy(original / "subject", hardened)
    else:
        run([*compiler, "-o", original / "subject", PROGRAMS / "subject.c", PROGRAMS / "main.c"])
    target = original / ("libsubject.so" if flavour == "shared" else "subject")
    functions = _functions(target)
    if flavour == "debuginfo":
        _to_debugdata(target, folder)
    if flavour == "debugfile":
        _to_debug_file(target, debug)
    regions = [word for name in REGIONS for word in ("--region", f"{functions[name]:#x}")]
    manifest = tool.patch(target, hardened / target.name, *regions, "--return", "-1")
    return Subject(flavour, original, hardened, debug, functions, manifest)


def _functions(file: Path) -> dict[str, int]:
    found = re.findall(r"^([0-9a-f]+) [tT] (\w+)$", run(["nm", file]), re.MULTILINE)
    return {name: int(address, 16) for address, name in found}


def _to_debugdata(file: Path, folder: Path) -> None:
    """As Fedora does it: .symtab becomes a compressed ELF file inside of the stripped one."""
    need("xz")
    mini = folder / "mini"
    run(["objcopy", "--only-keep-debug", file, mini])
    run(["xz", mini])
    run(["strip", "--strip-all", file])
    run(["objcopy", "--add-section", f".gnu_debugdata={mini}.xz", file])


def build_id(file: Path) -> str:
    """The GNU build-id, hexadecimal."""
    found = re.search(r"Build ID: ([0-9a-f]+)", run(["readelf", "-n", file]))
    assert found, f"{file} has no build-id"
    return found[1]


def _to_debug_file(file: Path, debug: Path) -> None:
    identity = build_id(file)
    place = debug / ".build-id" / identity[:2] / f"{identity[2:]}.debug"
    place.parent.mkdir(parents=True)
    run(["objcopy", "--only-keep-debug", file, place])
    run(["strip", "--strip-all", file])


@contextmanager
def started(command: Sequence[str | Path], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has printed its first line; its input is a pipe that stays open."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def wait_until(process: subprocess.Popen[bytes], mode: str) -> None:
    """Until it sleeps in wait_inside, or has been busy in spin for a tenth of a second."""
    for _ in range(1000):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        busy = int(fields[11]) / os.sysconf("SC_CLK_TCK")
        if (mode == "wait" and fields[0] == "S") or (mode == "spin" and busy >= 0.1):
            return
        time.sleep(0.01)
    raise AssertionError(f"the process did not get into {mode}")
