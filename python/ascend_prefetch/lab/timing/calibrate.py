"""Turns measured points into a chip file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ascend_prefetch import _C
from ascend_prefetch.files import OutputFile, check_outputs, whole_file

from .chips import LEVELS, TimedChip
from .point import Point
from .replays import Replays

RANGES = {"hbm_rate": (0.2, 3.0), "launch_us": (0.0, 20.0)}
"""The constants that may be fitted, with their ranges, in TB/s and us as in
`_C.timing_constants()`."""

# The ratio of neighbouring rates in the first search, and the precision of the second.
_COARSE = 1.25
_FINE = 1.0005
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """Constants for all kernels of a chip, fitted to points.

    Attributes:
        chip: the chip with the fitted constants.
        fitted: nominal values by name, without those that are no better than the chip's own.
        points: number of points.
        mape_before: mean absolute percentage error of the points before the fit; None for a chip
            that was not modelled.
        mape_after: the same after the fit.
    """

    chip: TimedChip
    fitted: Mapping[str, float]
    points: int
    mape_before: float | None
    mape_after: float


def calibrate(
    points: Sequence[Point],
    chip: TimedChip | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Fits the HBM rate, and the launch cost if the points include it, to all points at once.

    A single point cannot tell them apart: of one the rate alone is fitted.

    The mean absolute relative error is minimised, so that a few outliers do not decide; no other
    constant and nothing specific to single points is fitted. For a given HBM rate the best launch
    cost is a weighted median; the rate is searched over RANGES, first in steps of 25 %, then to
    0.05 %. Low and high keep their distance from nominal in the table - as a ratio for the rate, in
    us for the launch - since points that are fitted at nominal tell nothing about it.

    Args:
        points: points of one SoC.
        chip: the chip whose other constants are kept; by default those of the table.
        progress: called with a line for each rate that is tried.

    Raises:
        ValueError: there are no points, or those of several SoCs.
    """
    socs = sorted({point.kernel.soc for point in points})
    if len(socs) != 1:
        raise ValueError(
            f"points: expected one SoC, got {', '.join(socs) or 'none'}; --soc chooses one"
        )
    holds_launch = len(points) > 1 and any(point.holds_launch for point in points)
    names = [*RANGES] if holds_launch else ["hbm_rate"]
    chip = chip or TimedChip(socs[0])
    fit = _Fit(points, chip, "launch_us" in names, progress)
    before = fit.mape_of_chip()
    best = fit.search()
    if before is None or best.mape < before:
        nominal = {"hbm_rate": best.hbm_rate, "launch_us": best.launch_us}
        nominal = {name: nominal[name] for name in names}
        return Calibration(_with(chip, nominal), nominal, len(points), before, best.mape)
    return Calibration(chip, {}, len(points), before, before)


def write_chip_file(calibration: Calibration, path: Path, source: str) -> None:
    """Writes a chip file that find_timed_chip reads; a partial file is never left.

    Args:
        calibration: the result of calibrate.
        path: the chip file; its name ends in .json.
        source: the points file.

    Raises:
        ValueError: the name has another suffix.
        OSError: the file cannot be written.
    """
    check_outputs([OutputFile("out", path, (".json",))])
    constants = calibration.chip.constants
    names = sorted({name for level in LEVELS for name in constants.get(level, {})})
    content = {
        "soc": calibration.chip.soc,
        "constants": {name: {level: constants[level][name] for level in LEVELS} for name in names},
        "calibration": {
            **describe(calibration),
            "fitted": {name: list(RANGES[name]) for name in calibration.fitted},
            "source": source,
        },
    }
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def describe(calibration: Calibration) -> dict[str, Any]:
    """The fitted constants, the points that they were fitted to, and the errors."""
    table = _C.timing_constants()
    fitted = {
        name: {
            **{level: calibration.chip.constants[level][name] for level in LEVELS},
            "unit": table[name]["unit"],
            "range": list(RANGES[name]),
        }
        for name in calibration.fitted
    }
    return {
        "fitted": fitted,
        "points": calibration.points,
        "mape_before": calibration.mape_before,
        "mape_after": calibration.mape_after,
    }


