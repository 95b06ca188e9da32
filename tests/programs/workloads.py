"""Real work for five real programs, deterministic, for tests and benchmarks alike."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "scripts"


@dataclass(frozen=True)
class Step:
    """One run of a program: its arguments (without the program), what it reads, and what status it ends with."""

    name: str
    arguments: tuple[str, ...]
    stdin: Path | None = None
    status: int = 0


@dataclass(frozen=True)
class Workload:
    """A program and how to make its steps in a folder, for a size in MB (compressors) or a repetition count."""

    program: str
    steps: Callable[[Path, int], list[Step]]

    @property
    def path(self) -> Path | None:
        """The system's own program (never one of a virtual environment), if installed."""
        found = shutil.which(self.program, path="/usr/bin:/bin")
        return Path(found).resolve() if found else None


def text(megabytes: int) -> bytes:
    """Words of uneven frequency, numbers and some incompressible bytes."""
    chance = random.Random(megabytes)
    words = [bytes(chance.choices(b"etaoinshrdlcumwfgypbvk", k=chance.randint(2, 11))) for _ in range(3000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    parts: list[bytes] = []
    for _ in range(megabytes * 8):
        parts.append(b" ".join(chance.choices(words, weights, k=20000)))
        parts.append(b"\n%d\n" % chance.getrandbits(64))
        parts.append(chance.randbytes(2000))
    return b"".join(parts)[: megabytes << 20]


def _compressor(program: str, compress: Callable[[bytes], bytes]) -> Workload:
    def steps(folder: Path, size: int) -> list[Step]:
        plain, packed, damaged = folder / "plain", folder / "packed", folder / "damaged"
        content = text(size)
        plain.write_bytes(content)
        packed.write_bytes(compress(content))
        broken = bytearray(packed.read_bytes())
        broken[len(broken) // 2] ^= 0xFF
        damaged.write_bytes(broken)
        return [
            Step("compress", ("-c",), plain),
            Step("fast", ("-1", "-c"), plain),
            Step("decompress", ("-d", "-c"), packed),
            Step("damaged", ("-d", "-c"), damaged, 2 if program == "bzip2" else 1),
            Step("missing", ("-c", "no such file"), None, 1),
        ]

    return Workload(program, steps)


def _script(program: str, name: str, *options: str, status: int = 0) -> Workload:
    def steps(folder: Path, size: int) -> list[Step]:
        if program == "sqlite3":
            repeated = folder / name
            repeated.write_text((SCRIPTS / name).read_text() * size)
            return [Step("script", (":memory:",), repeated, status)]
        return [Step("script", (*options, str(SCRIPTS / name), str(size)), None, status)]

    return Workload(program, steps)


def _bzip2(data: bytes) -> bytes:
    import bz2

    return bz2.compress(data)


def _gzip(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)


WORKLOADS = (
    _compressor("bzip2", _bzip2),
    _compressor("gzip", _gzip),
    _script("sqlite3", "work.sql", status=1),
    _script("lua5.4", "work.lua"),
    _script("python3", "work.py", "-I", status=1),
)
"""The five programs."""
