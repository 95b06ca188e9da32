"""Hardened programs under tools that start, trace, extend or restrict processes."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness import recoveries
from tools.subjects import Subject, need, run, started, wait_until

Get = Callable[[str], Subject]
LOADER = Path("/lib64/ld-linux-x86-64.so.2")


def outputs(subject: Subject, *prefix: str | Path, arguments: Sequence[str] = (), **options: Any) -> list[str]:
    """What the original and the hardened program print behind a command prefix, without folders, addresses and ids."""
    texts = [run([*prefix, program, *arguments], **options) for program in subject.programs()]
    volatile = rf"{subject.original}|{subject.hardened}|0x[0-9a-f]{{8,}}|\b\d{{3,}}\b(?=:|==|\])"
    return [re.sub(volatile, "…", text) for text in texts]


def survives(command: Sequence[str | Path], **options: Any) -> bool:
    """Whether `subject divide`, so started, lives through its fault."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
    )
    return done.returncode == 0 and done.stdout.endswith("172\n-1\n")


@pytest.mark.parametrize("flavour", ["dwarf", "static", "shared"])
@pytest.mark.parametrize(
    "prefix", [("strace", "-f", "-o", "/dev/null"), ("valgrind", "-q", "--tool=none")], ids="-".join
)
def test_tracers_and_emulators_run_it(subject: Get, prefix: tuple[str, ...], flavour: str) -> None:
    need(prefix[0])
    original, hardened = outputs(subject(flavour), *prefix)
    assert hardened == original


def test_ltrace_sees_the_same_calls(subject: Get) -> None:
    """Its breakpoints are in the program's stubs, which regions call too."""
    need("ltrace")
    original, hardened = outputs(subject("dwarf"), "ltrace", "-e", "strlen+snprintf+__snprintf_chk+printf")
    assert hardened == original
    assert "strlen" in original


def test_started_by_the_loader(subject: Get) -> None:
    program = subject("dwarf").programs()[1]
    if not LOADER.exists():
        pytest.skip("no dynamic loader at its usual place")
    assert survives([LOADER, program, "divide"])


def test_preloaded_and_auditing_libraries(subject: Get, tmp_path: Path) -> None:
    """A preloaded library's functions are called in regions too; an auditing one sees the same objects."""
    need("gcc")
    (tmp_path / "preload.c").write_text(
        "#include <stdio.h>\n#include <string.h>\n"
        'size_t strlen(const char *text) { size_t n = 0; while (text[n]) n++; fputs("[strlen]", stdout); return n; }\n'
    )
    (tmp_path / "audit.c").write_text(
        "#define _GNU_SOURCE\n#include <link.h>\n#include <unistd.h>\n#include <string.h>\n"
        "unsigned la_version(unsigned v) { return v; }\n"
        "unsigned la_objopen(struct link_map *m, Lmid_t id, uintptr_t *c)\n"
        '{ write(1, m->l_name, strlen(m->l_name)); write(1, "\\n", 1); return LA_FLG_BINDTO | LA_FLG_BINDFROM; }\n'
    )
    for name in ("preload", "audit"):
        run(
            [
                "gcc",
                "-O2",
                "-w",
                "-fno-builtin",
                "-shared",
                "-fPIC",
                "-o",
                tmp_path / f"{name}.so",
                tmp_path / f"{name}.c",
            ]
        )
    for variable, name in (("LD_PRELOAD", "preload"), ("LD_AUDIT", "audit")):
        environment = {**os.environ, variable: str(tmp_path / f"{name}.so")}
        original, hardened = outputs(subject("dwarf"), env=environment)
        assert hardened == original
        assert {"preload": "[strlen]", "audit": "libc.so.6"}[name] in original
        if name == "preload":
            assert survives([subject("dwarf").programs()[1], "divide"], env=environment) or "[strlen]" in hardened


def test_loader_diagnostics(subject: Get) -> None:
    original, hardened = outputs(
        subject("shared"), env={**os.environ, "LD_DEBUG": "files,libs,versions", "LD_BIND_NOW": "1"}
    )
    lines = [[line for line in text.splitlines() if "dynamic:" not in line] for text in (original, hardened)]
    assert lines[1] == lines[0]


def _restricted(option: int, value: int) -> Callable[[], None]:
    def apply() -> None:
        if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    return apply


def test_memory_that_cannot_become_executable(subject: Get) -> None:
    """PR_SET_MDWE: the program runs as the original, faults included."""
    refuse = _restricted(65, 1)
    try:
        original, hardened = outputs(subject("dwarf"), preexec_fn=refuse)
    except subprocess.SubprocessError:
        pytest.skip("the kernel has no PR_SET_MDWE")
    assert hardened == original
    assert not survives([subject("dwarf").programs()[1], "divide"], preexec_fn=refuse)
    assert survives([subject("dwarf").programs()[1], "divide"])


def test_no_new_privileges(subject: Get) -> None:
    assert survives([subject("dwarf").programs()[1], "divide"], preexec_fn=_restricted(38, 1))


def test_a_program_with_capabilities_survives_and_writes_no_events(subject: Get) -> None:
    """AT_SECURE: its environment is its user's, who shall not choose a file for it."""
    need("setcap", "setpriv")
    if os.geteuid():
        pytest.skip("only root may give capabilities")
    folder = Path("/tmp") / f"stemrw-secure-{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o777)
    try:
        program = Path(shutil.copy(subject("dwarf").programs()[1], folder))
        user = ["setpriv", "--reuid", "65534", "--clear-groups"]
        environment: Mapping[str, str] = {**os.environ, "STEMRW_EVENTS": str(folder / "events")}
        assert survives([*user, program, "divide"], env=environment)
        assert len(recoveries(folder / "events")) == 1
        (folder / "events").unlink()
        run(["setcap", "cap_net_raw+ep", program])
        assert survives([*user, program, "divide"], env=environment)
        assert not (folder / "events").exists()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("flavour", ["dwarf", "shared"])
def test_backtrace_of_the_c_library_inside_a_region(subject: Get, flavour: str) -> None:
    original, hardened = outputs(subject(flavour), arguments=["trace"])
    assert re.sub(r"\[.*?\]", "", hardened) == re.sub(r"\[.*?\]", "", original)
    assert "(trace+" in original


def _stack(program: Path, mode: str) -> list[str]:
    """Function names that eu-stack shows of a process that waits."""
    with started([program, mode]) as process:
        wait_until(process, "wait")
        text = run(["eu-stack", "-p", str(process.pid)], succeeds=False)
    return re.findall(r"^#\d+ +0x[0-9a-f]+(?: - \d+)?(?: (\S+))?", text, re.MULTILINE)


@pytest.mark.parametrize("flavour", ["dwarf", "shared"])
def test_eu_stack_outside_of_regions(subject: Get, flavour: str) -> None:
    need("eu-stack")
    original, hardened = (_stack(program, "late") for program in subject(flavour).programs())
    assert hardened == original
    assert original[:2] == ["read", "main"] or "main" in original


@pytest.mark.xfail(strict=True, reason="elfutils unwinds only code that lies in files")
def test_eu_stack_inside_a_region(subject: Get) -> None:
    need("eu-stack")
    original, hardened = (_stack(program, "wait") for program in subject("dwarf").programs())
    assert "wait_inside" in original
    assert "wait_inside" in hardened
