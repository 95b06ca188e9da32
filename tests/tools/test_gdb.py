"""gdb sees in a hardened program what it sees in the original, and what it does not see is what docs/tools.md says."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tools.subjects import FLAVOURS, PROGRAMS, UNWINDER, WITH_LINES, Subject, need, run, started, wait_until

Get = Callable[[str], Subject]


def gdb(subject: Subject, program: Path | Sequence[str | Path], *commands: str, unwinder: bool = False) -> str:
    """What gdb prints about a program, or about what else its command line names, without what differs by run."""
    need("gdb")
    places = [
        f"set debug-file-directory {subject.debug}",
        "set breakpoint pending on",
        "set confirm off",
        "set width 0",
    ]
    prepared = [word for place in places for word in ("-iex", place)]
    script: list[str | Path] = ["-x", UNWINDER] if unwinder else []
    # Its exit status is that of the last command, which may well be one too many for a program that has ended.
    arguments = [program] if isinstance(program, Path) else list(program)
    words = [word for command in commands for word in ("-ex", command)]
    output = run(["gdb", "-q", "-batch", "-nx", *prepared, *script, *words, *arguments], succeeds=False)
    output = re.sub(r"process \d+|0x(0000)?7[0-9a-f]{11}", "…", output)
    return re.sub(r"0x(0000)?5[5-7][0-9a-f]{7}(?=[0-9a-f]{3}\b)", "…", output)  # where gdb may not switch ASLR off


def frames(output: str) -> list[str]:
    """The functions of the longest backtrace in gdb's output, innermost first, with the arguments that it shows."""
    found = re.findall(r"^#(\d+) +(?:(?:0x[0-9a-f]+|…[0-9a-f]*) in )?(.+?)(?: at .*| from .*)?$", output, re.MULTILINE)
    traces: list[list[str]] = [[]]
    for number, text in found:
        if int(number) != len(traces[-1]):
            traces.append([])
        traces[-1].append(text)
    return max(traces, key=len)


def comparable(output: str, subject: Subject) -> list[str]:
    """Lines without the folder of the file, and without gdb's only new complaint: that a separate file of symbols,
    which was made from the original, has nothing about the two sections that were added."""
    text = output.replace(str(subject.hardened), "…").replace(str(subject.original), "…")
    added = re.compile(r"warning: section \.stemrw(\.state)? not found in ")
    lines = (line for line in text.splitlines() if line and not added.match(line))
    return [line for line in lines if not line.startswith("warning: Error disabling address space")]


def both(subject: Subject, *commands: str) -> tuple[list[str], list[str]]:
    """The same commands on the original and on the hardened program."""
    original, hardened = (comparable(gdb(subject, program, *commands), subject) for program in subject.programs())
    return original, hardened


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_breakpoint_at_a_patched_function_and_finish(subject: Get, flavour: str) -> None:
    expected, found = both(
        subject(flavour), "break quotient", "run", "bt", "finish", "p (int)$rax", "delete", "break *quotient",
        "run divide 1", "bt", "continue", "bt", "kill",
    )  # fmt: skip
    assert found == expected
    assert "$1 = 42" in "\n".join(found)
    assert frames("\n".join(found))[0].startswith("quotient")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_backtrace_from_below_a_region_through_it(subject: Get, flavour: str) -> None:
    expected, found = both(subject(flavour), "break helper", "run", "bt", "up", "info frame", "continue")
    assert [line for line in found if "rip" not in line] == [line for line in expected if "rip" not in line]
    names = [frame.split()[0] for frame in frames("\n".join(found))]
    assert names == ["helper", "through", "middle", "main"]


@pytest.mark.parametrize("flavour", WITH_LINES)
def test_stepping_over_calls_and_printing(subject: Get, flavour: str) -> None:
    expected, found = both(
        subject(flavour), "break middle", "run", "next", "next", "print first", "next", "print first", "print counter",
        "next", "finish",
    )  # fmt: skip
    assert found == expected
    assert "$1 = 42" in found


def line_of(code: str) -> int:
    """Number of the line of subject.c that holds this."""
    lines = (PROGRAMS / "subject.c").read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if code in line)


@pytest.mark.parametrize("flavour", WITH_LINES)
def test_breakpoint_inside_a_region(subject: Get, flavour: str) -> None:
    """Set before the code is translated: from there on it runs natively."""
    expected, found = both(
        subject(flavour),
        f"break subject.c:{line_of('counter += (int)strlen(text);')}",
        "run",
        "print text",
        "bt",
        "next",
        "step",
        "info args",
        "continue",
    )
    assert found == expected
    assert any('"84/2' in line for line in found)


