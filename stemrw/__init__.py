"""stemrw: makes crashed executables survive the crash, without source."""

__version__ = "0.1.0"
