"""Every flavour of ELF file that the common compilers and linkers make: what they differ in, which combinations can
exist, a small selection in which every pair of values occurs, and how each is built.

A combination that cannot exist is excluded by a rule with its reason; everything else must build.
"""

from __future__ import annotations

import inspect
import itertools
import lzma
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from elf_programs import without_section_headers

PROGRAMS = Path(__file__).resolve().parent / "programs"

FACTORS: Mapping[str, tuple[str, ...]] = {
    "kind": ("pie", "fixed", "static", "static-pie", "shared", "plugin"),
    "symbols": ("symbols", "stripped", "dwarf4", "dwarf5", "split", "minidebug", "headerless"),
    "compiler": ("gcc", "clang", "zig"),
    "linker": ("bfd", "gold", "lld", "mold"),
    "notes": ("property", "plain", "none"),
    "relro": ("full", "partial", "none"),
    "hashes": ("gnu", "sysv", "both"),
    "distance": ("near", "far-data", "far-bss"),
    "cet": ("full", "none"),
    "code": ("separate", "joined"),
    "page": ("4K", "2M"),
    "relocations": ("rela", "relr"),
}
"""What files differ in, and the values.  `plugin` is a shared object that a program opens with dlopen; `headerless` has
no section headers; `far-data` and `far-bss` lie more than 2 GiB from the code."""

_STATIC = ("static", "static-pie")
_FIXED = ("fixed", "static")

Cell = Mapping[str, str]
"""One combination: a value of every factor."""
Pair = tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Rule:
    """Combinations that cannot exist: for which `excludes`, called with the factors that it names, is true."""

    reason: str
    excludes: Callable[..., bool]

    @cached_property
    def factors(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.excludes).parameters)

    def forbids(self, cell: Cell) -> bool:
        """Whether it excludes a combination, also one of which not all factors are chosen yet."""
        return all(f in cell for f in self.factors) and self.excludes(**{f: cell[f] for f in self.factors})


RULES = (
    Rule("zig links with the lld that it brings", lambda compiler, linker: compiler == "zig" and linker != "lld"),
    Rule("zig has no option for it", lambda compiler, code: compiler == "zig" and code == "separate"),
    Rule("zig has no option for it", lambda compiler, relocations: compiler == "zig" and relocations == "relr"),
    Rule(
        "zig writes a property note where all objects are protected, which its start files are not, and nowhere else",
        lambda compiler, notes, kind, cet: (
            compiler == "zig" and (notes == "property") != (kind in ("shared", "plugin") and cet == "full")
        ),
    ),
    Rule(
        "zig's start files for glibc bring a note",
        lambda compiler, notes, kind: compiler == "zig" and notes == "none" and kind in ("pie", "fixed"),
    ),
    Rule("gold has no static PIE", lambda linker, kind: linker == "gold" and kind == "static-pie"),
    Rule("gold has no packed relocations", lambda linker, relocations: linker == "gold" and relocations == "relr"),
    Rule(
        "theirs lack the mark by which glibc's loader knows them (lld 14, mold 1.10)",
        lambda linker, kind, relocations: linker in ("lld", "mold") and kind != "static-pie" and relocations == "relr",
    ),
    Rule(
        "what is not moved has no relative relocations",
        lambda kind, relocations: kind in _FIXED and relocations == "relr",
    ),
    Rule("what is not linked dynamically has no hash table", lambda kind, hashes: kind in _STATIC and hashes != "gnu"),
    Rule(
        "lld writes no other property than that of control-flow protection",
        lambda linker, notes, cet: linker == "lld" and notes == "property" and cet == "none",
    ),
    Rule(
        "only bfd keeps the other sections together when one is put elsewhere",
        lambda linker, distance: linker != "bfd" and distance == "far-data",
    ),
    Rule(
        "libc's own data would come behind it, out of reach of libc's code",
        lambda kind, distance: kind in _STATIC and distance == "far-bss",
    ),
)


REFUSED = (
    Rule(
        "all program headers are needed",
        lambda kind, linker, notes: notes == "none" and _all_headers_needed(kind, linker),
    ),
    Rule(
        "there is no room for the runtime within 2 GiB of the code",  # but for the gaps between segments 2 MiB apart
        lambda distance, page: distance == "far-bss" and page == "4K",
    ),
)
"""What can exist but is refused, by the reason that is given."""


