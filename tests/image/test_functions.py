"""Functions, their parts, callers and ends, as Image finds them."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from elf_programs import compile_program, stripped, symbols, without_section_headers
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from stemrw.image import Image

SYSTEM_PROGRAMS = [p for p in ("/usr/bin/dash", "/usr/bin/bash", "/usr/bin/grep", "/usr/bin/env") if Path(p).exists()]


@pytest.mark.parametrize("program", SYSTEM_PROGRAMS)
def test_every_unwind_entry_is_found_with_its_range(program: str) -> None:
    """Our parser of .eh_frame agrees with pyelftools on real programs."""
    path = Path(program).resolve()
    with path.open("rb") as stream:
        entries = ELFFile(stream).get_dwarf_info().EH_CFI_entries()
        expected = {(e["initial_location"], e["address_range"]) for e in entries if isinstance(e, FDE)}
    image = Image.open(path)
    found = set()
    for start, _ in expected:
        function = image.function_at(start)
        assert function is not None
        found.add((function.entry, function.size))
    assert found == expected
    assert all(image.function_at(s + n - 1) == image.function_at(s) for s, n in expected)


def test_table_is_not_needed(parts: Path) -> None:
    """Where .eh_frame_hdr has no usable search table, .eh_frame is walked."""
    image, walked = Image.open(parts), Image.open(parts)
    header = next(s for s in walked.elf.segments if s.kind == 0x6474E550)
    data = bytearray(walked.elf.data)
    data[header.offset + 3] = 0xFF  # DW_EH_PE_omit
    walked.elf.data = bytes(data)
    for address in symbols(parts).values():
        assert walked.function_at(address) == image.function_at(address)


@pytest.mark.parametrize("kind", ["pie", "fixed"])
def test_main_is_found_in_stripped_programs(tmp_path: Path, kind: str) -> None:
    path = compile_program(tmp_path, "int main(int n, char **v) { return n + (v == 0); }", kind=kind)
    expected = symbols(path)["main"]
    for file in (stripped(path), without_section_headers(stripped(path))):
        main = Image.open(file).main
        assert main is not None
        assert (main.entry, main.symbol) == (expected, "main")
        assert [f.entry for f in Image.open(file).functions_named("main")] == [expected]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="other start-up code than zig's")
@pytest.mark.parametrize(
    "flags",
    [
        ("-pie", "-fPIE"), ("-no-pie",), ("-static",), ("-static-pie", "-fPIE"),
        ("-pie", "-fPIE", "-fno-asynchronous-unwind-tables"),
    ],
)  # fmt: skip
def test_main_is_found_behind_the_system_start_up_code(tmp_path: Path, flags: tuple[str, ...]) -> None:
    source = tmp_path / "m.c"
    source.write_text("int main(int n, char **v) { return n + (v == 0); }")
    named, bare = tmp_path / "named", tmp_path / "bare"
    for out, more in ((named, ()), (bare, ("-s",))):
        subprocess.run(["gcc", "-O2", *flags, *more, "-o", str(out), str(source)], check=True)
    main = Image.open(bare).main
    assert main is not None and main.entry == symbols(named)["main"]


def test_shared_object_has_no_main(tmp_path: Path) -> None:
    path = compile_program(tmp_path, "int work(int n) { return n + 1; }", kind="shared")
    image = Image.open(path)
    assert not image.is_program and image.main is None
    assert [f.entry for f in image.functions_named("work")] == [symbols(path)["work"]]


@pytest.mark.parametrize("part", ["framed.cold", "leafy_part"])
@pytest.mark.parametrize("strip", [False, True])
def test_a_part_split_off_belongs_to_the_function_it_came_from(parts: Path, part: str, strip: bool) -> None:
    """By the jump that enters it, whether or not its unwind entry begins in the middle of a frame."""
    names = symbols(parts)
    image = Image.open(stripped(parts) if strip else parts)
    owner = image.owner(names[part])
    assert owner is not None
    if strip or part.endswith(".cold"):
        assert owner.function.entry == names[part.partition(".")[0].partition("_")[0]]
        assert "split off" in owner.evidence[1]
    else:
        assert owner.function.entry == names[part]  # a named function of its own, as far as anyone can tell


def test_functions_are_their_own_owners(parts: Path) -> None:
    names = symbols(parts)
    image = Image.open(stripped(parts))
    for name in ("framed", "leafy", "fatal", "fatal_caller", "returns", "tail", "plain", "main"):
        if name in names:
            owner = image.owner(names[name] + 1)
            assert owner is not None and owner.function.entry == names[name], name


def test_a_tail_called_function_is_not_a_part(parts: Path) -> None:
    names = symbols(parts)
    owner = Image.open(stripped(parts)).owner(names["plain"])
    assert owner is not None and owner.function.entry == names["plain"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("plain", True), ("tail", True), ("fatal", False), ("fatal_caller", True), ("spin", False), ("main", True)],
)
def test_whether_a_function_may_return(parts: Path, name: str, expected: bool) -> None:
    image = Image.open(stripped(parts))
    function = image.function_at(symbols(parts)[name])
    assert function is not None
    assert image.may_return(function) is expected


def test_a_call_by_way_of_the_loader_may_lead_to_a_function_of_the_same_file(tmp_path: Path) -> None:
    """Its exported functions are called through the PLT: what they do is known all the same."""
    bodies = {
        "leave": "call longjmp@plt",
        "jump": "call count@plt; jmp leave@plt",
        "report": "call leave@plt; ret",
        "answer": "call count@plt; test %eax, %eax; je 1f; call report@plt; 1: ret",
        "through": "cmp $3, %edi; jle 1f; jmp *leave@GOTPCREL(%rip); 1: ret",
    }
    source = "".join(
        f".globl {name}\n.type {name}, @function\n"
        f"{name}: .cfi_startproc; {body}; .cfi_endproc\n.size {name}, . - {name}\n"
        for name, body in bodies.items()
    )
    path = compile_program(tmp_path, source, kind="shared", name="program.S")
    image = Image.open(path)
    found = {name: image.may_return(image.functions_named(name)[0]) for name in bodies}
    assert found == {"leave": False, "jump": False, "report": False, "answer": True, "through": True}


def test_callers_are_calls_and_tail_calls(parts: Path) -> None:
    names = symbols(parts)
    image = Image.open(parts)
    plain = image.function_at(names["plain"])
    assert plain is not None
    assert [(site.is_call, caller.entry) for site, caller in image.callers(plain)] == [(False, names["tail"])]
    fatal = image.function_at(names["fatal"])
    assert fatal is not None
    assert [(site.is_call, caller.entry) for site, caller in image.callers(fatal)] == [(True, names["fatal_caller"])]


def test_called_library_function_is_named(parts: Path) -> None:
    image = Image.open(stripped(parts))
    function = image.function_at(symbols(parts)["fatal"])
    assert function is not None
    assert [image.called_name(i) for i in image.body(function) if i.is_call] == ["abort"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("give_int", "signed"),
        ("give_count", "unsigned"),
        ("give_pointer", "pointer"),
        ("give_bool", "bool"),
        ("give_nothing", "void"),
        ("give_double", "double"),
        ("give_float", "float"),
        ("give_pair", "aggregate"),
    ],
)
def test_declared_result_type(hello: Path, name: str, kind: str) -> None:
    image = Image.open(hello)
    function = image.functions_named(name)[0]
    declared = image.result_type(function)
    assert declared is not None and declared.kind == kind


def test_separate_debug_file_is_found_by_build_id(hello: Path, tmp_path: Path) -> None:
    bare = stripped(hello)
    image = Image.open(bare)
    assert image.build_id is not None and not image.functions_named("give_int")
    debug = tmp_path / ".build-id" / image.build_id[:2] / f"{image.build_id[2:]}.debug"
    debug.parent.mkdir(parents=True)
    shutil.copy2(hello, debug)
    image = Image.open(bare, debug_root=tmp_path)
    function = image.functions_named("give_int")[0]
    declared = image.result_type(function)
    assert function.entry == symbols(hello)["give_int"]
    assert declared is not None and declared.kind == "signed"


@pytest.mark.skipif(shutil.which("objcopy") is None, reason="needs binutils to add a section")
def test_mini_debug_info_names_functions(parts: Path, tmp_path: Path) -> None:
    packed = tmp_path / "debugdata.xz"
    packed.write_bytes(lzma.compress(parts.read_bytes()))
    out = tmp_path / "with-debugdata"
    command = ["objcopy", "--add-section", f".gnu_debugdata={packed}", str(stripped(parts)), str(out)]
    subprocess.run(command, check=True)
    function = Image.open(out).functions_named("fatal_caller")[0]
    assert (function.entry, function.symbol) == (symbols(parts)["fatal_caller"], "fatal_caller")
    symbol = Image.open(out)._symbols.at(function.entry)
    assert symbol is not None and symbol.table == ".gnu_debugdata"


def test_dynamic_symbols_without_section_headers(tmp_path: Path) -> None:
    path = compile_program(tmp_path, "int work(int n) { return n + 1; } int more(int n) { return n; }", kind="shared")
    names = symbols(path)
    image = Image.open(without_section_headers(path))
    assert not image.elf.sections
    for name in ("work", "more"):
        assert [f.entry for f in image.functions_named(name)] == [names[name]]
