"""Documents as text for people: plain lines, the same on a terminal and in a pipe but for colour."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stemrw.documents.evidence import ReturnKind
from stemrw.documents.manifest import Manifest, manifest_path
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule
from stemrw.text import counted, printable


def summary(manifest: Manifest, output: Path) -> str:
    """What was written, and for each region what it is, why it was chosen and what it returns."""
    lines = [Text.assemble((printable(str(output)), "bold"), f": {_added(manifest)}")]
    for region in chosen_first(manifest.regions):
        lines.append(Text.assemble("  region ", (region_name(region), "cyan"), f", {region.size} bytes"))
        lines += [Text(f"    {printable(why)}") for why in region.why]
        lines.append(Text.assemble("    a rescue returns ", (returned_value(region), "green"), _because(region)))
        lines += [
            Text(f"    {rule.kind}: {printable(rule.why)}")
            for rule in region.rules
            if rule.why and rule.why not in region.why
        ]
    if manifest.rules:
        lines.append(Text("  whole file"))
        lines += [Text(f"    {rule.kind}: {printable(rule.why)}") for rule in manifest.rules if rule.why]
    if manifest.unobserved:
        names = ", ".join(map(printable, manifest.unobserved))
        lines.append(Text(f"  not seen by the runtime: {names}"))
    lines.append(Text(f"manifest: {printable(str(manifest_path(output)))}"))
    return _as_text(lines)


def chosen_first(regions: Sequence[PlannedRegion]) -> list[PlannedRegion]:
    """Those in which faults are meant to be rescued, then the safety nets, from the inside out."""
    order = {point.address: i for region in regions for i, point in enumerate(region.considered)}

    def key(region: PlannedRegion) -> tuple[bool, int]:
        is_net = bool(region.serves) and region.address not in region.serves
        return is_net, order.get(region.address, len(order)) if is_net else 0

    return sorted(regions, key=key)


def rule_text(rule: AnyRule) -> str:
    """A rule and its figures."""
    fields = rule.model_dump(mode="json", exclude={"kind", "why"}, exclude_none=True)
    said = ", ".join(f"{name} {value}" for name, value in fields.items())
    return f"rule {rule.kind}" + (f": {said}" if said else "")


def _added(manifest: Manifest) -> str:
    added = manifest.output.size - manifest.input.size
    return f"{counted(len(manifest.regions), 'region')}, {added:,} bytes added"


def region_name(region: PlannedRegion) -> str:
    """Symbol and address, or the address alone."""
    return f"{printable(region.symbol)} at {region.address:#x}" if region.symbol else f"{region.address:#x}"


def returned_value(region: PlannedRegion) -> str:
    """What a rescue returns, as a person writes it."""
    return value_text(region.return_kind, region.return_value)


def value_text(kind: ReturnKind, value: int) -> str:
    """A 64-bit pattern as a result of a kind."""
    if kind == "void":
        return "nothing"
    if kind == "double":
        return f"{struct.unpack('<d', struct.pack('<Q', value))[0]}"
    return str(value - (1 << 64) if value >> 63 else value)


def pattern_text(value: int) -> str:
    """A 64-bit pattern of unknown kind: small numbers with their sign, others in hexadecimal."""
    signed = value - (1 << 64) if value >> 63 else value
    return str(signed) if abs(signed) < 1 << 16 else f"{value:#x}"


def _because(region: PlannedRegion) -> str:
    return f": {printable('; '.join(region.return_evidence))}" if region.return_evidence else ""


def _as_text(lines: list[Text]) -> str:
    """The lines unwrapped; with colour codes only where standard output is a terminal that wants them."""
    colour = Console(file=sys.stdout).color_system
    buffer = io.StringIO()
    console = Console(
        file=buffer, force_terminal=colour is not None, color_system="standard" if colour else None, soft_wrap=True
    )
    for line in lines:
        console.print(line, highlight=False, markup=False)
    return buffer.getvalue()