def _all_headers_needed(kind: str, linker: str) -> bool:
    """Without notes there is PT_PHDR; but the loader needs that of a PIE, and not every file has one."""
    without = {"bfd": (*_STATIC, "shared", "plugin"), "gold": ("static",)}
    return kind == "pie" or kind in without.get(linker, ())


def refusals(cell: Cell) -> list[str]:
    """The reasons to refuse a combination; none for most."""
    return [rule.reason for rule in REFUSED if rule.forbids(cell)]


def name(cell: Cell) -> str:
    """The combination in short, for people."""
    return "-".join(cell[factor] for factor in FACTORS)


def possible(cell: Cell, rules: Sequence[Rule] = RULES) -> bool:
    """Whether a combination, or one of which not all factors are chosen yet, can exist."""
    if any(rule.forbids(cell) for rule in rules):
        return False
    missing = next((factor for factor in FACTORS if factor not in cell), None)
    return missing is None or any(possible({**cell, missing: value}, rules) for value in FACTORS[missing])


def pairs(cell: Cell) -> set[Pair]:
    """All pairs of values of a combination."""
    return set(itertools.combinations(((f, cell[f]) for f in FACTORS if f in cell), 2))


@cache
def covering_cells() -> tuple[Cell, ...]:
    """A small selection in which every pair of values that can exist occurs; always the same.

    In a combination that can be hardened, if there is one with this pair. Everything that is refused occurs too.
    """
    candidates = itertools.chain.from_iterable(
        itertools.product(((a, x) for x in FACTORS[a]), ((b, y) for y in FACTORS[b]))
        for a, b in itertools.combinations(FACTORS, 2)
    )
    missing = dict.fromkeys(pair for pair in candidates if possible(dict(pair)))
    cells = (*_cover(missing, (*RULES, *REFUSED)), *_cover(missing, RULES), *_refused())
    return tuple({name(cell): cell for cell in cells}.values())


def _refused() -> Iterator[Cell]:
    """One combination for every choice of values that a refusal speaks of."""
    for rule in REFUSED:
        for values in itertools.product(*(FACTORS[factor] for factor in rule.factors)):
            cell = dict(zip(rule.factors, values, strict=True))
            if rule.forbids(cell) and possible(cell):
                for factor, choices in FACTORS.items():
                    if factor not in cell:
                        cell[factor] = next(v for v in choices if possible({**cell, factor: v}))
                yield cell


def _cover(missing: dict[Pair, None], rules: Sequence[Rule]) -> Iterator[Cell]:
    """Combinations that cover the missing pairs, which are taken out; those that the rules exclude stay.

    Greedy: each begins with the first pair that is missing, and takes of every further factor the value that covers
    most of what is missing, and among equals the one that was taken least.
    """
    taken: Counter[tuple[str, str]] = Counter()
    for first in list(missing):
        if first not in missing or not possible(dict(first), rules):
            continue
        cell = dict(first)
        for factor, values in FACTORS.items():
            if factor not in cell:
                choices = [choice for value in values if possible(choice := {**cell, factor: value}, rules)]
                cell = max(choices, key=lambda c: (len(pairs(c) & missing.keys()), -taken[factor, c[factor]]))
        for pair in pairs(cell):
            missing.pop(pair, None)
        taken.update(cell.items())
        yield cell


def all_cells() -> Iterator[Cell]:
    """Every combination that can exist."""

    def extend(cell: dict[str, str], factors: Sequence[str]) -> Iterator[Cell]:
        if not factors:
            yield cell
            return
        for value in FACTORS[factors[0]]:
            extended = {**cell, factors[0]: value}
            if not any(rule.forbids(extended) for rule in RULES):
                yield from extend(extended, factors[1:])

    return extend({}, list(FACTORS))


def some_cells(count: int, seed: int) -> list[Cell]:
    """So many combinations, drawn at random, all different; the same for the same seed."""
    draw = random.Random(seed)
    found: dict[str, Cell] = {}
    while len(found) < count:
        cell: dict[str, str] = {}
        for factor, values in FACTORS.items():
            cell[factor] = draw.choice([value for value in values if possible({**cell, factor: value})])
        found.setdefault(name(cell), cell)
    return list(found.values())


