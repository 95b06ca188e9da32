"""Build the host and batches of cases, run them, and sum up what the host reports.

The host is an ordinary program, hardened with `stemrw patch`; the cases of a batch are a shared object at a fixed
address, loaded with it.  One of its regions is turned into a function that is emulated but not rescued (the kind that
the runtime has for calls it only observes), so that faults reach the program's own handler.
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equivalence.cases import CASES, Case, _define, instance, name
from equivalence.forms import Form
from harness import Tool, execute

from stemrw.runtime import load_image

SOURCES = Path(__file__).with_name("host")
COUNTS = ("cases", "trials", "faults", "committed", "rolled_back", "rescued", "observed", "illegal")
ALIGNMENT = 16
"""Bytes; cases begin at multiples, which mutations and branches cannot move."""


@dataclass
class Difference:
    """A case and the trial in which it was not as natively; `way` says in which run."""

    form: str
    case: int
    trial: int
    way: str
    what: str
    text: str
    out_of_reach: bool

    def __str__(self) -> str:
        return f"{self.form} (case {self.case}, trial {self.trial}), {self.way}: {self.what}    {self.text}"


@dataclass
class Result:
    """What was run, by form, and what was different.

    `left` counts trials whose case moves rsp out of the region, so that there is nothing left to roll back; `entries`
    how often the runtime says that the region was entered.
    """

    forms: dict[str, Counter[str]] = field(default_factory=dict)
    degraded: dict[str, Counter[str]] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    differences: list[Difference] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def merge(self, other: Result) -> None:
        for form, counts in other.forms.items():
            self.forms.setdefault(form, Counter()).update(counts)
        for form, reasons in other.degraded.items():
            self.degraded.setdefault(form, Counter()).update(reasons)
        self.left.update(other.left)
        self.entries += other.entries
        self.differences += other.differences
        self.failures += other.failures

    @property
    def offered(self) -> list[str]:
        """Forms that the processor has: not every native trial of them was an illegal instruction."""
        return sorted(form for form, counts in self.forms.items() if counts["illegal"] < counts["trials"])

    def total(self, count: str) -> int:
        return sum(counts[count] for counts in self.forms.values())


@dataclass(frozen=True)
class Host:
    """The hardened host, and what it has to be told about itself."""

    program: Path
    state: int
    region_index: int

    def command(self, table: Path, seed: int, trials: int, thread: bool) -> list[str]:
        words = (self.program, table, self.state, self.region_index, seed, trials, int(thread))
        return [str(word) for word in words]


def build_host(tool: Tool, folder: Path, *options: str) -> Host:
    """Compile the host in `folder` and harden it; options are `patch`'s.  Raises CalledProcessError, ToolError."""
    write_batch([], folder)
    plain, hardened = folder / "host", folder / "host.hardened"
    sources = [str(path) for path in sorted(SOURCES.iterdir()) if path.suffix in (".c", ".S")]
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-no-pie", "-fno-pie", "-fcf-protection=none", "-pthread"]
    (folder / "state_offsets.h").write_text(_state_offsets())
    paths = [f"-I{SOURCES}", f"-I{folder}", f"-L{folder}", f"-Wl,-rpath,{folder}"]
    libraries = ["-Wl,--no-as-needed", "-l:libcases.so"]
    subprocess.run(["gcc", *flags, *paths, *sources, "-o", plain, *libraries], check=True)
    regions = ["--region", "run_region", "--region", "run_observed"]
    manifest = tool.patch(plain, hardened, *regions, "--return", hex(_define("RESCUED")), *options)
    entries = {region["symbol"]: int(region["address"], 0) for region in manifest["regions"]}
    index = _observe_only(hardened, manifest, entries["run_observed"], entries["run_region"])
    return Host(hardened, int(manifest["payload"]["state_address"], 0), index)


def _state_offsets() -> str:
    """What the host reads of the runtime's state, as C definitions."""
    image = load_image()
    state, recovery, patch = (image.structs[name] for name in ("state", "recovery", "patch_state"))
    words = {f"STATE_{name}": state.fields[name][0] for name in ("recoveries", "degradations", "reasons", "ring")}
    words |= {"STATE_patches": image.constants["STATE_FIXED_BYTES"], "PATCH_BYTES": patch.size}
    words |= {"PATCH_entries": patch.fields["entries"][0], "RECOVERY_BYTES": recovery.size}
    words |= {"RECOVERY_pc": recovery.fields["pc"][0]}
    words |= {name: image.constants[name] for name in ("RECOVERY_RING", "REASON_COUNT")}
    return "".join(f"#define {name} {value}\n" for name, value in words.items())


