"""`--replay` and `--check`: commands with original and hardened file in turn at the same place."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import BAD
from harness import Tool
from verify.conftest import Hardened

from stemrw.cli import call
from stemrw.documents.verification import Check
from stemrw.verify import Wishes

Sample = Callable[[str], Hardened]
NAME = "divide-by-zero.main"
GOOD, CRASH = "alpha beta", f"alpha {BAD} beta"


def _replay(hardened: Hardened, command: str, timeout: float = 60) -> Check:
    return hardened.verify(Wishes(replays=(command,), timeout=timeout)).checks[-1]


def _check(hardened: Hardened, command: str, timeout: float = 60) -> Check:
    return hardened.verify(Wishes(checks=(command,), timeout=timeout)).checks[-1]


@pytest.mark.parametrize("mode", ["pie", "nopie", "static"])
def test_replay_survives(sample: Sample, mode: str) -> None:
    check = _replay(sample(mode), f"{NAME}.{mode} {CRASH}")
    assert (check.group, check.outcome) == ("replay", "passed")
    assert check.details[0] == "the original died of SIGFPE"
    assert "a fault of class divide" in check.details[2]


def test_library_stands_before_others_of_its_name(sample: Sample) -> None:
    """The program finds its library by $ORIGIN; the one under test is loaded all the same."""
    hardened = sample("shared")
    program = hardened.original.with_name(f"{NAME}.shared")
    assert _replay(hardened, f"{program} {CRASH}").outcome == "passed"
    assert _check(hardened, f"{program} {GOOD}").outcome == "passed"


def test_placeholder_stands_anywhere(sample: Sample) -> None:
    check = _replay(sample("pie"), f"sh -c 'exec {{}} {CRASH}'")
    assert check.outcome == "passed"
    wrapped = _replay(sample("pie"), f"sh -c '{{}} {CRASH}; exit $?'")
    assert wrapped.outcome == "passed", "128 + n is how a shell tells of a signal"


def test_library_at_the_placeholder(sample: Sample) -> None:
    hardened = sample("shared")
    program = hardened.original.with_name(f"{NAME}.shared")
    assert _replay(hardened, f"env LD_PRELOAD={{}} {program} {CRASH}").outcome == "passed"


def test_replay_of_a_file_that_does_not_survive(tool: Tool, sample: Sample, tmp_path: Path) -> None:
    """Another function was hardened than the one in which it dies."""
    original = sample("nopie").original
    path = tmp_path / original.name
    tool.patch(original, path, "--region", "state_checksum")
    check = _replay(Hardened(original, path), f"{NAME}.nopie {CRASH}")
    assert check.outcome == "failed"
    assert check.details[0] == "the hardened file died of SIGFPE"


def test_replay_that_proves_nothing_is_no(sample: Sample) -> None:
    check = _replay(sample("pie"), f"{NAME}.pie {GOOD}")
    assert check.outcome == "failed"
    assert "the replay proves nothing" in check.details[-1]


def test_hang_is_a_death_and_leaves_no_process(sample: Sample, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    command = f"sh -c '(echo $$ >> {mark}; exec sleep 1000) & echo $! >> {mark}; wait; : {{}}'"
    check = _replay(sample("pie"), command, timeout=0.5)
    assert check.outcome == "failed"
    assert check.details[0] == "the hardened file did not end in time"
    pids = mark.read_text().split()
    assert len(pids) == 4
    _await_end(pids)


def test_child_that_is_left_over_is_killed(sample: Sample, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    check = _check(sample("pie"), f"sh -c 'sleep 1000 >/dev/null & echo $! >> {mark}; {{}} {GOOD}'")
    assert check.outcome == "passed"
    pids = mark.read_text().split()
    assert len(pids) == 3
    _await_end(pids)


def _await_end(pids: list[str]) -> None:
    """A process that was killed takes a moment to go."""
    for _ in range(600):
        if not any(map(_runs, pids)):
            return
        time.sleep(0.05)
    raise AssertionError("processes are left over")


def _runs(pid: str) -> bool:
    """Alive; whom nobody has waited for yet is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("mode", ["pie", "static"])
def test_check_of_equal_behaviour(sample: Sample, mode: str) -> None:
    check = _check(sample(mode), f"{NAME}.{mode} {GOOD}")
    assert (check.group, check.outcome, check.details) == ("check", "passed", ())


def test_check_shows_the_first_difference(sample: Sample, tmp_path: Path) -> None:
    hardened = sample("nopie")
    at = hardened.path.read_bytes().index(b": %d state ")
    copy = hardened.damaged(tmp_path, at, b":\x1b%d")
    check = _check(copy, f"{NAME}.nopie {GOOD}")
    assert check.outcome == "failed"
    assert check.details[0].startswith("standard output: line 1 is 'alpha:")
    assert "\\x1b" in check.details[0] and "\x1b" not in check.details[0]


def test_check_of_a_crash_differs_in_status(sample: Sample) -> None:
    check = _check(sample("pie"), f"{NAME}.pie {CRASH}")
    assert check.outcome == "failed"
    assert "the original died of SIGFPE, hardened it ended with exit status 0" in check.details


def test_what_the_original_does_not_repeat_is_not_compared(sample: Sample) -> None:
    check = _check(sample("pie"), "sh -c 'echo $$; : {}; exit 3'")
    assert check.outcome == "passed"
    assert check.details == ("standard output is not compared: it differs between two runs of the original",)


def test_check_of_which_nothing_repeats_is_skipped(sample: Sample, tmp_path: Path) -> None:
    count = f"echo >> {tmp_path}/runs; n=$(wc -l < {tmp_path}/runs)"
    check = _check(sample("pie"), f"sh -c '{count}; echo $n; echo $n >&2; : {{}}; exit $n'")
    assert (check.outcome, len(check.details)) == ("skipped", 3)


def test_name_and_folder_are_the_users(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """argv[0] is the same for both files and ends in the name; relative arguments are found."""
    monkeypatch.chdir(tmp_path)
    Path("here").write_text("x\n")
    check = _check(sample("pie"), "sh -c 'cat here; basename {}; exit 0'")
    assert check.outcome == "passed"
    assert _check(sample("pie"), "sh -c 'test $(basename {}) = divide-by-zero.main.pie'").outcome == "passed"


def test_original_of_another_name_may_be_given(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hardened = sample("pie")
    tool = tmp_path / "tool"
    shutil.copy(hardened.original, tool)
    arguments = ["verify", str(hardened.path), "--original", str(tool), "--replay", f"./tool {CRASH}"]
    assert call(arguments) == 0
    assert "died of SIGFPE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("ls -l", "does not begin with divide-by-zero.main.pie"),
        ("'", "cannot be understood"),
        ("", "an empty command"),
        ("/no/such/tool {}", "cannot be run"),
    ],
)
def test_command_that_makes_no_sense(
    sample: Sample, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    for option in ("--replay", "--check"):
        assert call(["verify", str(sample("pie").path), option, command]) == 2
        assert message in capsys.readouterr().err


def test_nothing_is_left_behind(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _replay(sample("pie"), f"{NAME}.pie {CRASH}")
    assert os.listdir(tmp_path) == []


def test_exit_status_and_table(sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(sample("pie").path)
    assert call(["verify", path, "--replay", f"{NAME}.pie {CRASH}", "--check", f"{NAME}.pie {GOOD}"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert printed.splitlines()[-1] == "16 passed"
    assert call(["verify", path, "--check", f"{NAME}.pie {CRASH}"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "14 passed, 1 failed"
