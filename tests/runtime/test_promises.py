"""What the runtime promises, one program each (programs/*.c), compared with the same program run natively.

A program names its regions in its first lines.  `faults: 1` means that its regions fault: natively it is built with
ORACLE=1, where it does not call what would fault and prints what must have happened.  `degrades: REASON` means that
the original code must have run, and that this must have been counted.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Tool, execute

from stemrw.runtime import load_image

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.c"))
MODES = {"pie": ("-pie", "-fPIE"), "static": ("-static", "-fno-pie", "-no-pie")}
DYNAMIC_ONLY = {"loaded_inside"}


def _compile(source: Path, out: Path, *flags: str) -> Path:
    compiler = [shutil.which("gcc")] if shutil.which("gcc") else [sys.executable, "-m", "ziglang", "cc"]
    options = ["-O2", "-w", "-mcx16", "-mno-red-zone", "-pthread", *flags]
    words = [*map(str, compiler), *options, str(source), "-o", str(out), "-ldl"]
    subprocess.run(words, check=True, capture_output=True, text=True)
    return out


def _named(source: Path, key: str) -> list[str]:
    found = re.search(rf"^// {key}: (.+)$", source.read_text(), re.MULTILINE)
    return found[1].split() if found else []


def _reasons(program: Path, state_address: int) -> dict[str, int]:
    """How often which reason made a run natively that has printed its result and waits for input."""
    image = load_image()
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        maps = [line for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines() if str(program) in line]
        lowest = int(maps[0].split("-")[0], 16)
        bias = lowest if lowest > 0x10000000 else 0  # programs at fixed addresses are linked low
        with open(f"/proc/{process.pid}/mem", "rb") as memory:
            memory.seek(bias + state_address)
            state = image.structs["state"].unpack(memory.read(image.structs["state"].size))
        process.stdin.close()
    assert int.from_bytes(state["magic"], "little") == image.constants["STATE_MAGIC"] & (1 << 64) - 1
    counts = struct.unpack(f"<{image.constants['REASON_COUNT']}Q", state["reasons"])
    names = {value: name for name, value in image.constants.items() if name.startswith("REASON_")}
    return {names[i]: count for i, count in enumerate(counts) if count and i in names}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", PROGRAMS, ids=lambda path: path.stem)
def test_promise(tool: Tool, tmp_path: Path, source: Path, mode: str) -> None:
    if mode == "static" and source.stem in DYNAMIC_ONLY:
        pytest.skip("static programs load nothing")
    native = _compile(source, tmp_path / "native", "-DORACLE=1", *MODES[mode])
    program = _compile(source, tmp_path / "program", "-DORACLE=0", *MODES[mode])
    regions = [word for name in _named(source, "regions?") for word in ("--region", name)]
    hardened = tmp_path / "hardened"
    manifest = tool.patch(program, hardened, *regions, *(("--return", "-1") if _named(source, "faults") else ()))
    expected, found = execute([native]), execute([hardened])
    assert expected.returncode == 0
    assert found == expected
    if _named(source, "faults"):
        assert execute([program]).returncode not in (0, None), "the program does not fault"
    for reason in _named(source, "degrades"):
        assert _reasons(hardened, int(manifest["payload"]["state_address"], 0)).get(f"REASON_{reason}")
