"""Models ops and layers over a grid of models, ranks, batches, caches and chips, one row each.

No data is computed: every time comes from dry traces, so that hundreds of configurations take
minutes.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import (
    MODELLED_KEYS,
    VARIED_MODELS,
    BenchConfig,
    checked_dimensions,
)
from ascend_prefetch.lab.bench.layer import (
    FORMS,
    LayerConfig,
    TwoLayerOps,
    attention_readers,
    check_layer,
    model_layer,
)
from ascend_prefetch.lab.bench.layer_ops import model_dry_op
from ascend_prefetch.lab.bench.row_file import Row, number, read_rows, write_rows
from ascend_prefetch.lab.timing import LEVELS, find_timed_chip
from ascend_prefetch.models import get_model
from ascend_prefetch.models.weights import mla_weight_shapes

KEYS = (
    "soc", "model", "tp", "tokens", "kv_len", "moe_bytes", "dtype", "weights", "quant",
)  # fmt: skip
"""Columns that identify a row."""

MAX_CACHED_TOKENS = 1 << 19
"""Maximum of all sequences together: 37 of a die's 64 GB, in 61 layers of 1,152 bytes a token."""

# The alias has the name that sweeps have had from the first on.
_FORMS = (*FORMS[:-1], "planned")

_TIMES = (
    *(f"prolog_{form}" for form in MODELLED_KEYS),
    *(f"o_proj_{form}" for form in MODELLED_KEYS),
    *(f"layer_{form}" for form in ("floor", *_FORMS)),
)

COLUMNS = (
    *KEYS,
    *(f"{name}_us_{level}" for name in _TIMES for level in LEVELS),
    *(f"layer_{form}_gain_pct_{level}" for form in _FORMS[1:] for level in LEVELS),
    "planned_MTE2_bytes",
)
"""Columns of the CSV: KEYS, modelled us, the gain over `none` in percent, and the bytes that the
kernels of a layer prefetch. The cells of a form that does not exist are empty."""


@dataclass(frozen=True)
class Grid:
    """All combinations of these; names and units as in LayerConfig."""

    models: Sequence[str] = VARIED_MODELS
    tp: Sequence[int] = (1, 4, 8, 16, 32)
    tokens: Sequence[int] = (1, 8, 16, 32, 64, 128)
    kv_len: Sequence[int] = (4096,)
    moe_bytes: Sequence[int] = (0,)
    soc: Sequence[str] = ("Ascend910_9391",)
    weights: Sequence[str] = ("nd",)
    quant: Sequence[str] = ("none",)
    dtype: str = "bf16"
    launch_us: float | None = None


_OTHER_SOCS = tuple(info["name"] for info in twin.chips() if info["name"] != "Ascend910_9391")

DEFAULT_GRIDS = (
    Grid(kv_len=(1024, 4096, 32768)),
    Grid(tokens=(1, 16, 128), moe_bytes=(428_000_000,)),
    Grid(
        models=("deepseek-v3", "deepseek-v3.2"),
        tp=(16,),
        tokens=(1, 16, 128),
        moe_bytes=(0, 428_000_000),
        soc=_OTHER_SOCS,
    ),
)
"""Every model on the chip that the targets are stated for, with caches of all lengths or with the
expert weights of a layer; and a few models on every other chip that the timing model knows."""


@dataclass(frozen=True)
class Group:
    """Rows that share ops, and therefore traces.

    Attributes:
        config: configuration of the ops.
        layers: (kv_len, moe_bytes) of each row.
    """

    config: BenchConfig
    layers: list[tuple[int, int]] = field(default_factory=list)

    def layer_configs(self) -> Iterator[LayerConfig]:
        """The layer of each row."""
        config = self.config
        for kv_len, moe_bytes in self.layers:
            yield LayerConfig(
                model=config.model,
                tp=config.tp,
                batch=config.tokens,
                kv_len=kv_len,
                dtype=config.dtype,
                weights=config.weights,
                quant=config.quant,
                soc=config.soc,
                launch_us=config.launch_us,
                moe_bytes=moe_bytes,
            )

    def cost(self) -> int:
        """Estimated cost of modelling the group: bytes that attention and experts would stream."""
        dims = get_model(self.config.model)
        shapes = mla_weight_shapes(dims, self.config.tp).values()
        weights = sum(2 * math.prod(shape) for shape in shapes)
        own = _COST_OF_A_ROW + _COST_OF_A_WEIGHT * weights
        return sum(
            own + layer.moe_bytes + sum(one.nbytes for one in attention_readers(layer, dims, 0))
            for layer in self.layer_configs()
        )


# Costs, in streamed bytes, of a layer's launches and hand-overs, and of each byte that its kernels
# read in small tiles.
_COST_OF_A_ROW = 100_000_000
_COST_OF_A_WEIGHT = 5


