"""calibrate: makes a chip file from measured points."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.timing import (
    calibrate,
    describe,
    find_timed_chip,
    read_points,
    write_chip_file,
)

from .common import OutputOption, Verb, progress
from .correlate import left_out, show_left_out


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--points",
        type=Path,
        required=True,
        help="points file or profile as for correlate, of one chip",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="the chip file to write"
    )
    parser.add_argument(
        "--soc",
        help="SoC name, or chip file whose other constants are kept: of a points file the points "
        "of this chip are taken; a profile needs it",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    chip = None if options.soc is None else find_timed_chip(options.soc)
    found = read_points(options.points, None if chip is None else chip.soc)
    calibration = calibrate(found.points, chip, progress)
    write_chip_file(calibration, options.out, options.points.resolve().name)
    return {
        "out": str(options.out),
        "soc": calibration.chip.soc,
        **describe(calibration),
        **left_out(found),
    }


def _show(result: dict[str, Any]) -> None:
    for name, values in result["fitted"].items():
        low, high = values["range"]
        print(
            f"{name}: {values['nominal']:.3f} {values['unit']} "
            f"(low {values['low']:.3f}, high {values['high']:.3f}), "
            f"fitted between {low:g} and {high:g}"
        )
    if not result["fitted"]:
        print("nothing fitted: the chip's own constants are closest")
    before = result["mape_before"]
    print(
        f"{result['points']} points of {result['soc']}, modelled: mean absolute error "
        f"{'unknown' if before is None else f'{before:.1f} %'} before, "
        f"{result['mape_after']:.1f} % after"
    )
    show_left_out(result)
    print(f"wrote {result['out']}: any --soc takes it in place of a SoC name")


VERB = Verb(
    "calibrate",
    "turn measurements into a chip file for --soc",
    _run,
    _show,
    _add_arguments,
    description="Fits the model's rate of HBM (TB/s) and, where points hold it, the cost of a "
    "launch (us) to all points at once: the least mean absolute error in %. Nothing else is "
    "fitted, and nothing of single points. Low and high keep the distance to nominal that they "
    "have in the model's table. The chip file also says what was fitted, to how many points, and "
    "the error before and after; every --soc takes it in place of a SoC name.",
    outputs=(OutputOption("out", (".json",)),),
    inputs=("points",),
)
