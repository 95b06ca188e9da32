"""The manifest is what its published schema and its description say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rewrite.conftest import PLAIN, ROOT, plan_for
from rewrite.flavours import Built, Cell

from stemrw.documents.manifest import Manifest, load_manifest
from stemrw.rewrite import rewrite
from stemrw.runtime import RuntimeImage


def test_published_schema_is_current() -> None:
    published = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    assert published == Manifest.model_json_schema(by_alias=True, mode="serialization")


def test_every_field_is_described() -> None:
    text = (ROOT / "docs" / "manifest.md").read_text()
    schema = Manifest.model_json_schema(by_alias=True, mode="serialization")
    top = set(schema["properties"])
    parts = [set(schema["$defs"][name]["properties"]) for name in ("PlannedRegion", "Patch", "Change")]
    assert all(f"`{field}`" in text for field in top.union(*parts) - {"name"})


def test_round_trip_and_content(built: Callable[[Cell], Built], null_image: RuntimeImage, tmp_path: Path) -> None:
    program = built(PLAIN)
    data = program.program.read_bytes()
    done = rewrite(data, plan_for(data, [program.functions["main"]]), events_path="/tmp/e", image=null_image)
    file = tmp_path / "manifest.json"
    file.write_text(done.manifest.to_json())
    assert load_manifest(file) == done.manifest
    written = json.loads(file.read_text())
    assert written["schema"] == "stemrw.manifest" and written["version"] == 1
    assert written["regions"][0]["address"] == hex(program.functions["main"][0])
    assert written["input"]["build_id"] and written["runtime"]["sha256"] == null_image.sha256
    ends = [(c["offset"], c["offset"] + len(c["original"]) // 2) for c in written["changes"]]
    assert all(a[1] <= b[0] for a, b in zip(ends, ends[1:], strict=False)) and ends[-1][1] <= len(data)
    assert str(tmp_path) not in file.read_text() and str(program.program) not in file.read_text()


def test_header_of_the_payload(built: Callable[[Cell], Built], null_image: RuntimeImage) -> None:
    """What the runtime reads first: plan hash, table of patches sorted by address, original bytes."""
    program = built(PLAIN)
    data = program.program.read_bytes()
    plan = plan_for(data, list(program.functions.values()))
    done = rewrite(data, plan, events_path="/tmp/e", image=null_image)
    payload = done.data[done.manifest.payload.offset :]
    header = {k: int.from_bytes(v, "little") for k, v in null_image.structs["payload_header"].unpack(payload).items()}
    assert header["plan_hash"].to_bytes(32, "little") == plan.digest()
    assert header["header_address"] == done.manifest.payload.address
    assert header["state_size"] == null_image.state_size(len(done.manifest.patches))
    assert payload[header["events_path"] :].startswith(b"/tmp/e\0")
    record = null_image.structs["patch"]
    addresses = []
    for i, patch in enumerate(done.manifest.patches):
        fields = record.unpack(payload, header["patch_table"] + record.size * i)
        addresses.append(int.from_bytes(fields["address"], "little"))
        assert addresses[-1] == patch.address
        offset = next(c.offset for c in done.manifest.changes if c.address == patch.address)
        assert fields["original"][: patch.length] == data[offset : offset + patch.length]
        assert done.data[offset] == 0xE9
    assert addresses == sorted(addresses)
    shape = program.functions["shape_endbr"][0]
    assert any(p.function == shape and p.address == shape + 4 for p in done.manifest.patches)
