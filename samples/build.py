#!/usr/bin/env python3
"""Build samples: python samples/build.py OUTDIR [--mode …] [--driver …] [--only NAME …] [--toolchain gcc|zig].

Writes OUTDIR/NAME.DRIVER.MODE (for the mode `shared` also OUTDIR/libNAME.DRIVER.so, which the program finds beside
itself) and, where the built file is stripped, the same with its symbols and `.symbols` behind the name.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from catalogue import BY_NAME, DRIVERS, FOLDER, MODES, SAMPLES, Sample

# `descend` must really recurse, and no function may be cloned into one with another name.
_COMMON = ("-O2", "-Wall", "-Wextra", f"-I{FOLDER / 'common'}", "-fno-optimize-sibling-calls", "-pthread")
_GCC = ("-fno-ipa-sra", "-fno-ipa-cp", "-fno-ipa-icf", "-fno-inline-functions-called-once")
_ZIG = ("-fno-sanitize=undefined", "-Wno-unknown-warning-option", "-Wno-unused-command-line-argument")

_COMPILE = {
    # As distributions ship programs: position independent, control-flow protection on, stripped.
    "pie": ("-fPIE", "-fcf-protection=full"),
    "nopie": ("-fno-pie", "-g"),
    "static": ("-fno-pie",),
    "static-pie": ("-fPIE",),
    "shared": ("-fPIC", "-fcf-protection=full"),
}
_LINK = {
    "pie": ("-pie",),
    "nopie": ("-no-pie",),
    "static": ("-static",),
    "static-pie": ("-static-pie",),
    "shared": (),
}
_STRIPPED = frozenset({"pie", "static-pie", "shared"})
STRIPPED_MODES = _STRIPPED
"""Modes whose files have no symbols, as distributions ship them."""


@dataclass(frozen=True)
class Built:
    """A built sample: what to run, which file to harden, and the same file with its symbols."""

    sample: Sample
    program: Path
    target: Path
    symbols: Path


class BuildError(RuntimeError):
    """The compiler refused; the message is its output."""


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(" ".join(map(str, command)) + "\n" + done.stdout + done.stderr)


def _compilers(toolchain: str, mode: str) -> tuple[list[str], list[str], tuple[str, ...]]:
    """C compiler, C++ compiler and flags of a toolchain."""
    if toolchain == "gcc":
        return ["gcc"], ["g++"], _GCC
    library = "musl" if mode.startswith("static") else "gnu.2.28"
    target = ["-target", f"x86_64-linux-{library}"]
    zig = [sys.executable, "-m", "ziglang"]
    return [*zig, "cc", *target], [*zig, "c++", *target], _ZIG


def _strip(built: Path) -> Path:
    """Strip a file as distributions do; the unstripped one stays beside it and is returned."""
    symbols = built.with_name(built.name + ".symbols")
    shutil.copy2(built, symbols)
    _run("strip", "--strip-unneeded", built)
    return symbols


def build(sample: Sample, outdir: Path, *, mode: str = "pie", driver: str = "main", toolchain: str = "gcc") -> Built:
    """Build one sample into a folder.  Raises BuildError."""
    outdir.mkdir(parents=True, exist_ok=True)
    cc, cxx, flags = _compilers(toolchain, mode)
    compiler = cxx if sample.is_cpp else cc
    work = outdir / f".{sample.name}.{driver}.{mode}"
    work.mkdir(exist_ok=True)
    shared, own, main = work / "state.o", work / "sample.o", work / "driver.o"
    compile_flags = (*_COMMON, *flags, *_COMPILE[mode])
    _run(*cc, "-std=gnu11", *compile_flags, "-c", FOLDER / "common/state.c", "-o", shared)
    _run(*compiler, "-std=gnu++17" if sample.is_cpp else "-std=gnu11", *compile_flags, *sample.flags,
         "-c", sample.path, "-o", own)  # fmt: skip
    _run(*cc, "-std=gnu11", *compile_flags, "-c", FOLDER / f"drivers/{driver}.c", "-o", main)
    program = outdir / f"{sample.name}.{driver}.{mode}"
    if mode != "shared":
        _run(*compiler, *_LINK[mode], "-pthread", own, shared, main, "-lm", "-o", program)
        target = program
    else:
        target = outdir / f"lib{sample.name}.{driver}.so"
        _run(*compiler, "-shared", "-pthread", f"-Wl,-soname,{target.name}", own, shared, "-lm", "-o", target)
        _run(*compiler, "-pthread", main, target, "-Wl,-rpath,$ORIGIN", "-o", program)
    shutil.rmtree(work)
    return Built(sample, program, target, _strip(target) if mode in _STRIPPED else target)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--mode", nargs="+", choices=MODES, default=["pie"])
    parser.add_argument("--driver", nargs="+", choices=DRIVERS, help="default: main; each sample's own where possible")
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), help="names of samples")
    parser.add_argument("--toolchain", choices=("gcc", "zig"), default="gcc")
    given = parser.parse_args()
    jobs = [
        (sample, mode, driver)
        for sample in SAMPLES
        if not given.only or sample.name in given.only
        for mode in given.mode
        for driver in given.driver or ["main"]
        if driver in sample.drivers and not (given.toolchain == "zig" and mode.startswith("static") and sample.glibc)
    ]
    with ThreadPoolExecutor(2) as pool:
        for built in pool.map(
            lambda job: build(job[0], given.outdir, mode=job[1], driver=job[2], toolchain=given.toolchain), jobs
        ):
            print(built.program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
