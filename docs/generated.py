"""What the pages take from the project's own commands, as Markdown."""

import argparse
import contextlib
import csv
import functools
import io
import os
import re
import shlex
from pathlib import Path

import byte_walk
import op_reference
import torch

from ascend_prefetch import _C, planning, windows
from ascend_prefetch.lab import cli, twin
from ascend_prefetch.lab.bench.layer import LayerConfig
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.rivals.compare import compare, measured_over_modelled
from ascend_prefetch.lab.timing import find_timed_chip
from ascend_prefetch.windows import published


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


def first_hour_times():
    """Rows of the page of results: what is first measured on a device."""
    page = (Path(__file__).parent / "results.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", page, re.DOTALL | re.MULTILINE))
    rows = []
    for op, tp in (("mla_prolog", 1), ("mla_prolog", 16), ("o_proj", 16)):
        line = re.search(rf"^\| {tp} \| nd \| 16 \|(.*)\|$", sections[op], re.MULTILINE)
        floor, fused, _, separate, cmo = (cell.strip() for cell in line[1].split("|")[:5])
        cells = [floor]
        for low, nominal, high in (times.split(" / ") for times in (fused, separate, cmo)):
            cells.append(f"{nominal} ({low} to {high})")
        rows.append([f"{op} TP{tp}", *cells])
    return table(["Ascend910_9391", "Floor", "Fused", "Separate", "Separate with CMO"], rows)


def planner_example():
    """A layer, with its plan."""
    return run("layer --model deepseek-v3 --tp 16 --batch 16 --kv-len 4096 --windows none")


def served_layer():
    """A layer of experts with all its parts."""
    return run(
        "layer --model deepseek-v3 --quant w8a8_dynamic --weights nz --kind moe --tp 4 --dp 4 "
        "--ep 16 --batch 16 --kv-len 4096"
    )


def published_windows():
    """The default lengths of windows at some sizes."""
    found = [
        ("all-reduce, 2 to 8 ranks, up to 262 KB", windows.all_reduce(8, 1)),
        ("all-reduce, 16 ranks, up to 262 KB", windows.all_reduce(16, 1)),
        ("all-reduce, 8 ranks, 2 MiB", windows.all_reduce(8, 2 << 20)),
        ("all-gather, 8 ranks", windows.all_gather(8, 1)),
        ("all-gather, 16 ranks", windows.all_gather(16, 1)),
        ("dispatch, 1 to 7 tokens a rank, EP8 to 256", windows.dispatch(16, 1)),
        ("dispatch, 128 tokens a rank, EP16", windows.dispatch(16, 128)),
        ("combine, 1 to 7 tokens a rank, EP8 to 32", windows.combine(16, 1)),
        ("combine, 128 tokens a rank, EP16", windows.combine(16, 128)),
        ("indexer, 9 queries, 20,000 cached tokens", windows.indexer(9, 20_000)),
        ("sparse attention, 9 queries", windows.sparse_attention(9, 2048)),
        ("sparse attention, 27 queries", windows.sparse_attention(27, 2048)),
        ("dense attention, 75.5 MB, without a launch", windows.dense_attention(75_497_472)),
        ("norm, 9 tokens", windows.norm(9)),
        ("top-k, 3 tokens", windows.top_k(3)),
    ]
    rows = [
        [name, " / ".join(f"{us:.1f}" for us in window.us), window.provenance, window.hbm]
        + [{"cube": "cube cores", "none": "none"}[window.leaves], window.source]
        for name, window in found
    ]
    return table(
        ["Window", "Short / nominal / long us", "Class", "Use of HBM", "Leaves", "Source"], rows
    )


def rival_prologs():
    """Our prolog beside those of others."""
    rows = []
    for layer, row in rivals():
        alike = ["-", "-"]
        if row["measured_over_modelled"] is not None:
            both = (row["modelled_if_alike_us"], row["ours_if_alike_us"])
            alike = [f"{us['nominal']:.0f}" for us in both]
        rows.append(
            [layer, f"`{row['name']}`", row["launches"]]
            + [levels(row["modelled_us"]), levels(row["ours_us"]), *alike]
        )
    header = ["Layer, 16 tokens", "Rival", "Launches", "Rival", "Ours", "Rival, if alike"]
    return table([*header, "Ours, if alike"], rows)


def rivals_ahead():
    """Where a rival takes less time than ours, by level."""
    lines = []
    for level in ("nominal", "high", "low"):
        ahead = [
            f"{layer}: `{row['name']}` {row['modelled_us'][level]:.1f} us, ours "
            f"{row['ours_us'][level]:.1f}"
            for layer, row in rivals()
            if row["modelled_us"][level] < row["ours_us"][level]
        ]
        found = "; ".join(ahead) or "nowhere in the table below"
        lines.append(f"- At {level} constants: {found}.")
    return "\n".join(lines)


def rival_ratio():
    """What was measured of mla_preprocess, and what the model makes of it."""
    ratio = measured_over_modelled(find_timed_chip("Ascend910_9391"), None)["nominal"]
    measured = published.MLAPO.nominal
    return (
        f"Of `mla_preprocess` one duration is published: {measured:g} us for GLM-5 W8A8 at TP4 "
        f"({published.MLAPO.short:g} to {published.MLAPO.long:g} over "
        f"{published.MLAPO_CALLS:,} calls of 3 to 27 tokens; AICG, see [a layer](layer.md)). "
        "The model gives its structure "
        f"{measured / ratio:.1f} us at nominal constants: a ratio of {ratio:.2f}. Of "
        "`npu_mla_prolog_v3` none is. Nobody knows whether ours would be as far off: nothing was "
        "measured of it."
    )


@functools.cache
def rivals():
    """(layer, row of compare) of each case in which a rival can run."""
    found = []
    for model, tp, quant, weights in RIVAL_CASES:
        config = LayerConfig(model, tp=tp, batch=16, quant=quant, weights=weights)
        with twin.chip(config.soc):
            rows = compare(config, LayerOps(config.bench()), find_timed_chip(config.soc))
        layer = f"{model} TP{tp} {quant} {weights}"
        found += [(layer, row) for row in rows if row["modelled_us"] is not None]
    return found


RIVAL_CASES = (
    ("deepseek-v3", 4, "w8a8", "nz"),
    ("deepseek-v3", 4, "w8a8_dynamic", "nz"),
    ("deepseek-v3", 4, "w8a8_dynamic", "nd"),
    ("deepseek-v3", 16, "w8a8", "nz"),
    ("deepseek-v3", 16, "w8a8_dynamic", "nz"),
    ("deepseek-v3", 16, "none", "nz"),
    ("deepseek-v3", 16, "none", "nd"),
    ("kimi-k2", 8, "w8a8_dynamic", "nz"),
    ("deepseek-v3.2", 4, "w8a8_dynamic", "nz"),
    ("glm-5", 4, "w8a8", "nz"),
    ("glm-5", 4, "w8a8_dynamic", "nz"),
)


def levels(times):
    """Times at low, nominal and high constants."""
    return " / ".join(f"{us:.1f}" for us in times.values())


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
        command_line, timing_constants, hardware_constants, chips, correlation, first_hour_times,
        planner_example, served_layer, published_windows, rivals_ahead, rival_ratio, rival_prologs,
        explained_op, byte_way, byte_by_hand, op_reference.conventions, op_reference.rules,
        constraints,
    )
}  # fmt: skip