def _observe_only(hardened: Path, manifest: dict[str, Any], function: int, region: int) -> int:
    """Turn the patch of `function` into one without rescue; the index of `region` among the patches."""
    image = load_image()
    data = bytearray(hardened.read_bytes())
    payload = int(manifest["payload"]["offset"])
    header = {
        key: int.from_bytes(value, "little")
        for key, value in image.structs["payload_header"].unpack(bytes(data), payload).items()
    }
    layout, indices = image.structs["patch"], {}
    for i in range(header["patch_count"]):
        at = payload + header["patch_table"] + i * layout.size
        entry = int.from_bytes(layout.unpack(bytes(data), at)["function"], "little")
        indices[entry] = i
        if entry == function:
            offset, size = layout.fields["kind"]
            data[at + offset : at + offset + size] = image.constants["PATCH_OBSERVE"].to_bytes(size, "little")
    hardened.write_bytes(data)
    return indices[region]


def write_batch(cases: Iterable[Case], folder: Path) -> Path:
    """The cases as libcases.so in `folder`, and their table, which is returned."""
    code, table = bytearray(), bytearray()
    for case in cases:
        table += case.pack(len(code) + FIRST)
        code += case.code
        code += b"\xcc" * (-len(code) % ALIGNMENT)
    folder.mkdir(exist_ok=True)
    (folder / "cases.bin").write_bytes(code)
    (folder / "cases.table").write_bytes(table)
    source = f'.text\n.balign 4096\n.globl cases\n.type cases, @function\ncases:\n.incbin "{folder}/cases.bin"\n'
    source += '.size cases, . - cases\n.section .note.GNU-stack, "", @progbits\n'
    (folder / "cases.S").write_text(source)
    place = [
        f"-Wl,-Ttext-segment={CASES:#x}",
        f"-Wl,-Ttext={CASES + FIRST:#x}",
        "-Wl,-soname,libcases.so",
        "-Wl,--hash-style=gnu",
    ]
    command: list[str | Path] = [
        "gcc",
        "-shared",
        "-nostdlib",
        *place,
        folder / "cases.S",
        "-o",
        folder / "libcases.so",
    ]
    subprocess.run(command, check=True)
    return folder / "cases.table"


BATCH_CASES = 800
BATCH_SECONDS = 1800
FIRST = 0x1000
"""Offset of the first case behind the headers of libcases.so."""


def make_cases(codes: Iterable[Form], each: int, seed: str) -> list[Case]:
    """`each` instances of every form, one behind the other in memory; some forms have none that can be built."""
    cases, at = [], CASES + FIRST
    for code in codes:
        choice = random.Random(f"{seed}/{code}")
        for _ in range(each):
            case = instance(code, at, choice)
            if case is None:
                continue
            cases.append(case)
            at += len(case.code) + -len(case.code) % ALIGNMENT
    return cases


def run_batch(host: Host, cases: list[Case], folder: Path, *, seed: int, trials: int, thread: bool = False) -> Result:
    """Run the cases, each in `trials` states; with another thread alive if `thread`."""
    table = write_batch(cases, folder)
    environment = {"LD_LIBRARY_PATH": str(folder)}
    done = execute(host.command(table, seed, trials, thread), environment=environment, timeout=BATCH_SECONDS)
    result = _parse(done.stdout.decode(), cases)
    if done.returncode != 0:
        result.failures.append(f"the host ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return result


def run(
    host: Host, codes: Sequence[Form], folder: Path, *, seed: int, each: int, trials: int, thread: bool = False
) -> Iterator[Result]:
    """Run `each` cases of every form, each in `trials` states: a result per batch."""
    size = max(1, BATCH_CASES // each)
    for first in range(0, len(codes), size):
        cases = make_cases(codes[first : first + size], each, str(seed))
        yield run_batch(host, cases, folder / "batch", seed=seed, trials=trials, thread=thread)


def _parse(output: str, cases: list[Case]) -> Result:
    image, result = load_image(), Result()
    for line in output.splitlines():
        kind, *words = line.split()
        if kind == "form":
            result.forms[name(int(words[0]))] = Counter(dict(zip(COUNTS, map(int, words[1:]), strict=True)))
        elif kind == "degraded":
            reason = image.enumerator("REASON_", int(words[1]))
            result.degraded.setdefault(name(int(words[0])), Counter())[reason] += int(words[2])
        elif kind == "entries":
            result.entries = int(words[0])
        elif kind == "left":
            result.left[name(int(words[0]))] += int(words[1])
        elif kind == "difference":
            number, trial = int(words[0]), int(words[1])
            case = cases[number]
            text = f"{case.code[: case.length].hex(' ')}: {case.text}"
            result.differences.append(
                Difference(name(case.form), number, trial, words[2], " ".join(words[3:]), text, case.out_of_reach)
            )
    return result
