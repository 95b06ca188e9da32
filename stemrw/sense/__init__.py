"""Where fault reports come from: running a command and watching it die."""

from stemrw.sense.sensor import Sensor

__all__ = ["Sensor"]
