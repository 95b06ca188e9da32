"""Files appear complete or not at all, with what the original had besides its bytes."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from stemrw.errors import UsageError
from stemrw.rewrite import write_output


def test_mode_is_kept(tmp_path: Path) -> None:
    original, out = tmp_path / "original", tmp_path / "out"
    original.write_bytes(b"x")
    original.chmod(0o4751)
    write_output([(out, b"new"), (tmp_path / "manifest", b"{}")], like=original)
    assert stat.S_IMODE(out.stat().st_mode) == 0o4751
    assert stat.S_IMODE((tmp_path / "manifest").stat().st_mode) & 0o111 == 0


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    original, out = tmp_path / "original", tmp_path / "out"
    original.write_bytes(b"x")
    try:
        os.setxattr(original, "user.origin", b"here")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    write_output([(out, b"new")], like=original)
    assert os.getxattr(out, "user.origin") == b"here"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another owner")
def test_set_user_id_is_not_given_to_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, out = tmp_path / "original", tmp_path / "out"
    original.write_bytes(b"x")
    os.chown(original, 65534, 65534)
    original.chmod(0o4755)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    write_output([(out, b"new")], like=original)
    assert stat.S_IMODE(out.stat().st_mode) == 0o755


def test_running_program_can_be_replaced_in_place(tmp_path: Path) -> None:
    program = tmp_path / "sleeper"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    child = subprocess.Popen([program, "30"])
    try:
        write_output([(program, b"new")], like=program)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    assert program.read_bytes() == b"new"
    assert os.access(program, os.X_OK)


@pytest.mark.parametrize("second", ["missing/manifest", "folder"])
def test_nothing_is_written_if_one_file_cannot_be(tmp_path: Path, second: str) -> None:
    (tmp_path / "folder").mkdir()
    out = tmp_path / "out"
    out.write_bytes(b"old")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="cannot be written"):
        write_output([(out, b"new"), (tmp_path / second, b"{}")])
    assert out.read_bytes() == b"old"
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_original_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_output([(tmp_path / "out", b"new")], like=tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
