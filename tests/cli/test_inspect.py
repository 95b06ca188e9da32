"""`stemrw inspect` says of files and functions what patch does with them, and knows the obstacles that it names."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elf_programs import without_section_headers

from stemrw.cli import call
from stemrw.documents.inspection import Inspection
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.plan import Plan, PlannedRegion
from stemrw.elf import Elf
from stemrw.errors import BinaryError
from stemrw.image import Image
from stemrw.inspect import FileFacts, codes, inspect
from stemrw.rewrite import Target, rewrite, survey

ROOT = Path(__file__).resolve().parents[2]
DASH = Path("/usr/bin/dash")
Capture = pytest.CaptureFixture[str]

ODD = """
.text
.macro function name
.p2align 4
.globl \\name
.type \\name, @function
\\name:
.endm
.macro end name
.size \\name, .-\\name
.endm
function plain
 push %rbp; mov %rsp, %rbp; pop %rbp; ret
end plain
function loops_into_itself
 push %rbp
1: mov %rsp, %rbp; mov $3, %ecx
2: dec %ecx; jne 1b; pop %rbp; ret
end loops_into_itself
function loops_into_itself_from_afar
 push %rbp
1: mov %rsp, %rbp; jmp 2f
 .skip 300, 0x90
2: jne 1b; pop %rbp; ret
end loops_into_itself_from_afar
function entered_by_another
 push %rbp
3: mov %rsp, %rbp; pop %rbp; ret
end entered_by_another
 .skip 400, 0x90
function enters_another
 xor %eax, %eax; jmp 3b
end enters_another
function tiny
 ret
end tiny
.globl behind_tiny
.type behind_tiny, @function
behind_tiny: mov $1, %eax; ret
end behind_tiny
function undecodable
 .byte 0x06, 0x06, 0x06, 0x06, 0x06, 0x06
end undecodable
function calls_at_once
 call *%rax; ret; nop; nop; nop
end calls_at_once
function only_endbr
 endbr64; ret
end only_endbr
function switches
 lea 9f(%rip), %rdx; movslq (%rdx,%rdi,4), %rax; add %rdx, %rax
4: notrack jmp *%rax
5: mov $1, %eax; ret
end switches
function main
 xor %eax, %eax; ret
end main
.data
 .quad 1
.section .rodata
9: .long 5b-9b, 4b-9b
.section .note.GNU-stack,"",@progbits
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(source: str, *flags: str, name: str = "program.c") -> Path:
    """Compile a text with gcc, beside it."""
    path = Path(name)
    path.write_text(source)
    out = path.with_suffix("")
    subprocess.run(["gcc", "-O1", *flags, "-o", out, path], check=True, capture_output=True, text=True)
    return out


def look(file: Path, facts: FileFacts | None = None, *, listing: bool = False) -> Inspection:
    return inspect(Elf.open(file), facts=facts, listing=listing)


def found(inspection: Inspection) -> dict[str, str]:
    """The obstacles: severity by code."""
    return {each.code: each.severity for each in inspection.obstacles}


def refusal(elf: Elf, address: int, size: int) -> str | None:
    """What the rewriter says to this function as the only region."""
    identity = BinaryIdentity(path="any", sha256=Image(elf).sha256)
    try:
        rewrite(elf, Plan(binary=identity, regions=(PlannedRegion(address=address, size=size),)))
    except BinaryError as error:
        return error.message
    return None


@pytest.mark.parametrize("flags", [("-pie",), ("-no-pie",), ("-static",)])
def test_functions_are_judged_as_patch_judges_them(flags: tuple[str, ...]) -> None:
    program = build(ODD, "-nostartfiles", "-Wl,-e,main", *flags, name="odd.S")
    elf = Elf.open(program)
    listing = look(program, listing=True).listing
    assert listing is not None
    answers = {each.name: each.refusal for each in listing}
    for each in listing:
        assert (each.refusal is None) == (refusal(elf, each.address, each.size) is None), each
    assert {name for name, why in answers.items() if why is None} >= {"plain", "switches", "main"}
    assert {name for name, why in answers.items() if why is not None} >= {"undecodable", "tiny"}


