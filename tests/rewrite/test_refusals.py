"""What cannot be hardened safely is refused with the place, the reason and a way out; never half-hardened."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rewrite.conftest import PLAIN, plan_for
from rewrite.flavours import Built, Cell

from stemrw.elf import Elf
from stemrw.errors import BinaryError, DocumentError
from stemrw.rewrite import revert, rewrite
from stemrw.runtime import RuntimeImage


@pytest.fixture
def original(built: Callable[[Cell], Built]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    program = built(PLAIN)
    return program.program.read_bytes(), program.functions


def assemble(folder: Path, body: str) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """A program with one function `target` in assembly."""
    source = folder / "one.s"
    source.write_text(
        f".text\n.globl target\n.type target, @function\n.p2align 4\ntarget:\n{body}\n.size target, .-target\n"
        '.p2align 4\n.globl main\nmain: call target\nxor %eax, %eax\nret\n.section .note.GNU-stack,"",@progbits\n'
    )
    program = folder / "one"
    subprocess.run(["gcc", "-o", program, source], check=True)
    listing = subprocess.run(["nm", "-S", program], check=True, capture_output=True, text=True).stdout
    found = next(line.split() for line in listing.splitlines() if line.endswith(" target"))
    return program.read_bytes(), {"target": (int(found[0], 16), int(found[1], 16))}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("push %rbp\n1: mov %rsp, %rbp\nmov $3, %ecx\n2: dec %ecx\njne 1b\npop %rbp\nret", "leads to .* between"),
        ("push %rbp\n1: mov %rsp, %rbp\njmp 2f\n.skip 300\n2: jne 1b\npop %rbp\nret", "leads to .* between"),
        ("ret\n.globl next\nnext: mov $1, %eax\nret", "only 1 byte, and no room follows"),
        ("call *%rax\nret\nnop\nnop\nnop", "return address lies within"),
        (".byte 0x06, 0x06, 0x06, 0x06, 0x06, 0x06", "cannot be decoded"),
    ],
)
def test_entry_that_cannot_be_replaced(tmp_path: Path, null_image: RuntimeImage, body: str, what: str) -> None:
    data, functions = assemble(tmp_path, body)
    with pytest.raises(BinaryError, match=what) as caught:
        rewrite(data, plan_for(data, [functions["target"]]), image=null_image)
    assert caught.value.address is not None and caught.value.address >= functions["target"][0]


def test_branch_from_elsewhere_into_the_entry(tmp_path: Path, null_image: RuntimeImage) -> None:
    body = "push %rbp\n1: mov %rsp, %rbp\npop %rbp\nret\n.size target, .-target\n.skip 400, 0x90\nother: jmp 1b"
    data, functions = assemble(tmp_path, body)
    address = functions["target"][0]
    with pytest.raises(BinaryError, match="between the bytes"):
        rewrite(data, plan_for(data, [(address, 6)]), image=null_image)


def test_branch_back_to_the_entry_itself_is_fine(tmp_path: Path, null_image: RuntimeImage) -> None:
    data, functions = assemble(tmp_path, "test %ebx, %edi\nmov $0, %edi\njne target\nret")
    assert rewrite(data, plan_for(data, [functions["target"]]), image=null_image).data != data


def test_already_hardened(original: tuple[bytes, dict[str, tuple[int, int]]], null_image: RuntimeImage) -> None:
    data, functions = original
    once = rewrite(data, plan_for(data, [functions["main"]]), image=null_image).data
    with pytest.raises(BinaryError, match=r"already hardened.*manifest is needed"):
        rewrite(once, plan_for(once, [functions["main"]]), image=null_image)


def test_plan_of_another_file(original: tuple[bytes, dict[str, tuple[int, int]]], null_image: RuntimeImage) -> None:
    data, functions = original
    with pytest.raises(DocumentError, match="about a file with sha256"):
        rewrite(data, plan_for(data + b"x", [functions["main"]]), image=null_image)


def patched(data: bytes, offset: int, form: str, value: int) -> bytes:
    size = struct.calcsize(form)
    return data[:offset] + struct.pack(form, value) + data[offset + size :]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: b"#!/bin/sh\n", "not an ELF file"),
        (lambda data: data[:40], "ends within its ELF header"),
        (lambda data: patched(patched(data, 18, "<H", 3), 4, "<B", 1), "32-bit x86"),
        (lambda data: patched(data, 18, "<H", 183), "not an x86-64 file"),
        (lambda data: patched(data, 16, "<H", 1), "neither a program nor a shared object"),
        (lambda data: data[:8192], "the file has 0x2000"),
        (lambda data: patched(data, 32, "<Q", 1 << 40), "program headers lie beyond the end"),
    ],
)
def test_other_files(
    original: tuple[bytes, dict[str, tuple[int, int]]],
    null_image: RuntimeImage,
    change: Callable[[bytes], bytes],
    what: str,
) -> None:
    data, functions = change(original[0]), original[1]
    with pytest.raises(BinaryError, match=what):
        rewrite(data, plan_for(data, [functions["main"]]), image=null_image)


def test_no_code_at_the_address(original: tuple[bytes, dict[str, tuple[int, int]]], null_image: RuntimeImage) -> None:
    with pytest.raises(BinaryError, match="no code at this address"):
        rewrite(original[0], plan_for(original[0], [(0x10, 16)]), image=null_image)


def test_go_program(tmp_path: Path, null_image: RuntimeImage) -> None:
    data, functions = assemble(tmp_path, 'mov $1, %eax\nret\n.section .gopclntab,"a"\n.quad 1\n.text')
    with pytest.raises(BinaryError, match="Go program"):
        rewrite(data, plan_for(data, [functions["target"]]), image=null_image)


def test_go_program_as_shipped(null_image: RuntimeImage) -> None:
    program = Path("/usr/sbin/gosu")
    if not program.exists():
        pytest.skip(f"no {program}: scripts/test installs it")
    data = program.read_bytes()
    with pytest.raises(BinaryError, match="Go program: its own runtime moves stacks"):
        rewrite(data, plan_for(data, [(Elf(data).entry, 16)]), image=null_image)


def test_library_whose_ends_have_no_room(tmp_path: Path, null_image: RuntimeImage) -> None:
    source, out = tmp_path / "ends.s", tmp_path / "ends.so"
    source.write_text(
        ".text\n.globl work\n.type work,@function\nwork: mov $1, %eax\nret\n.size work, .-work\n"
        '.section .init,"ax"\n.globl _init\n_init: ret\n.section .fini,"ax"\n.globl _fini\n_fini: ret\n'
        '.section .data\n.quad 1\n.section .note.GNU-stack,"",@progbits\n'
    )
    subprocess.run(["gcc", "-shared", "-nostartfiles", "-Wl,--build-id", "-o", out, source], check=True)
    elf = Elf.open(out)
    listing = subprocess.run(["nm", out], check=True, capture_output=True, text=True).stdout
    work = next(int(line.split()[0], 16) for line in listing.splitlines() if line.endswith(" work"))
    manifest = rewrite(elf, plan_for(bytes(elf.data), [(work, 6)]), image=null_image).manifest
    assert manifest.unobserved == ("DT_INIT", "DT_FINI")
    assert [patch.kind for patch in manifest.patches] == ["region"]


def test_two_functions_too_close_together(tmp_path: Path, null_image: RuntimeImage) -> None:
    data, functions = assemble(tmp_path, "ret\nnop\nnop\n.globl near\nnear: nop\nnop\nmov $1, %eax\nret")
    address = functions["target"][0]
    with pytest.raises(BinaryError, match="another function begins at"):
        rewrite(data, plan_for(data, [(address, 1), (address + 3, 8)]), image=null_image)


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
def test_events_path(original: tuple[bytes, dict[str, tuple[int, int]]], null_image: RuntimeImage, path: str) -> None:
    data, functions = original
    with pytest.raises(BinaryError, match="events path"):
        rewrite(data, plan_for(data, [functions["main"]]), events_path=path, image=null_image)


def test_revert_of_a_changed_file(original: tuple[bytes, dict[str, tuple[int, int]]], null_image: RuntimeImage) -> None:
    data, functions = original
    done = rewrite(data, plan_for(data, [functions["main"]]), image=null_image)
    with pytest.raises(DocumentError, match="manifest is about a file"):
        revert(done.data + b"\0", done.manifest)


def test_revert_with_an_edited_manifest(
    original: tuple[bytes, dict[str, tuple[int, int]]], null_image: RuntimeImage
) -> None:
    data, functions = original
    done = rewrite(data, plan_for(data, [functions["main"]]), image=null_image)
    fewer = done.manifest.model_copy(update={"changes": done.manifest.changes[1:]})
    with pytest.raises(DocumentError, match="does not lead back"):
        revert(done.data, fewer)
    beyond = done.manifest.changes[0].model_copy(update={"offset": len(data)})
    with pytest.raises(DocumentError, match="leave the original"):
        revert(done.data, done.manifest.model_copy(update={"changes": (beyond,)}))
