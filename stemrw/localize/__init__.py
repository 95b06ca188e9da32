"""From a fault report to the function of one file in which the fault lies."""

from stemrw.localize._localize import identity, localize

__all__ = ["identity", "localize"]
