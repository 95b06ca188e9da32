"""`stemrw schema`: the JSON Schema of each document."""

from __future__ import annotations

from typing import Annotated

import typer

from stemrw.errors import UsageError

EPILOG = (
    "Example: stemrw schema manifest > manifest.schema.json. "
    "Exit status: 0 printed; 2 an error, such as a name that is not in the list."
)


def _names(incomplete: str) -> list[str]:
    from stemrw.documents.schemas import DOCUMENTS

    return [name for name in DOCUMENTS if name.startswith(incomplete)]


def schema(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The document, such as fault-report.", autocompletion=_names),
    ] = None,
) -> None:
    """Print the JSON Schema of a document; without NAME, list the documents.

    The schema says what stemrw writes. Documents are versioned: a field is never given another meaning.
    """
    from stemrw.cli._tables import Table, show, show_text
    from stemrw.documents import schemas

    if name is None:
        show([Table(("", ""), [(each, schemas.describe(each)) for each in schemas.DOCUMENTS])])
        return
    if name not in schemas.DOCUMENTS:
        raise UsageError(f"there is no document {name!r}", hint=f"one of: {', '.join(schemas.DOCUMENTS)}")
    show_text(schemas.schema(name))
