"""The runtime that does nothing, and programs of every kind of link."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.runtime import RuntimeImage, load_image

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
TRACE_DESCRIPTOR = 200
"""Where the runtime of the tests writes the addresses of the patches it passes (null_runtime/gates.S)."""


@pytest.fixture(scope="session")
def build_module() -> ModuleType:
    """runtime/build.py."""
    spec = importlib.util.spec_from_file_location("runtime_build", ROOT / "runtime" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def null_sources() -> list[Path]:
    """The sources of a runtime that emulates nothing."""
    return [ROOT / "runtime" / "header.c", Path(__file__).resolve().parent / "null_runtime" / "gates.S"]


@pytest.fixture(scope="session")
def null_image(
    build_module: ModuleType, null_sources: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> RuntimeImage:
    """A runtime whose gates go straight on to the displaced instructions."""
    out = tmp_path_factory.mktemp("null-runtime")
    build_module.build(out, sources=null_sources)
    return load_image(out)


@dataclass(frozen=True)
class Kind:
    """One way to link: flags, and what cannot be had from this toolchain."""

    name: str
    command: tuple[str, ...]
    shared: bool = False


_GCC = ("gcc", "-O2")
_ZIG = (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=all", "-g0", "-Wl,--build-id")
_GNU, _MUSL = ("-target", "x86_64-linux-gnu.2.31"), ("-target", "x86_64-linux-musl")
KINDS = [
    Kind("gcc-pie", (*_GCC, "-fPIE", "-pie")),
    Kind("gcc-fixed", (*_GCC, "-fno-pie", "-no-pie")),
    Kind("gcc-static", (*_GCC, "-static")),
    Kind("gcc-static-pie", (*_GCC, "-static-pie", "-fPIE")),
    Kind("gcc-shared", _GCC, shared=True),
    Kind("gcc-cet", (*_GCC, "-fcf-protection", "-fPIE", "-pie", "-Wl,-z,now,-z,ibtplt")),
    Kind("gcc-relr", (*_GCC, "-fPIE", "-pie", "-Wl,-z,lazy,-z,pack-relative-relocs")),
    Kind("gcc-one-segment", (*_GCC, "-fPIE", "-pie", "-Wl,-z,noseparate-code")),
    Kind("gold-pie", (*_GCC, "-fPIE", "-pie", "-fuse-ld=gold")),
    Kind("gold-fixed", (*_GCC, "-fno-pie", "-no-pie", "-fuse-ld=gold")),
    Kind("gold-shared", (*_GCC, "-fuse-ld=gold"), shared=True),
    Kind("zig-pie", (*_ZIG, *_GNU, "-fPIE", "-pie")),
    Kind("zig-fixed", (*_ZIG, *_GNU, "-fno-pie", "-no-pie")),
    Kind("zig-static", (*_ZIG, *_MUSL, "-static")),
    Kind("zig-static-pie", (*_ZIG, *_MUSL, "-static", "-fPIE", "-pie")),
    Kind("zig-shared", (*_ZIG, *_GNU), shared=True),
]


@dataclass(frozen=True)
class Built:
    """A program that says "ok"; `target` is the file to patch: itself, or the library beside it."""

    kind: Kind
    program: Path
    target: Path
    functions: dict[str, tuple[int, int]]
    """Address and size by name, of the functions of shapes.c."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Builds the program in one kind of link, once; skips where the toolchain is not there."""
    done: dict[str, Built] = {}

    def build(name: str) -> Built:
        if name not in done:
            done[name] = _build(next(kind for kind in KINDS if kind.name == name), tmp_path_factory.mktemp(name))
        return done[name]

    return build


def _build(kind: Kind, folder: Path) -> Built:
    shapes, main, program = PROGRAMS / "shapes.c", PROGRAMS / "main.c", folder / "program"
    if not kind.shared:
        _compile([*kind.command, "-o", program, shapes, main])
        return Built(kind, program, program, function_symbols(program))
    library = folder / "libshapes.so"
    _compile(
        [*kind.command, "-fPIC", "-shared", "-DSHAPES_IN_LIBRARY", "-Wl,-soname,libshapes.so", "-o", library, shapes]
    )
    _compile([*kind.command, "-fPIC", "-o", program, main, "-L", folder, "-lshapes", "-Wl,-rpath,$ORIGIN"])
    return Built(kind, program, library, function_symbols(library))


def _compile(command: Sequence[str | Path]) -> None:
    try:
        subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot be built here: {error.stderr[-300:]}") if _unsupported(error) else pytest.fail(
            error.stderr
        )


def _unsupported(error: subprocess.CalledProcessError) -> bool:
    return any(text in error.stderr for text in ("unrecognized -z", "unknown -z", "cannot find 'ld", "unknown option"))


def function_symbols(path: Path) -> dict[str, tuple[int, int]]:
    """Sized functions of shapes.c, by nm."""
    listing = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout
    wanted = ("shape_", "many_", "with_", "returns_", "of_doubles", "fibonacci", "jumps_out", "fills", "main")
    found = {}
    for line in listing.splitlines():
        words = line.split()
        if (
            len(words) == 4
            and words[2] in "tT"
            and words[3].startswith(wanted)
            and not words[3].endswith(("_returns", ".localalias"))
        ):
            found[words[3]] = (int(words[0], 16), int(words[1], 16))
    return found


def plan_for(data: bytes, functions: Sequence[tuple[int, int]]) -> Plan:
    """A plan with these functions (address, size) as regions."""
    identity = BinaryIdentity(path="any", sha256=hashlib.sha256(data).hexdigest())
    return Plan(binary=identity, regions=tuple(PlannedRegion(address=a, size=s) for a, s in functions))


def run_traced(command: Sequence[str | Path], **options: Any) -> tuple[str, list[int]]:
    """Output of a command that must succeed, and the patches that it passed: link-time addresses, in order."""
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as trace:
        os.dup2(sink, TRACE_DESCRIPTOR, inheritable=True)
        os.close(sink)
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[TRACE_DESCRIPTOR], text=True, **options
        )
        os.close(TRACE_DESCRIPTOR)
        passed = trace.read()
        output = child.communicate(timeout=120)[0]
    assert child.returncode == 0, (child.returncode, output)
    return output, [address for (address,) in struct.iter_unpack("<Q", passed)]
