"""The subjects, each built once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Tool
from tools.subjects import Subject, build


@pytest.fixture(scope="session")
def subject(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    """Builds a flavour of the program."""
    done: dict[str, Subject] = {}

    def get(flavour: str) -> Subject:
        if flavour not in done:
            done[flavour] = build(flavour, tmp_path_factory.mktemp(flavour), tool)
        return done[flavour]

    return get
