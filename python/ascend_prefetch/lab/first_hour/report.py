"""What came of the steps: a summary as JSON and as text, and the archive with all of it."""

from __future__ import annotations

import shlex
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ascend_prefetch.files import read_json, whole_file
from ascend_prefetch.shown import plain
from ascend_prefetch.version import __version__

from .kept import keep
from .run import Outcome, text_of
from .steps import Step

SUMMARY = "summary"
"""Name of both summaries in the archive, without the suffix."""


class Number(NamedTuple):
    """One of the numbers to look at first.

    Attributes:
        name: its key in the summary.
        step: the step that measures it.
        file: the file in that step's folder.
        of: takes it from the content of the file.
        decides: what depends on it.
    """

    name: str
    step: str
    file: str
    of: Callable[[Any], Any]
    decides: str


def _slowdowns(content: Any) -> dict[str, float]:
    rows = content["beside"]
    return {f"{row['engine']} {row['bytes'] / 1e6:.0f} MB": row["slowdown_pct"] for row in rows}


def _fork_joins(content: Any) -> dict[str, float]:
    return {
        engine: found["fork_join_us"]
        for engine, found in content["engines"].items()
        if "error" not in found
    }


NUMBERS = (
    Number(
        "collective_slowdown_pct",
        "collective-aiv",
        "collective.json",
        _slowdowns,
        "whether the windows of collectives pay: a window's gain is gone at its break-even "
        "slowdown, which layer prints; assumed 15 / 5 / 0 %",
    ),
    Number(
        "saved_us_per_mb",
        "reads",
        "reads.json",
        lambda content: content["saved_us_per_mb"]["median"],
        "what every prefetch gains: us that a reader saves for a MB that it finds in L2; below "
        "0.05 nothing is fetched",
    ),
    Number(
        "fork_join_us",
        "fork-join",
        "fork-join.json",
        _fork_joins,
        "how short a window may be: what saves less than a fork and its join is left alone; "
        "assumed 0.5 / 1 / 2 us",
    ),
    Number(
        "cube_beside_vector_pct",
        "fork-join",
        "fork-join.json",
        lambda content: content["overlap"]["overlapped_pct"],
        "whether cube cores run beside vector cores: 100 beside each other, 0 one after the other, "
        "and then no window of a collective is one",
    ),
)


def summarise(
    outcomes: Sequence[Outcome], folder: Path, device: Mapping[str, Any]
) -> dict[str, Any]:
    """The summary of a run.

    Args:
        outcomes: what became of each step.
        folder: the folder with their files.
        device: what is known of the NPUs.

    Returns:
        version, device; numbers: by the names of NUMBERS, None for what was not measured; and
        steps: a row for each, with its files.
    """
    return {
        "version": __version__,
        "device": dict(device),
        "numbers": {number.name: _value(number, folder) for number in NUMBERS},
        "steps": [
            {
                **described(outcome.step),
                **outcome.facts(),
                "files": sorted(
                    str(path.relative_to(folder / outcome.step.name))
                    for path in (folder / outcome.step.name).rglob("*")
                    if path.is_file()
                ),
            }
            for outcome in outcomes
        ],
    }


def described(step: Step) -> dict[str, Any]:
    """What a step is, as in all results."""
    return {
        "name": step.name,
        "settles": step.settles,
        "minutes": step.minutes,
        "command": shlex.join(step.command),
    }


def write_report(path: Path, folder: Path, summary: Mapping[str, Any]) -> None:
    """Adds the summaries to the folder and packs all of it, or nothing.

    Args:
        path: the archive, which ends in .tar.gz; its content is in a folder of that name.
        folder: the folder with the steps' files.
        summary: what summarise returned.

    Raises:
        OSError: the archive cannot be written.
    """
    keep(folder / f"{SUMMARY}.json", summary)
    text = "\n".join(summary_lines(summary)) + "\n"
    (folder / f"{SUMMARY}.md").write_text(text, encoding="utf-8")
    with whole_file(path) as part, tarfile.open(part, "w:gz") as archive:
        archive.add(folder, arcname=path.name.removesuffix(".tar.gz"), filter=_without_owner)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Names of users are nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary for people, as Markdown."""
    lines = ["# First hour", "", f"ascend_prefetch {summary['version']}", ""]
    lines += [f"- {name}: {value}" for name, value in summary["device"].items()]
    lines += ["", "## Look at these first", ""]
    for number in NUMBERS:
        lines.append(f"- **{number.name}** {_text(summary['numbers'][number.name])}")
        lines.append(f"  ({number.step}/{number.file}) decides {number.decides}.")
    lines += ["", "## Steps", "", "| Step | Settles | What became of it |", "| --- | --- | --- |"]
    lines += [
        f"| {step['name']} | {step['settles']} | {text_of(step).replace('|', ' ')} |"
        for step in summary["steps"]
    ]
    return lines


def _value(number: Number, folder: Path) -> Any:
    """None also where a measurement was ended before it came to this number."""
    try:
        return number.of(read_json(folder / number.step / number.file))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _text(value: Any) -> str:
    if not value and value != 0:
        return "was not measured"
    if isinstance(value, dict):
        return ", ".join(f"{plain(name)}: {_text(part)}" for name, part in value.items())
    return f"{value:.2f}"
