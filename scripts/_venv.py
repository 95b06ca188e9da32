"""Where the checkout is, and how a script gets into its virtual environment; standard library only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PYTHON = ROOT / ".venv" / "bin" / "python"


def enter() -> None:
    """Continue in the checkout's .venv, if there is one and no other environment with the tool is active."""
    beside = Path(sys.executable).parent / "stemrw"
    if not beside.exists() and _PYTHON.exists() and "STEMRW_IN_VENV" not in os.environ:
        os.environ["STEMRW_IN_VENV"] = "1"
        os.execv(_PYTHON, [str(_PYTHON), *sys.argv])
    for folder in ("tests", "tests/cases", "tests/programs", "samples"):
        sys.path.insert(0, str(ROOT / folder))