@pytest.mark.parametrize("flavour", ["dwarf", "static"])
def test_watchpoint(subject: Get, flavour: str) -> None:
    outputs = both(subject(flavour), "break middle", "run", "watch counter", *["continue"] * 5)
    expected, found = ([line for line in output if "value = " in line] for output in outputs)
    assert found == expected
    assert len(found) >= 6


def test_breakpoint_of_an_attached_gdb(subject: Get) -> None:
    """Attached while the process waits; the region has run before and is in the code cache."""
    outputs = []
    for program in subject("dwarf").programs():
        with started([program, "late"]) as process:
            writer = f"shell echo > /proc/{process.pid}/fd/0"
            outputs.append(
                gdb(subject("dwarf"), ["-p", str(process.pid)], "break quotient", writer, "continue", "bt", "finish")
            )
    assert frames(outputs[0]) == frames(outputs[1])
    assert all("Value returned is $1 = 100" in output for output in outputs)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("mode", ["wait", "spin"])
def test_unwinder_sees_through_the_code_cache(subject: Get, flavour: str, mode: str) -> None:
    """A process that is blocked, or busy, inside a region: with the script, one frame more than the original."""
    outputs = []
    for program in subject(flavour).programs():
        with started([program, mode, str(1 << 40)]) as process:
            wait_until(process, mode)
            outputs.append(gdb(subject(flavour), ["-p", str(process.pid)], "bt", unwinder=True))
    expected, found = ([frame.split(" (")[0] for frame in frames(output)] for output in outputs)
    assert found == ["[stemrw]", *expected]
    assert expected[-1] == "main"


def test_signal_handler_on_top_of_a_region(subject: Get) -> None:
    outputs = [
        gdb(subject("dwarf"), program, "handle SIGUSR1 nostop noprint", "break on_signal", "run signal", "bt",
            unwinder=True)
        for program in subject("dwarf").programs()
    ]  # fmt: skip
    expected, found = ([frame.split(" (")[0] for frame in frames(output)] for output in outputs)
    assert [frame for frame in found if frame != "[stemrw]"] == expected
    assert expected[:2] == ["on_signal", "<signal handler called>"]
    assert "interrupted" in expected


@pytest.fixture
def core_folder(tmp_path: Path) -> Path:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip("core dumps do not go to the working directory")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("core dumps are forbidden")
    return tmp_path


def core_of(command: Sequence[str | Path], folder: Path, send: signal.Signals | None = None) -> Path:
    """The core dump of a program that dies, if need be of a signal sent while it runs."""
    folder.mkdir()
    unlimited = (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_CORE)[1])

    def allow() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (unlimited[1], unlimited[1]))

    with started(command, cwd=folder, preexec_fn=allow) as process:
        if send is not None:
            wait_until(process, "spin")
            process.send_signal(send)
        process.wait(30)
    (core,) = folder.glob("core*")
    return core


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_core_dump_of_a_fault_outside_of_regions(subject: Get, flavour: str, core_folder: Path) -> None:
    outputs = []
    for name, program in zip(("original", "hardened"), subject(flavour).programs(), strict=True):
        core = core_of([program, "crash"], core_folder / name)
        outputs.append(gdb(subject(flavour), [program, core], "bt", "x/i $pc", "p $_siginfo.si_signo"))
    expected, found = (comparable(output, subject(flavour)) for output in outputs)
    assert frames("\n".join(found)) == frames("\n".join(expected))
    assert frames("\n".join(found))[0].startswith("crash")
    faulting = [[line for line in output if line.startswith("=>")] for output in (expected, found)]
    assert [line.split(":", 1)[1:] for line in faulting[0]] == [line.split(":", 1)[1:] for line in faulting[1]]


@pytest.mark.parametrize("send", [signal.SIGSEGV, signal.SIGQUIT], ids=["SIGSEGV", "SIGQUIT"])
def test_core_dump_of_a_signal_sent_into_a_region(subject: Get, core_folder: Path, send: signal.Signals) -> None:
    """A signal that the runtime handles is put where the program was; for others there is the unwinder."""
    _, program = subject("dwarf").programs()
    core = core_of([program, "spin", str(1 << 40)], core_folder / "hardened", send)
    output = gdb(subject("dwarf"), [program, core], "bt", unwinder=send == signal.SIGQUIT)
    names = [frame.split(" (")[0] for frame in frames(output)]
    assert [name for name in names if name != "[stemrw]"] == ["spin", "main"]


def test_debugger_and_program_agree_on_the_output(subject: Get) -> None:
    """A breakpoint in every region, all of them passed: the program does what it did."""
    places = [word for name in ("quotient", "through", "helper", "middle") for word in (f"break {name}",)]
    found = gdb(subject("dwarf"), subject("dwarf").programs()[1], *places, "run", *["continue"] * 6)
    assert run([subject("dwarf").programs()[0]]).strip() in found.splitlines()
    assert "exited normally" in found
