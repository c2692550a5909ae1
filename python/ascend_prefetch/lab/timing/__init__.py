"""Times of kernels on a device: modelled from traces of the twin, never measured."""

from .calibrate import Calibration, calibrate, describe, write_chip_file
from .chips import LEVELS, TimedChip, find_timed_chip
from .correlate import Correlation, Regime, correlate
from .point import Copying, Point, PointKernel
from .points import COLUMNS, PUBLISHED_POINTS, Points, read_points, what_was_left_out

__all__ = [
    "COLUMNS",
    "LEVELS",
    "PUBLISHED_POINTS",
    "Calibration",
    "Copying",
    "Correlation",
    "Point",
    "PointKernel",
    "Points",
    "Regime",
    "TimedChip",
    "calibrate",
    "correlate",
    "describe",
    "find_timed_chip",
    "read_points",
    "what_was_left_out",
    "write_chip_file",
]
