"""An `Explanation` for people, as a tree."""

from __future__ import annotations

from stemrw.cli._render import chosen_first, region_name, returned_value, rule_text, value_text
from stemrw.cli._tree import Node
from stemrw.documents.evidence import RescuePoint
from stemrw.documents.explanation import Explanation
from stemrw.documents.plan import PlannedRegion
from stemrw.documents.rules import AnyRule
from stemrw.text import counted

_VERDICTS = {"chosen": "bold green", "net": "cyan", "rejected": ""}


def explained(explanation: Explanation) -> Node:
    """Everything: the faults, then each region with the places, values and rules that were considered."""
    done = "was hardened" if explanation.hardened else "would be hardened"
    old = 0 if explanation.hardened else sum(region.address in explanation.present for region in explanation.regions)
    has = f", {old} of which it has already" if old else ""
    root = Node(f"{explanation.path}: {done} with {counted(len(explanation.regions), 'region')}{has}", "bold")
    for fault in explanation.faults:
        at = f" at {fault.address:#x}" if fault.address is not None else ""
        node = root.add(f"fault: {fault.fault_class or 'any class'}{at}, {counted(fault.frames, 'frame')} in this file")
        for line in fault.located:
            node.add(line)
    for region in chosen_first(explanation.regions):
        _region(root, region)
    whole = root.add("whole file", "bold cyan") if explanation.rules else root
    for rule in explanation.rules:
        _rule(whole, rule)
    return root


def _region(root: Node, region: PlannedRegion) -> None:
    node = root.add(f"region {region_name(region)} returns {returned_value(region)}", "bold cyan")
    why = node.add("why this function")
    for line in region.why:
        why.add(line)
    if len(region.considered) > 1:
        places = node.add("places to return from, from the fault outwards")
        for point in region.considered:
            _point(places, point)
    if region.candidates:
        values = node.add("values to return, the best first")
        for candidate in region.candidates:
            text = value_text(candidate.kind, candidate.value)
            style = "green" if (candidate.kind, candidate.value) == (region.return_kind, region.return_value) else ""
            each = values.add(f"{text}: {counted(candidate.score, 'point')}", style)
            for line in candidate.evidence:
                each.add(line)
    for rule in region.rules:
        _rule(node, rule)


def _point(places: Node, point: RescuePoint) -> None:
    name = f"{point.symbol} at {point.address:#x}" if point.symbol else f"{point.address:#x}"
    frame = f", frame {point.frame}" if point.frame >= 0 else ""
    score = f", {counted(point.score, 'point')}" if point.score is not None else ""
    verdict = "safety net" if point.verdict == "net" else point.verdict
    node = places.add(f"{name}{frame}: {verdict}{score}", _VERDICTS[point.verdict])
    for line in point.reasons:
        node.add(line)


def _rule(node: Node, rule: AnyRule) -> None:
    each = node.add(rule_text(rule))
    if rule.why:
        each.add(rule.why)
