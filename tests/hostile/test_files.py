"""Files that are no ELF files, files that change under the tool's hands, and places that cannot be written to."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile import elf_fields, victims
from hostile.contained import Contained, Outcome, judge, leftovers
from hostile.victims import Victim

from stemrw.cli import COMMANDS

READERS = tuple(name for name in ("patch", "revert", "inspect", "diff", "verify") if name in COMMANDS)
GIB = 1 << 30


@pytest.fixture(scope="module")
def contained() -> Iterator[Contained]:
    with Contained() as worker:
        yield worker


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return victims.build("pie", tmp_path_factory.mktemp("victim"))


@pytest.fixture
def hardened(victim: Victim, contained: Contained, tmp_path: Path) -> Path:
    """The victim's copy "in", hardened as "out", in the folder of the test."""
    shutil.copy2(victim.path, tmp_path / "in")
    assert contained.call(["patch", "in", "--region", "victim", "-o", "out"], cwd=tmp_path).status == 0
    return tmp_path / "out"


def words(command: str, file: str) -> list[str]:
    """A command line that reads a file."""
    return [command, file, *(["--region", "victim", "-o", "result"] if command == "patch" else [])]


# What is no ELF file for us


def changed(data: bytes, *fields: tuple[str, int]) -> bytes:
    copy = bytearray(data)
    for name, value in fields:
        elf_fields.header(name).put(copy, value)
    return bytes(copy)


NOT_OURS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: b"\x7f",
    "magic only": lambda data: data[:4],
    "script": lambda data: b"#!/bin/sh\necho \x1b[2J\n",
    "text": lambda data: b"ELF\n" * 10_000,
    "archive": lambda data: b"!<arch>\n" + data,
    "Windows program": lambda data: b"MZ" + bytes(58) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0" + data,
    "ARM64": lambda data: changed(data, ("machine", 183)),
    "RISC-V": lambda data: changed(data, ("machine", 243)),
    "i386": lambda data: changed(data, ("machine", 3), ("class", 1)),
    "x32": lambda data: changed(data, ("class", 1)),
    "big-endian": lambda data: changed(data, ("data", 2)),
    "PowerPC, big-endian": lambda data: changed(data, ("data", 2), ("machine", 0x1500)),
    "object file": lambda data: changed(data, ("type", 1)),
    "core dump": lambda data: changed(data, ("type", 4)),
    "type of an operating system": lambda data: changed(data, ("type", 0xFE00)),
    "no program headers": lambda data: changed(data, ("phnum", 0)),
}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("kind", NOT_OURS)
def test_no_file_for_us(victim: Victim, contained: Contained, tmp_path: Path, kind: str, command: str) -> None:
    (tmp_path / "file").write_bytes(NOT_OURS[kind](victim.data))
    refused(contained.call(words(command, "file"), cwd=tmp_path), "file")
    assert not leftovers(tmp_path, {"file"})


def refused(outcome: Outcome, names: str) -> None:
    assert outcome.status == 2, outcome
    problem = judge(outcome, names=names)
    assert not problem, problem


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    "place", ["folder", "/dev/zero", "/dev/null", "/dev/full", "pipe", "socket", "missing", "loop"]
)
def test_no_file_at_all(contained: Contained, tmp_path: Path, place: str, command: str) -> None:
    """Nothing is waited for, and no device is read."""
    import socket

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))
        before = {entry.name for entry in tmp_path.iterdir()}
        refused(contained.call(words(command, place), cwd=tmp_path), place)
    assert not leftovers(tmp_path, before)


@pytest.mark.parametrize("command", READERS)
def test_unreadable_file(hardened: Path, contained: Contained, tmp_path: Path, command: str) -> None:
    open_to_all(tmp_path)
    hardened.chmod(0)
    before = {entry.name for entry in tmp_path.iterdir()}
    refused(contained.call(words(command, "out"), cwd=tmp_path, unprivileged=True), "out")
    assert not leftovers(tmp_path, before)


def open_to_all(folder: Path) -> None:
    """So that somebody else than the tests' user gets there."""
    for above in (folder, *folder.parents):
        if above.stat().st_uid != os.geteuid() or above == Path("/"):
            break
        above.chmod(above.stat().st_mode | 0o777)


