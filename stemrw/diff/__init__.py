"""What hardening did to a file, byte for byte, and whether its manifest accounts for all of it: for reviewers."""

from stemrw.diff._compare import compare

__all__ = ["compare"]
