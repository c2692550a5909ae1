"""The content of the results page: the timing model, ops, layers and a sweep, all modelled."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import BenchConfig, floor_us
from ascend_prefetch.lab.bench.layer import LayerConfig, model_layer
from ascend_prefetch.lab.bench.layer_ops import DryOp, LayerOps
from ascend_prefetch.lab.bench.modelled import model_op, op_forms, times_of
from ascend_prefetch.lab.bench.served import read_served, served_totals
from ascend_prefetch.lab.bench.sweep import read_sweep
from ascend_prefetch.lab.bench.sweep_totals import sweep_totals
from ascend_prefetch.lab.timing import PUBLISHED_POINTS, correlate, find_timed_chip, read_points

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Scope:
    """What the page covers; names and units as in BenchConfig and LayerConfig.

    Attributes:
        points: measurements that the model is compared with.
        launches: launch and start costs, us, at which separate and fused kernels are compared.
        op_model, op_tp, op_tokens, op_weights: configuration of the single ops.
        layer_models, layer_tp, layer_batch, layer_kv_len, layer_moe_bytes, layer_quants:
            configurations of the layers.
    """

    soc: str = "Ascend910_9391"
    points: Path = PUBLISHED_POINTS
    launches: Sequence[float] = (0.0, 2.2, 3.5, 10.0, 20.0)
    op_model: str = "deepseek-v3"
    op_tp: Sequence[int] = (1, 16)
    op_tokens: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128)
    op_weights: Sequence[str] = ("nd", "nz")
    layer_models: Sequence[str] = ("deepseek-v3", "deepseek-v3.2", "glm-5", "kimi-k2")
    layer_tp: int = 16
    layer_batch: int = 16
    layer_kv_len: int = 4096
    layer_moe_bytes: Sequence[int] = (0, 428_000_000)
    layer_quants: Sequence[str] = ("none", "w8a8")


def make_results(
    scope: Scope,
    sweep: Path | None = None,
    progress: Progress = lambda line: None,
    served: Path | None = None,
) -> dict[str, Any]:
    """Models everything that the page shows.

    Args:
        scope: what the page covers.
        sweep: file of a sweep to summarise, or None.
        progress: called with a line before each piece of work.
        served: file of served layers to summarise, or None.

    Returns:
        The keys correlation, ops, layers, sweep and served (None without a file): what the verbs
        correlate, bench, layer and sweep print. An op has its modelled values only, and `launches`:
        the us of fused and separate kernels by launch cost.

    Raises:
        ValueError: a configuration is invalid, a chip is not modelled, or the file is not a sweep.
        OSError: a file cannot be read.
    """
    totals = None if sweep is None else sweep_totals(read_sweep(sweep))
    served_layers = None if served is None else served_totals(read_served(served))
    return {
        "scope": {**asdict(scope), "points": scope.points.name},
        "correlation": asdict(correlate(read_points(scope.points).points, None, progress)),
        "ops": _op_results(scope, progress),
        "layers": _layer_results(scope, progress),
        "sweep": totals,
        "served": served_layers,
    }


def _op_results(scope: Scope, progress: Progress) -> list[dict[str, Any]]:
    results = []
    for tp, weights, tokens in itertools.product(scope.op_tp, scope.op_weights, scope.op_tokens):
        config = BenchConfig(scope.op_model, tp=tp, tokens=tokens, weights=weights, soc=scope.soc)
        progress(f"{config.model} TP{tp} T={tokens} {weights}")
        rank = LayerOps(config)
        results += [_op_result(op, config, scope.launches) for op in (rank.prolog, rank.o_proj)]
    return results


def _op_result(op: DryOp, config: BenchConfig, launches: Sequence[float]) -> dict[str, Any]:
    chip = find_timed_chip(config.soc)
    with twin.chip(chip.soc):
        forms = op_forms(op.kernels)
    floor = floor_us(op.floor_bytes, op.products, config.tokens, chip)
    return {
        "op": op.name,
        "model": config.model,
        "tp": config.tp,
        "tokens": config.tokens,
        "weights": config.weights,
        "modelled_us": {"floor": floor, **model_op(forms, chip).us},
        "launches": [
            {
                "launch_us": launch_us,
                **{name: times_of(forms[name], chip, launch_us) for name in ("fused", "separate")},
            }
            for launch_us in launches
        ],
    }


def _layer_results(scope: Scope, progress: Progress) -> list[dict[str, Any]]:
    results = []
    for model, quant, moe_bytes in itertools.product(
        scope.layer_models, scope.layer_quants, scope.layer_moe_bytes
    ):
        progress(f"layer of {model} {quant}, {moe_bytes / 1e6:.0f} MB of experts")
        config = LayerConfig(
            model=model,
            tp=scope.layer_tp,
            batch=scope.layer_batch,
            kv_len=scope.layer_kv_len,
            quant=quant,
            soc=scope.soc,
            moe_bytes=moe_bytes,
        )
        results.append(model_layer(config))
    return results
