"""What kernels would take on a device: modelled from traces of the twin, never measured."""

from .chips import LEVELS, TimedChip, find_timed_chip
from .correlate import Correlation, correlate
from .point import Copying, Kernel, Point
from .points import COLUMNS, PUBLISHED_POINTS, Points, read_points

__all__ = [
    "COLUMNS",
    "LEVELS",
    "PUBLISHED_POINTS",
    "Copying",
    "Correlation",
    "Kernel",
    "Point",
    "Points",
    "TimedChip",
    "correlate",
    "find_timed_chip",
    "read_points",
]
