"""From localized faults to what is to be changed, with the reasons: which functions, and what they return."""

from stemrw.plan._outputs import asked_errno, asked_out, errno_rule
from stemrw.plan._plan import plan

__all__ = ["asked_errno", "asked_out", "errno_rule", "plan"]
