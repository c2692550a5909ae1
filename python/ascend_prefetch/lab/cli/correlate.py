"""correlate: compares the timing model with measured points."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.plots import draw_correlation
from ascend_prefetch.lab.timing import (
    PUBLISHED_POINTS,
    Points,
    correlate,
    find_timed_chip,
    read_points,
    what_was_left_out,
)

from .common import OutputOption, Verb, progress


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--points",
        type=Path,
        default=PUBLISHED_POINTS,
        help="points file, or a profile: op_summary_*.csv of msprof, kernel_details.csv of "
        "torch_npu, the .db of either, or the directory that a profiler wrote (PROF_*, "
        "ASCEND_PROFILER_OUTPUT); published measurements without it",
    )
    parser.add_argument(
        "--soc",
        help="SoC name or chip file: of a points file the points of this chip, else all of them; "
        "a profile needs it",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw measured against modelled times"
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    chip = None if options.soc is None else find_timed_chip(options.soc)
    found = read_points(options.points, None if chip is None else chip.soc)
    correlation = correlate(found.points, chip, progress)
    if options.plot is not None:
        draw_correlation(correlation.points, options.plot)
    result = {**asdict(correlation), **left_out(found)}
    if correlation.worth_of_l2 is None:
        del result["worth_of_l2"]
    return result


def _show(result: dict[str, Any]) -> None:
    points = result["points"]
    width = max(5, *(len(point["id"]) for point in points))
    print(f"{'':{width}}  measured  modelled, us")
    print(f"{'point':{width}}        us       low   nominal      high  error %")
    for point in points:
        print(
            f"{point['id']:{width}}  {point['measured_us']:8.1f}  {point['low_us']:8.1f}  "
            f"{point['modelled_us']:8.1f}  {point['high_us']:8.1f}  {point['error_pct']:+7.1f}"
        )
    worst = max(points, key=lambda point: abs(point["error_pct"]))
    print(
        f"{len(points)} points, modelled at nominal: mean absolute error {result['mape']:.1f} %, "
        f"worst {worst['error_pct']:+.1f} % ({worst['id']}), "
        f"{result['within_10pct']:.0%} within 10 %"
    )
    print(
        f"median absolute error {result['median_abs_pct']:.1f} %, "
        f"bias {result['bias_pct']:+.1f} %, {result['inside']:.0%} between low and high"
    )
    print(f"{'regime':26}  points  error %  bias %  inside")
    for regime in result["regimes"]:
        print(
            f"{regime['by']:6}{regime['regime']:20}  {regime['points']:6}  {regime['mape']:7.1f}  "
            f"{regime['bias_pct']:+6.1f}  {regime['inside']:6.0%}"
        )
    if worth := result.get("worth_of_l2"):
        fit, beyond = worth["points"]
        print(
            f"a byte in L2 is worth {worth['measured_saved']:.2f} us/MB measured, "
            f"{worth['modelled_saved']:.2f} modelled ({fit} points whose weights fit L2, "
            f"{beyond} whose weights do not)"
        )
    show_left_out(result)


def left_out(found: Points) -> dict[str, Any]:
    """Keys of a result about the lines of a profile that are no points; empty if there are none."""
    keys: dict[str, Any] = {}
    if found.skipped:
        keys["skipped"] = dict(found.skipped)
    if found.damaged:
        keys["damaged"] = {str(number): why for number, why in found.damaged.items()}
    return keys


def show_left_out(result: dict[str, Any]) -> None:
    """Prints the keys that left_out makes."""
    damaged = {int(number): why for number, why in result.get("damaged", {}).items()}
    for line in what_was_left_out(result.get("skipped", {}), damaged):
        print(line)


VERB = Verb(
    "correlate",
    "hold the timing model against measurements",
    _run,
    _show,
    _add_arguments,
    description="Models the kernel of every measured point from a dry run of the twin, at low, "
    "nominal and high constants, and prints how far that is from the measurement, all in us. A "
    "points file has the columns of the published measurements (measured.csv in the package); of "
    "a profile every matrix product that the model's kernel takes becomes a point.",
    outputs=(OutputOption("plot", (".png",)),),
    inputs=("points",),
)
