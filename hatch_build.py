"""Build hook: compiles the injected runtime into the package, with the compiler that the build requirements pin.

The wheel is for any platform: the image is data to the tool, and runs only inside the programs that are hardened.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RuntimeBuildHook(BuildHookInterface[Any]):
    """Runs runtime/build.py before a wheel (editable ones too) is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        spec = importlib.util.spec_from_file_location("stemrw_runtime_build", root / "runtime" / "build.py")
        if spec is None or spec.loader is None:
            raise RuntimeError("runtime/build.py cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        module.build(root / "stemrw" / "runtime")
        build_data["pure_python"] = True
