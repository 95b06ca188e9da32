"""The rule `stack`: attacks that succeed natively do not, and what only looks like one is none (docs/stack.md)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import Tool, execute, recoveries, symbol_address

HERE = Path(__file__).parent
MODES = {"pie": ("-pie", "-fPIE"), "static": ("-static", "-fno-pie", "-no-pie")}
TARGETS = {"return-address": 0, "saved-rbp": 1, "function-pointer": 2, "longjmp-buffer": 3, "vtable": 4}
NOTICED = {
    0: {"return-address", "stack-smash"},
    1: {"stack-smash"},
    2: {"control-flow"},
    3: {"control-flow"},
    4: {"control-flow"},
}
OVERWRITTEN = {0, 1}
"""Targets that no store may reach; the program writes to the others itself."""
WAYS = {"direct": 0, "indirect": 1}
MEANS = {"memcpy": 0, "strcpy": 1, "sprintf": 2, "loop": 3}
VULNERABLE = ("-fno-stack-protector", "-U_FORTIFY_SOURCE", "-fcf-protection=none", "-fno-omit-frame-pointer")
BENIGN = ("callbacks.c", "coroutines.c", "exceptions.cc", "longjmp_out.c", "nested_functions.c", "signals_inside.c",
          "siglongjmp_out.c", "tail_calls.c", "unwinding.c", "terminate.cc", "threads.c", "conventions.c")  # fmt: skip


def _build(source: Path, out: Path, *flags: str, language: str = "c") -> Path:
    compiler = shutil.which("g++" if language == "c++" else "gcc")
    assert compiler is not None
    words = [compiler, "-x", language, "-w", *flags, str(source), "-o", str(out)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return out


@pytest.fixture(scope="module", params=[(language, level) for language in ("c", "c++") for level in ("-O1", "-O2")])
def attacked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tool: Tool
) -> tuple[Path, Path, str]:
    """The program, hardened too, and the address to which the attacks lead."""
    language, level = request.param
    out = tmp_path_factory.mktemp("attacked")
    source = HERE / "exploits" / "attacks.c"
    program = _build(source, out / "program", level, *VULNERABLE, "-no-pie", "-fno-pie", language=language)
    tool.patch(program, out / "hardened", "--region", "region", "--return", "-1", "--guard", "stack")
    return program, out / "hardened", f"{symbol_address(program, 'won'):x}"


def branches(program: Path) -> set[str]:
    """Where a program returns, calls and jumps: there what is overwritten is used."""
    listing = subprocess.run(["objdump", "-d", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ +([0-9a-f]+):.*\t(?:ret|call|jmp)\b", listing, re.MULTILINE)
    assert found
    return {f"0x{address}" for address in found}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_attack_does_not_gain_control(attacked: tuple[Path, Path, str], tmp_path: Path, target: int) -> None:
    program, hardened, won = attacked
    events = tmp_path / "events"
    environment = {"STEMRW_EVENTS": str(events)}
    for way in WAYS.values():
        for means in MEANS.values():
            attack = (str(target), str(way), str(means), won)
            assert b"control gained" in execute([program, *attack]).stdout, "the attack does not succeed natively"
            outcome = execute([hardened, *attack], environment=environment)
            assert (outcome.returncode, outcome.stdout) == (0, b"-1\ngoes on\n"), (way, means)
    found = recoveries(events)
    assert {event["class"] for event in found} == NOTICED[target]
    assert len(found) == len(WAYS) * len(MEANS)
    late = [event for event in found if event["in_region_module"] and event["pc"] in branches(program)]
    assert target not in OVERWRITTEN or not late, "seen when it was used, not by the store"
    benign = (str(target), "0", "0", "0")
    assert execute([hardened, *benign]) == execute([program, *benign])
    assert len(recoveries(events)) == len(WAYS) * len(MEANS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("thunks", ["plain", "retpolines"])
def test_odd_returns_are_no_faults(tool: Tool, tmp_path: Path, mode: str, thunks: str) -> None:
    flags = ("-mindirect-branch=thunk", "-fcf-protection=none") if thunks == "retpolines" else ()
    program = _build(HERE / "exploits" / "odd_returns.c", tmp_path / "program", "-O2", *MODES[mode], *flags)
    events = tmp_path / "events"
    for region in ("region", "main"):
        tool.patch(program, tmp_path / "hardened", "--region", region, "--guard", "stack")
        found = execute([tmp_path / "hardened"], environment={"STEMRW_EVENTS": str(events)})
        assert found == execute([program])
    assert not recoveries(events)


@pytest.mark.parametrize("name", BENIGN)
def test_promises_hold_with_the_rule(tool: Tool, tmp_path: Path, name: str) -> None:
    source = HERE / "programs" / name
    said = dict(re.findall(r"^// (\w+): (.+)$", source.read_text(), re.MULTILINE))
    regions = [
        word for key in ("region", "regions") for name in said.get(key, "").split() for word in ("--region", name)
    ]
    flags = ["-O2", "-mcx16", "-mno-red-zone", "-pthread", *MODES["pie"], *said.get("flags", "").split()]
    language = "c++" if source.suffix == ".cc" else "c"
    oracle = "-DORACLE=1" if "faults" in said else "-DORACLE=0"
    program = _build(source, tmp_path / "program", "-DORACLE=0", *flags, language=language)
    native = _build(source, tmp_path / "native", oracle, *flags, language=language)
    tool.patch(program, tmp_path / "hardened", *regions, "--return", "-1", "--guard", "stack")
    assert execute([tmp_path / "hardened"]) == execute([native])


@pytest.mark.parametrize("mode", MODES)
def test_what_glibc_notices_has_its_class_and_no_message(tool: Tool, tmp_path: Path, mode: str) -> None:
    flags = ("-O1", "-fstack-protector-all", *MODES[mode])
    program = _build(HERE / "exploits" / "messages.c", tmp_path / "program", *flags)
    tool.patch(program, tmp_path / "hardened", "--region", "region", "--return", "-1", "--guard", "none")
    for which, fault in enumerate(("stack-smash", "double-free", "invalid-free", "heap-overflow"), start=1):
        events = tmp_path / f"events-{which}"
        died = execute([program, str(which)])
        assert died.returncode == -6 and died.stderr, "glibc does not notice it"
        found = execute([tmp_path / "hardened", str(which)], environment={"STEMRW_EVENTS": str(events)})
        assert (found.returncode, found.stdout, found.stderr) == (0, b"-1\ngoes on\n", b"")
        assert [event["class"] for event in recoveries(events)] == [fault]
