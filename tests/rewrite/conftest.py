"""The runtime that does nothing, and programs of every flavour (flavours.py)."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rewrite.flavours import FACTORS, Built, Cell, build, name

from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.runtime import RuntimeImage, load_image

ROOT = Path(__file__).resolve().parents[2]
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


PLAIN: Cell = {factor: values[0] for factor, values in FACTORS.items()}
"""The combination of the first value of every factor: gcc, bfd, position independent, nothing unusual."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], Built]:
    """Builds the program in one combination, once."""
    done: dict[str, Built] = {}
    common = tmp_path_factory.mktemp("common")

    def of(cell: Cell) -> Built:
        if name(cell) not in done:
            try:
                done[name(cell)] = build(cell, tmp_path_factory.mktemp(cell["kind"]), common)
            except FileNotFoundError as error:
                pytest.skip(f"no {error.filename}: scripts/test installs it")
        return done[name(cell)]

    return of


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
