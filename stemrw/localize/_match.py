"""Which module of a report is the file in hand: by build-id, else by content hash, else by path."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from stemrw.documents.fault_report import FaultReport, ModuleInfo
from stemrw.elf import read_binary
from stemrw.errors import BinaryError, LocalizationError
from stemrw.image import Image


@dataclass(frozen=True, slots=True)
class Match:
    """A module of the report that is the file in hand, and how we know."""

    module: ModuleInfo
    evidence: str
    other_build: bool = False
    """It is another build of the file: functions have the same names, and nothing the same address."""


def match_module(report: FaultReport, image: Image, *, force: bool, by_symbol: bool = False) -> Match:
    """The report's module that is this file. `force` accepts another build-id under the same name, and nothing else;
    `by_symbol` accepts another build, of the same name, or whatever its name where both are the program.

    Raises LocalizationError: the report is about another binary, or about another build of this one.
    """
    modules = list({m.path: m for m in (*report.modules, report.program)}.values())
    for module in modules:
        how = _same(module, image)
        if how is not None:
            return Match(module, how)
    if by_symbol:
        named = [module for module in modules if _same_name(module, image)]
        if named or image.is_program:
            said = "--by-symbol takes it as another build, in which functions have the same names"
            return Match(named[0] if named else report.program, said, other_build=True)
    for module in modules:
        if not _same_name(module, image):
            continue
        if module.build_id and module.build_id != image.build_id:
            if force:
                return Match(module, f"taken by name: --force accepts the report's build-id {module.build_id}")
            raise LocalizationError(
                f"the report is about another build of this file: it has build-id {module.build_id}, the file has "
                f"{image.build_id or 'none'}",
                file=image.path,
                hint="take a new report with this file, or go by function names (--by-symbol); --force takes the risk",
            )
        if module.sha256 and not image.has_hash(module.sha256):
            raise LocalizationError(
                f"the file has changed since the report was taken: sha256 {image.sha256[:16]}…, in the report "
                f"{module.sha256[:16]}…",
                file=image.path,
                hint="take a new report with this file",
            )
    names = ", ".join(m.path for m in modules)
    raise LocalizationError(
        f"the report is about another binary: it knows {names}",
        file=image.path,
        hint="give the file that crashed, or a library of its backtrace",
    )


def _same(module: ModuleInfo, image: Image) -> str | None:
    """How a module was recognised as the file; None where it was not."""
    if module.build_id and image.build_id:
        return f"build-id {image.build_id}" if module.build_id == image.build_id else None
    if module.sha256:
        return "sha256 of the whole file" if image.has_hash(module.sha256) else None
    if module.build_id:
        return None  # the file in hand has none
    if _same_file(module.path, image.path):
        return f"path {module.path} (the report has neither build-id nor hash)"
    try:
        same = image.has_hash(hashlib.sha256(read_binary(module.path)).hexdigest())
    except BinaryError:
        same_name = Path(module.path).name == image.path.name
        why = "the report has neither build-id nor hash, and its file is not here"
        return f"name {image.path.name} ({why})" if same_name else None
    return f"same content as {module.path}" if same else None


def _same_file(a: Path | str, b: Path | str) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:
        return os.path.realpath(a) == os.path.realpath(b)


def _same_name(module: ModuleInfo, image: Image) -> bool:
    return _same_file(module.path, image.path) or Path(module.path).name == image.path.name
