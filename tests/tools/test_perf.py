"""The map for profilers: what is in it, who gets it, and what happens where it cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tools.subjects import FLAVOURS, Subject, build_id, need, run

from stemrw.runtime import load_image

Get = Callable[[str], Subject]
WANTED = {**os.environ, "STEMRW_PERF_MAP": "1"}


def map_of(process: int) -> Path:
    """Where profilers look for the names of a process's generated code."""
    return Path(f"/tmp/perf-{process}.map")


def parse(text: str) -> list[tuple[int, int, str]]:
    """Start, end and name of every piece."""
    lines = [re.fullmatch(r"([0-9a-f]+) ([0-9a-f]+) (.+)", line) for line in text.splitlines()]
    assert all(lines), text
    return [(int(line[1], 16), int(line[1], 16) + int(line[2], 16), line[3]) for line in lines if line]


@pytest.fixture
def mapped() -> Iterator[Callable[[Sequence[str | Path]], tuple[str, Path]]]:
    """Runs a program with the map wanted: its output, and where its map would be; takes the maps away in the end."""
    made: list[Path] = []

    def start(command: Sequence[str | Path], **options: object) -> tuple[str, Path]:
        with subprocess.Popen(  # type: ignore[call-overload]
            command, env=WANTED, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **options
        ) as process:
            made.append(map_of(process.pid))
            output = process.communicate(timeout=60)[0]
        assert process.returncode == 0
        return output, made[-1]

    yield start
    for path in made:
        path.unlink(missing_ok=True)


Mapped = Callable[..., tuple[str, Path]]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_regions_are_named_by_their_link_time_address(subject: Get, mapped: Mapped, flavour: str) -> None:
    built = subject(flavour)
    _, path = mapped([built.programs()[1], "spin", "1000"])
    pieces = parse(path.read_text())
    names = {name for _, _, name in pieces}
    for function in ("quotient", "through", "helper", "spin"):
        assert f"[stemrw] {built.target}:{built.functions[function]:#x}" in names, function
    assert f"[stemrw] {built.target}:{built.functions['crash']:#x}" not in names
    assert path.stat().st_mode & 0o777 == 0o600
    if flavour != "static":
        assert any(re.fullmatch(r"\[stemrw\] libc\.so\.6:0x[0-9a-f]+", name) for name in names)


def test_names_of_a_library_are_its_functions(subject: Get, mapped: Mapped) -> None:
    """Functions of the C library that a region calls: each name is the start of a function by its symbols or unwind
    entries, read by another tool."""
    need("readelf")
    _, path = mapped([subject("dwarf").programs()[1]])
    names = {name for _, _, name in parse(path.read_text())}
    library = re.search(r"libc\.so\.6 => (\S+)", run(["ldd", subject("dwarf").programs()[0]]))
    assert library
    unwound = run(["readelf", "--debug-dump=frames", "-W", library[1]], succeeds=False)
    starts = {int(start, 16) for start in re.findall(r"FDE cie=\w+ pc=(\w+)\.\.", unwound)}
    found = {int(name.rpartition(":")[2], 16) for name in names if "libc.so.6" in name}
    assert found
    assert found <= starts


