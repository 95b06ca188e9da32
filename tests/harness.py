"""Run the tool as its users do, and read what it and the hardened programs leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ToolError(AssertionError):
    """The tool ended with another exit status than expected; the message has its output."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended: return code (negative: signal; None: time-out) and what it printed."""

    returncode: int | None
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Tool:
    """The command line tool."""

    command: tuple[str, ...]

    def _call(self, *arguments: str | Path, timeout: float = 120) -> None:
        words = [*self.command, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            raise ToolError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")

    def report(self, report: Path, command: Sequence[str | Path], **options: Any) -> Outcome:
        """`stemrw run -o REPORT -- COMMAND`; options as for `execute`."""
        return execute([*self.command, "run", "-o", report, "--", *command], **options)

    def patch(self, file: Path, out: Path, *options: str | Path) -> dict[str, Any]:
        """`stemrw patch FILE -o OUT OPTIONS`; gives the manifest."""
        self._call("patch", file, "-o", out, *options)
        manifest: dict[str, Any] = json.loads(manifest_path(out).read_text())
        return manifest

    def revert(self, hardened: Path, out: Path) -> None:
        """`stemrw revert HARDENED -o OUT`."""
        self._call("revert", hardened, "-o", out)


def find_tool() -> Tool:
    """The tool of the running interpreter's environment, else the one on PATH."""
    beside = Path(sys.executable).parent / "stemrw"
    found = str(beside) if beside.exists() else shutil.which("stemrw")
    if found is None:
        raise FileNotFoundError("stemrw is not installed: pip install -e .")
    return Tool((found,))


def manifest_path(hardened: Path) -> Path:
    """Where the manifest of a hardened file is."""
    return Path(f"{hardened}.manifest.json")


def execute(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    timeout: float = 60,
    environment: Mapping[str, str] | None = None,
    stdin: Path | None = None,
) -> Outcome:
    """Run a program to its end."""
    with open(stdin or os.devnull, "rb") as source:
        try:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=source,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Outcome(None, error.stdout or b"", error.stderr or b"")
    return Outcome(done.returncode, done.stdout, done.stderr)


def recoveries(events: Path) -> list[dict[str, Any]]:
    """The recovery events of a file of events; none if the file does not exist."""
    if not events.exists():
        return []
    parsed = [json.loads(line) for line in events.read_text().splitlines()]
    return [event for event in parsed if event["event"] == "recovery"]


def region_addresses(manifest: Mapping[str, Any]) -> set[int]:
    """Link-time entry addresses of the regions that a manifest lists."""
    return {int(str(region["address"]), 0) for region in manifest["regions"]}


def sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def symbol_address(path: Path, name: str) -> int:
    """Link-time address of a symbol, by nm.  Raises LookupError."""
    listing = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == name:
            return int(words[0], 16)
    raise LookupError(f"{path}: no symbol {name}")
