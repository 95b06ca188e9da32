"""The emulation: hardened functions equal their originals, and one that does not is found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Tool
from verify.conftest import Hardened, failed

from stemrw.cli import call
from stemrw.documents.verification import EmulatedFunction
from stemrw.elf import Elf
from stemrw.runtime import load_image
from stemrw.verify import Wishes

Sample = Callable[[str], Hardened]
Assembled = Callable[..., Hardened]
PLAIN = "lea 5(%rdi), %rax\\n add %rsi, %rax\\n mov %rax, word(%rip)\\n ret"
WORD = "long word;"


def _function(hardened: Hardened, kind: str = "region", inputs: int = 4) -> EmulatedFunction:
    """What was found out about the region (or the start)."""
    return next(each for each in _functions(hardened, inputs) if each.kind == kind)


def _functions(hardened: Hardened, inputs: int = 4) -> tuple[EmulatedFunction, ...]:
    return hardened.verify(Wishes(emulate=True, inputs=inputs)).functions


@pytest.mark.parametrize("mode", ["pie", "nopie", "static", "static-pie", "shared"])
def test_hardened_functions_equal_the_original(sample: Sample, mode: str) -> None:
    hardened = sample(mode)
    found = hardened.verify(Wishes(emulate=True, inputs=12))
    assert failed(found) == set()
    assert len(found.functions) == len(hardened.manifest.patches)
    for function in found.functions:
        assert sum(function.ends.values()) + sum(function.left_out.values()) == 12
        assert not function.natively
    region = next(function for function in found.functions if function.kind == "region")
    assert region.rescued == region.ends["fault"] > 0
    assert region.covered > 0


def test_real_program(tool: Tool, tmp_path: Path) -> None:
    original, path = Path("/usr/bin/dash"), tmp_path / "dash.hardened"
    tool.patch(original, path, "--region", "main", "--region", "0x4d30", "--region", "0x5140")
    functions = _functions(Hardened(original, path))
    assert {function.kind for function in functions} == {"region", "start", "observe"}
    assert not any(function.differences for function in functions)


def test_all_ends_are_met(assembled: Assembled) -> None:
    """Return, fault, system call: by the first argument."""
    body = "test $8, %rdi\\n jz 1f\\n mov (%rsi), %rax\\n ret\\n 1: mov $39, %eax\\n syscall\\n ret"
    found = _function(assembled(body), inputs=64)
    assert set(found.ends) == {"returned", "fault", "system call"}
    assert not found.differences and found.covered == found.size - 1  # the last ret


def _region(hardened: Hardened) -> tuple[int, int, int]:
    """File offsets of gate, displaced instructions, and the record in the patch table."""
    (patch,) = [patch for patch in hardened.manifest.patches if patch.kind == "region"]
    image = load_image()
    payload = hardened.path.read_bytes()[hardened.manifest.payload.offset :]
    header = {k: int.from_bytes(v, "little") for k, v in image.structs["payload_header"].unpack(payload).items()}
    for i in range(header["patch_count"]):
        at = header["patch_table"] + image.structs["patch"].size * i
        if image.structs["patch"].unpack(payload, at)["address"] == patch.address.to_bytes(8, "little"):
            return hardened.offset(patch.gate), hardened.offset(patch.displaced), hardened.manifest.payload.offset + at
    raise AssertionError("the region is not in the table")


def _field(struct: str, name: str) -> int:
    return load_image().structs[struct].fields[name][0]


DAMAGES: dict[str, tuple[Callable[[Hardened], int], bytes, str]] = {
    # lea 5(%rdi), %rax is 48 8d 47 05
    "displaced instruction": (lambda h: _region(h)[1] + 3, b"\6", "natively: rax is"),
    "displaced jump back": (lambda h: _region(h)[1] + 8, b"\1", "natively: "),
    "translated bytes": (lambda h: _region(h)[2] + _field("patch", "original") + 3, b"\6", "emulated: rax is"),
    "gate's stack pointer": (lambda h: _region(h)[0] + 4, b"\x88", "emulated: "),
    "gate's way back": (lambda h: _region(h)[0] + 25, b"\x78", "natively: "),
    "gate's patch": (lambda h: _region(h)[0] + 10, b"\0", "emulated: "),
    "address in the table": (lambda h: _region(h)[2], b"\1", "emulated: "),
    "state in the header": (
        lambda h: h.payload_field("payload_header", "state_address") + 1, b"\0", "emulated: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(assembled: Assembled, tmp_path: Path, damage: str) -> None:
    where, new, expected = DAMAGES[damage]
    hardened = assembled(PLAIN, prologue=WORD)
    assert not _function(hardened).differences
    (tmp_path / "damaged").mkdir()
    found = _function(hardened.damaged(tmp_path / "damaged", where(hardened), new))
    assert any(expected in difference for difference in found.differences), found


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("log_rollback", "after the rescue, the byte at"),
        ("on_signal", "does not end"),
        ("log_range", "after the rescue"),
    ],
)
def test_runtime_that_does_not_undo_is_found(assembled: Assembled, tmp_path: Path, symbol: str, expected: str) -> None:
    """A function of the runtime that returns at once: the store before the fault stays, or nobody handles the fault."""
    hardened = assembled(
        "mov %rdi, word(%rip)\\n mov %rdi, (%rsp)\\n xor %eax, %eax\\n mov (%rax), %rax\\n ret", prologue=WORD
    )
    assert _function(hardened).rescued == 4
    at = hardened.manifest.payload.offset + load_image().symbols[symbol]
    stub = b"\xb8\1\0\0\0\xc3"  # mov eax, 1; ret
    (tmp_path / "damaged").mkdir()
    found = _function(hardened.damaged(tmp_path / "damaged", at, stub))
    assert any(expected in difference for difference in found.differences), found


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("vaddpd %ymm0, %ymm0, %ymm0\\n nop\\n ret", "Unicorn does not know `vaddpd"),
        ("1: jmp 1b\\n nop\\n nop\\n nop\\n ret", "no end within"),
        ("mov word+0x2000(%rip), %rax\\n ret", "a wild access that would hit what was added"),
        ("rdtsc\\n mov %rax, word(%rip)\\n ret", "differs from run to run"),
    ],
)
def test_what_cannot_be_compared_is_said(assembled: Assembled, body: str, reason: str) -> None:
    found = _function(assembled(body, prologue=WORD))
    assert not found.differences
    assert any(reason in why for why in found.left_out), found


def test_variables_that_nobody_has_initialised_are_the_same(assembled: Assembled) -> None:
    """What the gate leaves below the stack does not count as a difference."""
    found = _function(assembled("mov -400(%rsp), %rax\\n add -144(%rsp), %rax\\n ret"))
    assert (found.ends, found.differences, found.left_out) == ({"returned": 4}, (), {})


def test_function_that_cannot_be_compared_is_skipped(assembled: Assembled, capsys: pytest.CaptureFixture[str]) -> None:
    hardened = assembled("vaddpd %ymm0, %ymm0, %ymm0\\n nop\\n ret")
    assert call(["verify", str(hardened.path), "--emulate", "--inputs", "4"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "vaddpd" in line]
    assert line.split()[:2] == ["emulate", "skipped"]


def test_same_inputs_each_time(assembled: Assembled) -> None:
    hardened = assembled("mov (%rdi), %rax\\n mov %rax, 8(%rdi)\\n call *%rax\\n ret")
    assert _functions(hardened) == _functions(hardened)


def test_calls_out_of_the_file_are_compared(tool: Tool, tmp_path: Path, assembled: Assembled) -> None:
    """Arguments of imported functions are part of what is compared; so is a function that never returns."""
    body = "sub $8, %rsp\\n call getpid@PLT\\n mov %rax, word(%rip)\\n xor %edi, %edi\\n call exit@PLT\\n ud2"
    hardened = assembled(
        body, prologue="#include <unistd.h>\n#include <stdlib.h>\nlong word; void *p = &getpid, *q = &exit;"
    )
    found = _function(hardened)
    assert found.ends == {"system call": 4} and not found.differences
    _, displaced, record = _region(hardened)
    (tmp_path / "damaged").mkdir()
    original = Elf.open(hardened.original)
    at = record + _field("patch", "original") + 3
    assert hardened.path.read_bytes()[at] == 8 and original.data  # sub $8 → sub $24
    damaged = hardened.damaged(tmp_path / "damaged", at, b"\x18")
    assert any("rsp is" in difference for difference in _function(damaged).differences)
    assert displaced


def test_without_unicorn_it_is_an_error(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("stemrw.verify.emulate")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "unicorn", None)
    assert call(["verify", str(sample("pie").path), "--emulate"]) == 2
    assert "stemrw[emulate]" in capsys.readouterr().err


def test_unicorn_is_not_loaded_for_anything_else() -> None:
    import subprocess

    code = (
        "import sys; import stemrw.verify; from stemrw.cli import call; call(['verify', '--help']); "
        "print([m for m in ('unicorn', 'lief', 'drgn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
