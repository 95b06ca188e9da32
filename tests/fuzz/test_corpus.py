"""What the fuzzers found, once more: every input of their corpora, without the fuzzers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from decoder import branches, oracle
from decoder.conftest import native as native
from decoder.native import DECODE, NativeDecoder
from fuzz import corpus, targets

LARGEST = 1 << 20
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CODE_BYTES = 16


def test_corpora_are_small() -> None:
    assert sum(path.stat().st_size for path in corpus.FOLDER.iterdir()) <= LARGEST


@pytest.mark.parametrize("name", targets.TARGETS)
def test_python_target(name: str) -> None:
    inputs = corpus.read(name)
    assert len(inputs) >= 40
    for data in inputs:
        targets.TARGETS[name](data)


def test_decoder_holds_its_promises(tmp_path: Path) -> None:
    """With sanitizers: a byte read beyond the available ones ends the program."""
    program, source = tmp_path / "replay", Path(corpus.__file__).with_name("decoder.c")
    flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-DREPLAY", *SANITIZERS, f"-I{DECODE}"]
    subprocess.run(["gcc", *flags, "-o", program, DECODE / "decode.c", source], check=True)
    inputs = corpus.read("decoder")
    text = "".join(f"{data.hex()}\n" for data in inputs)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(inputs) >= 200


def test_decoder_agrees_with_others_on_the_corpus(native: NativeDecoder) -> None:
    """With iced-x86 on every field, with capstone on lengths and branches."""
    iced, capstone = oracle.Comparison(), branches.Comparison()
    for bits in (64, 32):
        codes = [data[1:][:CODE_BYTES].ljust(CODE_BYTES, b"\x90") for data in corpus.read("decoder")]
        iced.strings(native, b"".join(codes), bits)
        for code in codes:
            record = native.one(code, branches.ADDRESS, bits)
            if record is not None:
                capstone.check(code, bits, record)
    assert iced.compared >= 400 and not iced.differences, "\n".join(iced.differences[:20])
    assert capstone.compared >= 200 and not capstone.differences, "\n".join(capstone.differences[:20])