@pytest.mark.parametrize("file", [DASH, Path("/usr/bin/jq")])
def test_the_survey_says_what_one_search_after_the_other_says(file: Path) -> None:
    image = Image.open(file)
    functions = [function for function in image.functions() if not function.fragment]
    surveyed = list(survey(image.elf, [Target(f.entry, f.size, f.symbol) for f in functions]))
    refused = [f for f, why in zip(functions, surveyed, strict=True) if why is not None]
    for function in [*refused, *functions[:: max(len(functions) // 25, 1)]]:
        alone = refusal(image.elf, function.entry, function.size)
        assert (alone is None) == (surveyed[functions.index(function)] is None), function


def test_functions_are_those_of_the_unwind_table_and_the_symbols() -> None:
    frames = subprocess.run(["readelf", "-wF", DASH], capture_output=True, text=True, check=True).stdout
    starts = {int(start, 16) for start in re.findall(r"FDE cie=\S+ pc=([0-9a-f]+)\.\.", frames)}
    listing = look(DASH, listing=True).listing
    assert listing is not None and {each.address for each in listing} == starts
    program = build("int f(void) { return 1; } int main(void) { return f(); }", "-fno-asynchronous-unwind-tables")
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    named = {(each.name, each.address) for each in look(program, listing=True).listing or ()}
    for name in ("f", "main"):
        at = re.search(rf"^([0-9a-f]+) T {name}$", symbols, re.MULTILINE)
        assert at is not None and (name, int(at[1], 16)) in named


def test_counts_and_coverage() -> None:
    inspection = look(DASH, listing=True)
    functions, listing = inspection.functions, inspection.listing or ()
    whole = [each for each in listing if not each.part_of_another]
    assert (functions.total, functions.parts) == (len(whole), len(listing) - len(whole))
    assert functions.patchable == sum(each.refusal is None for each in whole)
    assert sum(functions.found.values()) == len(listing)
    assert sum(reason.count for reason in functions.refused) == functions.total - functions.patchable
    sections = subprocess.run(["readelf", "-SW", DASH], capture_output=True, text=True, check=True).stdout
    code = [(int(at, 16), int(size, 16)) for at, size in
            re.findall(r"PROGBITS +([0-9a-f]{16}) \S+ ([0-9a-f]+) \S+ +AX", sections)]  # fmt: skip
    assert functions.code_bytes == sum(size for _, size in code)
    held = {address for each in listing for address in range(each.address, each.address + each.size)}
    assert functions.covered_bytes == sum(address in held for at, size in code for address in range(at, at + size))


def test_refused_file_is_refused_with_the_words_of_patch(capsys: Capture) -> None:
    program = build('int main(void) { return 0; } __asm__(".section .gopclntab,\\"a\\"; .quad 1; .text");')
    assert call(["inspect", str(program)]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"{program}: cannot be patched\n")
    assert call(["patch", str(program), "--region", "main", "-o", "out"]) == 2
    message = capsys.readouterr().err.removeprefix(f"stemrw: {program}: ").partition(" (")[0].strip()
    assert message in printed


def test_hardened_file(capsys: Capture) -> None:
    assert call(["patch", str(DASH), "--region", "main", "-o", "hard"]) == 0
    manifest = json.loads(Path("hard.manifest.json").read_text())
    capsys.readouterr()
    assert call(["inspect", "--json", "hard"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["hardened"]["regions"] == [region["address"] for region in manifest["regions"]]
    assert document["hardened"]["plan_sha256"] == manifest["plan_sha256"]
    assert document["file"]["sha256"] == manifest["output"]["sha256"]
    assert document["functions"] == json.loads(look(DASH).to_json())["functions"]
    Path("hard.manifest.json").rename("elsewhere")
    assert call(["inspect", "--json", "hard"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["hardened"]["manifest"] is False and document["obstacles"][0]["code"] == "refused"
    assert call(["inspect", "hard", "--manifest", "elsewhere"]) == 0
    assert manifest["regions"][0]["address"] in capsys.readouterr().out


MAIN = "int main(void) { return 0; }"
POINTER = "#include <signal.h>\nint (*volatile p)() = (int (*)()) sigaction; int main(void) { return p(1, 0, 0); }"
GS_BASE = 'int main(void) { __asm__ volatile("wrgsbase %rax"); return 0; }'
GS_CALL = 'int main(void) { int r; __asm__ volatile("syscall" : "=a"(r) : "a"(158), "D"(0x1001)); return r; }'
NO_GS = "void *malloc(unsigned long); void *volatile p; int main(void) { p = malloc(0x1001); return 0; }"
START = "int volatile x; void _start(void) { for (;;) x += 3; }"
SHORT_ENDS = (
    '__asm__(".section .init,\\"ax\\"; .globl _init; _init: ret");'
    '__asm__(".section .fini,\\"ax\\"; .globl _fini; _fini: ret; .text");' + MAIN
)
ALONE = ("-nostdlib", "-static")
SECTION = MAIN + ' __asm__(".section %s,\\"a\\"; .ascii \\"%s\\"; .text");'
TEXT_RELOCATION = MAIN + ' __asm__(".globl f; f: ret; .quad main");'


def writable_code() -> Path:
    """A program whose code segment is writable too."""
    program = build(MAIN)
    data = bytearray(program.read_bytes())
    elf = Elf(bytes(data))
    at = elf.segment_table + 56 * elf.segments.index(elf.code_segments[0])
    data[at + 4] |= 2
    program.write_bytes(data)
    return program


def appended() -> Path:
    program = build(MAIN)
    program.write_bytes(program.read_bytes() + b"an archive")
    return program


OBSTACLES: list[tuple[str, str, Callable[[], Path], FileFacts]] = [
    (code, severity, make, facts)
    for code, severity, make, facts in (
        ("calls-unobserved", "degrades", lambda: build(POINTER, "-w"), FileFacts()),
        ("no-room-at-ends", "degrades", lambda: build(SHORT_ENDS, "-shared", "-nostartfiles"), FileFacts()),
        ("signals-unobserved", "degrades", lambda: build(MAIN, "-static", "-s"), FileFacts()),
        ("signed", "degrades", lambda: DASH, FileFacts(attributes=("security.ima",))),
        ("verity", "degrades", lambda: DASH, FileFacts(verity=True)),
        ("self-check", "degrades", lambda: DASH, FileFacts(checksum=Path(".dash.hmac"))),
        ("signature-inside", "degrades", lambda: build(SECTION % (".sig", "x")), FileFacts()),
        ("appended-data", "degrades", appended, FileFacts()),
        ("uses-gs", "degrades", lambda: build(GS_BASE, "-mfsgsbase"), FileFacts()),
        ("uses-gs", "degrades", lambda: build(GS_CALL), FileFacts()),
        ("writable-code", "degrades", writable_code, FileFacts()),
        ("text-relocations", "degrades", lambda: build(TEXT_RELOCATION, "-shared", "-Wl,-z,notext"), FileFacts()),
        ("packed", "degrades", lambda: build(SECTION % (".note.x", "UPX!")), FileFacts()),
        ("loader", "degrades", lambda: build(MAIN, "-shared", "-Wl,-soname,ld-linux-x.so.2"), FileFacts()),
        ("other-libc", "degrades", lambda: build(START, *ALONE), FileFacts()),
        ("no-unwind-information", "degrades",
         lambda: build(START, *ALONE, "-fno-asynchronous-unwind-tables"), FileFacts()),
        ("shadow-stack", "note", lambda: build(MAIN, "-fcf-protection=full", "-Wl,-z,shstk"), FileFacts()),
        ("immutable", "note", lambda: DASH, FileFacts(immutable=True)),
        ("no-section-headers", "note", lambda: without_section_headers(build(MAIN)), FileFacts()),
        ("stripped", "note", lambda: build(MAIN, "-s"), FileFacts()),
        ("privileged", "note", lambda: DASH, FileFacts(mode=0o4755)),
        ("privileged", "note", lambda: DASH, FileFacts(attributes=("security.capability",))),
    )
]  # fmt: skip


@pytest.mark.parametrize(("code", "severity", "make", "facts"), OBSTACLES, ids=[row[0] for row in OBSTACLES])
def test_obstacle(code: str, severity: str, make: Callable[[], Path], facts: FileFacts) -> None:
    inspection = look(make(), facts)
    assert found(inspection)[code] == severity
    assert inspection.patchable, "an obstacle that blocks is the rewriter's to name"
    order = ["blocks", "degrades", "note"]
    severities = [order.index(each.severity) for each in inspection.obstacles]
    assert severities == sorted(severities)
    assert all(each.what and each.advice and "{" not in each.what + each.advice for each in inspection.obstacles)


def test_no_function_that_can_be_patched() -> None:
    program = build(".globl _start\n_start: ret\n.type _start, @function\n.size _start, 1", *ALONE, name="one.S")
    inspection = look(program)
    assert found(inspection)["no-function"] == "blocks" and not inspection.patchable
    assert call(["inspect", str(program)]) == 1


def test_every_obstacle_is_tested_and_described() -> None:
    assert set(codes()) == {row[0] for row in OBSTACLES} | {"refused", "no-function"}
    text = (ROOT / "docs" / "inspect.md").read_text()
    assert not [code for code in codes() if f"| `{code}` |" not in text]


def test_ordinary_program_has_no_obstacle() -> None:
    inspection = look(build(MAIN))
    assert inspection.patchable and inspection.obstacles == ()
    assert "uses-gs" not in found(look(build(NO_GS)))


def test_what_the_file_system_says(capsys: Capture) -> None:
    program = build(MAIN)
    program.chmod(0o4755)
    Path(f".{program.name}.hmac").write_text("x")
    assert call(["inspect", "--json", str(program)]) == 0
    reported = {each["code"] for each in json.loads(capsys.readouterr().out)["obstacles"]}
    assert {"privileged", "self-check"} <= reported


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), {"kind": "program", "linking": "dynamic", "position": "independent", "libc": "glibc", "symbols": True}),
        (("-no-pie", "-s"), {"position": "fixed", "symbols": False}),
        (("-static",), {"linking": "static", "position": "fixed", "libc": "glibc", "interpreter": None}),
        (("-static-pie",), {"kind": "program", "linking": "static", "position": "independent", "libc": "glibc"}),
        (("-shared", "-fPIC", "-Wl,--no-as-needed"), {"kind": "library", "linking": "dynamic", "libc": "glibc"}),
        (("-g",), {"debug": "inside"}),
        (("-fuse-ld=gold",), {"linker": "gold 1.16"}),
        (("-fcf-protection=full", "-Wl,-z,ibt,-z,shstk"), {"control_flow": ("ibt", "shstk")}),
    ],
)
def test_what_the_file_is(flags: tuple[str, ...], expected: dict[str, Any]) -> None:
    inspection = look(build(MAIN, *flags))
    assert {name: getattr(inspection.build, name) for name in expected} == expected
    assert any(text.startswith("GCC: ") for text in inspection.build.compilers)


def test_text_is_plain_and_lists_functions(capsys: Capture) -> None:
    program = build(ODD, "-nostartfiles", "-Wl,-e,main", name="odd.S")
    program.write_bytes(program.read_bytes().replace(b"\0plain\0", b"\0pl\x1b[m\0"))
    assert call(["inspect", str(program), "--functions"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{program}: can be patched")
    assert all(c.isprintable() or c == "\n" for c in printed) and not set("│┃━─") & set(printed)
    assert "pl\\x1b[m" in printed and "cannot be decoded" in printed
    header, *rows = printed.partition("All functions\n")[2].splitlines()
    row = next(row for row in rows if row.endswith("pl\\x1b[m"))
    assert header.index("name") == row.index("pl\\x1b[m") and header.index("can be patched") == row.index("yes")


def test_json_is_the_document(capsys: Capture) -> None:
    assert call(["inspect", "--json", "--functions", str(DASH)]) == 0
    printed = capsys.readouterr().out
    assert Inspection.model_validate_json(printed) == look(DASH, listing=True).model_copy(update={"path": str(DASH)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone: cannot be read"),
        (["/etc/passwd"], "not an ELF file"),
        (["."], "directory"),
        ([str(DASH), "--manifest", "x"], "not hardened"),
        ([], "Missing argument"),
    ],
)
def test_error_is_one_sentence(arguments: list[str], message: str, capsys: Capture) -> None:
    assert call(["inspect", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("stemrw: ") and printed.err.count("\n") == 1
    assert message in printed.err


def test_documentation_describes_every_field() -> None:
    text = (ROOT / "docs" / "inspect.md").read_text()
    schema = Inspection.model_json_schema(by_alias=True, mode="serialization")
    parts = [schema, *schema["$defs"].values()]
    assert not {name for part in parts for name in part["properties"] if f"`{name}`" not in text}
