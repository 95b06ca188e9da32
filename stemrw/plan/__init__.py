"""From localized faults to what is to be changed, with the reasons: which functions, and what they return."""

from stemrw.plan._budget import Wish, wish
from stemrw.plan._choose import POLICIES, Policy
from stemrw.plan._explain import explain, explain_manifest
from stemrw.plan._outputs import asked_errno, asked_out, errno_rule
from stemrw.plan._plan import plan
from stemrw.plan._regions import file_rules, remembered, without
from stemrw.plan._slice import slice_rules
from stemrw.plan._strategy import strategy_rules

__all__ = [
    "POLICIES",
    "Policy",
    "Wish",
    "asked_errno",
    "asked_out",
    "errno_rule",
    "explain",
    "explain_manifest",
    "file_rules",
    "plan",
    "remembered",
    "slice_rules",
    "strategy_rules",
    "wish",
    "without",
]
