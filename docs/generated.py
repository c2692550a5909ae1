"""What the pages take from the project's own commands, as Markdown."""

import argparse
import contextlib
import csv
import io
import os
import re
import shlex
from pathlib import Path

import byte_walk
import op_reference
import torch

from ascend_prefetch import _C, planning
from ascend_prefetch.lab import cli, twin


def run(line):
    """A command and what it prints, as a block of code."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        status = cli.main(shlex.split(line))
    if status != 0:
        raise RuntimeError(f"{line}: exit status {status}: {printed.getvalue()}")
    return f"```text\n$ python -m ascend_prefetch {line}\n\n{printed.getvalue().rstrip()}\n```"


def table(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def command_line():
    """--help of every verb."""
    # argparse breaks lines for the terminal that it is run in.
    os.environ["COLUMNS"] = "96"
    parser = cli.parser()
    verbs = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    sections = [f"```text\n{parser.format_help().rstrip()}\n```"]
    for name, verb in verbs.choices.items():
        sections.append(f"## {name}\n\n```text\n{verb.format_help().rstrip()}\n```")
    return "\n\n".join(sections)


def timing_constants():
    """The constants of the model."""
    rows = [
        [f"`{name}`", *(f"{row[level]:g}" for level in ("low", "nominal", "high")), row["unit"]]
        + [row["class"], row["source"]]
        for name, row in _C.timing_constants().items()
    ]
    return table(["Constant", "Low", "Nominal", "High", "Unit", "Class", "Source"], rows)


def some_constants(names):
    """Some of them, in the order given; KeyError for a name that none of them has."""
    all_of_them = _C.timing_constants()
    rows = []
    for name in names:
        row = all_of_them[name]
        values = [f"{row[level]:g}" for level in ("low", "nominal", "high")]
        value = values[1] if len(set(values)) == 1 else " / ".join(values)
        rows.append([f"`{name}`", f"{value} {row['unit']}", row["class"], row["source"]])
    return table(["Constant", "Value, or low / nominal / high", "Class", "Source"], rows)


def byte_way():
    """When the first byte of o_proj's weight passes where."""
    header = ["What", "Where", "us, without prefetch", "us, with it"]
    return table(header, byte_walk.rows())


def byte_by_hand():
    """The lengths of its stages, worked out from the constants and as replayed."""
    rows = (
        [stage.stage, stage.sum, f"{stage.us:.3f}", f"{stage.replayed:.3f}"]
        for stage in byte_walk.by_hand()
    )
    return table(["Stage", "By hand", "us", "Replay, us"], rows)


def hardware_constants():
    """The constants that other parts use as well."""
    rows = [
        [f"`{name}`", f"{row['value']:g}", row["unit"], row["class"], row["source"]]
        for name, row in _C.constants().items()
    ]
    return table(["Constant", "Value", "Unit", "Class", "Source"], rows)


def chips():
    """The chips."""
    rows = [
        [f"`{chip['name']}`"]
        + [chip[key] for key in ("aic_count", "aiv_count", "clock_mhz", "l2_mib")]
        for chip in twin.chips()
    ]
    return table(["SoC name", "Cube cores", "Vector cores", "Clock, MHz", "L2, MiB"], rows)


def correlation():
    """How far the model is from published measurements, as the page of results has it."""
    page = (Path(__file__).parent / "results.md").read_text(encoding="utf-8")
    return re.search(r"Mean absolute error .*", page)[0]


def planner_example():
    """A layer, with its plan."""
    return run("layer --model deepseek-v3 --tp 16 --batch 16 --kv-len 4096")


def constraints():
    """What the pages of Ascend C ask, and what the twin checks of it."""
    path = Path(__file__).parents[1] / "csrc" / "twin" / "constraints.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            [", ".join(f"`{name}`" for name in row["api"].split()), row["constraint"], row["page"]]
            + [f"`{row['code']}`", row["test"].replace("_", r"\_")]
            for row in csv.DictReader(file)
        ]
    return table(["Call", "Constraint", "Page", "Check", "Test"], rows)


CALL = """
call = dict(
    hidden_states=tensor(16, 7168),
    qkv_a_weight=tensor(1536 + 512 + 64, 7168),
    q_a_norm_weight=tensor(1536),
    q_b_weight=tensor(8 * (128 + 64), 1536),
    w_uk=tensor(8, 128, 512),
    kv_a_norm_weight=tensor(512),
    cos=tensor(16, 64),
    sin=tensor(16, 64),
    slot_mapping=torch.arange(16),
    kv_cache=tensor(1, 128, 1, 512),
    rope_cache=tensor(1, 128, 1, 64),
    prefetch=[tensor(7168, 8 * 128)],  # o_proj
    prefetch_passing_bytes=[75_500_000],  # the cache that attention reads until then
)
plans = planning.explain(lambda: torch.ops.ascend_prefetch.mla_prolog(**call))
"""


def explained_op():
    """The plan of one op."""
    names = {
        "planning": planning,
        "torch": torch,
        "tensor": lambda *shape: torch.empty(shape, dtype=torch.bfloat16),
    }
    exec(CALL, names)
    printed = "\n".join(str(plan) for plan in names["plans"])
    return f"```python{CALL}print(*plans)\n```\n\n```text\n{printed}\n```"


SECTIONS = {
    section.__name__: section
    for section in (
        command_line, timing_constants, hardware_constants, chips, correlation, planner_example,
        explained_op, byte_way, byte_by_hand, op_reference.conventions, op_reference.rules,
        constraints,
    )
}  # fmt: skip
