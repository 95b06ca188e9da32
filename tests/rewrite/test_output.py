"""Files appear complete or not at all, with what the original had besides its bytes."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from stemrw.errors import UsageError
from stemrw.rewrite import Edited, write_output


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
    lost = write_output([(out, b"new")], like=original)
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    assert "owner 65534:65534" in lost[0] and "set-user-id" in lost[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_capabilities_are_kept(tmp_path: Path) -> None:
    original, out = tmp_path / "original", tmp_path / "out"
    original.write_bytes(b"x")
    os.chown(original, 65534, 65533)
    original.chmod(0o6755)
    raw = struct.pack("<5I", 0x0200_0001, 1 << 10, 0, 0, 0)  # VFS_CAP_REVISION_2, effective: cap_net_bind_service
    try:
        os.setxattr(original, "security.capability", raw)
    except OSError:
        pytest.skip("no file capabilities on this file system")
    assert write_output([(out, b"new")], like=original) == []
    status = out.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 65533, 0o6755)
    assert os.getxattr(out, "security.capability") == raw
    assert write_output([(original, b"new")], like=original) == []
    assert os.getxattr(original, "security.capability") == raw and original.read_bytes() == b"new"


def test_what_signs_the_bytes_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, out = tmp_path / "original", tmp_path / "out"
    original.write_bytes(b"x")
    given: list[str] = []
    monkeypatch.setattr(os, "listxattr", lambda _: ["user.a", "security.ima"])
    monkeypatch.setattr(os, "getxattr", lambda *_: b"")
    monkeypatch.setattr(os, "setxattr", lambda _, name, __: given.append(name))
    lost = write_output([(out, b"new")], like=original)
    assert given == ["user.a"] and len(lost) == 1 and "sign the file anew" in lost[0]


def test_attribute_that_cannot_be_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, out = tmp_path / "original", tmp_path / "out"
    original.write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "listxattr", lambda _: ["security.capability"])
    monkeypatch.setattr(os, "getxattr", lambda *_: b"")
    monkeypatch.setattr(os, "setxattr", refuse)
    lost = write_output([(out, b"new")], like=original)
    assert lost == ["extended attribute security.capability could not be kept: Operation not permitted"]


def test_symbolic_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "program").write_bytes(b"old")
    link = tmp_path / "program"
    link.symlink_to("real/program")
    write_output([(link, b"new")], like=link)
    assert link.is_symlink() and (tmp_path / "real" / "program").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["fifo", "device", "loop", "dangling-folder"])
def test_only_files_are_replaced(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "out"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        place = Path("/dev/null")
    else:
        place.symlink_to("out" if kind == "loop" else "missing/out")
    with pytest.raises(UsageError, match="cannot be written"):
        write_output([(place, b"new")])
    assert sorted(tmp_path.iterdir()) == ([] if kind == "device" else [place])


def test_edited_content() -> None:
    edited = Edited(b"0123456789", 8, ((2, b"ab"), (6, b"c")), b"tail")
    assert bytes(edited) == b"01ab45c7tail" and len(edited) == 12
    assert edited.sha256 == hashlib.sha256(b"01ab45c7tail").hexdigest()


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


def test_longest_name(tmp_path: Path) -> None:
    """What is written beside it for a while has a name of its own: 255 bytes are all that a name can have."""
    out = tmp_path / ("ü" * 127)
    for content in (b"old", b"new"):
        write_output([(out, content)])
        assert out.read_bytes() == content and list(tmp_path.iterdir()) == [out]


def test_missing_original_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_output([(tmp_path / "out", b"new")], like=tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