def test_pieces_cover_every_unit_and_nothing_else(subject: Get) -> None:
    """Against the table of units, read out of the waiting process."""
    built = subject("dwarf")
    with subprocess.Popen(
        [built.programs()[1], "wait"], env=WANTED, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        units = list(_units(process.pid, built))
        path = map_of(process.pid)
        process.stdin.close()
        process.wait()
    pieces = sorted(parse(path.read_text()))
    path.unlink()
    assert len(units) >= 5
    for code, end in units:
        inside = [(start, stop) for start, stop, _ in pieces if code <= start < end]
        assert inside[0][0] == code
        assert inside[-1][1] == end
        assert all(before[1] == after[0] for before, after in zip(inside, inside[1:], strict=False))
    spans = [(start, stop) for start, stop, _ in pieces]
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


def _units(process: int, built: Subject) -> Iterator[tuple[int, int]]:
    image = load_image()
    maps = Path(f"/proc/{process}/maps").read_text().splitlines()
    bias = min(int(line.split("-")[0], 16) for line in maps if str(built.files()[1]) in line)
    with open(f"/proc/{process}/mem", "rb") as memory:

        def read(name: str, at: int) -> dict[str, int]:
            memory.seek(at)
            fields = image.structs[name].unpack(memory.read(image.structs[name].size))
            return {field: int.from_bytes(value, "little") for field, value in fields.items()}

        state = read("state", bias + int(built.manifest["payload"]["state_address"], 0))
        cache = read("cache", read("runtime", state["runtime"])["cache"])
        for index in range(cache["unit_count"]):
            unit = read("unit", cache["units"] + index * image.structs["unit"].size)
            yield unit["code"], unit["end"]


def test_a_forked_child_has_a_map_of_its_own(subject: Get, mapped: Mapped) -> None:
    """With all that it inherited."""
    output, path = mapped([subject("dwarf").programs()[1], "fork"])
    child = re.search(r"child (\d+)", output)
    assert child
    own = map_of(int(child[1]))
    pieces = parse(own.read_text())
    own.unlink()
    spin = f"{subject('dwarf').target}:{subject('dwarf').functions['spin']:#x}"
    assert set(parse(path.read_text())) & set(pieces)
    assert any(spin in name for _, _, name in pieces)


def test_no_map_unless_it_is_wanted(subject: Get) -> None:
    for environment in ({}, {"STEMRW_PERF_MAP": "0"}, {"STEMRW_PERF_MAP": "10"}):
        program = subject("dwarf").programs()[1]
        output = run([program, "pid"], env={**os.environ, **environment})
        assert not map_of(int(output.split()[-1])).exists()


def test_an_older_map_is_not_added_to(subject: Get, mapped: Mapped) -> None:
    script = f"echo '0 1 stale' > /tmp/perf-$$.map; exec {subject('dwarf').programs()[1]}"
    _, path = mapped(["sh", "-c", script])
    assert "stale" not in path.read_text()


@pytest.mark.parametrize(
    "trap", ["ln -s {} $map", "ln {} $map", "mkfifo $map", "mkdir $map"], ids=lambda t: t.split(" {")[0]
)
def test_a_name_that_is_taken_is_left_alone(subject: Get, mapped: Mapped, tmp_path: Path, trap: str) -> None:
    """A name that anybody can foresee, in a folder where anybody may write."""
    victim = Path("/tmp") / f"stemrw-victim-{os.getpid()}"  # hard links do not cross file systems
    victim.write_text("kept\n")
    try:
        script = f"map=/tmp/perf-$$.map; {trap.format(victim)}; exec {subject('dwarf').programs()[1]}"
        output, path = mapped(["sh", "-c", script])
        assert output == run([subject("dwarf").programs()[0]])
        assert victim.read_text() == "kept\n"
    finally:
        victim.unlink()
    if path.is_dir():
        path.rmdir()


def test_nothing_is_written_where_nothing_can_be(subject: Get, mapped: Mapped) -> None:
    """No descriptor is left."""
    command = ["sh", "-c", f"ulimit -n 3; exec {subject('static').programs()[1]}"]
    output, path = mapped(command)
    assert output == run([subject("static").programs()[0]])
    assert not path.exists() or not path.read_text()


def test_programs_with_more_rights_than_their_user_ignore_the_wish(subject: Get, tmp_path: Path) -> None:
    need("setcap", "setpriv")
    if os.geteuid():
        pytest.skip("only root may give capabilities")
    folder = Path("/tmp") / f"stemrw-capable-{os.getpid()}"  # where another user gets to
    folder.mkdir(mode=0o755)
    try:
        program = Path(shutil.copy(subject("dwarf").programs()[1], folder))
        user = ["setpriv", "--reuid", "65534", "--clear-groups"]
        plain = int(run([*user, program, "pid"], env=WANTED).split()[-1])
        assert map_of(plain).exists()
        map_of(plain).unlink()
        run(["setcap", "cap_net_raw+ep", program])
        capable = int(run([*user, program, "pid"], env=WANTED).split()[-1])
        assert not map_of(capable).exists()
    finally:
        shutil.rmtree(folder)


def _perf(folder: Path, command: Sequence[str | Path], *report: str) -> str:
    """What perf says about a command; skips where the kernel does not let it measure."""
    need("perf")
    data = folder / "perf.data"
    done = subprocess.run(
        ["perf", "record", "-q", "-e", "cpu-clock", "-o", data, "--", *map(str, command)],
        env=WANTED, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode and re.search(r"perf_event_open|paranoid|No permission|not supported", done.stderr):
        pytest.skip(f"perf may not measure here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return run(["perf", "report", "-i", data, "--stdio", "--sort", "sym", *report], cwd=folder)


@pytest.mark.parametrize("flavour", ["dwarf", "static", "shared"])
def test_perf_attributes_samples_to_the_function(subject: Get, tmp_path: Path, flavour: str) -> None:
    built = subject(flavour)
    report = _perf(tmp_path, [built.programs()[1], "spin", "40000000"])
    wanted = re.escape(f"[stemrw] {built.target}:{built.functions['spin']:#x}")
    share = re.search(rf"([0-9.]+)% +\[\.\] {wanted}", report)
    for path in Path("/tmp").glob("perf-*.map"):
        if f"{built.target}:{built.functions['spin']:#x}" in path.read_text():
            path.unlink()
    assert share, report
    assert float(share[1]) > 50


def test_the_kernels_probes_see_every_call(subject: Get, tmp_path: Path) -> None:
    """An uprobe is a breakpoint that no debugger owns."""
    need("perf")
    built = subject("dwarf")
    if os.geteuid() or not Path("/sys/kernel/tracing/uprobe_events").exists():
        pytest.skip("the kernel's probes cannot be used here")
    counts = []
    for program in built.programs():
        group = f"stemrw_{build_id(program)[:8]}_{os.getpid()}"
        for function in ("quotient", "helper"):
            run(["perf", "probe", "-q", "-x", program, "--add", f"{group}:{function}={function}"])
        try:
            data = tmp_path / "perf.data"
            events = [word for name in ("quotient", "helper") for word in ("-e", f"{group}:{name}")]
            run(["timeout", "20", "perf", "record", "-q", "-o", data, *events, program, "divide", "1"])
            script = run(["perf", "script", "-i", data])
            counts.append([script.count(f"{group}:{name}:") for name in ("quotient", "helper")])
        finally:
            run(["perf", "probe", "-q", "-d", f"{group}:*"])
    assert counts[1] == counts[0] == [2, 1]


def test_struct_layouts_are_exported() -> None:
    """What the script for gdb and this test read."""
    structs = load_image().structs
    assert struct.calcsize("<Ii") == structs["source_map"].size
