"""Reads what the runtime counts in a live process, from outside and without stopping it."""

from stemrw.status._reader import read_status

__all__ = ["read_status"]
