#!/usr/bin/env python3
"""The coverage-guided fuzzer of a Python target; scripts/fuzz starts it.

    run.py elf|documents|imports LIBFUZZER-ARGUMENT...

libFuzzer starts this file again by its name where it merges corpora, so the target's name travels in FUZZ_TARGET too.
"""

from __future__ import annotations

import os
import sys

import atheris

if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
    os.environ["FUZZ_TARGET"] = sys.argv.pop(1)
NAME = os.environ["FUZZ_TARGET"]

with atheris.instrument_imports(include=["stemrw"]):
    from fuzz import mutate, targets

    from stemrw.runtime import load_image

_STRUCTURED = 3
"""One mutation of so many is left to libFuzzer; the others know the format."""


def mutated(data: bytes, largest: int, seed: int) -> bytes:
    if seed % _STRUCTURED:
        changed = mutate.MUTATORS[NAME](data, seed)
        if changed is not None and len(changed) <= largest:
            return changed
    return bytes(atheris.Mutate(data, largest))


def main() -> None:
    load_image()
    limits = ["-timeout=10", "-rss_limit_mb=1024", f"-max_len={targets.MAX_BYTES[NAME]}"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], targets.TARGETS[NAME], custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
