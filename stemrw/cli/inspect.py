"""`stemrw inspect`: can this file be patched?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stemrw.documents.manifest import Manifest
    from stemrw.elf import Elf
    from stemrw.inspect import Step

EPILOG = (
    "Examples: stemrw inspect /usr/bin/yasm, or, for a pipeline, stemrw inspect --json prog | jq .obstacles. "
    "Exit status: 0 it can be patched; 1 it cannot; 2 an error, such as a file that is no x86-64 ELF file."
)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A program or shared library.")],
    functions: Annotated[
        bool, typer.Option("--functions", help="List all functions, with the reason where one cannot be patched.")
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Manifest of a FILE that is hardened already. Default: FILE.manifest.json"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON (docs/inspect.md).")] = False,
) -> None:
    """Say whether a file can be patched, and what stands in the way.

    What it is and how it was built, which functions were found and how, which of their entries can be patched and why
    the others cannot, and every obstacle with what to do about it. The file is hardened in memory to be sure; nothing
    is written.
    """
    from stemrw import inspect as stage
    from stemrw.cli._tables import show, show_text
    from stemrw.elf import Elf

    elf = Elf.open(file)
    original, known = _original(elf, file, manifest)
    with _progress() as step:
        found = stage.inspect(
            elf, original=original, manifest=known, facts=stage.file_facts(file), listing=functions, step=step
        )
    if as_json:
        show_text(found.to_json())
    else:
        from stemrw.cli._inspected import inspected

        show(inspected(found))
    raise typer.Exit(0 if found.patchable else 1)


def _original(elf: Elf, path: Path, manifest: Path | None) -> tuple[Elf | None, Manifest | None]:
    """Of a hardened file, where its manifest is there: what it was made from."""
    from stemrw.cli._files import open_original
    from stemrw.documents.manifest import manifest_path
    from stemrw.rewrite import find_payload

    if manifest is None and (find_payload(elf) is None or not manifest_path(path).exists()):
        return None, None
    return open_original(path, manifest)


@contextmanager
def _progress() -> Iterator[Step]:
    """A bar on standard error, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading the file", total=None)

        def step(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        yield step
