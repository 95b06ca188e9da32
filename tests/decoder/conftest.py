"""The decoder under test, built once per session."""

from __future__ import annotations

import pytest
from decoder.native import NativeDecoder, build


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> NativeDecoder:
    """decode() as the runtime's compiler makes it."""
    return build(tmp_path_factory.mktemp("decoder"))
