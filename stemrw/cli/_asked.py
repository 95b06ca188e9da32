"""What the user asks a file to be hardened against, and the plan that comes of it: for patch, explain and profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemrw.cli._choices import Guard
from stemrw.cli._files import about
from stemrw.cli._together import check_together
from stemrw.errors import UsageError

if TYPE_CHECKING:
    from stemrw.documents.localization import Localization
    from stemrw.documents.manifest import Manifest
    from stemrw.documents.plan import Plan
    from stemrw.documents.rules import AnyRule
    from stemrw.image import Image
    from stemrw.plan import Policy, Wish


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of `_choices`, as they were given."""

    faults: Sequence[Path] = ()
    regions: Sequence[str] = ()
    requirements: Sequence[str] = ()
    frame: int | None = None
    force: bool = False
    by_symbol: bool = False
    return_value: str | None = None
    policy: str = "evidence"
    budgets: Sequence[str] = ()
    profile: Path | None = None
    guard: Guard = Guard.report
    errno: str | None = None
    outputs: Sequence[str] = ()
    escalate: bool = True
    strategy: str | None = None
    resume: str | None = None
    registers: Sequence[str] = ()

    @property
    def names_nothing(self) -> bool:
        """Whether nothing says what to harden against."""
        return not (self.faults or self.regions or self.requirements)

    def given(self) -> set[str]:
        """The options that were given; choices by their value."""
        present = {
            "--fault": self.faults,
            "--region": self.regions,
            "--region A..B": any(".." in region for region in self.regions),
            "--require": self.requirements,
            "--frame": self.frame is not None,
            "--force": self.force,
            "--by-symbol": self.by_symbol,
            "--return": self.return_value is not None,
            f"--policy {self.policy}": self.policy != "evidence",
            "--budget": self.budgets,
            "--profile": self.profile,
            f"--guard {self.guard}": self.guard is not Guard.report,
            "--errno": self.errno is not None,
            "--out": self.outputs,
            "--no-escalate": not self.escalate,
            f"--strategy {self.strategy}": self.strategy is not None,
            "--resume": self.resume is not None,
            "--set": self.registers,
        }
        return {option for option, value in present.items() if value}

    def check(self, file: Path) -> None:
        """Raises UsageError: nothing is named, or these do not go together."""
        if not file.is_file():
            raise UsageError("there is no such file", file=file)
        if self.names_nothing:
            hint = "give --fault REPORT, --require or --region"
            raise UsageError("nothing says what to harden against", file=file, hint=hint)
        check_together(self.given())
        if (self.faults or self.requirements) and len(self.regions) > 1:
            raise UsageError("a fault is rescued in one region", hint="give one --region, or several without --fault")
        if self.frame is not None and len(self.faults) + len(self.requirements) > 1:
            raise UsageError("--frame counts in one report", hint="give exactly one --fault")


def planned(asked: Asked, image: Image, known: Manifest | None) -> tuple[Plan, list[Localization]]:
    """The plan, and the faults that it is made for; `known` is the manifest of a file that is hardened already.

    Raises UsageError for what cannot be read or does not go together, and what the stages raise.
    """
    from stemrw.plan import plan, remembered

    value, policy, budgets = _value(asked.return_value), _policy(asked.policy), _budgets(asked.budgets)
    outputs = _outputs(asked, image)
    regions, strategy = _regions(asked, image)
    localizations = localized(asked, image, regions)
    if asked.profile is not None:
        budgets = [*_learned(asked.profile, image), *budgets]
    return plan(
        localizations,
        image,
        known=remembered(known) if known else (),
        return_value=value,
        policy=policy,
        budgets=budgets,
        outputs=outputs,
        escalate=asked.escalate,
        guard=asked.guard.value,
        strategy=strategy,
    ), localizations


def localized(asked: Asked, image: Image, regions: Sequence[str]) -> list[Localization]:
    """The faults in this file; without reports, the functions that are named."""
    from stemrw.documents.fault_report import load_report
    from stemrw.localize import localize, required

    reports = [*map(load_report, asked.faults), *(required(text, image) for text in asked.requirements)]
    if not reports:
        return [localize(None, image, region=region) for region in regions]
    region = regions[0] if regions else None
    choice: Any = {"region": region, "frame": asked.frame, "force": asked.force, "by_symbol": asked.by_symbol}
    return [localize(report, image, **choice) for report in reports]


def _regions(asked: Asked, image: Image) -> tuple[Sequence[str], tuple[AnyRule, ...] | None]:
    """The regions to look for, and the rules of the strategy, None where it is not said.

    A slice stands for the function that it lies in.
    """
    from stemrw.plan import slice_rules, strategy_rules

    if not any(".." in region for region in asked.regions):
        return asked.regions, strategy_rules(asked.strategy, image) if asked.strategy is not None else None
    if len(asked.regions) > 1 or asked.strategy not in (None, "slice"):
        raise UsageError("a slice is the one region, and its own strategy", hint="give one --region A..B")
    function, rules = slice_rules(asked.regions[0], image, resume=asked.resume, sets=asked.registers)
    return [hex(function)], rules


def _outputs(asked: Asked, image: Image) -> list[AnyRule]:
    from stemrw.plan import asked_errno, asked_out

    found = [asked_out(text) for text in asked.outputs]
    for number, one in enumerate(found):
        for other in found[:number]:
            apart = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
            if one.argument == other.argument and not apart:
                raise UsageError(f"{other.why} and {one.why} write to the same place", hint="give one of them")
    errno = [asked_errno(asked.errno, image)] if asked.errno is not None else []
    return [*found, *errno]


def _budgets(texts: Sequence[str]) -> list[Wish]:
    from stemrw.plan import wish

    found = [wish(text) for text in texts]
    for number, one in enumerate(found):
        for other in found[:number]:
            if (one.region, one.field) == (other.region, other.field):
                raise UsageError(f"{other.why} and {one.why} are about the same", hint="give one of them")
    return found


def _learned(path: Path, image: Image) -> list[Wish]:
    from stemrw.documents.profile import load_profile
    from stemrw.profile import wishes

    with about(path):
        return wishes(load_profile(path), image.sha256)


def _policy(name: str) -> Policy:
    from stemrw.plan import POLICIES

    for policy in POLICIES:
        if name == policy:
            return policy
    raise UsageError(f"there is no policy {name!r}", hint=f"one of {', '.join(POLICIES)}")


def _value(text: str | None) -> int | float | None:
    """A number as the user writes it; what has a decimal point or an exponent is a floating-point number."""
    if text is None:
        return None
    try:
        number = int(text, 0)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"--return {text!r} is no number", hint="such as -1, 0x7f, or 1.5") from None
    if not -(1 << 63) <= number < 1 << 64:
        raise UsageError(f"--return {text} does not fit in 64 bits")
    return number