@dataclass(frozen=True)
class Built:
    """A program that says "ok"; `target` is the file to patch: itself, or the library beside it."""

    cell: Cell
    program: Path
    target: Path
    functions: Mapping[str, tuple[int, int]]
    """Address and size by name, of the functions of shapes.c."""

    @property
    def is_library(self) -> bool:
        return self.target != self.program

    @property
    def lists_functions(self) -> bool:
        """Whether anything in the file says where functions are: section headers, or the table of unwind entries."""
        return self.cell["symbols"] != "headerless" or "GNU_EH_FRAME" in _run(["readelf", "-lW", self.target])


class BuildError(Exception):
    """A combination that should exist could not be built; the message has the command's output."""


def build(cell: Cell, folder: Path, common: Path) -> Built:
    """Build one combination in `folder`; `common` is for what combinations share.  Raises BuildError."""
    program = folder / "program"
    shapes, main = PROGRAMS / "shapes.c", PROGRAMS / "main.c"
    options = _options(cell, common)
    if cell["kind"] == "shared":
        target = folder / "libshapes.so"
        _run(
            [
                *options,
                "-DSHAPES_IN_LIBRARY",
                "-shared",
                "-Wl,-soname,libshapes.so",
                "-o",
                target,
                shapes,
                *_extra(cell, folder),
            ]
        )
        _run([*_program_options(cell), "-o", program, main, "-L", folder, "-lshapes", "-Wl,-rpath,$ORIGIN"])
    elif cell["kind"] == "plugin":
        target = folder / "plugin.so"
        library = ["-DSHAPES_IN_LIBRARY", "-Dmain=plugin_main", "-shared"]
        _run([*options, *library, "-o", target, shapes, main, *_extra(cell, folder)])
        _run([*_program_options({}), "-o", program, PROGRAMS / "host.c", "-ldl"])
    else:
        target = program
        _run([*options, "-o", program, shapes, main, *_extra(cell, folder)])
    functions = function_symbols(target)
    _treat_symbols(cell["symbols"], target)
    return Built(cell, program, target, functions)


