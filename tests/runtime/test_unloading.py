"""A hardened plugin is closed and opened again: handlers, signal stack and memory are given back each time."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import Tool, execute

PLUGINS = Path(__file__).parent / "plugins"
ROUNDS = 20


def _build(folder: Path, *flags: str) -> tuple[Path, Path]:
    host, plugin = folder / "host", folder / "plugin.so"
    common = ["gcc", "-O2", "-pthread", "-w"]
    subprocess.run([*common, PLUGINS / "host.c", "-o", host, "-ldl"], check=True, capture_output=True)
    subprocess.run([*common, "-fPIC", "-shared", *flags, PLUGINS / "plugin.c", "-o", plugin], check=True)
    return host, plugin


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a compiler for dlopen()")
@pytest.mark.parametrize("mode", ["alone", "thread", "left"])
@pytest.mark.parametrize("finaliser", ["DT_FINI", "DT_FINI_ARRAY"])
def test_plugin_leaves_nothing_behind(tool: Tool, tmp_path: Path, finaliser: str, mode: str) -> None:
    flags = ["-nostartfiles", "-Wl,-z,defs"] if finaliser == "DT_FINI_ARRAY" else []
    if flags:
        source = tmp_path / "finaliser.c"
        source.write_text('__attribute__((destructor)) static void last(void) { __asm__ volatile("nop; nop; nop"); }\n')
        flags.append(str(source))
    host, plugin = _build(tmp_path, *flags)
    hardened = tmp_path / "hardened.so"
    manifest = tool.patch(plugin, hardened, "--region", "work", "--region", "interrupted", "--return", "-1")
    assert [patch["name"] for patch in manifest["patches"] if patch["kind"] == "stop"] == [finaliser]
    assert execute([host, plugin, "1"]).returncode == -signal.SIGABRT  # by the host's handler: a fault it does not know
    done = execute([host, hardened, str(ROUNDS), mode])
    # while another thread lives that has used it, what that thread's signal stack lies in stays
    assert done.stdout.startswith(f"rescued {ROUNDS} own {ROUNDS} more mappings ".encode()), done
    assert done.returncode == 0 and int(done.stdout.split()[-1]) <= (4 if mode == "thread" else 0)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a compiler for dlopen()")
@pytest.mark.parametrize("mode", ["used", "unused"])
def test_two_hardened_plugins(tool: Tool, tmp_path: Path, mode: str) -> None:
    """The first one owns the thread; what neither survives is the program's, and nobody waits for the other."""
    program = tmp_path / "two"
    subprocess.run(["gcc", "-O2", "-w", PLUGINS / "two.c", "-o", program, "-ldl"], check=True)
    _, plugin = _build(tmp_path)
    hardened = [tmp_path / "first.so", tmp_path / "second.so"]
    for path in hardened:
        tool.patch(plugin, path, "--region", "work", "--return", "-1")
    done = execute([program, *hardened, *([mode] if mode == "unused" else [])])
    called = ["plugin: -1", "plugin: handler", "program: handler"] * (2 if mode == "used" else 0)
    assert done.stdout.decode().splitlines() == [*called, "closed: handler", "closed: handler"], done
    assert done.returncode == 0
