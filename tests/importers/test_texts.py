"""What is read out of real outputs of other tools, without the programs that they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stemrw.errors import DocumentError, UsageError
from stemrw.sense.importers import Imported, asan, coredumpctl, detect, gdb, import_report, valgrind_text, valgrind_xml
from stemrw.sense.importers.seen import Finding, Source

DATA = Path(__file__).with_name("data")
READERS = {
    "sanitizer": asan.read,
    "valgrind-xml": valgrind_xml.read,
    "valgrind-text": valgrind_text.read,
    "gdb": gdb.read,
    "coredumpctl": coredumpctl.read,
}
BELOW = ["run", "main"]


def read(name: str) -> Source:
    text = (DATA / name).read_text()
    found = detect(text)
    assert found is not None and found != "core"
    return READERS[found](text)


def fault(name: str) -> Finding:
    """The first fault."""
    return next(f for f in read(name).findings if f.fault_class is not None and f.stack)


def names(finding: Finding, count: int | None = None) -> list[str | None]:
    return [frame.symbol for frame in finding.stack][:count]


@pytest.mark.parametrize(
    ("file", "fault_class", "function", "more"),
    [
        ("asan-gcc-heap-write.txt", "heap-overflow", "heap_write",
         {"access": "write", "access_size": 1, "block_size": 10, "block_offset": 10}),
        ("asan-gcc-heap-read-below.txt", "heap-overflow", "heap_read",
         {"access": "read", "access_size": 1, "block_size": 16, "block_offset": -3}),
        ("asan-gcc-after-free.txt", "use-after-free", "after_free",
         {"access": "read", "access_size": 4, "block_size": 40, "block_offset": 8}),
        ("asan-clang-after-free.txt", "use-after-free", "after_free", {"access_size": 4, "block_size": 40}),
        ("asan-gcc-stack-write.txt", "stack-smash", "stack_write", {"access": "write", "block_size": None}),
        ("asan-gcc-global-read.txt", "out-of-bounds", "global_read", {"access": "read", "access_size": 4}),
        ("asan-gcc-null.txt", "null-dereference", "null_read",
         {"signal": "SIGSEGV", "fault_address": 4, "access": "read"}),
        ("asan-gcc-wild.txt", "wild-dereference", "null_read", {"fault_address": 0x123456789004}),
        ("asan-gcc-divide.txt", "divide", "divide", {"signal": "SIGFPE", "fault_address": None, "access": None}),
        ("asan-clang-null.txt", "null-dereference", "null_read", {"fault_address": 4}),
        ("ubsan-stacks.txt", "bus", "misaligned", {"access": "read", "signal": None}),
        ("valgrind-heap-read-below.xml", "heap-overflow", "heap_read",
         {"access": "read", "access_size": 1, "block_size": 16, "block_offset": -3, "tid": 1}),
        ("valgrind-after-free.xml", "use-after-free", "after_free",
         {"access": "read", "access_size": 4, "block_size": 40, "block_offset": 8, "signal": None}),
        ("valgrind-null.xml", "null-dereference", "null_read",
         {"access": "read", "access_size": 4, "signal": "SIGSEGV", "si_code": 1, "fault_address": 4}),
        ("valgrind-null.txt", "null-dereference", "null_read",
         {"access": "read", "access_size": 4, "signal": "SIGSEGV", "si_code": None, "fault_address": 4}),
        ("gdb-null.txt", "wild-dereference", "null_read",
         {"signal": "SIGSEGV", "fault_address": None, "access": None, "unsure": True}),
        ("gdb-null-full.txt", "null-dereference", "null_read",
         {"signal": "SIGSEGV", "si_code": 1, "fault_address": 4, "unsure": False}),
        ("gdb-core-wild.txt", "wild-dereference", "null_read", {"signal": "SIGSEGV", "unsure": True}),
        ("gdb-divide.txt", "divide", "divide", {"signal": "SIGFPE", "fault_address": None}),
        ("coredumpctl-null.txt", "wild-dereference", "null_read",
         {"signal": "SIGSEGV", "tid": 4321, "fault_address": None}),
        ("coredumpctl-old.txt", "divide", "divide", {"signal": "SIGFPE"}),
    ],
)  # fmt: skip
def test_fault_and_its_stack(file: str, fault_class: str, function: str, more: dict[str, Any]) -> None:
    found = fault(file)
    assert found.fault_class == fault_class
    assert names(found, 3) == [function, *BELOW]
    assert {name: getattr(found, name) for name in more} == more


def test_heap_blocks_have_the_stacks_of_their_allocation_and_release() -> None:
    for file in ("asan-gcc-after-free.txt", "valgrind-after-free.xml"):
        found = fault(file)
        assert [frame.symbol for frame in found.allocated][1] == "make"
        assert [frame.symbol for frame in found.freed][1] == "drop"
    only = fault("asan-gcc-heap-write.txt")
    assert only.allocated and not only.freed


@pytest.mark.parametrize(
    ("file", "fault_class", "offset"),
    [
        ("asan-gcc-twice.txt", "double-free", 0),
        ("asan-clang-twice.txt", "double-free", 0),
        ("valgrind-twice.xml", "double-free", 0),
        ("asan-gcc-inner-free.txt", "invalid-free", 8),
        ("valgrind-inner-free.xml", "invalid-free", 8),
    ],
)
def test_wrong_frees_begin_in_the_allocator(file: str, fault_class: str, offset: int) -> None:
    found = fault(file)
    function = "twice" if fault_class == "double-free" else "inner_free"
    assert (found.fault_class, found.block_size, found.block_offset) == (fault_class, 24, offset)
    assert names(found, 5)[1:] == ["drop", function, *BELOW]


def test_addresses_that_tools_show_within_a_call_become_return_addresses() -> None:
    asan_text, valgrind_xml_text = fault("asan-clang-unsymbolised.txt"), fault("valgrind-after-free.xml")
    for found in (asan_text, valgrind_xml_text):
        assert all(frame.returns for frame in found.stack[1:])
    shown = (DATA / "asan-clang-unsymbolised.txt").read_text()
    assert all(f"0x{(frame.pc or 0) - 1:x}" in shown and f"+0x{(frame.offset or 0) - 1:x}" in shown
               for frame in asan_text.stack)  # fmt: skip
    assert asan_text.stack[0].returns and not fault("asan-gcc-null.txt").stack[0].returns
    assert not valgrind_xml_text.stack[0].returns
    assert all(frame.build_id for frame in asan_text.stack)
    gdb_text = (DATA / "gdb-divide.txt").read_text()
    assert all(f"0x{frame.pc:016x}" in gdb_text for frame in fault("gdb-divide.txt").stack)


def test_memory_exhaustion_and_recursion() -> None:
    assert fault("asan-gcc-huge.txt").fault_class == "memory-exhaustion"
    assert names(fault("asan-gcc-huge.txt"))[1] == "make"
    deep = fault("asan-clang-recurse.txt")
    assert deep.fault_class == "stack-exhaustion" and set(names(deep)) == {"recurse"} and len(deep.stack) > 200
    cut = gdb.read((DATA / "gdb-recurse.txt").read_text() + "(More stack frames follow...)\n").findings[0]
    assert cut.truncated and len(cut.stack) == 40 and not deep.truncated


def test_call_to_nowhere() -> None:
    for file in ("gdb-call-null.txt", "valgrind-call-null.xml"):
        found = fault(file)
        assert (found.fault_class, found.stack[0].pc, found.stack[0].symbol) == ("wild-jump", 0, None)
        assert names(found, 4) == [None, "call_null", *BELOW]
        assert (found.fault_address, found.access) == (0, "execute")


def test_failed_heap_check_is_an_abort_with_its_frames() -> None:
    found = fault("gdb-twice.txt")
    assert (found.fault_class, found.signal, found.fault_address) == ("abort", "SIGABRT", None)
    assert {"malloc_printerr", "_int_free", "drop", "twice"} <= set(names(found))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("ubsan-lines.txt", "print_stacktrace=1"),
        ("valgrind-uninitialised.txt", "no fault"),
    ],
)
def test_what_is_no_fault_is_refused_in_a_sentence(file: str, words: str) -> None:
    with pytest.raises(DocumentError) as error:
        import_report(DATA / file)
    assert words in str(error.value) and str(error.value).startswith(str(DATA / file))


def test_several_errors_in_one_file(tmp_path: Path) -> None:
    found = read("valgrind-many.xml").findings
    faults = [i for i, each in enumerate(found, 1) if each.fault_class is not None]
    assert [found[i - 1].fault_class for i in faults] == ["heap-overflow", "use-after-free", "invalid-free"]
    done = imported("valgrind-many.xml")
    assert done.report.fault_class == "heap-overflow"
    assert len(done.left_out) == len(found) - 1
    assert any("uninitialised" in why for _, _, why in done.left_out)
    assert imported("valgrind-many.xml", error=faults[1]).report.fault_class == "use-after-free"
    assert fault("valgrind-many.txt").fault_class == "heap-overflow"
    with pytest.raises(DocumentError, match="no fault"):
        imported("valgrind-many.xml", error=1)
    with pytest.raises(UsageError, match=f"there are {len(found)}"):
        imported("valgrind-many.xml", error=1000)


def imported(file: str, **options: Any) -> Imported:
    return import_report(DATA / file, **options)


def test_without_the_file_functions_are_named_and_addresses_left_out() -> None:
    """Nothing can be said of a file that is not here but by its build-id."""
    for file in ("asan-gcc-heap-write.txt", "asan-nodebug-heap-write.txt", "valgrind-after-free.xml"):
        report = imported(file).report
        frames = [frame for frame in report.backtrace if frame.module and "/opt/sample" in frame.module]
        assert [frame.symbol for frame in frames][1:3] == BELOW
        assert all(frame.address is None for frame in frames)
        assert report.program.build_id is None and report.program.sha256 is None
    told = imported("asan-clang-unsymbolised.txt").report
    build = "(BuildId: " + (told.program.build_id or "") + ")"
    assert build in (DATA / "asan-clang-unsymbolised.txt").read_text()
    frames = [frame for frame in told.backtrace if frame.module == told.program.path]
    assert len(frames) == 4 and all(frame.address is not None and frame.symbol is None for frame in frames)
    assert told.block is not None and told.block.size == 10 and told.block.allocated[1].address is not None


def test_text_that_names_no_program_asks_for_it() -> None:
    with pytest.raises(DocumentError, match="--program"):
        imported("gdb-divide.txt")


def test_surroundings() -> None:
    valgrind = read("valgrind-null.xml").surroundings
    assert valgrind.command == ("./fails", "null") and valgrind.pid is not None
    dumped = read("coredumpctl-null.txt").surroundings
    assert (dumped.program, dumped.command, dumped.pid) == ("/opt/sample/fails", ("./fails", "null"), 4321)
    assert len(dumped.build_ids["fails"]) == 40
    full = read("gdb-null-full.txt").surroundings
    assert full.program == "/opt/sample/fails" and len(full.mappings) > 10 and len(full.texts) == 2
    assert read("gdb-core-wild.txt").surroundings.command == ("./fails", "wild")


@pytest.mark.parametrize(
    "text", ["", "hello\n", '{"schema": "stemrw.fault-report", "class": "divide"}', "\x1b[2J\x00\xff"]
)
def test_anything_else_is_not_recognised(text: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(text)
    with pytest.raises(DocumentError, match="not recognised"):
        import_report(tmp_path / "text")


def test_compressed_files_say_how_to_unpack_them(tmp_path: Path) -> None:
    (tmp_path / "core.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(DocumentError, match="zstd -d"):
        import_report(tmp_path / "core.zst")
