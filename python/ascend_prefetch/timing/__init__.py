"""What kernels would take on a device: modelled from traces of the twin, never measured."""

from .chips import LEVELS, TimedChip, find_timed_chip
from .correlate import Correlation, correlate, draw_correlation
from .points import Point, read_points

__all__ = [
    "LEVELS",
    "Correlation",
    "Point",
    "TimedChip",
    "correlate",
    "draw_correlation",
    "find_timed_chip",
    "read_points",
]
