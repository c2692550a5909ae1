"""What every op's benchmark shares: configuration, result schema, timing."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch import _C

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Norm-wise relative error per output against float64 on the same 16-bit inputs.
TOLERANCES = {"bf16": 4e-3, "fp16": 1e-3}

# The published HBM read rate was measured on a chip with this many cube cores.
_AIC_COUNT_OF_HBM_RATE = 24

MODELLED_KEYS = ("floor", "fused", "fused_no_prefetch", "separate", "separate_cmo")

BenchResult = dict[str, Any]


@dataclass(frozen=True)
class BenchConfig:
    """One benchmark run.

    Attributes:
        model: a name in ascend_prefetch.models.MODELS.
        tp: tensor-parallel degree; rank 0 is run.
        tokens: tokens in the batch.
        dtype: "bf16" or "fp16".
        weights: "nd" or "nz".
        quant: "none".
        soc: SoC name that the twin plays.
        checkpoint: directory of a Hugging Face checkpoint; random weights without one.
        layer: layer of the checkpoint.
        repeats: timed runs; the median counts.
        seed: seed of weights and inputs.
    """

    model: str
    tp: int = 1
    tokens: int = 16
    dtype: str = "bf16"
    weights: str = "nd"
    quant: str = "none"
    soc: str = "Ascend910_9391"
    checkpoint: Path | None = None
    layer: int = 0
    repeats: int = 5
    seed: int = 0


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of `repeats` calls after one call that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_rss_mb() -> float:
    """Peak resident set of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@contextmanager
def poisoned_empty() -> Iterator[None]:
    """torch.empty returns NaN (and 255 for integers) inside the block."""
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def floor_us(bytes_moved: int, aic_count: int) -> dict[str, float] | None:
    """Modelled lower bound: bytes that must move at the best published HBM read rate.

    Holds no launch and no latency. None for chips without a published rate. Arithmetic is no
    bound at decode sizes and is left out.
    """
    if aic_count != _AIC_COUNT_OF_HBM_RATE:
        return None
    bytes_per_us = _C.constants()["hbm_read_vector"]["value"] * 1e6
    us = bytes_moved / bytes_per_us
    return {"low": us, "nominal": us, "high": us}


def modelled_us(floor: dict[str, float] | None) -> dict[str, dict[str, float] | None]:
    """The modelled times of a bench; None where there is no timing model yet."""
    times: dict[str, dict[str, float] | None] = dict.fromkeys(MODELLED_KEYS)
    times["floor"] = floor
    return times
