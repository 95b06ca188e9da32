"""Learns from a good workload what the regions of a file use, so that budgets can be set by it.

A copy that is hardened with budgets of any amount is run in the file's place.  The runtime then counts, and keeps the
highest of each region in its state; that is read when a process is about to end, while its memory is still there.
"""

from stemrw.profile._profile import measure, wishes

__all__ = ["measure", "wishes"]