@pytest.mark.parametrize(
    "name", ["\x1b[2J\x1b]0;owned\x07", "two\nlines", "bytes\udcff", "\u202egnp.exe", "-dash", "x" * 255]
)
def test_names_of_files(victim: Victim, contained: Contained, tmp_path: Path, name: str) -> None:
    """Whatever a file is called, its name is no command to the terminal, and it can be hardened."""
    shutil.copy2(victim.path, tmp_path / name)
    outcome = contained.call(["patch", "--region", "victim", "-o", "out", "--", name], cwd=tmp_path)
    assert outcome.status == 0 and not judge(outcome), outcome
    for arguments in (
        ["patch", "--region", "no such function", "-o", "out2", "--", name],
        ["revert", "--", name],
        ["patch", "--region", "victim", "-o", f"{name}.new", "--", name],
        ["patch", "--region", name, "-o", "out3", "--", name],
        ["patch", "--fault", name, "-o", "out4", "--", name],
    ):
        outcome = contained.call(arguments, cwd=tmp_path)
        assert outcome.status == 2 or f"{name}.new" in arguments
        assert not judge(outcome), judge(outcome)


def test_two_gibibytes_of_nothing(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """Sparse files: a large file is no reason for much memory or time."""
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(2 * GIB)
    with (tmp_path / "elf").open("wb") as file:
        file.write(victim.data)
        file.truncate(2 * GIB)
    for command in READERS:
        refused(contained.call(words(command, "zeros"), cwd=tmp_path), "zeros")
    outcome = contained.call(words("patch", "elf"), cwd=tmp_path)
    assert not judge(outcome), judge(outcome)
    left = leftovers(tmp_path, {"zeros", "elf"})
    assert left == (["result", "result.manifest.json"] if outcome.status == 0 else [])


# Files that change meanwhile


@pytest.mark.parametrize("do", ["shrink", "empty", "grow", "change", "remove", "replace"])
def test_file_that_changes_while_it_is_read(victim: Victim, contained: Contained, tmp_path: Path, do: str) -> None:
    """The result is that of the old or of the new content, or none."""
    for event in (*range(8), 12, 20, 50):
        shutil.copy2(victim.path, tmp_path / "in")
        meddle = {"path": "in", "event": event, "do": do}
        outcome = contained.call(words("patch", "in"), cwd=tmp_path, meddle=meddle)
        assert not judge(outcome, names="in"), f"event {event}: {judge(outcome, names='in')}"
        made = {name for name in ("result", "result.manifest.json") if (tmp_path / name).exists()}
        assert made == ({"result", "result.manifest.json"} if outcome.status == 0 else set()), event
        if made:
            assert contained.call(["revert", "result", "-o", "back"], cwd=tmp_path).status == 0
            old = victim.data
            new = old + bytes(len(old)) if do == "grow" else old[:-1] + bytes([old[-1] ^ 0xFF])
            assert (tmp_path / "back").read_bytes() in (old, new), event
        for entry in list(tmp_path.iterdir()):
            entry.unlink()


@pytest.mark.parametrize("do", ["shrink", "empty", "grow", "change", "remove", "replace"])
def test_hardened_file_that_changes_while_it_is_reverted(
    victim: Victim, hardened: Path, contained: Contained, tmp_path: Path, do: str
) -> None:
    data = hardened.read_bytes()
    before = {entry.name for entry in tmp_path.iterdir()}
    for event in (*range(6), 10, 20):
        for name in leftovers(tmp_path, before):
            (tmp_path / name).unlink()
        hardened.write_bytes(data)
        meddle = {"path": "out", "event": event, "do": do}
        outcome = contained.call(["revert", "out", "-o", "back"], cwd=tmp_path, meddle=meddle)
        assert not judge(outcome, names="out"), f"event {event}: {judge(outcome)}"
        left = leftovers(tmp_path, before | {"out.old"})
        assert left == (["back"] if outcome.status == 0 else []), event
        assert not left or (tmp_path / "back").read_bytes() == victim.data


# Places that cannot be written to


def test_full_disk(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """Whichever write comes to the end of the disk: nothing is left behind, and what was there before still is."""
    (tmp_path / "result").write_bytes(b"older")
    whole = contained.call(words("patch", str(victim.path)), cwd=tmp_path)
    assert whole.status == 0
    size = (tmp_path / "result").stat().st_size
    (tmp_path / "result").write_bytes(b"older")
    (tmp_path / "result.manifest.json").write_bytes(b"older")
    for limit in (2048, 4096, len(victim.data), size // 2, size - 1):
        outcome = contained.call(words("patch", str(victim.path)), cwd=tmp_path, file_size=limit)
        refused(outcome, "result")
        assert not leftovers(tmp_path, {"result", "result.manifest.json"})
        assert (tmp_path / "result").read_bytes() == b"older" == (tmp_path / "result.manifest.json").read_bytes()
    assert contained.call(words("patch", str(victim.path)), cwd=tmp_path, file_size=size).status == 0


def test_full_disk_at_the_manifest(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    """A small disk that holds the hardened file and not the manifest."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        for used in range(0, 100, 4):
            (disk / "filler").write_bytes(bytes(used << 10))
            outcome = contained.call(["patch", victim.path, "--region", "victim", "-o", disk / "result"], cwd=tmp_path)
            left = leftovers(disk, {"filler"})
            assert left == (["result", "result.manifest.json"] if outcome.status == 0 else []), used
            assert not judge(outcome), judge(outcome)
            for name in left:
                (disk / name).unlink()
        assert outcome.status == 2
    finally:
        subprocess.run(["umount", disk], check=True)


def test_read_only_folder(hardened: Path, contained: Contained, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    folder = tmp_path / "readonly"
    folder.mkdir(mode=0o555)
    for arguments in (
        ["patch", "in", "--region", "victim", "-o", "readonly/result"],
        ["revert", "out", "-o", "readonly/result"],
    ):
        refused(contained.call(arguments, cwd=tmp_path, unprivileged=True), "readonly/result")
    assert not list(folder.iterdir())


def test_folder_in_which_others_files_may_not_be_replaced(hardened: Path, contained: Contained, tmp_path: Path) -> None:
    """A sticky folder such as /tmp, and a result that belongs to somebody else: the manifest is not put there alone."""
    if os.geteuid():
        pytest.skip("only root can make another user's file")
    open_to_all(tmp_path)
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "result").write_bytes(b"another's")
    outcome = contained.call(
        ["patch", "in", "--region", "victim", "-o", "sticky/result"], cwd=tmp_path, unprivileged=True
    )
    refused(outcome, "sticky/result")
    assert [path.name for path in folder.iterdir()] == ["result"] and (folder / "result").read_bytes() == b"another's"


@pytest.mark.parametrize("place", ["folder", "pipe", "/dev/full", "/dev/null", "missing/result", "in/result", "loop"])
@pytest.mark.parametrize("command", ["patch", "revert"])
def test_output_that_is_no_place_for_a_file(
    hardened: Path, contained: Contained, tmp_path: Path, command: str, place: str
) -> None:
    """Devices are not replaced by files, pipes are not waited for."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = {entry.name: entry.lstat().st_mode for entry in tmp_path.iterdir()}
    source = ["patch", "in", "--region", "victim"] if command == "patch" else ["revert", "out"]
    refused(contained.call([*source, "-o", place], cwd=tmp_path), place)
    assert {entry.name: entry.lstat().st_mode for entry in tmp_path.iterdir()} == before
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode) and stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_output_with_a_manifest_that_cannot_be(hardened: Path, contained: Contained, tmp_path: Path) -> None:
    """A name that is too long with ".manifest.json", or a folder in the manifest's place: no hardened file either."""
    (tmp_path / "taken.manifest.json").mkdir()
    before = {entry.name for entry in tmp_path.iterdir()}
    for place in ("x" * 250, "taken"):
        refused(contained.call(["patch", "in", "--region", "victim", "-o", place], cwd=tmp_path), place)
        assert not leftovers(tmp_path, before)


@pytest.mark.parametrize("target", ["other", "missing"])
def test_output_through_a_link(hardened: Path, contained: Contained, tmp_path: Path, target: str) -> None:
    """What a link leads to becomes the result, or the link itself does; nothing else is touched."""
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "link").symlink_to(target)
    outcome = contained.call(["patch", "in", "--region", "victim", "-o", "link"], cwd=tmp_path)
    assert outcome.status == 0 and not judge(outcome)
    assert (tmp_path / "link").read_bytes() == hardened.read_bytes()
    assert contained.call(["revert", "link", "-o", "back"], cwd=tmp_path).status == 0


def test_output_over_the_input(victim: Victim, hardened: Path, contained: Contained, tmp_path: Path) -> None:
    """By name and by link; and where it fails, the input is whole."""
    (tmp_path / "again").symlink_to("in")
    for limit in (1000, 30_000):
        words_ = ["patch", "in", "--region", "victim", "-o", "in"]
        assert contained.call(words_, cwd=tmp_path, file_size=limit).status == 2
        assert (tmp_path / "in").read_bytes() == victim.data
    assert contained.call(["patch", "in", "--region", "victim", "-o", "again"], cwd=tmp_path).status == 0
    before = {entry.name for entry in tmp_path.iterdir()}
    manifest = next(name for name in ("again.manifest.json", "in.manifest.json") if name in before)
    assert json.loads((tmp_path / manifest).read_text())["regions"]
    outcome = contained.call(["revert", "again", "--manifest", manifest, "-o", "in"], cwd=tmp_path)
    assert outcome.status == 0
    assert (tmp_path / "in").read_bytes() == victim.data
    assert not leftovers(tmp_path, before)
