"""From a fault report to the function of one file in which the fault lies."""

from stemrw.localize._localize import identity, localize
from stemrw.localize._place import place
from stemrw.localize._require import required

__all__ = ["identity", "localize", "place", "required"]
