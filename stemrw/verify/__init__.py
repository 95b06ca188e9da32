"""Proves, as far as can be, that a hardened file is what its manifest says, survives its crash and else does as before.

`verify` is the stage: two files and a manifest in, a Verification out.  What runs commands needs Linux on x86-64; the
structure and the emulation do not.
"""

from stemrw.verify._place import Placed, place
from stemrw.verify._structure import structure_checks
from stemrw.verify._subject import Subject
from stemrw.verify._verify import Wishes, verify

__all__ = ["Placed", "Subject", "Wishes", "place", "structure_checks", "verify"]
