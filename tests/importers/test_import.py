"""From what other tools say to a program that survives.

Each tool is run on a program that dies, its output imported, and the program hardened with the report.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness import Tool, execute, recoveries, symbol_address
from importers.conftest import build, output, under_gdb

from stemrw.cli import call
from stemrw.documents.fault_report import FaultReport, load_report
from stemrw.image import Image
from stemrw.localize import localize
from stemrw.sense.code import follows_call

SANITIZED = ("-fsanitize=address", "-g")


def imported(text: str | Path, tmp_path: Path, *options: str | Path) -> FaultReport:
    """`stemrw report import`."""
    source = text if isinstance(text, Path) else tmp_path / "text"
    if isinstance(text, str):
        source.write_text(text)
    report = tmp_path / "report.json"
    assert call(["report", "import", str(source), "-o", str(report), *map(str, options)]) == 0, text
    return load_report(report)


def survives(tool: Tool, program: Path, what: str, tmp_path: Path, *options: str) -> dict[str, Any]:
    """The program dies of `what`; hardened with the report in `tmp_path` it goes on.  Gives the recovery."""
    assert (execute([program, what]).returncode or 0) < 0
    hardened, events = tmp_path / "hardened", tmp_path / "events.jsonl"
    arguments = ["patch", str(program), "--fault", str(tmp_path / "report.json"), "-o", str(hardened), *options]
    assert call(arguments) == 0
    done = execute([hardened, what, "none"], environment={"STEMRW_EVENTS": str(events)})
    assert done.returncode == 0 and done.stdout.decode().endswith("none done\n"), done
    return recoveries(events)[0]


def agrees(report: FaultReport, program: Path) -> None:
    """Every frame in the program has its true address: in the function that is named, behind a call or at the fault."""
    image = Image.open(program)
    mine = [frame for frame in report.backtrace if frame.module == str(program)]
    assert mine
    for frame in mine:
        assert frame.address is not None and frame.symbol is not None and frame.function is not None
        function = image.function_at(frame.address - frame.return_address)
        assert function is not None and function.entry == frame.function == symbol_address(program, frame.symbol)
        assert not frame.return_address or follows_call(image.elf.read(frame.address - 8, 8))
    assert report.program.build_id == image.build_id and report.program.sha256 == image.sha256


def names(report: FaultReport) -> list[str | None]:
    return [frame.symbol for frame in report.backtrace]


@pytest.mark.parametrize("flags", [(), ("-no-pie",)])
def test_asan_report_has_true_addresses(folder: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = build("gcc", folder / f"asan{''.join(flags)}", *SANITIZED, *flags)
    report = imported(output([program, "after-free"]), tmp_path)
    agrees(report, program)
    assert (report.fault_class, report.access, report.access_size) == ("use-after-free", "read", 4)
    assert names(report)[:3] == ["after_free", "run", "main"] and report.backtrace[0].return_address
    block = report.block
    assert block is not None and (block.size, block.offset) == (40, 8)
    assert [frame.symbol for frame in (block.allocated[1], block.freed[1])] == ["make", "drop"]
    assert block.allocated[1].function == symbol_address(program, "make")


@pytest.mark.parametrize(("compiler", "what"), [("gcc", "null"), ("clang", "divide"), ("gcc", "twice")])
def test_shipped_program_survives_by_asan_report_of_another_build(
    tool: Tool,
    folder: Path,
    shipped: Path,
    tmp_path: Path,
    compiler: str,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = build(compiler, folder / f"asan-{compiler}" / "fails", *SANITIZED) if compiler == "gcc" else None
    program = program or build(compiler, folder / "fails-clang", *SANITIZED)
    report = imported(output([program, what]), tmp_path)
    assert report.program.build_id != Image.open(shipped).build_id
    assert call(["patch", str(shipped), "--fault", str(tmp_path / "report.json"), "-o", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err
    assert ("--by-symbol" in said) == (program.name == shipped.name) and not (tmp_path / "no").exists()
    recovery = survives(tool, shipped, what, tmp_path, "--by-symbol")
    function = {"null": "null_read", "divide": "divide", "twice": "drop"}[what]
    assert int(recovery["region"], 0) == symbol_address(shipped, function)


def test_asan_report_with_the_shipped_program_named_uses_function_names(
    tool: Tool, folder: Path, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = build("gcc", folder / "asan-other", *SANITIZED)
    report = imported(output([program, "null"]), tmp_path, "--program", shipped)
    assert "of its frames only function names are used" in capsys.readouterr().out
    assert report.program.path == str(shipped) and report.program.sha256 is None
    assert all(frame.address is None for frame in report.backtrace if frame.module == str(shipped))
    survives(tool, shipped, "null", tmp_path)


def test_heap_block_of_another_build_is_known_by_the_function_that_allocates_it(
    tool: Tool, folder: Path, shipped: Path, tmp_path: Path
) -> None:
    """As a return address it would be another one in the shipped program."""
    program = build("gcc", folder / "asan-block", *SANITIZED)
    report = imported(output([program, "after-free"]), tmp_path)
    found = localize(report, Image.open(shipped), by_symbol=True)
    assert [frame.symbol for frame in found.frames][:3] == ["after_free", "run", "main"]
    assert found.frames[0].address == symbol_address(shipped, "after_free") and found.fault_pc is None
    assert [frame.symbol for frame in found.allocated][:1] == ["make"]
    assert found.allocated[0].address == found.allocated[0].function == symbol_address(shipped, "make")


def test_ubsan_stack(folder: Path, tmp_path: Path) -> None:
    program = build("gcc", folder / "ubsan", "-fsanitize=undefined", "-g")
    text = output([program, "overflow", "divide"], UBSAN_OPTIONS="print_stacktrace=1")
    report = imported(text, tmp_path)
    agrees(report, program)
    assert (report.fault_class, names(report)[:3]) == ("divide", ["divide", "run", "main"])


@pytest.mark.parametrize("form", ["xml", "text"])
@pytest.mark.parametrize("kind", ["shipped", "fixed"])
def test_valgrind(tool: Tool, tmp_path: Path, form: str, kind: str, request: pytest.FixtureRequest) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind")
    program: Path = request.getfixturevalue(kind)
    text = valgrind(program, "null", form, tmp_path)
    report = imported(text, tmp_path, *([] if form == "xml" else ["--program", program]))
    agrees(report, program)
    assert (report.fault_class, report.signal, report.access_size) == ("null-dereference", "SIGSEGV", 4)
    assert names(report)[:3] == ["null_read", "run", "main"]
    assert report.instruction is not None and "[rdi+4]" in report.instruction.text
    assert report.pc.address is not None and not report.backtrace[0].return_address
    assert survives(tool, program, "null", tmp_path)["class"] == "null-dereference"


def test_valgrind_block_of_a_stripped_program(shipped: Path, tmp_path: Path) -> None:
    """No function is named: the usual load address is believed because all frames agree with the code."""
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind")
    stripped = tmp_path / "stripped"
    output(["strip", "-o", stripped, shipped])
    report = imported(valgrind(stripped, "after-free", "xml", tmp_path), tmp_path)
    found = [frame.function for frame in report.backtrace if frame.module == str(stripped)]
    assert found == [symbol_address(shipped, name) for name in ("after_free", "run", "main")]
    assert report.block is not None and report.block.allocated[1].function == symbol_address(shipped, "make")


def valgrind(program: Path, what: str, form: str, tmp_path: Path) -> str:
    if form == "text":
        return output(["valgrind", program, what])
    output(["valgrind", "--xml=yes", f"--xml-file={tmp_path / 'valgrind.xml'}", program, what])
    return (tmp_path / "valgrind.xml").read_text()


@pytest.mark.parametrize("kind", ["shipped", "fixed"])
def test_gdb_backtrace(tool: Tool, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    program: Path = request.getfixturevalue(kind)
    report = imported(under_gdb(program, "divide", "bt"), tmp_path, "--program", program)
    agrees(report, program)
    assert (report.fault_class, report.signal) == ("divide", "SIGFPE")
    assert names(report)[:3] == ["divide", "run", "main"]
    assert report.instruction is not None and report.instruction.text.startswith("idiv")
    assert survives(tool, program, "divide", tmp_path)["class"] == "divide"


def test_gdb_backtrace_of_a_core_lies_anywhere(tool: Tool, shipped: Path, tmp_path: Path) -> None:
    """The load address is worked out from the functions that are named."""
    text = under_gdb(shipped, "null", "bt").replace("0x0000555555555", "0x000055d00cafe")
    report = imported(text, tmp_path, "--program", shipped)
    agrees(report, shipped)
    assert (report.fault_class, report.fault_address, report.access) == ("wild-dereference", None, "read")
    survives(tool, shipped, "null", tmp_path)


def test_gdb_session_tells_more(shipped: Path, tmp_path: Path) -> None:
    text = under_gdb(shipped, "null", "bt", "info registers", "info proc mappings")
    report = imported(text, tmp_path)
    agrees(report, shipped)
    assert (report.fault_class, report.fault_address, report.access, report.access_size) == (
        "null-dereference", 4, "read", 4,
    )  # fmt: skip
    assert report.registers["rdi"] == 0
    deep = imported(
        under_gdb(shipped, "recurse", "bt 80", "info registers", "p $_siginfo"), tmp_path, "--program", shipped
    )
    assert deep.fault_class == "stack-exhaustion" and set(names(deep)) == {"recurse"}


def test_gdb_backtrace_of_another_build_keeps_names_only(shipped: Path, fixed: Path, tmp_path: Path) -> None:
    report = imported(under_gdb(fixed, "divide", "bt"), tmp_path, "--program", shipped)
    assert [frame.symbol for frame in report.backtrace][:3] == ["divide", "run", "main"]
    assert all(frame.address is None for frame in report.backtrace if frame.module == str(shipped))


@pytest.mark.parametrize("kind", ["shipped", "fixed"])
def test_core_file(tool: Tool, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    program: Path = request.getfixturevalue(kind)
    core = gcore(program, "null", tmp_path)
    report = imported(core, tmp_path)
    agrees(report, program)
    assert (report.fault_class, report.signal, report.fault_address) == ("null-dereference", "SIGSEGV", 4)
    assert (report.access, report.registers["rdi"]) == ("read", 0)
    assert names(report)[:3] == ["null_read", "run", "main"] and report.command == (str(program), "null")
    assert {module.path.rpartition("/")[2] for module in report.modules} == {program.name, "libc.so.6"}
    assert survives(tool, program, "null", tmp_path)["class"] == "null-dereference"


def test_core_file_of_a_program_that_lies_elsewhere_now(shipped: Path, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved", tmp_path / "elsewhere"
    shutil.copy(shipped, moved)
    core = gcore(moved, "null", tmp_path)
    moved.rename(other)
    assert call(["report", "import", str(core), "-o", str(tmp_path / "r")]) == 2
    report = imported(core, tmp_path, "--program", other)
    assert report.program.path == str(other) and names(report)[:3] == ["null_read", "run", "main"]


def test_core_file_of_another_build_is_refused(
    shipped: Path, fixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    core = gcore(shipped, "null", tmp_path)
    assert call(["report", "import", str(core), "--program", str(fixed), "-o", str(tmp_path / "r")]) == 2
    assert "not the same" in capsys.readouterr().err and not (tmp_path / "r").exists()


def gcore(program: Path, what: str, tmp_path: Path) -> Path:
    core = tmp_path / "core"
    under_gdb(program, what, f"gcore {core}")
    assert core.exists()
    return core


def test_coredumpctl(tool: Tool, shipped: Path, tmp_path: Path) -> None:
    """The text as it would be of the program as it was built here."""
    live = imported(under_gdb(shipped, "null", "bt", "info proc mappings"), tmp_path)
    frames = [frame for frame in live.backtrace if frame.module == str(shipped)]
    lines = [
        f"    #{i}  0x{0x55D00CAFE000 + (f.address or 0):016x} {f.symbol} ({shipped.name} + 0x{f.address:x})"
        for i, f in enumerate(frames)
    ]
    text = (Path(__file__).with_name("data") / "coredumpctl-null.txt").read_text()
    text = re.sub(r"(?m)^ +#\d.*\n", "", text).replace("/opt/sample/fails", str(shipped))
    text = re.sub(r"(Module fails with build-id )\w+", rf"\g<1>{Image.open(shipped).build_id}", text)
    text = text.replace("4321:\n", "4321:\n" + "\n".join(lines) + "\n")
    report = imported(text, tmp_path)
    agrees(report, shipped)
    assert (report.fault_class, report.signal, report.pid) == ("wild-dereference", "SIGSEGV", 4321)
    assert report.backtrace == tuple(f.model_copy(update={"certain": True}) for f in frames)
    survives(tool, shipped, "null", tmp_path)


def test_show(shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(under_gdb(shipped, "divide", "bt"), tmp_path, "--program", shipped)
    capsys.readouterr()
    assert call(["report", "show", str(tmp_path / "report.json")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("divide in divide at 0x") and "idiv" in shown and "SIGFPE" in shown
    assert call(["report", "show", "--json", str(tmp_path / "report.json")]) == 0
    assert capsys.readouterr().out == (tmp_path / "report.json").read_text()
