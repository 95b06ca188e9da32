"""The command line: four stages, one sentence per error, nothing written then."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stemrw import __version__
from stemrw.cli import COMMANDS, call

DASH = Path("/usr/bin/dash")
MAIN = "from stemrw.cli import main; main()"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_patch_and_revert(folder: Path, capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "dash.hardened"]) == 0
    printed = capsys.readouterr().out
    manifest = json.loads((folder / "dash.hardened.manifest.json").read_text())
    assert manifest["regions"][0]["address"] in printed
    assert "\x1b" not in printed
    echo = subprocess.run(["./dash.hardened", "-c", "echo $((6 * 7))"], capture_output=True, text=True, check=True)
    assert echo.stdout == "42\n"
    assert call(["revert", "dash.hardened", "-o", "dash"]) == 0
    assert (folder / "dash").read_bytes() == DASH.read_bytes()


def test_default_names(folder: Path) -> None:
    assert call(["patch", str(DASH), "--region", "main"]) == 0
    assert call(["revert", "dash.hardened"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "dash.hardened", "dash.hardened.manifest.json", "dash.hardened.orig",
    ]  # fmt: skip


def test_in_place(folder: Path) -> None:
    program = folder / "dash"
    program.write_bytes(DASH.read_bytes())
    program.chmod(0o755)
    assert call(["patch", "dash", "--region", "main", "-o", "dash"]) == 0
    assert subprocess.run(["./dash", "-c", "exit 3"], check=False).returncode == 3
    assert call(["revert", "dash", "-o", "dash"]) == 0
    assert program.read_bytes() == DASH.read_bytes()


def test_reports_by_hand_are_patched_together(folder: Path) -> None:
    for name, address in (("one", "0x4d6e"), ("two", "0x5200")):
        report = {"binary": str(DASH), "address": address, "class": "divide"}
        (folder / name).write_text(json.dumps(report))
    assert call(["patch", str(DASH), "--fault", "one", "--fault", "two", "-o", "out"]) == 0
    both = {region["address"] for region in json.loads(Path("out.manifest.json").read_text())["regions"]}
    for name in ("one", "two"):
        assert call(["patch", str(DASH), "--fault", name, "-o", name + ".out"]) == 0
        alone = json.loads(Path(name + ".out.manifest.json").read_text())["regions"]
        assert alone and {region["address"] for region in alone} <= both


def test_same_patch_same_bytes_whatever_the_path(folder: Path) -> None:
    copy = folder / "copied"
    copy.write_bytes(DASH.read_bytes())
    assert call(["patch", str(DASH), "--region", "main", "-o", "one"]) == 0
    assert call(["patch", "copied", "--region", "main", "-o", "two"]) == 0
    assert Path("one").read_bytes() == Path("two").read_bytes()
    assert Path("one.manifest.json").read_bytes() == Path("two.manifest.json").read_bytes()


def test_events_and_return_reach_the_file(folder: Path) -> None:
    options = ["--region", "main", "--return", "-7", "--events", "/var/log/events"]
    assert call(["patch", str(DASH), *options, "-o", "out"]) == 0
    assert b"/var/log/events\0" in Path("out").read_bytes()
    assert json.loads(Path("out.manifest.json").read_text())["regions"][0]["return_value"] == hex(2**64 - 7)


@pytest.mark.parametrize(("text", "bits"), [("1.5", 0x3FF8 << 48), ("0x7f", 0x7F), ("-1", 2**64 - 1), ("1e300", None)])
def test_return_values(folder: Path, text: str, bits: int | None) -> None:
    assert call(["patch", str(DASH), "--region", "main", "--return", text, "-o", "out"]) == 0
    value = int(json.loads(Path("out.manifest.json").read_text())["regions"][0]["return_value"], 0)
    assert value == bits if bits is not None else value >> 52


def test_json_prints_the_manifest(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "out", "--json"]) == 0
    assert capsys.readouterr().out == Path("out.manifest.json").read_text()


def regions(file: str) -> list[str]:
    return [region["address"] for region in json.loads(Path(f"{file}.manifest.json").read_text())["regions"]]


def test_a_further_report_adds_a_region(folder: Path) -> None:
    report = {"binary": str(DASH), "address": "0x4d6e", "class": "divide"}
    (folder / "report").write_text(json.dumps(report))
    together = ["--fault", "report", "--events", "/var/log/events"]
    assert call(["patch", str(DASH), "--region", "main", "-o", "one", "--events", "/var/log/events"]) == 0
    first = (Path("one").read_bytes(), Path("one.manifest.json").read_bytes())
    assert call(["patch", "one", "--region", "main"]) == 0
    assert (Path("one").read_bytes(), Path("one.manifest.json").read_bytes()) == first
    assert call(["patch", "one", "--fault", "report"]) == 0
    assert call(["patch", str(DASH), *together, "-o", "other"]) == 0
    assert call(["patch", "other", "--region", "main", "-o", "both"]) == 0
    assert Path("both").read_bytes() == Path("one").read_bytes()
    assert set(regions("other")) < set(regions("one"))
    assert Path("one").read_bytes().count(b"STEMRW\x01\n") == 1
    assert call(["revert", "one", "-o", "dash"]) == 0
    assert Path("dash").read_bytes() == DASH.read_bytes()


def test_patching_again_for_the_same_changes_nothing(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "one"]) == 0
    before = Path("one").stat()
    capsys.readouterr()
    assert call(["patch", "one", "--region", "main"]) == 0
    assert capsys.readouterr().out == "one: unchanged, it was hardened so already\n"
    after = Path("one").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_default_name_does_not_lose_regions(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main"]) == 0
    assert call(["patch", str(DASH), "--region", "main"]) == 0
    before = Path("dash.hardened").read_bytes()
    capsys.readouterr()
    assert call(["patch", str(DASH), "--region", "0x4d30"]) == 2
    assert "dash.hardened: it is there already, with other regions: main (patch it to add" in capsys.readouterr().err
    assert Path("dash.hardened").read_bytes() == before
    assert call(["patch", str(DASH), "--region", "0x4d30", "-o", "dash.hardened"]) == 0
    assert regions("dash.hardened") == ["0x4d30"]


def test_a_region_can_be_taken_out(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "one"]) == 0
    before = Path("one").read_bytes()
    assert call(["patch", "one", "--region", "0x4d30", "--return", "7"]) == 0
    changed = ["patch", "one", "--region", "0x4d30", "--return", "8", "-o", "eight"]
    assert call(changed) == 0
    assert json.loads(Path("eight.manifest.json").read_text())["regions"][1]["return_value"] == "0x8"
    assert call(["revert", "one", "--region", "0x4d30"]) == 0
    assert Path("one").read_bytes() == before
    capsys.readouterr()
    assert call(["revert", "one", "--region", "0x4d30"]) == 2
    assert "its regions: main (" in capsys.readouterr().err
    assert call(["revert", "one", "--region", "main"]) == 2
    assert "no region would be left" in capsys.readouterr().err
    assert Path("one").read_bytes() == before


def test_report_that_is_shown_says_what_is_next(folder: Path, capsys: Capture) -> None:
    (folder / "a report").write_text(json.dumps({"binary": str(DASH), "address": "0x4d6e", "class": "divide"}))
    assert call(["report", "show", "a report"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: stemrw patch {DASH} --fault 'a report'"
    assert call([*shlex.split(last)[2:], "-o", "out"]) == 0


def test_rules_of_the_file_go_with_the_region_that_asked_for_them() -> None:
    main, other = ["--region", "main"], ["--region", "0x4d30"]
    assert call(["patch", str(DASH), *main, "-o", "one"]) == 0
    assert call(["patch", "one", *other, "--guard", "heap", "-o", "guarded"]) == 0
    assert json.loads(Path("guarded.manifest.json").read_text())["rules"]
    assert call(["patch", "guarded", *main, "--guard", "none", "-o", "still"]) == 0
    assert Path("still").read_bytes() == Path("guarded").read_bytes(), "it is the other region that asks for them"
    assert call(["patch", "guarded", *other, "--guard", "none", "-o", "none"]) == 0
    assert call(["patch", "one", *other, "-o", "fresh"]) == 0
    assert Path("none").read_bytes() == Path("fresh").read_bytes()
    assert call(["revert", "guarded", *other, "-o", "left"]) == 0
    assert Path("left").read_bytes() == Path("one").read_bytes()
    assert Path("left.manifest.json").read_bytes() == Path("one.manifest.json").read_bytes()


def test_hardened_file_without_its_manifest(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "one"]) == 0
    Path("one.manifest.json").rename("kept")
    for command in (["patch", "one", "--region", "0x4d30"], ["revert", "one"]):
        assert call(command) == 2
        assert "--manifest names it" in capsys.readouterr().err
        assert call([*command, "--manifest", "kept", "-o", "out"]) == 0


ERRORS = [
    (["patch", "gone", "--region", "main"], "gone: there is no such file"),
    (["patch", str(DASH)], "nothing says what to harden against"),
    (["patch", str(DASH), "--region", "main", "--frame", "1"], "--region and --frame contradict"),
    (["patch", str(DASH), "--frame", "1"], "nothing says"),
    (["patch", str(DASH), "--region", "main", "--return", "x"], "is no number"),
    (["patch", str(DASH), "--region", "main", "--return", "0x10000000000000000"], "does not fit in 64 bits"),
    (["patch", str(DASH), "--region", "no_such_function"], "no function 'no_such_function'"),
    (["patch", str(DASH), "--region", "0x10"], "not in the code"),
    (["patch", str(DASH), "--fault", "gone"], "cannot read the fault report"),
    (["patch", "/etc/passwd", "--region", "main"], "not an ELF file"),
    (["patch", str(DASH), "--region", "main", "-o", "no/such/folder"], "cannot be written"),
    (["patch", str(DASH), "--region", "main", "--events", "x" * 5000], f"{DASH}: the events path"),
    (["patch"], "Missing argument"),
    (["patch", str(DASH), "--wrong"], "No such option"),
    (["revert", "gone"], "gone: cannot be read"),
    (["revert", str(DASH)], "is not hardened (there is nothing to revert)"),
    (["no-command"], "No such command"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_error_is_one_sentence_and_nothing_is_written(
    folder: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    assert call(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("stemrw: ") and printed.err.count("\n") == 1
    assert message in printed.err
    assert list(folder.iterdir()) == []


def test_manifest_of_another_file(folder: Path, capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "out"]) == 0
    Path("out").write_bytes(Path("out").read_bytes() + b"\0")
    before = sorted(folder.iterdir())
    assert call(["revert", "out", "-o", "back"]) == 2
    assert "out: the manifest is about a file with sha256" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a manifest"),
        ('{"schema": "stemrw.plan"}', "not a manifest"),
        ('{"schema": "stemrw.manifest", "version": 2}', "unknown manifest version 2"),
        ('{"schema": "stemrw.manifest", "version": 1}', "field `tool_version`"),
    ],
)
def test_damaged_manifest(folder: Path, capsys: Capture, content: str, message: str) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "out"]) == 0
    (folder / "out.manifest.json").write_text(content)
    assert call(["revert", "out"]) == 2
    assert message in capsys.readouterr().err


def test_bug_is_one_line_and_a_traceback_on_demand(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("some\nbug")

    monkeypatch.setattr("stemrw.elf.Elf.open", broken)
    assert call(["patch", str(DASH), "--region", "main"]) == 70
    assert re.fullmatch(r"stemrw: internal error: ZeroDivisionError: some \(.*\)\n", capsys.readouterr().err)
    monkeypatch.setenv("STEMRW_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        call(["patch", str(DASH), "--region", "main"])


def test_version(capsys: Capture) -> None:
    assert call(["--version"]) == 0
    assert capsys.readouterr().out == f"stemrw {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_tells_exit_statuses(arguments: list[str], capsys: Capture) -> None:
    assert call(arguments) == 0
    assert "status" in capsys.readouterr().out


def test_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -c '{MAIN}' --help 2>&1 >&- | cat"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stdout


def test_nothing_heavy_is_loaded_for_help() -> None:
    code = (
        "import sys; from stemrw.cli import call; call(['patch', '--help']); "
        "print([m for m in ('drgn', 'iced_x86', 'capstone', 'elftools', 'stemrw.sense') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_usage_says_where_the_help_is(capsys: Capture) -> None:
    for arguments, hint in (["patch"], "`stemrw patch --help`"), (["no-command"], "`stemrw --help`"):
        assert call(arguments) == 2
        assert hint in capsys.readouterr().err


def test_paragraphs_of_the_help_are_folded_for_the_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert call(["inspect", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("What it is"))
    last = next(i for i in range(first, len(lines)) if not lines[i].strip())
    words = [line.split() for line in lines[first:last]]
    for line, following in zip(words, words[1:], strict=False):
        assert len(" ".join(line)) + 1 + len(following[0]) > 58


def test_names_that_are_not_unicode(capsys: Capture, folder: Path) -> None:
    name = os.fsdecode(b"d\xffsh")
    (folder / name).write_bytes(DASH.read_bytes())
    (folder / name).chmod(0o755)
    assert call(["patch", name, "--region", "main"]) == 0
    hardened = name + ".hardened"
    for arguments in (
        ["inspect", "--json", hardened],
        ["diff", "--json", name, hardened],
        ["verify", "--json", hardened, "--check", f"{name} -c 'echo ok'"],
    ):
        capsys.readouterr()
        assert call(arguments) == 0
        assert "d\\\\xffsh" in capsys.readouterr().out
    assert call(["inspect", hardened]) == 0
    assert call(["diff", hardened, "--html", name + ".html"]) == 0
    assert call(["revert", hardened]) == 0
    assert call(["patch", str(DASH), "--region", "main", "--events", "/var/\udcff"]) == 2
    assert "is not Unicode" in capsys.readouterr().err


def test_names_that_the_encoding_of_the_output_lacks(folder: Path) -> None:
    (folder / "d☃sh").write_bytes(DASH.read_bytes())
    command = [sys.executable, "-c", MAIN, "patch", "d☃sh", "--region", "main"]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
    assert b"d\\u2603sh.hardened: 1 region" in done.stdout


def test_reader_that_leaves_does_not_change_the_answer() -> None:
    command = f"{sys.executable} -c '{MAIN}' patch {DASH} --region main -o out --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Path("out").exists()


def test_summary_begins_with_the_region_of_the_fault(folder: Path, capsys: Capture) -> None:
    """Whatever its address; then its safety nets, and what the whole file is asked."""
    frames = [{"module": str(DASH), "address": address, "return_address": address != "0x5168"} for address in
              ("0x5168", "0x4d64")]  # fmt: skip
    program = {"path": str(DASH)}
    report = {"class": "divide", "program": program, "pc": {"module": str(DASH), "address": "0x5168"}}
    (folder / "report").write_text(json.dumps({**report, "modules": [program], "backtrace": frames}))
    assert call(["patch", str(DASH), "--fault", "report", "--guard", "heap", "-o", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    order = [line.split(",")[0] for line in lines if line.startswith("  region")]
    assert order == ["  region 0x5140", "  region 0x4d30"], "the net has the lower address"
    assert "  whole file" in lines and any(line.startswith("    guard-site: --guard heap") for line in lines)
