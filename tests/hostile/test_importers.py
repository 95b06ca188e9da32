"""Outputs of other tools that somebody broke, by accident or on purpose, and core files likewise."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import broken_documents, victims
from hostile.contained import Contained, judge, leftovers
from hostile.victims import Victim

from stemrw.sense.core import write_core
from stemrw.sense.process import Mapping
from stemrw.sense.ptrace import REGISTERS
from stemrw.sense.snapshot import Memory

DATA = Path(__file__).resolve().parents[1] / "importers" / "data"
TEXTS = sorted(path for path in DATA.iterdir() if path.suffix in (".txt", ".xml"))
NUMBERS = ("-1", "0xffffffffffffffff", "0x10000000000000000", "9" * 5000, "\u0663", "1e999", "")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")
_NAME = re.compile(r"null_read|after_free|heap_write|twice|divide|run|main|/opt/sample/[\w-]+")


@pytest.fixture(scope="module")
def contained() -> Iterator[Contained]:
    with Contained() as worker:
        yield worker


def broken_texts(text: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    for part in (1, 4, 8):
        yield f"cut at {part}/9", text[: len(text) * part // 9]
    lines = text.splitlines(keepends=True)
    yield "lines in another order", "".join(chance.sample(lines, len(lines)))
    yield "every line twice", "".join(line + line for line in lines)
    for number in NUMBERS:
        yield f"all numbers are {number[:20]}", _NUMBER.sub(number, text)
        places = [found.span() for found in _NUMBER.finditer(text)]
        start, end = chance.choice(places)
        yield f"a number at {start} is {number[:20]}", text[:start] + number + text[end:]
    hostile = broken_documents.HOSTILE.encode("utf-8", "replace").decode()
    yield "hostile names", _NAME.sub(lambda _: hostile, text)
    yield "long names", _NAME.sub("A" * 100_000, text, count=20)
    for name in ("/dev/zero", "/", "\x00"):
        yield f"files are {name!r}", re.sub(r"/opt/sample/[\w-]+", lambda _, name=name: name, text)


def refused(contained: Contained, folder: Path, content: bytes, what: str, *options: str) -> None:
    (folder / "text").write_bytes(content)
    outcome = contained.call(["report", "import", "text", "-o", "out", *options], cwd=folder)
    assert not judge(outcome), f"{what}: {judge(outcome)}"
    left = leftovers(folder, {"text"})
    assert left == (["out"] if outcome.status == 0 else []), (what, left)
    for name in left:
        shown = contained.call(["report", "show", name], cwd=folder)
        assert shown.status == 0 and not judge(shown), f"{what}: {judge(shown)}"
        (folder / name).unlink()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_broken_text(path: Path, contained: Contained, tmp_path: Path) -> None:
    for what, text in broken_texts(path.read_text(), random.Random(path.name)):
        refused(contained, tmp_path, text.encode("utf-8", "replace"), f"{path.name}, {what}")


def test_every_format_takes_any_text(contained: Contained, tmp_path: Path) -> None:
    for kind in ("sanitizer", "valgrind-xml", "valgrind-text", "gdb", "coredumpctl", "core"):
        for path in TEXTS[::5]:
            refused(contained, tmp_path, path.read_bytes(), f"{path.name} as {kind}", "--format", kind)
        for content in (b"", b"\x00" * 100, b"\xff" * 100, b"\x7fELF" + bytes(100)):
            refused(contained, tmp_path, content, f"{content[:8]!r} as {kind}", "--format", kind)


def large_texts() -> Iterator[tuple[str, bytes]]:
    head = b"==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1 at pc 0x2 bp 0x3 sp 0x4\n"
    yield "60,000 frames of ASan", head + b"".join(b"    #%d 0x%x in f%d /a.c:1\n" % (i, i, i) for i in range(60_000))
    yield "30,000 errors of ASan", head * 30_000
    frames = b"".join(b"#%d  0x%016x in f%d () at a.c:1\n" % (i, i << 12, i) for i in range(60_000))
    yield "60,000 frames of gdb", b"Program received signal SIGSEGV, Segmentation fault.\n" + frames
    yield "a line of 15 MiB", b"#0  0x1 in " + b"(" * (15 << 20)
    yield "a line of 15 MiB of spaces", head + b"    #0 0x1 in" + b" " * (15 << 20) + b"x\n"
    yield "17 MiB", b"#0  0x1 in f ()\n" * (17 << 16)
    yield "deep XML", b"<?xml version='1.0'?><valgrindoutput>" + b"<a>" * 1_000_000
    bomb = b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 12))
    yield "an XML bomb", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">' + bomb + b"]><valgrindoutput>&a11;"
    error = b"<error><kind>InvalidRead</kind><stack><frame><ip>0x1</ip><fn>f</fn></frame></stack></error>"
    yield "30,000 errors of valgrind", b"<valgrindoutput><tool>memcheck</tool>" + error * 30_000
    yield (
        "a number of 100,000 digits",
        b"==1== Invalid read of size " + b"9" * 100_000 + b"\n==1==    at 0x1: f (a.c:1)\n",
    )
    maps = b"".join(b"  0x%x 0x%x 0x1000 0x0 r-xp /%d\n" % (i << 12, (i + 1) << 12, i) for i in range(100_000))
    yield "100,000 mappings", b"Program received signal SIGSEGV\n" + maps + b"#0  0x1 in f ()\n#1  0x2 in g ()\n"


@pytest.mark.parametrize(("what", "content"), list(large_texts()), ids=[what for what, _ in large_texts()])
def test_large_text(what: str, content: bytes, contained: Contained, tmp_path: Path) -> None:
    refused(contained, tmp_path, content, what)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return victims.build("fixed", tmp_path_factory.mktemp("victim"))


def core_of(victim: Victim) -> bytes:
    """A small core file of the victim's, which died in its region."""
    registers = dict.fromkeys(REGISTERS, 0) | {"rip": victim.region, "rsp": 0x7FFF00000100}
    page = victim.data[:4096]
    memory = Memory(((0x400000, page), (0x7FFF00000000, bytes(4096)), (victim.region & -4096, victim.data[4096:8192])))
    entry = struct.unpack_from("<Q", victim.data, 24)[0]
    mappings = (
        Mapping(0x400000, 0x401000, "r--p", 0, 0, 1, str(victim.path)),
        Mapping(entry & -4096, (entry & -4096) + 4096, "r-xp", 4096, 0, 1, str(victim.path)),
    )
    siginfo = struct.pack("<iiiiQ", 11, 0, 1, 0, 8)
    return write_core(77, 11, siginfo, registers, memory, struct.pack("<QQQQ", 9, entry, 0, 0), mappings)


def test_broken_core_file(victim: Victim, contained: Contained, tmp_path: Path) -> None:
    core = core_of(victim)
    chance = random.Random(5)
    for size in (0, 4, 63, 64, 100, 500, 1000, len(core) // 2, len(core) - 1, len(core)):
        refused(contained, tmp_path, core[:size], f"cut at {size}", "--program", str(victim.path))
    used = 64 + 56 * struct.unpack_from("<H", core, 56)[0] + 1200
    for _ in range(100):
        changed = bytearray(core)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(16, used)
            size = chance.choice((1, 2, 4, 8))
            value = chance.choice((0, 1, (1 << 8 * size) - 1, 1 << (8 * size - 1), chance.getrandbits(8 * size)))
            changed[at : at + size] = value.to_bytes(size, "little")
        refused(contained, tmp_path, bytes(changed), f"a core with {at:#x} = {value:#x}", "--program", str(victim.path))
