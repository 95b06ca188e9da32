"""The corpora that fuzzers made and minimised, as they are kept: one file each, the same bytes for the same inputs.

decoder.txt holds one input per line, hexadecimal; the others are archives.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")


def read(name: str) -> list[bytes]:
    """All inputs of a fuzzer, in order."""
    if name == "decoder":
        return [bytes.fromhex(line) for line in (FOLDER / "decoder.txt").read_text().splitlines()]
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as archive:
        return [archive.read(entry) for entry in archive.namelist()]


def unpack(name: str, folder: Path) -> None:
    """As libFuzzer wants it: one file per input."""
    folder.mkdir(parents=True)
    for data in read(name):
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def pack(name: str, folder: Path) -> None:
    """Keep the inputs of a folder."""
    inputs = sorted({path.read_bytes() for path in folder.iterdir()}, key=lambda data: (len(data), data))
    FOLDER.mkdir(exist_ok=True)
    if name == "decoder":
        (FOLDER / "decoder.txt").write_text("".join(f"{data.hex()}\n" for data in inputs if data))
        return
    with zipfile.ZipFile(FOLDER / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, data in enumerate(inputs):
            archive.writestr(zipfile.ZipInfo(f"{number:04}"), data, zipfile.ZIP_DEFLATED)
