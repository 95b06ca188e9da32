"""Builds the runtime image with the pinned compiler from PyPI (ziglang's clang): the same bytes on any machine.

    python runtime/build.py OUT_DIR        →  OUT_DIR/image-x86_64.bin   code and constants, one read+execute block
                                              OUT_DIR/image-x86_64.json  symbols, constants, struct layouts, version

Used by the package's build hook and by hand while working on the runtime.  Needs Python and `ziglang` only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

FLAGS = [
    "-target", "x86_64-linux-musl", "-mcpu=x86_64-mmx-sse-sse2-x87+soft_float", "-std=c11", "-Os",
    "-fomit-frame-pointer", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-sanitize=all",
    "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fPIC", "-fvisibility=hidden", "-ffunction-sections",
    "-fdata-sections", "-fno-jump-tables", "-fno-plt", "-fcf-protection=none", "-mno-red-zone", "-fno-strict-aliasing",
    "-Wall", "-Wextra", "-Werror", "-Wno-unused-command-line-argument", "-Wno-unterminated-string-initialization",
]  # fmt: skip
# What runs seldom is made as small as can be; zig's driver takes -Oz for -Os.
COLD_FLAGS = [*FLAGS, "-Xclang", "-Oz"]
HOT = ("decode", "translate", "region/log.c")
# zig drops -mgeneral-regs-only: the features are taken away one by one (a test disassembles the image).
ASSEMBLER_FLAGS = ["-target", "x86_64-linux-musl", "-fPIC", "-Wno-unused-command-line-argument"]
LINK = [
    "ld.lld", "-pie", "--no-dynamic-linker", "--no-undefined", "-z", "norelro", "-z", "noexecstack", "-e", "0",
    "--build-id=none", "--hash-style=sysv", "-T", "image.ld",
]  # fmt: skip


class BuildError(Exception):
    """The image could not be built; the message is the compiler's or says which promise the result breaks."""


@dataclass
class Exports:
    """What export.c says of the headers."""

    constants: dict[str, int] = field(default_factory=dict)
    structs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def header(self) -> str:
        """The C preprocessor's view, for assembly."""
        lines = ["/* Generated from export.c. */"]
        lines += [f"#define {name} {value}" for name, value in self.constants.items()]
        for name, layout in self.structs.items():
            lines.append(f"#define SIZE_{name} {layout['size']}")
            lines += [f"#define OFFSET_{name}_{part} {offset}" for part, (offset, _) in layout["fields"].items()]
        return "\n".join(lines) + "\n"


def build(out: Path, *, sources: Sequence[Path] | None = None, version: str | None = None) -> None:
    """Compile the runtime, or `sources` in its place, into `out`.  Raises BuildError.

    The headers, export.c and the linker script are always this directory's, so other sources (a runtime that does
    nothing, for tests of the rewriter) keep the same contract; they too need header.c.
    """
    with tempfile.TemporaryDirectory(prefix="stemrw-build-") as directory:
        work = Path(directory)
        exports = _exports(work)
        (work / "offsets.h").write_text(exports.header(), encoding="utf-8")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda path: _compile(path, work), sources or _sources()))
        linked = work / "image.elf"
        _zig([*LINK, "-o", str(linked), *map(str, objects)], work)
        image, symbols = _extract(linked.read_bytes())
    if symbols.get("payload_header") != 0:
        raise BuildError("the image does not begin with payload_header (header.c)")
    described = {
        "version": version or _version(),
        "arch": "x86_64",
        "size": len(image),
        "sha256": hashlib.sha256(image).hexdigest(),
        "constants": exports.constants,
        "structs": exports.structs,
        "symbols": symbols,
    }
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / "image-x86_64.bin", image)
    _replace(out / "image-x86_64.json", (json.dumps(described, indent=1, sort_keys=True) + "\n").encode())


def _sources() -> list[Path]:
    found = [path for path in HERE.rglob("*") if path.suffix in (".c", ".S") and path.name != "export.c"]
    return sorted(path for path in found if "tests" not in path.relative_to(HERE).parts)


def _exports(work: Path) -> Exports:
    assembly = work / "export.s"
    _zig(["cc", *FLAGS, *_includes(work), "-S", "export.c", "-o", str(assembly)], work)
    exports = Exports()
    for kind, name, number in re.findall(r'"->(\w+) ([\w.]+) (-?\d+)"', assembly.read_text(encoding="utf-8")):
        value = int(number)
        owner, _, part = name.partition(".")
        if kind == "constant":
            exports.constants[name] = value
        elif kind == "struct":
            exports.structs[name] = {"size": value, "fields": {}}
        elif kind == "offset":
            exports.structs[owner]["fields"][part] = [value, 0]
        elif kind == "size":
            exports.structs[owner]["fields"][part][1] = value
    return exports


def _compile(source: Path, work: Path) -> Path:
    source = source.resolve()
    target = work / (hashlib.sha256(str(source).encode()).hexdigest()[:16] + ".o")
    name = str(source.relative_to(HERE)) if source.is_relative_to(HERE) else str(source)
    flags = FLAGS if name.startswith(HOT) else COLD_FLAGS
    flags = flags if source.suffix == ".c" else ASSEMBLER_FLAGS
    _zig(["cc", *flags, f"-ffile-prefix-map={HERE}=.", *_includes(work), "-c", name, "-o", str(target)], work)
    return target


def _includes(work: Path) -> list[str]:
    return ["-I", ".", "-I", "include", "-I", str(work)]


def _zig(arguments: list[str], work: Path) -> None:
    """Run zig in the runtime's directory, its caches below `work`: the user's home stays clean."""
    environment = {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(work / "cache"),
        "ZIG_LOCAL_CACHE_DIR": str(work / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments], cwd=HERE, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise BuildError(f"zig {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    if done.stderr:
        print(done.stderr, end="", file=sys.stderr)


def _extract(elf: bytes) -> tuple[bytes, dict[str, int]]:
    """The bytes of section .image, and every named symbol in it."""
    table, count, names_index = struct.unpack_from("<Q", elf, 0x28)[0], *struct.unpack_from("<2H", elf, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, table + 64 * i) for i in range(count)]
    names = headers[names_index]
    by_name = {_string(elf, names[4] + header[0]): (i, header) for i, header in enumerate(headers)}
    index, image = by_name[".image"]
    symbols: dict[str, int] = {}
    symtab = by_name[".symtab"][1]
    strings = headers[symtab[6]]
    for at in range(symtab[4], symtab[4] + symtab[5], 24):
        name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
        if section == index and info & 15 < 3 and name:  # objects, functions and labels; not sections and files
            symbols[_string(elf, strings[4] + name)] = value - image[3]
    return elf[image[4] : image[4] + image[5]], symbols


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def _version() -> str:
    text = (HERE.parent / "stemrw" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if not found:
        raise BuildError("stemrw/__init__.py has no __version__")
    return found[1]


def _replace(path: Path, data: bytes) -> None:
    """Write atomically: a test run beside a build reads the old image or the new one."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        build(Path(sys.argv[1]))
    except BuildError as error:
        sys.exit(str(error))
