"""A plan, or the manifest of one that was carried out, as an explanation."""

from __future__ import annotations

from collections.abc import Sequence

from stemrw.documents.explanation import ExplainedFault, Explanation
from stemrw.documents.localization import Localization
from stemrw.documents.manifest import Manifest
from stemrw.documents.plan import Plan
from stemrw.text import unicode


def explain(plan: Plan, localizations: Sequence[Localization], known: Manifest | None = None) -> Explanation:
    """Why a plan is as it is, and what the faults are that it was made for; `known` is what the file has already."""
    faults = (
        ExplainedFault(
            fault_class=each.fault_class,
            address=each.fault_pc,
            frames=sum(frame.index >= 0 for frame in each.frames),
            located=each.evidence,
        )
        for each in localizations
    )
    return Explanation(
        path=unicode(plan.binary.path),
        sha256=plan.binary.sha256,
        hardened=False,
        present=tuple(region.address for region in known.regions) if known is not None else (),
        faults=tuple(faults),
        regions=plan.regions,
        rules=plan.rules,
    )


def explain_manifest(manifest: Manifest, path: str) -> Explanation:
    """Why the file at `path` was hardened as its manifest says."""
    return Explanation(
        path=unicode(path),
        sha256=manifest.input.sha256,
        hardened=True,
        present=tuple(region.address for region in manifest.regions),
        regions=manifest.regions,
        rules=manifest.rules,
    )
