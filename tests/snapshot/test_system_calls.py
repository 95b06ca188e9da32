"""The table of system calls: complete, and what it says the kernel writes is what the kernel writes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from harness import Tool, execute

_HERE = Path(__file__).resolve().parent
_RUNTIME = _HERE.parents[1] / "runtime"

_REFUSED = {
    "writes when it likes, not only in the call": {
        "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "io_uring_enter",
        "io_uring_register", "io_uring_setup", "userfaultfd",
    },
    "writes to memory of whoever it is told": {"process_madvise", "process_vm_writev", "ptrace"},
    "what it writes depends on what it is given to read": {"bpf", "keyctl", "quotactl", "quotactl_fd"},
    "changes how memory is mapped or reached": {"remap_file_pages", "modify_ldt"},
    "restarted by the kernel only": {"restart_syscall"},
    "of the machine, not of a program": {
        "delete_module", "finit_module", "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "reboot",
        "swapoff", "swapon",
    },
    "no longer or never in the kernel": {
        "_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms",
        "get_thread_area", "getpmsg", "lookup_dcookie", "nfsservctl", "putpmsg", "query_module", "security",
        "set_thread_area", "sysfs", "tuxcall", "uselib", "vserver",
    },
}  # fmt: skip
"""Calls that make a region go on natively, counted, and why."""


def _names(path: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, path.read_text()))


def test_every_call_is_described_or_refused_with_a_reason() -> None:
    known = _names(_RUNTIME / "arch" / "x86_64" / "unistd.h", r"\bNR_(\w+)")
    described = _names(_RUNTIME / "effects" / "table.c", r"\b(?:NONE|ONE|TWO|THREE|FOUR)\((\w+), [A-Z]+")
    refused = set().union(*_REFUSED.values())
    assert not described & refused
    assert known - described == refused
    assert described <= known


@pytest.fixture(scope="module")
def writers(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The program that makes all calls, as built and hardened."""
    folder = tmp_path_factory.mktemp("writers")
    program, hardened = folder / "program", folder / "hardened"
    # All symbols bound at start: the dynamic linker's locked operations, with a second thread, end the undoing.
    source = _HERE / "programs" / "kernel_writes.c"
    subprocess.run(["gcc", "-O1", "-Wl,-z,now", "-pthread", "-o", str(program), str(source)], check=True)
    tool.patch(program, hardened, "--region", "region", "--return", "-1")
    return program, hardened


@pytest.mark.parametrize("neighbours", [(), ("threads",)], ids=["alone", "beside-a-thread"])
def test_what_the_kernel_writes_is_undone(
    writers: tuple[Path, Path], tmp_path: Path, neighbours: tuple[str, ...]
) -> None:
    program, hardened = writers
    unavailable = execute([program, "calls"], cwd=tmp_path).stdout.decode().splitlines()
    assert len(unavailable) < 15, unavailable
    found = execute([hardened, *neighbours], cwd=tmp_path)
    assert found.stdout.decode().splitlines() == unavailable, found
