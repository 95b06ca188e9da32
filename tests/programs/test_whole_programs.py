"""A few of the table's programs, each for what it does: `main` as region, and nobody can tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from campaign import judge, read_table, whole_table
from harness import Tool

PROGRAMS = [
    "sort",  # threads and temporary files
    "dd",  # its own handlers of signals
    "bash",  # traps, jobs, coprocesses, forks from deep inside
    "dash",  # vfork, and an end by its own signal
    "zsh",  # modules loaded at run time
    "perl",  # fork, pipes, deep recursion
    "find",  # children, and every kind of file
    "tar",  # children, sparse and special files
    "sed",  # files replaced in place
    "make",  # vfork, jobs in parallel
    "jq",  # C++-like control flow over longjmp, decimal floats
    "xz",  # threads that wait for each other
    "exceptions",  # unwinding through, into and out of frames of the region, in threads too
    "exceptions-static",  # the same with an unwinder of its own
    "rg",  # Rust: threads, memory maps, AVX2 chosen at run time
]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_whole_program_is_one_region(tool: Tool, tmp_path: Path, name: str) -> None:
    program = next(each for each in whole_table() if each.name == name)
    row = judge(program, tool, tmp_path)
    assert not row.error
    assert not row.unstable, "not deterministic by itself"
    assert not row.differs
    assert not row.recovered, "a fault that the original does not have"
    assert row.counters.entries or row.counters.lost == len(program.lines), "the region was not entered"


def test_the_table_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    for text in ("sort coreutils\n    $ sort x\n", "sort (coreutils)\n    ? sort x\n"):
        (tmp_path / "table.txt").write_text(text)
        with pytest.raises(ValueError, match="sort"):
            read_table(tmp_path / "table.txt")


TELLING = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
int main(int n, char **v) {
    struct stat own;
    stat("/proc/self/exe", &own);
    FILE *out = fopen("out.txt", "w");
    fprintf(out, n > 1 ? "%ld" : "same", (long)own.st_size);
    fclose(out);
    return n > 2 ? *(volatile int *)(long)(n - 3) : 0;
}
"""


@pytest.mark.parametrize(("arguments", "what"), [("", ""), ("a", "file out.txt"), ("a b", "line 1, status")])
def test_what_differs_is_found(tool: Tool, tmp_path: Path, arguments: str, what: str) -> None:
    """A program that writes how large it is, or has a fault that is survived."""
    block = f"telling ./telling (gcc)\n    ! cc telling.c -o telling\n    $ telling {arguments}\n"
    (tmp_path / "table.txt").write_text(block)
    (program,) = read_table(tmp_path / "table.txt")
    (tmp_path / "telling.c").write_text(TELLING)
    program = replace(program, before=(f"cp {tmp_path}/telling.c .", *program.before))
    work = tmp_path / "work"
    work.mkdir()
    row = judge(program, tool, work)
    assert not row.error and row.counters.entries == 1
    assert [each.split(":")[0] for each in row.differs][:1] == ([what] if what else [])
    assert row.recovered == (what == "line 1, status")
    assert row.good == (not what)
