"""From localized faults to what is to be changed, with the reasons: which functions, and what they return."""

from stemrw.plan._plan import plan
from stemrw.plan._strategy import strategy_rules

__all__ = ["plan", "strategy_rules"]
