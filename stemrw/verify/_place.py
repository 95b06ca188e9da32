"""The file under test in its place: same name as the original, found where the original would be.

program          FOLDER/bin/NAME, put where `{}` stands in the command, or in place of its first word
shared library   FOLDER/lib/SONAME, before all others (LD_LIBRARY_PATH), or where `{}` stands
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stemrw.elf import Elf
from stemrw.elf.constants import DT_SONAME
from stemrw.errors import UsageError
from stemrw.text import printable

PLACEHOLDER = "{}"
_DT_RPATH, _DT_RUNPATH = 15, 29


@dataclass(frozen=True)
class Placed:
    """Where the file has to be put, the command that then runs it, and its environment."""

    path: Path
    words: list[str]
    environment: dict[str, str]


def place(elf: Elf, words: Sequence[str], folder: Path, *, names: Sequence[str], home: Path) -> Placed:
    """Put a file into the place that a command has for it.

    `names` are those under which the command may name the program, `home` the folder in which the file belongs: its
    libraries may be found from there.  Raises UsageError for a command that does not run the program.
    """
    environment = dict(os.environ)
    libraries = _origin_folders(elf, home)
    words = list(words)
    if elf.is_program:
        name = Path(words[0]).name
        path = folder / "bin" / (name if name in names else names[0])
        if not any(PLACEHOLDER in word for word in words):
            if name not in names:
                known = " or ".join(dict.fromkeys(names))
                hint = f"write {PLACEHOLDER} where the program stands"
                command = printable(" ".join(words))
                raise UsageError(f"the command {command!r} does not begin with {known}", hint=hint)
            words[0] = PLACEHOLDER
    else:
        soname = elf.dynamic_string(elf.dynamic_value(DT_SONAME)) if DT_SONAME in elf.dynamic else ""
        path = folder / "lib" / (Path(soname).name or names[0])
        libraries.insert(0, str(path.parent))
    if libraries:
        before = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = ":".join([*libraries, *([before] if before else [])])
    return Placed(path, [word.replace(PLACEHOLDER, str(path)) for word in words], environment)


def _origin_folders(elf: Elf, home: Path) -> list[str]:
    """Folders relative to the file itself in which it looks for libraries: it is elsewhere now."""
    found = []
    for tag in (_DT_RPATH, _DT_RUNPATH):
        for index in elf.dynamic.get(tag, []):
            for part in elf.dynamic_string(index).split(":"):
                if part.startswith(("$ORIGIN", "${ORIGIN}")):
                    rest = part.removeprefix("$ORIGIN").removeprefix("${ORIGIN}")
                    found.append(str(home.resolve()) + rest)
    return found
