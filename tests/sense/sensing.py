"""Running the sensor and building what it watches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

import stemrw
from stemrw.documents.fault_report import FaultReport, load_report


@dataclass(frozen=True)
class Sensed:
    """How a sensed command ended and what was reported."""

    status: int
    stdout: str
    stderr: str
    path: Path

    @property
    def report(self) -> FaultReport:
        assert self.path.exists(), self.stderr
        return load_report(self.path)


Sense = Callable[..., Sensed]


def argv(*arguments: str | Path) -> list[str]:
    """`stemrw run …`."""
    folder = str(Path(stemrw.__file__).parent.parent)
    main = f"import sys; sys.path.insert(0, {folder!r}); from stemrw.cli import main; main()"
    return [sys.executable, "-c", main, "run", *map(str, arguments)]


@dataclass(frozen=True)
class Program:
    """A built test program."""

    path: Path

    def function(self, name: str) -> int:
        """Link-time entry address of one of its functions."""
        with self.path.open("rb") as file:
            symbols = ELFFile(file).get_section_by_name(".symtab")
            assert isinstance(symbols, SymbolTableSection)
            found = symbols.get_symbol_by_name(name)
            assert found is not None
            return int(found[0]["st_value"])


def build(target: Path, *flags: str) -> Program:
    """Compile the crasher with the compiler of the package index: there is no need for one in the system."""
    source = Path(__file__).with_name("crasher.c")
    usual = ("-O1", "-UNDEBUG", "-fno-sanitize=undefined", "-fno-stack-protector", "-fno-optimize-sibling-calls", "-w")
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *usual, *flags, str(source), "-o", str(target)], check=True)
    return Program(target)