_ZIG = (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=all")
_ZIG_DYNAMIC, _ZIG_STATIC = ("-target", "x86_64-linux-gnu.2.31"), ("-target", "x86_64-linux-musl")
_KIND = {
    "pie": ("-fPIE", "-pie"),
    "fixed": ("-fno-pie", "-no-pie"),
    "static": ("-fno-pie", "-no-pie", "-static"),
    "static-pie": ("-fPIE", "-static-pie"),
    "shared": ("-fPIC",),
    "plugin": ("-fPIC",),
}
_DEBUG = {"dwarf4": "-gdwarf-4", "dwarf5": "-gdwarf-5", "split": "-g", "minidebug": "-g"}
_RELRO = {"full": "relro,-z,now", "partial": "relro,-z,lazy", "none": "norelro"}
_PAGE = {"4K": "0x1000", "2M": "0x200000"}


def _program_options(cell: Cell) -> list[str]:
    """For the program that uses a library: ordinary."""
    if cell.get("compiler") == "zig":
        return [*_ZIG, *_ZIG_DYNAMIC, "-O2", "-fPIE", "-pie", *(_FAR if cell["distance"] != "near" else [])]
    return ["gcc", "-O2", "-fPIE", "-pie", *(_FAR if cell and cell["distance"] != "near" else [])]


_FAR = ["-DFAR"]


def _options(cell: Cell, common: Path) -> list[str | Path]:
    kind, compiler, linker = cell["kind"], cell["compiler"], cell["linker"]
    linking = [f"-z,{_RELRO[cell['relro']]}", f"-z,max-page-size={_PAGE[cell['page']]}"]
    linking.append(f"--build-id={'none' if cell['notes'] == 'none' else 'sha1'}")
    if kind not in _STATIC:
        linking.append(f"--hash-style={cell['hashes']}")
    options: list[str | Path] = []
    if compiler == "zig":
        static = ["-static", *(["-fPIE", "-pie"] if kind == "static-pie" else [])]
        options += [
            *_ZIG,
            *(_ZIG_STATIC if kind in _STATIC else _ZIG_DYNAMIC),
            *(static if kind in _STATIC else _KIND[kind]),
        ]
    else:
        options += [compiler, f"-fuse-ld={linker}", *_KIND[kind]]
        if cell["notes"] != "property":
            start_files = _start_files(cell["notes"], common)
            options += ["-B", start_files, *(["-L", start_files / "static"] if kind in _STATIC else [])]
        elif linker == "lld":
            linking.append("-z,force-ibt,-z,shstk")
        if linker == "gold":
            linking.append("--rosegment" if cell["code"] == "separate" else "--no-rosegment")
        else:
            linking.append(f"-z,{'' if cell['code'] == 'separate' else 'no'}separate-code")
        if cell["relocations"] == "relr":
            linking.append("--pack-dyn-relocs=relr" if linker == "lld" else "-z,pack-relative-relocs")
        if cell["distance"] == "far-data":
            linking.append("--section-start=.far=0x100000000")
    options += ["-O2", _DEBUG.get(cell["symbols"], "-g0"), f"-fcf-protection={cell['cet']}"]
    options += _FAR if cell["distance"] != "near" else []
    return [*options, *(f"-Wl,{option}" for option in linking)]


def _extra(cell: Cell, folder: Path) -> list[Path]:
    """Objects linked last: those far away, and the one that brings a property note."""
    texts = []
    if cell["distance"] != "near":
        where = ('.far,"aw",@progbits', "0") if cell["distance"] == "far-data" else (".bss", str(3 << 30))
        texts.append(
            f".section {where[0]}\n.balign 16\n.skip {where[1]}\nfar_word: .skip 4096\n"
            ".data\n.globl far_pointer\n.type far_pointer, @object\n.size far_pointer, 8\n"
            "far_pointer: .quad far_word\n"
        )
    if cell["notes"] == "property" and cell["linker"] != "lld":
        texts.append(
            '.section .note.gnu.property,"a",@note\n.balign 8\n.long 4, 16, 5\n.asciz "GNU"\n'
            ".long 0xc0008002, 4, 1, 0\n"  # needs the x86-64 baseline: kept whatever other objects say
        )
    sources = []
    for i, text in enumerate(texts):
        source = folder / f"extra{i}.s"
        source.write_text(text + '.section .note.GNU-stack,"",@progbits\n')
        sources.append(source)
    return sources


def _start_files(notes: str, common: Path) -> Path:
    """The C library's files that are linked into every program, without property notes, or without any."""
    folder = common / f"start-files-{notes}"
    if not folder.exists():
        unfinished = Path(f"{folder}.unfinished")
        (unfinished / "static").mkdir(parents=True)
        removed = [".note.gnu.property", *([".note.ABI-tag"] if notes == "none" else [])]
        for file in ("crt1.o", "Scrt1.o", "rcrt1.o", "crti.o", "crtn.o", "crtbegin.o", "crtbeginS.o", "crtbeginT.o",
                     "crtend.o", "crtendS.o", "static/libc.a"):  # fmt: skip
            found = _run(["gcc", f"-print-file-name={Path(file).name}"]).strip()
            _run(["objcopy", *(word for section in removed for word in ("-R", section)), found, unfinished / file])
        unfinished.rename(folder)
    return folder


def _treat_symbols(how: str, file: Path) -> None:
    if how == "split":
        debug = file.with_name(file.name + ".debug")
        _run(["objcopy", "--only-keep-debug", file, debug])
        _run(["strip", file])
        _run(["objcopy", f"--add-gnu-debuglink={debug}", file])
    elif how == "minidebug":
        small = file.with_name(file.name + ".mini")
        _run(["objcopy", "--strip-debug", "-R", ".comment", "--keep-file-symbols", file, small])
        packed = file.with_name(file.name + ".xz")
        packed.write_bytes(lzma.compress(small.read_bytes()))
        _run(["strip", file])
        _run(["objcopy", f"--add-section=.gnu_debugdata={packed}", file])
    elif how == "stripped":
        _run(["strip", file])
    elif how == "headerless":
        shutil.move(without_section_headers(file), file)


def _run(command: Sequence[str | Path]) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(words)}\n{done.stderr[-2000:]}")
    return done.stdout


def function_symbols(path: Path) -> dict[str, tuple[int, int]]:
    """Sized functions of shapes.c, by nm."""
    listing = _run(["nm", "-S", path])
    wanted = (
        "shape_",
        "many_",
        "with_",
        "returns_",
        "of_doubles",
        "fibonacci",
        "jumps_out",
        "fills",
        "crashes",
        "main",
    )
    unwanted = ("_returns", ".localalias")
    found = {}
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tT" and words[3].startswith(wanted) and not words[3].endswith(unwanted):
            found[words[3]] = (int(words[0], 16), int(words[1], 16))
    return found
