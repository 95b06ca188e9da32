"""What is checked, one function per `Check`.

The strongest is to harden the original again, with the regions that the manifest names: the same runtime must give the
same file, so nothing is in it that this tool does not put there.  The others say what was done, and hold where the file
was made by another version.
"""

from __future__ import annotations

from collections.abc import Sequence

from stemrw import __version__
from stemrw.diff._ranges import differing
from stemrw.documents.difference import ChangedRange, Check, FileFacts, Outcome, Verdict
from stemrw.documents.localization import BinaryIdentity
from stemrw.documents.manifest import Manifest
from stemrw.documents.plan import Plan
from stemrw.elf import Elf
from stemrw.errors import StemrwError
from stemrw.rewrite import rewrite
from stemrw.runtime import RuntimeImage
from stemrw.verify import Subject, structure_checks


def verdict(checks: Sequence[Check]) -> Verdict:
    """What the checks come to."""
    if any(check.outcome == "failed" for check in checks):
        return "unaccounted"
    rebuilt = any(check.name == "rebuilt" and check.outcome == "ok" for check in checks)
    return "accounted" if rebuilt else "accounted-not-rebuilt"


def check_manifest(hardened: FileFacts, manifest: Manifest | None) -> Check:
    if manifest is None:
        return Check(name="manifest", outcome="failed", text="there is no manifest: nothing accounts for the changes")
    if hardened.sha256 == manifest.output.sha256:
        return Check(name="manifest", outcome="ok", text="the hardened file has the sha256 that its manifest names")
    text = f"the manifest is about a hardened file with sha256 {manifest.output.sha256}"
    return Check(name="manifest", outcome="failed", text=text)


def check_original(original: FileFacts, manifest: Manifest | None) -> Check:
    if manifest is None:
        return Check(name="original", outcome="skipped", text="without a manifest nothing says what the original was")
    if original.sha256 == manifest.input.sha256:
        return Check(name="original", outcome="ok", text="the original has the sha256 that the manifest names")
    text = f"the manifest is about an original with sha256 {manifest.input.sha256}"
    return Check(name="original", outcome="failed", text=text)


def check_bytes(original: Elf, hardened: Elf, changes: Sequence[ChangedRange], identical: int) -> Check:
    if len(hardened.data) < len(original.data):
        return Check(name="bytes", outcome="failed", text="the hardened file is shorter than the original")
    lost = [change for change in changes if not change.accounted]
    if lost:
        where = ", ".join(f"{change.offset:#x}" for change in lost[:3]) + (" and more" if len(lost) > 3 else "")
        text = f"{sum(c.size for c in lost)} bytes that differ are not accounted for, at file offset {where}"
        return Check(name="bytes", outcome="failed", text=text)
    size, others = len(original.data), len(original.data) - identical
    text = f"all {size:,} bytes were compared: {identical:,} are identical, the manifest names the {others:,} others"
    return Check(name="bytes", outcome="ok", text=text)


def check_structure(original: Elf, hardened: Elf, manifest: Manifest, image: RuntimeImage) -> Check:
    if manifest.runtime.abi != image.constants["ABI_VERSION"]:
        text = f"its runtime has layout {manifest.runtime.abi}, which this stemrw does not read"
        return Check(name="structure", outcome="skipped", text=text)
    checks = list(structure_checks(Subject(original, hardened, manifest, image)))
    failed = [check for check in checks if check.outcome == "failed"]
    if failed:
        return Check(name="structure", outcome="failed", text=f"{failed[0].name}: {failed[0].details[0]}")
    names = ", ".join(check.name for check in checks if check.outcome == "passed")
    return Check(name="structure", outcome="ok", text=f"as the manifest says: {names}")


def check_rebuilt(original: Elf, hardened: Elf, manifest: Manifest, image: RuntimeImage) -> Check:
    def check(outcome: Outcome, text: str) -> Check:
        return Check(name="rebuilt", outcome=outcome, text=text)

    if (manifest.tool_version, manifest.runtime.sha256) != (__version__, image.sha256):
        made = f"stemrw {manifest.tool_version} with runtime {manifest.runtime.sha256[:12]}…"
        return check("skipped", f"it was made by {made}, which is not installed here: the appended part is not checked")
    identity = BinaryIdentity(path=str(original.path), sha256=manifest.input.sha256, build_id=manifest.input.build_id)
    try:
        plan = Plan(binary=identity, regions=manifest.regions, rules=manifest.rules)
        done = rewrite(original, plan, events_path=manifest.events, image=image)
    except (StemrwError, ValueError) as error:
        return check("failed", f"hardening the original again fails: {error}".splitlines()[0])
    again = bytes(done.content)
    if again != bytes(hardened.data):
        both = memoryview(again), memoryview(hardened.data)
        first = next(differing(*both), range(min(map(len, both)), 0))
        return check("failed", f"hardening the original again gives another file, from offset {first.start:#x} on")
    other = [name for name in type(manifest).model_fields if getattr(done.manifest, name) != getattr(manifest, name)]
    if other:
        return check(
            "failed", f"hardening the original again gives this file, but another manifest: {', '.join(other)}"
        )
    return check("ok", "hardening the original again, with these regions, gives the same file bit for bit")
