"""Original and hardened functions side by side in Unicorn.  The import raises ImportError where that is missing."""

from stemrw.verify.emulate._compare import Comparison

__all__ = ["Comparison"]
