"""What a byte in L2 is worth to a product, from points whose weights rotate.

No shape was measured both with its weight in L2 and without. But the time of products grows with
the bytes of their weights: by what L2 takes for a byte where all weights of the rotation fit L2,
and by what HBM takes where none of them lasts. The difference of these slopes is what a byte in L2
saves. Slopes are medians over all pairs of points with the same rows (Theil and Sen), since single
points are far off.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import TypedDict

from .point import Point

# Rows of decode steps: with more, products take longer than HBM.
_MAX_ROWS = 128
# MB of a weight, and of all weights of the rotation, that fit L2 (of 192 MiB or more), and that do
# not. Smaller weights are lost in what a launch costs.
_FITS = (8.0, 180.0)
_DOES_NOT_FIT = (120.0, 300.0)
# Pairs with less between them say nothing.
_LEAST_MB = 3.0
# Fewest points of a slope.
_LEAST_POINTS = 10


class WorthOfL2(TypedDict):
    """Time of products by MB of their weights, us/MB, where weights fit L2 and where they do not.

    `saved` is the difference of both; `points` counts those of the two slopes.
    """

    measured_saved: float
    modelled_saved: float
    measured_fit: float
    modelled_fit: float
    measured_beyond: float
    modelled_beyond: float
    points: tuple[int, int]


def worth_of_l2(points: Sequence[Point], modelled_us: Sequence[float]) -> WorthOfL2 | None:
    """Compares the slopes of measured and modelled times; None with too few points for them."""
    fit, beyond = [], []
    for point, us in zip(points, modelled_us, strict=True):
        kernel = point.kernel
        if kernel.copying is not None or kernel.weights < 2 or kernel.m > _MAX_ROWS:
            continue
        if kernel.around_l2 or not point.holds_launch:
            continue
        size = kernel.weight_bytes / 1e6
        row = (kernel.m, size, point.measured_us, us)
        if size >= _FITS[0] and size * kernel.weights <= _FITS[1]:
            fit.append(row)
        elif size <= _DOES_NOT_FIT[0] and size * kernel.weights >= _DOES_NOT_FIT[1]:
            beyond.append(row)
    if min(len(fit), len(beyond)) < _LEAST_POINTS:
        return None
    measured_fit, modelled_fit = _slopes(fit)
    measured_beyond, modelled_beyond = _slopes(beyond)
    return WorthOfL2(
        measured_saved=measured_beyond - measured_fit,
        modelled_saved=modelled_beyond - modelled_fit,
        measured_fit=measured_fit,
        modelled_fit=modelled_fit,
        measured_beyond=measured_beyond,
        modelled_beyond=modelled_beyond,
        points=(len(fit), len(beyond)),
    )


def _slopes(rows: Sequence[tuple[int, float, float, float]]) -> tuple[float, float]:
    """The slopes of measured and of modelled times."""
    pairs = [
        ((b[2] - a[2]) / (b[1] - a[1]), (b[3] - a[3]) / (b[1] - a[1]))
        for a, b in itertools.combinations(rows, 2)
        if a[0] == b[0] and abs(a[1] - b[1]) > _LEAST_MB
    ]
    if not pairs:
        return 0.0, 0.0
    measured, modelled = zip(*pairs, strict=True)
    return statistics.median(measured), statistics.median(modelled)