class _Trial(NamedTuple):
    mape: float
    hbm_rate: float
    launch_us: float


class _Fit:
    def __init__(
        self,
        points: Sequence[Point],
        chip: TimedChip,
        fits_launch: bool,
        progress: Callable[[str], None],
    ) -> None:
        self._points = points
        self._chip = chip
        self._fits_launch = fits_launch
        self._progress = progress
        self._replays = Replays(points)
        self._done = 0

    def mape_of_chip(self) -> float | None:
        if not self._chip.modelled:
            return None
        return self._mape([us["nominal"] for us in self._replays.times(self._chip, ["nominal"])])

    def search(self) -> _Trial:
        low, high = RANGES["hbm_rate"]
        steps = math.ceil(math.log(high / low, _COARSE))
        rates = [low * (high / low) ** (step / steps) for step in range(steps + 1)]
        trials = [self._trial(rate) for rate in rates]
        at = min(range(len(trials)), key=lambda index: trials[index].mape)
        low, high = rates[max(at - 1, 0)], rates[min(at + 1, steps)]
        # Golden-section search over the logarithm of the rate.
        inner = [low * (high / low) ** share for share in (1 - _GOLDEN, _GOLDEN)]
        left, right = self._trial(inner[0]), self._trial(inner[1])
        best = min(trials[at], left, right)
        while high / low > _FINE:
            if left.mape <= right.mape:
                high, right = right.hbm_rate, left
                left = self._trial(low * (high / low) ** (1 - _GOLDEN))
            else:
                low, left = left.hbm_rate, right
                right = self._trial(low * (high / low) ** _GOLDEN)
            best = min(best, left, right)
        return best

    def _trial(self, rate: float) -> _Trial:
        """The smallest error at an HBM rate."""
        self._done += 1
        self._progress(f"[{self._done}] hbm_rate {rate:.4f} TB/s")
        constants = {"hbm_rate": rate}
        if self._fits_launch:
            constants["launch_us"] = 0.0
        times = self._replays.times(self._chip, ["nominal"], constants)
        modelled = [us["nominal"] for us in times]
        launch = 0.0
        if self._fits_launch:
            # The launch cost adds to the rest of the time.
            launch = self._best_launch(modelled)
            modelled = [
                us + launch if point.holds_launch else us
                for point, us in zip(self._points, modelled, strict=True)
            ]
        return _Trial(self._mape(modelled), rate, launch)

    def _best_launch(self, modelled: Sequence[float]) -> float:
        """The launch that minimises the sum of |modelled + launch - measured| / measured.

        This is a weighted median.
        """
        low, high = RANGES["launch_us"]
        rest = sorted(
            (point.measured_us - us, 1 / point.measured_us)
            for point, us in zip(self._points, modelled, strict=True)
            if point.holds_launch
        )
        half = sum(weight for _, weight in rest) / 2
        passed = 0.0
        for launch, weight in rest:
            passed += weight
            if passed >= half:
                return min(max(launch, low), high)
        return low

    def _mape(self, modelled: Sequence[float]) -> float:
        errors = [
            abs(us / point.measured_us - 1)
            for point, us in zip(self._points, modelled, strict=True)
        ]
        return 100 * sum(errors) / len(errors)


def _with(chip: TimedChip, nominal: Mapping[str, float]) -> TimedChip:
    """The chip with fitted constants; low and high keep the table's distance from nominal."""
    table = _C.timing_constants()
    constants: dict[str, dict[str, float]] = {}
    for level in LEVELS:
        constants[level] = dict(chip.constants.get(level, {}))
        for name, value in nominal.items():
            entry = table[name]
            if entry["unit"] == "us":
                constants[level][name] = max(0.0, value + entry[level] - entry["nominal"])
            else:
                constants[level][name] = value * entry[level] / entry["nominal"]
    return TimedChip(chip.soc, constants, chip.source)
