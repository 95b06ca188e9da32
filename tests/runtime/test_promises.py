"""What the runtime promises, one program each (programs/*), compared with the same program run natively.

A program says in its first lines:

    region: NAME …      what is emulated
    hangs: 1            the regions do not end; built so too
    faults: 1           the regions fault: natively it is built with ORACLE=1, where it does not do what would fault and
                        prints what must have happened
    degrades: REASON …  the original code must have run, and this must have been counted; the program then prints one
                        line and waits for input
    carried: 1          nothing may have run natively; it waits too
    rescues: NAME=N …   each of these functions was rescued so often
    modes: MODE …       how it is built, of pie and static; both where nothing is said
    flags: WORD …       for the compiler
    budget: AMOUNT …    what the regions may use, as `stemrw patch --budget` has it
    options: WORD …     for `stemrw patch`
    library: NAME …     a source in plugins/ that becomes libNAME.so beside it, linked to it if it is dynamic
    gives: CODE         its exit status, where that is not 0
    not yet: REASON     it is known not to hold

PROMISE_OPTIONS in the environment are further words for `stemrw patch`, such as `--guard stack` or `--budget 0`:
whatever is promised must hold with them too.  What a program says itself takes precedence.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import Tool, execute, recoveries

from stemrw.runtime import load_image

HERE = Path(__file__).parent
_PATIENCE = 60
"""Seconds after which a program that waits for something is killed; its memory cannot be read then."""
PROGRAMS = sorted(path for path in (HERE / "programs").iterdir() if path.suffix in (".c", ".cc"))
COUNTED = (
    "precise_signals every_signal live_registers simulated unwinding coroutines jumps tail_call deep_recursion epochs "
    "siglongjmp_out fork_inside heap_storm same_low_bits loaded_inside".split()
)
"""Programs in which counting could do harm: at signals, in odd branches, in code that is met in pieces."""
MODES = {"pie": ("-pie", "-fPIE"), "static": ("-static", "-fno-pie", "-no-pie")}


def _compile(source: Path, out: Path, *flags: str) -> Path:
    gcc, zig = ("g++", "c++") if source.suffix == ".cc" else ("gcc", "cc")
    compiler = [gcc] if shutil.which(gcc) else [sys.executable, "-m", "ziglang", zig]
    options = ["-O2", "-w", "-mcx16", "-mno-red-zone", "-pthread"]
    words = [*compiler, *options, str(source), "-o", str(out), *flags, "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return out


def _named(source: Path, key: str) -> list[str]:
    found = re.search(rf"^// {key}: (.+)$", source.read_text(), re.MULTILINE)
    return found[1].split() if found else []


def _reasons(program: Path, state_address: int) -> dict[str, int]:
    """How often which reason made a run natively that has printed its result and waits for input."""
    image = load_image()
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        watchdog = threading.Timer(_PATIENCE, process.kill)
        watchdog.start()
        process.stdout.readline()
        maps = [line for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines() if str(program) in line]
        lowest = int(maps[0].split("-")[0], 16)
        bias = lowest if lowest > 0x10000000 else 0  # programs at fixed addresses are linked low
        with open(f"/proc/{process.pid}/mem", "rb") as memory:
            memory.seek(bias + state_address)
            state = image.structs["state"].unpack(memory.read(image.structs["state"].size))
        process.stdin.close()
        watchdog.cancel()
    assert int.from_bytes(state["magic"], "little") == image.constants["STATE_MAGIC"] & (1 << 64) - 1
    counts = struct.unpack(f"<{image.constants['REASON_COUNT']}Q", state["reasons"])
    names = {value: name for name, value in image.constants.items() if name.startswith("REASON_")}
    return {names[i]: count for i, count in enumerate(counts) if count and i in names}


def _rescues(events: Path, manifest: dict[str, Any]) -> list[str]:
    """How often each region was rescued, as NAME=N."""
    count = Counter(event["region"] for event in recoveries(events))
    return [f"{region['symbol']}={count[region['address']]}" for region in manifest["regions"]]


def _library(folder: Path, name: str) -> str:
    """Build plugins/NAME.c into the program's folder; the argument that links it."""
    source = next((HERE / "plugins").glob(f"{name}.c*"))
    _compile(source, folder / f"lib{name}.so", "-fPIC", "-shared", *_named(source, "flags"))
    return f"-l{name}"


def _builds() -> list[Any]:
    found = []
    for source in PROGRAMS:
        modes = _named(source, "modes") or MODES
        reason = _named(source, "not yet")
        marks = [pytest.mark.xfail(reason=" ".join(reason), strict=True)] if reason else []
        found += [pytest.param(source, mode, id=f"{source.stem}-{mode}", marks=marks) for mode in modes]
    return found


@pytest.mark.parametrize(("source", "mode"), _builds())
def test_promise(tool: Tool, tmp_path: Path, source: Path, mode: str) -> None:
    _check_promise(tool, tmp_path, source, mode, _named(source, "budget"))


@pytest.mark.parametrize("name", COUNTED)
def test_promise_kept_while_counting(tool: Tool, tmp_path: Path, name: str) -> None:
    """With a budget that allows any amount all that is counted is counted."""
    source = next(path for path in PROGRAMS if path.stem == name)
    mode = (_named(source, "modes") or ["pie"])[0]
    _check_promise(tool, tmp_path, source, mode, ["0"])


def _check_promise(tool: Tool, tmp_path: Path, source: Path, mode: str, budget: list[str]) -> None:
    flags = [*MODES[mode], *_named(source, "flags"), f"-L{tmp_path}", "-Wl,-rpath,$ORIGIN"]
    flags += [_library(tmp_path, name) for name in _named(source, "library")]
    program = native = _compile(source, tmp_path / "program", "-DORACLE=0", *flags)
    wrong = _named(source, "faults") or _named(source, "hangs")
    if wrong:
        native = _compile(source, tmp_path / "native", "-DORACLE=1", *flags)
    regions = [word for name in _named(source, "regions?") for word in ("--region", name)]
    regions += [word for amount in budget for word in ("--budget", amount)]
    hardened = tmp_path / "hardened"
    asked = shlex.split(os.environ.get("PROMISE_OPTIONS", ""))
    asked += shlex.split(" ".join(_named(source, "options")))
    options = [*asked, *(("--return", "-1") if wrong else ())]
    manifest = tool.patch(program, hardened, *regions, *options)
    events, rescues = tmp_path / "events", _named(source, "rescues")
    observed = {"STEMRW_EVENTS": str(events)} if rescues else {}
    expected, found = execute([native]), execute([hardened], environment=observed)
    assert [str(expected.returncode)] == (_named(source, "gives") or ["0"])
    assert found == expected
    if _named(source, "faults"):
        assert execute([program]).returncode not in (0, None), "the program does not fault"
    if _named(source, "hangs"):
        assert execute([program], timeout=1).returncode is None, "the program ends"
    assert not rescues or rescues == _rescues(events, manifest)
    degrades = {f"REASON_{reason}" for reason in _named(source, "degrades")}
    if degrades or _named(source, "carried"):
        reasons = _reasons(hardened, int(manifest["payload"]["state_address"], 0))
        assert degrades <= set(reasons) if degrades else not reasons, reasons
