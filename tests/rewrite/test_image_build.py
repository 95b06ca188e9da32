"""The injected image: the same bytes every time, and nothing in it that would need a loader."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from rewrite.conftest import ROOT

from stemrw.errors import UsageError
from stemrw.runtime import load_image

GATES = ("gate_region", "gate_start", "gate_observe")


def test_two_builds_are_identical_wherever_the_sources_lie(
    build_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "runtime", elsewhere / "runtime")
    (elsewhere / "stemrw").mkdir()
    shutil.copy(ROOT / "stemrw" / "__init__.py", elsewhere / "stemrw")
    build_module.build(tmp_path / "one")
    monkeypatch.setattr(build_module, "HERE", elsewhere / "runtime")
    build_module.build(tmp_path / "two")
    for name in ("image-x86_64.bin", "image-x86_64.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_installed_image_is_the_one_of_the_sources(build_module: ModuleType, tmp_path: Path) -> None:
    build_module.build(tmp_path)
    assert load_image(tmp_path).sha256 == load_image().sha256, "run: python runtime/build.py stemrw/runtime"


def test_image_has_gates_and_small_size() -> None:
    image = load_image()
    assert all(0 < image.symbols[name] < len(image.data) for name in GATES)
    assert image.symbols["payload_header"] == 0
    assert len(image.data) <= 124 << 10  # with records, gates and page alignment: 128 KiB per file
    assert image.data.startswith(image.magic) and len(image.magic) == 8


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("int value = 1; int *gate(void) { return &value; }", "writable data"),
        ("int value; int *gate(void) { return &value; }", "zero-initialised data"),
        ('const char *const names[] = {"a", "b"}; const char *gate(int i) { return names[i]; }', "writable data"),
        ("int other(void); int gate(void) { return other(); }", "undefined symbol"),
        ("int gate(void) { int unused; return 0; }", "unused variable"),
    ],
)
def test_what_would_need_a_loader_is_refused(
    build_module: ModuleType, null_sources: list[Path], tmp_path: Path, source: str, what: str
) -> None:
    extra = tmp_path / "extra.c"
    extra.write_text(source)
    with pytest.raises(build_module.BuildError, match=what):
        build_module.build(tmp_path / "out", sources=[*null_sources, extra])
    assert not (tmp_path / "out").exists()


def test_absolute_address_in_code_is_refused(
    build_module: ModuleType, null_sources: list[Path], tmp_path: Path
) -> None:
    extra = tmp_path / "extra.S"
    extra.write_text(".text\n.globl gate\ngate: movabs $gate, %rax\nret\n")
    with pytest.raises(build_module.BuildError, match="reloc"):
        build_module.build(tmp_path / "out", sources=[*null_sources, extra])


def test_missing_image_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read.*runtime/build\.py"):
        load_image(tmp_path)


def test_damaged_image_is_not_injected(tmp_path: Path) -> None:
    image = load_image()
    (tmp_path / "image-x86_64.bin").write_bytes(image.data[:-1] + b"\0")
    described = {"sha256": hashlib.sha256(image.data).hexdigest()}
    (tmp_path / "image-x86_64.json").write_text(json.dumps(described))
    with pytest.raises(UsageError, match="not the one"):
        load_image(tmp_path)
