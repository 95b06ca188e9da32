"""Tools that read, check and edit ELF files treat the hardened file as the original, but for what was announced."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tools.subjects import FLAVOURS, Subject, need, run

Get = Callable[[str], Subject]
LOADER = Path("/lib64/ld-linux-x86-64.so.2")

SAME = {
    "readelf-symbols": ("readelf", "-sW"),
    "readelf-dyn-syms": ("readelf", "--dyn-syms", "-W"),
    "readelf-relocations": ("readelf", "-rW"),
    "readelf-dynamic": ("readelf", "-dW"),
    "readelf-notes": ("readelf", "-nW"),
    "readelf-versions": ("readelf", "-VW"),
    "readelf-histogram": ("readelf", "-IW"),
    "readelf-frames": ("readelf", "--debug-dump=frames", "-W"),
    "objdump-symbols": ("objdump", "-t"),
    "objdump-relocations": ("objdump", "-R"),
    "eu-readelf": ("eu-readelf", "-s", "-r", "-d", "-n", "-V", "-e"),
    "eu-unstrip": ("eu-unstrip", "-n", "-e"),
    "eu-elfclassify": ("eu-elfclassify", "--elf", "--print", "--loadable"),
    "nm": ("nm", "-a"),
    "eu-nm": ("eu-nm",),
    "file": ("file", "-b"),
    "ldd": ("ldd",),
    "ldd-unused": ("ldd", "-u"),
    "loader-list": (str(LOADER), "--list"),
    "loader-verify": (str(LOADER), "--verify"),
    "interpreter": ("patchelf", "--print-interpreter"),
    "soname": ("patchelf", "--print-soname"),
    "needed": ("patchelf", "--print-needed"),
    "rpath": ("patchelf", "--print-rpath"),
    "execstack": ("patchelf", "--print-execstack"),
    "scanelf": ("scanelf", "-BF", "%o %t %r %b %n %i %S"),
}


def about(command: Sequence[str], subject: Subject) -> list[list[str]]:
    """What a tool says about the original and about the hardened file: lines, without what differs by run."""
    if not command[0].startswith("/"):
        need(command[0])
    texts = [run([*command, file], succeeds=False) for file in subject.files()]
    # Where files are; where libraries were loaded; how much memory the file takes, which eu-unstrip shows first.
    volatile = re.compile(
        rf"{subject.original}|{subject.hardened}|0x0000[0-9a-f]{{12}}(?=\))|(?<=^0)\+0x[0-9a-f]+|(?<=^0x400000)\+0x[0-9a-f]+"
    )
    return [volatile.sub("…", text).splitlines() for text in texts]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_output_is_the_same(subject: Get, flavour: str) -> None:
    wrong = {}
    for name, command in SAME.items():
        before, after = about(command, subject(flavour))
        if before != after:
            wrong[name] = (before, after)
    assert not wrong
    assert len(about(SAME["readelf-frames"], subject(flavour))[1]) > 20


def changed(command: Sequence[str], subject: Subject) -> tuple[list[str], list[str]]:
    """Lines that went, and lines that came."""
    before, after = about(command, subject)
    return [line for line in before if line not in after], [line for line in after if line not in before]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_headers_differ_as_announced(subject: Get, flavour: str) -> None:
    went, came = changed(("readelf", "-hW"), subject(flavour))
    fields = [line.split(":")[0].strip() for line in came]
    assert [line.split(":")[0].strip() for line in went] == fields
    assert set(fields) <= {
        "Start of section headers", "Number of section headers", "Section header string table index",
    }  # fmt: skip

    went, came = changed(("readelf", "-SW"), subject(flavour))
    names = [re.findall(r"\] (\S+) ", line) for line in came if "]" in line]
    assert sorted(name for found in names for name in found) == [".shstrtab", ".stemrw", ".stemrw.state"]
    assert [line for line in went if "]" in line and ".shstrtab" not in line] == []

    went, came = changed(("readelf", "-lW"), subject(flavour))
    headers = [line.split() for line in came if re.match(r"  [A-Z_]+ +0x", line)]
    assert sorted((words[0], words[-2]) for words in headers) == [("LOAD", "E"), ("LOAD", "RW")]
    gone = [line.split() for line in went if re.match(r"  [A-Z_]+ +0x", line)]
    assert sorted(words[0] for words in gone) == ["LOAD", "NOTE"]
    data = next(words for words in headers if words[-2] == "RW")
    assert [words[:5] for words in gone if words[0] == "LOAD"] == [data[:5]]  # longer in memory, all else as it was


@pytest.mark.parametrize("flavour", ["dwarf", "static", "shared"])
def test_disassembly_differs_in_replaced_bytes_only(subject: Get, flavour: str) -> None:
    """And in the section that was added.  Names of targets are left out: objdump names the stubs of imported functions
    by what their code looks like, so that those which are observed (signal and its like) have no name any more."""
    built = subject(flavour)
    sections = {line.split()[1] for line in run(["objdump", "-h", built.files()[0]]).splitlines() if " ." in line}
    command = ("objdump", "-d", "--no-show-raw-insn", *(f"--section={name}" for name in sorted(sections)))
    before, after = (
        [re.sub(" <.*>", "", line) for line in lines if re.match(r" +[0-9a-f]+:\t", line)]
        for lines in about(command, built)
    )
    replaced = {
        int(change["address"], 0) + at
        for change in built.manifest["changes"]
        if "address" in change and change["address"] is not None
        for at in range(len(change["original"]) // 2)
    }
    for one, other in ((before, after), (after, before)):
        kept = set(other)
        different = [int(line.split(":")[0], 16) for line in one if line not in kept]
        assert different
        assert set(different) <= replaced


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_size_counts_the_payload(subject: Get, flavour: str) -> None:
    _, came = changed(("size", "-A", "-d"), subject(flavour))
    sizes = {line.split()[0]: int(line.split()[1]) for line in came if line.startswith((".stemrw", "Total"))}
    assert set(sizes) == {".stemrw", ".stemrw.state", "Total"}
    assert sizes[".stemrw"] == subject(flavour).manifest["payload"]["size"]


@pytest.mark.parametrize("flavour", ["dwarf", "debugfile", "static", "shared"])
def test_addresses_have_their_lines(subject: Get, flavour: str) -> None:
    """Also where the lines are in a file that is found by build-id."""
    need("eu-addr2line", "addr2line")
    built = subject(flavour)
    addresses = [f"{address:#x}" for name, address in built.functions.items() if name in ("quotient", "helper", "spin")]
    texts = [
        run(["eu-addr2line", f"--debuginfo-path={built.debug}", "-f", "-e", file, *addresses]) for file in built.files()
    ]
    assert texts[0] == texts[1]
    assert texts[0].count("subject.c:") == 3
    texts = [run(["addr2line", "-f", "-e", file, *addresses]) for file in built.files()]
    assert texts[0] == texts[1]


def survives(folder: Path, subject: Subject) -> bool:
    """Whether the program in a folder lives through the fault that kills the original."""
    done = subprocess.run(
        [folder / "subject", "divide"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) in ((0, "172\n-1\n"), (-8, "172\n")), done
    return done.returncode == 0


EDITS: dict[str, list[list[str]]] = {
    "nothing": [],
    "strip": [["strip", "{file}"]],
    "strip-objcopy": [["strip", "{file}"], ["objcopy", "{file}"]],
    "eu-strip": [["eu-strip", "-f", "{folder}/symbols", "{file}"]],
    "debuglink": [
        ["objcopy", "--only-keep-debug", "{file}", "{folder}/symbols.debug"],
        ["strip", "{file}"],
        ["objcopy", "--add-gnu-debuglink={folder}/symbols.debug", "{file}"],
    ],
    "rpath": [["patchelf", "--set-rpath", "/nowhere:$ORIGIN", "{file}"]],
    "add-needed": [["patchelf", "--add-needed", "libm.so.6", "{file}"]],
    "unstrip": [
        ["eu-strip", "-f", "{folder}/symbols", "{file}"],
        ["eu-unstrip", "{file}", "{folder}/symbols", "-o", "{folder}/whole"],
        ["mv", "{folder}/whole", "{file}"],
    ],
}


@pytest.mark.parametrize(
    ("edit", "flavour"),
    [
        (edit, flavour)
        for edit in EDITS
        for flavour in ("dwarf", "static", "shared")
        if flavour != "static" or edit not in ("rpath", "add-needed")  # a static program has neither
    ],
)
def test_an_edited_copy_still_survives(subject: Get, tmp_path: Path, edit: str, flavour: str) -> None:
    built = subject(flavour)
    need(*(words[0] for words in EDITS[edit]))
    folder = Path(shutil.copytree(built.hardened, tmp_path / "edited"))
    for words in EDITS[edit]:
        run([word.format(file=folder / built.target, folder=folder) for word in words])
    assert survives(folder, built)
    assert not survives(built.original, built)
    if edit == "debuglink":
        need("gdb")
        shown = run(["gdb", "-q", "-batch", "-nx", "-ex", "info line spin", folder / built.target])
        assert "subject.c" in shown


def test_libraries_of_a_package(subject: Get, tmp_path: Path) -> None:
    need("dpkg-shlibdeps")
    (tmp_path / "debian").mkdir()
    (tmp_path / "debian" / "control").write_text("Source: subject\n\nPackage: subject\nArchitecture: any\n")
    outputs = []
    for file in subject("dwarf").files():
        shutil.copy(file, tmp_path / "subject")
        outputs.append(run(["dpkg-shlibdeps", "-O", "subject"], cwd=tmp_path))
    assert outputs[0] == outputs[1]
    assert "libc6" in outputs[0]


@pytest.mark.parametrize(
    "checker", [("eu-elflint", "--gnu-ld"), ("readelf", "-aW", "--lint")], ids=["elflint", "readelf"]
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_new_complaint(subject: Get, checker: tuple[str, ...], flavour: str) -> None:
    need(checker[0])
    complaints = []
    for file in subject(flavour).files():
        done = subprocess.run([*checker, file], capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr if checker[0] == "eu-elflint" else done.stderr
        complaints.append({line.replace(str(file), "…") for line in text.splitlines() if line != "No errors"})
    assert complaints[1] <= complaints[0]