def sweep_groups(grids: Sequence[Grid] = DEFAULT_GRIDS) -> list[Group]:
    """The rows of some grids, each once.

    Combinations are left out if the tensor-parallel degree does not divide the model's heads, the
    chip has no published HBM rate, or there are more than MAX_CACHED_TOKENS.

    Raises:
        ValueError: a name is unknown, or no combination is left.
    """
    groups: dict[BenchConfig, dict[tuple[int, int], None]] = {}
    for grid in grids:
        socs = [soc for soc in grid.soc if find_timed_chip(soc).modelled]
        ranks = [
            (model, tp)
            for model, tp in itertools.product(grid.models, grid.tp)
            if get_model(model).num_heads % tp == 0
        ]
        for soc, (model, tp), tokens, weights, quant in itertools.product(
            socs, ranks, grid.tokens, grid.weights, grid.quant
        ):
            config = BenchConfig(
                model=model,
                tp=tp,
                tokens=tokens,
                dtype=grid.dtype,
                weights=weights,
                quant=quant,
                soc=soc,
                launch_us=grid.launch_us,
            )
            checked_dimensions(config)
            layers = [
                layer
                for layer in itertools.product(grid.kv_len, grid.moe_bytes)
                if tokens * layer[0] <= MAX_CACHED_TOKENS
            ]
            for layer in layers:
                check_layer(LayerConfig(model, kv_len=layer[0], moe_bytes=layer[1], batch=tokens))
            if layers:
                groups.setdefault(config, {}).update(dict.fromkeys(layers))
    if not groups:
        raise ValueError("no combination of what was asked for makes sense")
    return [Group(config, list(layers)) for config, layers in groups.items()]


def model_group(group: Group) -> list[Row]:
    """The rows of a group."""
    config = group.config
    chip = find_timed_chip(config.soc)
    shared = TwoLayerOps(config)
    with twin.chip(chip.soc):
        op_us = {
            name: model_dry_op(op, config.tokens, chip, config.launch_us)
            for name, op in (("prolog", shared.first.prolog), ("o_proj", shared.first.o_proj))
        }
    return [
        _row(layer, op_us, model_layer(layer, shared, rivals=False))
        for layer in group.layer_configs()
    ]


def _row(layer: LayerConfig, op_us: dict[str, Any], result: dict[str, Any]) -> Row:
    row: Row = {"tokens": layer.batch}
    row |= {name: result[name] for name in KEYS if name != "tokens"}
    for name, us in {**op_us, "layer": result["modelled_us"]}.items():
        row |= {
            f"{name}_{form}_us_{level}": round(times[level], 4)
            for form, times in us.items()
            if times is not None
            for level in LEVELS
        }
    row |= {
        f"layer_{form}_gain_pct_{level}": round(gain[level], 4)
        for form, gain in result["gain_pct"].items()
        if gain is not None
        for level in LEVELS
    }
    row["planned_MTE2_bytes"] = sum(one["bytes"] for one in result["plan"])
    return {column: row.get(column) for column in COLUMNS}


def run_sweep(
    groups: Sequence[Group],
    out: Path,
    processes: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Models all rows and writes them as a CSV with COLUMNS; a partial file is never left.

    Args:
        groups: the groups to model.
        out: the file. Until all rows are done they are written to a temporary file beside it, in
            the order of `groups`.
        processes: number of processes that share the work.
        progress: called with a line after each group.

    Raises:
        ValueError, RuntimeError: an op refuses a configuration.
        OSError: the file cannot be written.
    """
    whole, done = sum(group.cost() for group in groups), 0
    count = sum(len(group.layers) for group in groups)
    start = time.monotonic()

    def finished(group: Group, rows: int) -> None:
        nonlocal done
        done += group.cost()
        left = (time.monotonic() - start) * (whole / done - 1)
        config = group.config
        progress(
            f"[{rows}/{count}] {config.soc} {config.model} TP{config.tp} "
            f"T={config.tokens} {config.quant} {config.weights}: about {left:.0f} s left"
        )

    return write_rows(out, COLUMNS, model_group, groups, processes, finished)


def read_sweep(path: Path) -> list[Row]:
    """The rows that run_sweep wrote.

    Raises:
        ValueError: the file is not a sweep of this version; the message names the line.
        OSError: the file cannot be read.
    """
    return read_rows(path, COLUMNS, "the columns of a sweep of this version", _value)


def _value(name: str, text: str) -> Any:
    if name in ("soc", "model", "dtype", "weights", "quant"):
        return text
    whole = name in KEYS or name.endswith("_bytes")
    if not text and not whole:
        return None
    return number(name, text, whole)
