"""results: generates the page of results."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from ascend_prefetch.files import whole_file
from ascend_prefetch.lab.bench.results import Scope, make_results
from ascend_prefetch.lab.bench.results_page import results_page

from .common import OutputOption, Verb, progress

_PROGRAM = "python -m ascend_prefetch"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.md", help="the page")
    parser.add_argument(
        "--sweep",
        type=Path,
        metavar="FILE.csv",
        help="a table that sweep wrote, to sum up; with a picture of the same name but .png where "
        "there is one",
    )
    parser.add_argument(
        "--served",
        type=Path,
        metavar="FILE.csv",
        help="a table that sweep --served wrote, to sum up likewise",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    results = make_results(Scope(), options.sweep, progress, options.served)
    pictures = [_picture(table, options.out) for table in (options.sweep, options.served)]
    page = results_page(results, _commands(options), *pictures)
    with whole_file(options.out) as part:
        part.write_text(page, encoding="utf-8")
    return {**results, "out": str(options.out)}


def _commands(options: argparse.Namespace) -> list[str]:
    command = [*_PROGRAM.split(), "results", "--out", str(options.out)]
    commands = []
    for name, table in (("--sweep", options.sweep), ("--served", options.served)):
        if table is None:
            continue
        kind = ["--served"] if name == "--served" else []
        sweep = [*_PROGRAM.split(), "sweep", *kind, "--out", str(table)]
        picture = table.with_suffix(".png")
        if picture.is_file():
            sweep += ["--plot", str(picture)]
        commands.append(shlex.join(sweep))
        command += [name, str(table)]
    return [*commands, shlex.join(command)]


def _picture(table: Path | None, page: Path) -> str | None:
    """The page's link to the picture of a table; None if there is no picture."""
    if table is None or not table.with_suffix(".png").is_file():
        return None
    return Path(os.path.relpath(table.with_suffix(".png"), page.parent)).as_posix()


def _show(result: dict[str, Any]) -> None:
    rows = f" and a sweep of {result['sweep']['rows']} rows" if result["sweep"] else ""
    print(
        f"{len(result['correlation']['points'])} points, {len(result['ops'])} ops, "
        f"{len(result['layers'])} layers{rows}, all modelled"
    )
    print(f"wrote {result['out']}")


VERB = Verb(
    "results",
    "write the page of results",
    _run,
    _show,
    _add_arguments,
    description="Models what the results page shows - the published points, single ops and layers "
    "- and sums up a sweep, into one page of Markdown that says how to make it again. Takes about "
    "two minutes. Everything in it is modelled, nothing was measured.",
    outputs=(OutputOption("out", (".md",)),),
    inputs=("sweep", "served"),
)
