"""The table of rules: what the manifest tells is there, and every damage to it is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import Tool, manifest_path
from verify.conftest import Hardened, check_named, failed

from stemrw.runtime import load_image

DASH = Path("/usr/bin/dash")
SIZE = load_image().structs["rule"].size


@pytest.fixture(scope="module")
def hardened(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    """Two regions with rules, and rules of the whole file."""
    path = tmp_path_factory.mktemp("rules") / "dash.hardened"
    options = ["--out", "0:8=-1", "--errno", "EIO", "--budget", "5s", "--budget", "64MiB", "--strategy", "oblivious"]
    tool.patch(DASH, path, "--region", "0x4d30", *options, "--guard", "heap")
    tool.patch(path, path, "--require", "0x5140: rdi != 0x123456789abc and u64[rsp] != 7", "--guard", "stack")
    return Hardened(DASH, path)


def _table(hardened: Hardened) -> tuple[int, int]:
    """File offset of the table, and the number of rules."""
    image, raw = load_image(), hardened.path.read_bytes()
    header = image.structs["payload_header"].unpack(raw, hardened.manifest.payload.offset)
    table, count = (int.from_bytes(header[name], "little") for name in ("rule_table", "rule_count"))
    return hardened.manifest.payload.offset + table, count


def test_every_kind_passes(hardened: Hardened) -> None:
    known = hardened.manifest
    kinds = {rule.kind for region in known.regions for rule in region.rules} | {rule.kind for rule in known.rules}
    assert kinds == {"budget", "escalate", "guard-access", "guard-site", "predicate", "set-errno", "set-out", "stack",
                     "strategy"}  # fmt: skip
    assert failed(hardened.verify()) == set()


@pytest.mark.parametrize("field", ["kind", "patch", "address", "end", "value"])
def test_every_field_of_every_rule(hardened: Hardened, tmp_path: Path, field: str) -> None:
    """But for the words of predicates and of `stack`, which follow from the file."""
    table, count = _table(hardened)
    image = load_image()
    at = image.structs["rule"].fields[field][0]
    raw = hardened.path.read_bytes()
    own = {image.constants["RULE_PREDICATE"], image.constants["RULE_STACK"]}
    damaged = 0
    for number in range(count):
        kind = int.from_bytes(raw[table + SIZE * number :][:4], "little")
        if field == "value" and kind in own:
            continue
        where = table + SIZE * number + at
        copy = hardened.damaged(tmp_path, where, bytes([raw[where] ^ 0x40]))
        assert "rules" in failed(copy.verify()), (number, kind, field)
        damaged += 1
    assert damaged >= 8


def test_a_rule_less_or_more(hardened: Hardened, tmp_path: Path) -> None:
    _, count = _table(hardened)
    at = hardened.payload_field("payload_header", "rule_count")
    for number in (0, count - 1, count + 1, 1 << 31):
        copy = hardened.damaged(tmp_path, at, number.to_bytes(4, "little"))
        assert "rules" in failed(copy.verify()), number


def test_a_manifest_that_tells_of_another_rule(hardened: Hardened, tmp_path: Path) -> None:
    copy = hardened.damaged(tmp_path, 8, b"\1")
    manifest = json.loads(manifest_path(copy.path).read_text())
    rules = next(region["rules"] for region in manifest["regions"] if region["address"] == "0x4d30")
    next(rule for rule in rules if rule["kind"] == "set-errno")["value"] = 6
    manifest_path(copy.path).write_text(json.dumps(manifest))
    assert "not in the table" in " ".join(check_named(copy.verify(), "rules").details)
