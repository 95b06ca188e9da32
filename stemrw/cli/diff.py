"""`stemrw diff`: what was changed in a hardened file, and whether its manifest accounts for all of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemrw.errors import UsageError
from stemrw.text import printable, unicode

if TYPE_CHECKING:
    from stemrw.documents.difference import Check, Difference, FileFacts
    from stemrw.documents.manifest import Manifest
    from stemrw.elf import Elf

EPILOG = (
    "Examples: stemrw diff yasm.hardened, or, with the original at hand, stemrw diff /usr/bin/yasm yasm.hardened "
    "--html review.html. Exit status: 0 shown, and the manifest accounts for every difference; 1 shown, and it does "
    "not; 2 an error."
)


def diff(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="[ORIGINAL] HARDENED", help="Without ORIGINAL it is restored by the manifest."),
    ],
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its manifest. Default: HARDENED.manifest.json")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as one self-contained page, for a review.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON (docs/diff.md).")] = False,
) -> None:
    """Show what hardening changed in a file, and whether it can be signed off.

    Every byte of the two files is compared; regions, evidence, changed ranges, code before and after, headers and the
    appended part are shown. The original is hardened again in memory: the result has to be this very file.
    """
    from stemrw import diff as stage
    from stemrw.cli._tables import progress, show, show_text
    from stemrw.elf import Elf

    if len(files) > 2:
        raise UsageError("one or two files are compared", hint="stemrw diff [ORIGINAL] HARDENED")
    with progress(f"reading {files[-1]}") as say:
        hardened = Elf.open(files[-1])
        known = _manifest(files[-1], manifest, needed=len(files) == 1)
        original = Elf.open(files[0]) if len(files) == 2 else _restored(hardened, known, files[-1])
        difference = stage.compare(original, hardened, known, step=say)
    difference = _with_attributes(difference, files)
    if html is not None:
        _write_page(html, difference)
    if as_json:
        show_text(difference.to_json())
    elif html is None:
        from stemrw.cli._review import review

        show(review(difference))
    else:
        show_text(_answer(difference, html))
    raise typer.Exit(0 if difference.accounted else 1)


def _manifest(hardened: Path, path: Path | None, *, needed: bool) -> Manifest | None:
    """None where both files are given and there is no manifest: the differences are shown all the same."""
    from stemrw.documents.manifest import load_manifest, manifest_path

    default = manifest_path(hardened)
    if path is None and not needed and not default.exists():
        return None
    return load_manifest(path or default)


def _restored(hardened: Elf, known: Manifest | None, path: Path) -> Elf:
    from stemrw.cli._files import about
    from stemrw.elf import Elf
    from stemrw.rewrite import restore

    assert known is not None  # it is needed where there is one file
    with about(path):
        return Elf(bytes(restore(hardened.data, known)))


def _with_attributes(difference: Difference, files: list[Path]) -> Difference:
    """The difference with names, modes, owners and extended attributes of the files."""
    hardened = _attributes(difference.hardened, files[-1])
    original = _attributes(difference.original, files[0]) if len(files) == 2 else difference.original
    checks = (*difference.checks, _compared(original, hardened)) if len(files) == 2 else difference.checks
    return difference.model_copy(update={"original": original, "hardened": hardened, "checks": checks})


def _attributes(facts: FileFacts, path: Path) -> FileFacts:
    try:
        status = path.stat()
        names = tuple(sorted(map(unicode, os.listxattr(path)))) if hasattr(os, "listxattr") else ()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", file=path) from None
    mode, owner = f"{stat.S_IMODE(status.st_mode):04o}", f"{status.st_uid}:{status.st_gid}"
    return facts.model_copy(update={"path": unicode(str(path)), "mode": mode, "owner": owner, "attributes": names})


def _compared(original: FileFacts, hardened: FileFacts) -> Check:
    from stemrw.documents.difference import Check

    names = {"mode": "the mode", "owner": "the owner", "attributes": "the extended attributes"}
    other = [text for name, text in names.items() if getattr(original, name) != getattr(hardened, name)]
    if other:
        return Check(name="attributes", outcome="differs", text=f"{' and '.join(other)} differ, see below")
    return Check(name="attributes", outcome="ok", text="mode, owner and names of extended attributes are the same")


def _write_page(path: Path, difference: Difference) -> None:
    from stemrw.cli._page import page
    from stemrw.rewrite import write_output

    write_output([(path, page(difference).encode())])


def _answer(difference: Difference, page: Path) -> str:
    from stemrw.cli._review import ANSWERS

    return f"{': '.join(ANSWERS[difference.verdict])}; written to {printable(str(page))}\n"
