"""`stemrw profile`, and budgets made of what it has measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import Tool, execute, recoveries

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile long sum;
static char *volatile block;
__attribute__((noinline)) long work(long n) {
    block = malloc(n * 10 + 1);
    block[n] = 1;
    for (long i = 0; i < n; i++)
        sum += block[n];
    free(block);
    return sum;
}
__attribute__((noinline)) long never(long n) { return n + sum; }
int main(int count, char **arguments) {
    const long n = atol(arguments[1]);
    if (fork() == 0)
        return work(2 * n) < 0;
    wait(NULL);
    printf("%ld\\n", work(n));
    return count > 2 ? (int)never(count) : 0;
}
"""
SLICE = 65536


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    source, out = folder / "program.c", folder / "program"
    source.write_text(SOURCE)
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-O1",
                    "-fno-unroll-loops", "-fno-sanitize=all", source, "-o", out], check=True)  # fmt: skip
    return out


def _profile(tool: Tool, program: Path, out: Path, *words: str, status: int = 0) -> dict[str, Any]:
    options = ["--region", "work", "--region", "never", "-o", str(out), "--json"]
    done = subprocess.run([*tool.command, "profile", program, *options, "--", *words], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    assert done.stdout.endswith(out.read_text())
    return found


def test_highest_of_all_processes_is_learned(tool: Tool, program: Path, tmp_path: Path) -> None:
    found = _profile(tool, program, tmp_path / "profile.json", "program", "500000")
    never, work = sorted(found["regions"], key=lambda region: region["symbol"])
    assert found["processes"] == 2
    assert 1_000_000 <= work["ticks"] <= 1_000_000 + 4 * SLICE, "the child's loop, rounded up"
    assert 10_000_000 <= work["memory_bytes"] <= 11_000_000
    assert (work["budget_ticks"], work["budget_memory_bytes"]) == (10 * work["ticks"], 10 * work["memory_bytes"])
    assert (never["entries"], never["budget_ticks"], never["budget_memory_bytes"]) == (0, 0, 0)


def test_budget_by_profile_lets_pass_what_was_good_and_little_more(tool: Tool, program: Path, tmp_path: Path) -> None:
    profile, out, events = tmp_path / "profile.json", tmp_path / "hardened", tmp_path / "events"
    _profile(tool, program, profile, "program", "50000")
    manifest = tool.patch(program, out, "--region", "work", "--profile", profile)
    assert "10 times" in manifest["regions"][0]["rules"][0]["why"]
    observed = {"STEMRW_EVENTS": str(events)}
    assert execute([out, "100000"], environment=observed) == execute([program, "100000"])
    assert recoveries(events) == []
    assert execute([out, "9000000"], environment=observed).returncode == 0
    assert {event["class"] for event in recoveries(events)} <= {"hang", "memory-exhaustion"}
    assert recoveries(events)


def test_user_has_the_last_word(tool: Tool, program: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    _profile(tool, program, profile, "program", "1000")
    manifest = tool.patch(program, tmp_path / "out", "--region", "work", "--profile", profile, "--budget", "77")
    assert manifest["regions"][0]["rules"][0]["ticks"] == 77
    assert manifest["regions"][0]["rules"][0]["memory_bytes"] == 10 << 20


def test_failing_workload_is_no_measure(tool: Tool, program: Path, tmp_path: Path) -> None:
    assert _profile(tool, program, tmp_path / "profile.json", "program", "10", "more", status=1)["status"] != 0


def test_nothing_learned_is_no_measure(tool: Tool, program: Path, tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    words = ["profile", program, "--region", "never", "-o", out, "--", "program", "10"]
    done = subprocess.run([*tool.command, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no region was entered: nothing was learned" in done.stdout
    assert json.loads(out.read_text())["regions"][0]["entries"] == 0


def test_to_standard_output(tool: Tool, program: Path, tmp_path: Path) -> None:
    words = ["profile", program, "--region", "never", "-o", "-", "--", program, "10"]
    done = subprocess.run([*tool.command, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "nothing was learned" in done.stderr
    assert '"stemrw.profile"' in done.stdout and list(tmp_path.iterdir()) == []


def test_regions_and_rules_of_a_hardened_file_are_measured(tool: Tool, program: Path, tmp_path: Path) -> None:
    """A heap guard that it has makes the block a page; the region that is asked for comes beside."""
    hardened = tmp_path / "program.hardened"
    tool.patch(program, hardened, "--region", "work", "--guard", "heap")
    found = {}
    for name, options in (("all", []), ("beside", ["--region", "never"])):
        out = tmp_path / name
        words = ["profile", hardened, *options, "-o", out, "--", "program", "1000", "more"]
        done = subprocess.run([*tool.command, *words], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr  # its status is that of `never`
        found[name] = {each["symbol"]: each["entries"] for each in json.loads(out.read_text())["regions"]}
    assert found == {"all": {"work": 1}, "beside": {"work": 1, "never": 1}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["program", "--", "program", "1"], "nothing says what to measure"),
        (["program", "--region", "work", "--", "other"], "does not begin with program"),
        (["program", "--region", "work", "-o", "no/such/folder", "--", "program"], "no such folder"),
    ],
)
def test_what_cannot_be_measured_is_said(
    tool: Tool, program: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    words = [str(program), *words[1:]]
    done = subprocess.run([*tool.command, "profile", *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_profile_of_another_file_is_refused(tool: Tool, program: Path, tmp_path: Path) -> None:
    profile, other = tmp_path / "profile.json", tmp_path / "other"
    _profile(tool, program, profile, "program", "10")
    other.write_bytes(program.read_bytes() + b"\0")
    done = subprocess.run(
        [*tool.command, "patch", other, "--region", "work", "--profile", profile], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "about a file with sha256" in done.stderr
