"""What the decoders are compared on: the code of installed programs, and random bytes of every kind of encoding."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
STRIDE = 16
SYSTEM_OPCODES = (b"\x0f\x00", b"\x0f\x01", b"\x0f\xae", b"\x0f\xc7")
PREFIXES = (b"", b"", b"\x66", b"\xf3", b"\xf2", b"\x67", b"\xf0", b"\x2e\x64", b"\x66\xf3", b"\x65\x67")


def programs() -> list[Path]:
    """Well-known ELF files of this machine: the C library, mathematics, cryptography, interpreter, compiler."""
    wanted = [LIBRARIES / name for name in ("libc.so.6", "libm.so.6", "libcrypto.so.3", "libstdc++.so.6")]
    wanted += [Path(f"/usr/bin/python3.{minor}") for minor in range(11, 15)] + [Path("/usr/bin/sqlite3")]
    wanted += sorted(Path("/usr/lib/gcc/x86_64-linux-gnu").glob("*/cc1"))
    return [path for path in wanted if path.exists()]


def code_of(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(mode in bits, address, bytes) of every section of instructions of an ELF file; nothing if it is none."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            bits = {"EM_X86_64": 64, "EM_386": 32}.get(elf["e_machine"])
            if bits is None:
                return
            for section in elf.iter_sections():
                if section["sh_type"] == "SHT_PROGBITS" and section["sh_flags"] & 4 and section["sh_size"]:
                    yield bits, section["sh_addr"], section.data()
    except (ELFError, OSError):
        return


def random_strings(seed: int, count: int, bits: int) -> dict[str, bytes]:
    """`count` strings of STRIDE random bytes per family of encodings, steered so that many are instructions."""
    families: dict[str, Callable[[random.Random], bytes]] = {
        "any": lambda choice: b"",
        "one-byte": lambda choice: _prefixes(choice, bits),
        "two-byte": lambda choice: _prefixes(choice, bits) + b"\x0f",
        "three-byte": lambda choice: _prefixes(choice, bits) + b"\x0f" + choice.choice((b"\x38", b"\x3a")),
        "system": lambda choice: _prefixes(choice, bits) + choice.choice(SYSTEM_OPCODES),
        "vex": lambda choice: _vex(choice, bits),
        "evex": lambda choice: _evex(choice, bits),
        "gather": lambda choice: _gather(choice, bits),
        "xop": lambda choice: b"\x8f" + bytes([_extensions(choice, bits, 5) | choice.choice((8, 9, 10))]),
    }
    strings = {}
    for name, head in families.items():
        choice = random.Random(f"{seed}/{name}/{bits}")
        body = bytearray(choice.randbytes(STRIDE * count))
        for start in range(0, len(body), STRIDE):
            first = head(choice)
            body[start : start + len(first)] = first
        strings[name] = bytes(body)
    return strings


def _prefixes(choice: random.Random, bits: int) -> bytes:
    rex = bytes([0x40 | choice.randrange(16)]) if bits == 64 and choice.random() < 0.5 else b""
    return choice.choice(PREFIXES) + rex


def _extensions(choice: random.Random, bits: int, shift: int) -> int:
    """The inverted register extension bits above bit `shift`; in 32-bit mode they must be set."""
    return choice.randrange(256) >> shift << shift if bits == 64 else 0xFF >> shift << shift


def _unused_vvvv(choice: random.Random) -> int:
    return choice.randrange(256) | (0x78 if choice.random() < 0.6 else 0)


def _vex(choice: random.Random, bits: int) -> bytes:
    if choice.random() < 0.3:
        return b"\xc5" + bytes([_unused_vvvv(choice) | (0x80 if bits == 32 else 0)])
    return b"\xc4" + bytes([_extensions(choice, bits, 5) | choice.randrange(1, 4), _unused_vvvv(choice)])


def _evex(choice: random.Random, bits: int) -> bytes:
    second = _extensions(choice, bits, 4) | choice.choice((1, 2, 3, 5, 6))
    fourth = choice.randrange(256) & choice.choice((0x6F, 0x68, 0x78, 0xFF)) | (8 if choice.random() < 0.6 else 0)
    return bytes([0x62, second, _unused_vvvv(choice) | 4, fourth])


def _gather(choice: random.Random, bits: int) -> bytes:
    """Opcodes 90..93, A0..A3, C6, C7 of map 2 with a SIB byte; and the neighbourhood of AMX."""
    opcode = choice.choice((0x90, 0x91, 0x92, 0x93, 0xA0, 0xA1, 0xA2, 0xA3, 0xC6, 0xC7, 0x49, 0x4B, 0x5C, 0x5E, 0x6C))
    modrm = choice.randrange(256) & 0xF8 | 4
    if choice.random() < 0.5:
        third = choice.randrange(256)
        return b"\xc4" + bytes([_extensions(choice, bits, 5) | 2, third & 0xFC | 1, opcode, modrm])
    second = _extensions(choice, bits, 4) | 2
    fourth = choice.randrange(256) & 0x6F | (8 if bits == 32 else 0)
    return bytes([0x62, second, _unused_vvvv(choice) & 0xFC | 5, fourth, opcode, modrm])
