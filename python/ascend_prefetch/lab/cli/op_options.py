"""Arguments of the verbs that run or model ops: the op, the model and the sizes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ascend_prefetch.lab.bench import BenchConfig
from ascend_prefetch.lab.bench.common import DTYPES, LAYOUTS
from ascend_prefetch.lab.bench.prefetch import ENGINES
from ascend_prefetch.models import MODELS, QUANTS, model_name

from .common import microseconds, positive


def add_op_arguments(parser: argparse.ArgumentParser, ops: Iterable[str]) -> None:
    """Adds the op and its options; model, weights and quant are None if they are left out."""
    parser.add_argument("op", choices=list(ops))
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="what loads in prefetch: vector cores (default), cube cores or the copy engine",
    )
    parser.add_argument("--tokens", type=positive, default=16, help="tokens in the batch")
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that layers and ops share."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a config.json, a checkpoint directory, of which the dimensions are taken, or one of "
        + ", ".join(sorted(MODELS))
        + " or a release of the same sizes, such as R1, V3.2-Exp, Kimi-K2.6 or GLM-5.2",
    )
    parser.add_argument("--tp", type=positive, default=1, help="tensor-parallel degree (ranks)")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    parser.add_argument(
        "--weights",
        choices=LAYOUTS,
        help="weight layout: row-major (default) or FRACTAL_NZ",
    )
    parser.add_argument(
        "--quant",
        choices=QUANTS,
        help="none (default), or W8A8 with static or dynamic activation scales",
    )
    parser.add_argument(
        "--soc",
        default="Ascend910_9391",
        help="SoC name, or a chip file (.json) that calibrate wrote",
    )
    parser.add_argument(
        "--launch-us",
        type=microseconds,
        help="launch and start cost of a kernel in modelled times, us; without it 1.3, 6.8 and "
        "9.5 at low, nominal and high. The floor holds none",
    )


def bench_config(
    options: argparse.Namespace, checkpoint: Path | None = None, layer: int = 0
) -> BenchConfig:
    """The configuration that the options of `add_op_arguments` describe; "" stands for no model."""
    if options.engine is not None and options.op != "prefetch":
        raise ValueError(f"engine: expected none with {options.op}, which is no prefetch")
    return BenchConfig(
        model=model_name(options.model) if options.model else "",
        tp=options.tp,
        tokens=options.tokens,
        dtype=options.dtype,
        weights=options.weights or "nd",
        quant=options.quant or "none",
        soc=options.soc,
        launch_us=options.launch_us,
        checkpoint=checkpoint,
        layer=layer,
        engine=options.engine or "vector",
    )


def require_model(model: str | None) -> None:
    """Raises ValueError if no model was given."""
    if not model:
        raise ValueError("model: expected one by --model, got none")
