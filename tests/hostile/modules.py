"""What `stemrw run` asks of every module of a crashed process, asked of any file."""

from __future__ import annotations

import os
import sys

from stemrw.errors import StemrwError


def ask(paths: list[str]) -> int:
    """Read files as modules, one after the other; those that are none are passed over as `run` does. Gives 0."""
    from stemrw.sense.module import Module

    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            module = Module(path, descriptor)
        except (StemrwError, ValueError, OSError):
            continue
        finally:
            print(path, file=sys.stderr)
        low, high = module.extent
        addresses = [0, low, low + 0x1000, (low + high) // 2, high - 1, high, 1 << 63, (1 << 64) - 1]
        for offset in (0, 0x1000, 1 << 40):
            address = module.code_address(offset)
            module.bias(0x7F0000000000, offset)
            addresses += [] if address is None else [address]
        for address in addresses:
            module.function(address)
            module.read(address, 64)
        assert isinstance(module.sha256, str) and isinstance(module.can_unwind, bool)
        assert module.build_id is None or int(module.build_id, 16) >= 0
        os.close(descriptor)
    return 0
