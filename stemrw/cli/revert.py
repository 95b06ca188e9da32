"""`stemrw revert`: give back the original of a hardened file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stemrw.cli._files import about, read_file

EPILOG = "Example: stemrw revert yasm.hardened -o yasm. Exit status: 0 reverted; 2 an error, nothing was written."


def revert(
    hardened: Annotated[Path, typer.Argument(metavar="HARDENED", help="The hardened file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="Where the original goes. Default: HARDENED.orig"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="Its manifest. Default: HARDENED.manifest.json"),
    ] = None,
) -> None:
    """Give back the original of a hardened file, byte for byte.

    The result is written only if its sha256 is that of the original.
    """
    from stemrw import rewrite
    from stemrw.documents.manifest import load_manifest, manifest_path

    output = output or hardened.with_name(hardened.name + ".orig")
    data, known = read_file(hardened), load_manifest(manifest or manifest_path(hardened))
    with about(hardened):
        original = rewrite.revert(data, known)
    rewrite.write_output([(output, original)], like=hardened)
    print(f"{output}: identical to the original")
