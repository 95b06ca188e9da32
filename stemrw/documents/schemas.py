"""JSON Schemas of all documents, by name.  `docs/NAME.schema.json` is what is said here, written out.

A schema describes what stemrw writes: every field is there, and addresses are hexadecimal strings.  What it reads may
be looser: fields with a default may be left out, and addresses may be numbers.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from types import MappingProxyType

from stemrw.documents.base import Document

DOCUMENTS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "fault-report": ("stemrw.documents.fault_report", "FaultReport"),
    "localization": ("stemrw.documents.localization", "Localization"),
    "plan": ("stemrw.documents.plan", "Plan"),
    "manifest": ("stemrw.documents.manifest", "Manifest"),
    "verification": ("stemrw.documents.verification", "Verification"),
    "status": ("stemrw.documents.status", "Status"),
    "explanation": ("stemrw.documents.explanation", "Explanation"),
    "inspection": ("stemrw.documents.inspection", "Inspection"),
    "difference": ("stemrw.documents.difference", "Difference"),
})  # fmt: skip
"""Module and class of each document; imported when it is asked for."""


def schema(name: str) -> str:
    """The JSON Schema of a document as text: same version, same bytes.  Raises KeyError for an unknown name."""
    return json.dumps(_model(name).model_json_schema(by_alias=True, mode="serialization"), indent=1) + "\n"


def describe(name: str) -> str:
    """What a document is, as the first sentence of its module says.  Raises KeyError for an unknown name."""
    text = " ".join((importlib.import_module(DOCUMENTS[name][0]).__doc__ or "").split())
    return text.partition(": ")[2].partition(". ")[0]


def _model(name: str) -> type[Document]:
    module, model = DOCUMENTS[name]
    found: type[Document] = getattr(importlib.import_module(module), model)
    return found
