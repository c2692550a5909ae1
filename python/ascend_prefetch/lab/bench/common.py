"""Shared by all benchmarks: configuration, checks, timing, the result and its schema."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ascend_prefetch import _C
from ascend_prefetch.lab import reference, twin
from ascend_prefetch.lab.bench.modelled import (
    Modelled,
    model_op,
    model_warming,
    op_forms,
    warm_us,
)
from ascend_prefetch.lab.timing import LEVELS, TimedChip, find_timed_chip
from ascend_prefetch.lab.timing.sequence import dry_kernels
from ascend_prefetch.linear import Linear, stored_weight
from ascend_prefetch.models import (
    MODELS,
    QUANTS,
    ModelDimensions,
    get_model,
    indexer_weight_shapes,
    mla_weight_shapes,
)
from ascend_prefetch.ops import MAX_TOKENS, ROPE_DIM
from ascend_prefetch.shown import shown

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Norm-wise relative error per output against float64 on the same 16-bit inputs.
TOLERANCES = {"bf16": 4e-3, "fp16": 1e-3}

# Units in the last place of the output dtype, for results that a W8A8 layer dequantises from exact
# sums and rounds once.
ULP_TOLERANCES = {"bf16": 1.0, "fp16": 2.0}

LAYOUTS = ("nd", "nz")

MAX_WEIGHT_BYTES = 1 << 33
"""Maximum bytes of a layer's attention weights on a rank; DeepSeek-V3's on one rank are 0.4 GB."""

VARIED_MODELS = tuple(name for name in MODELS if name not in ("deepseek-v2", "longcat-flash-lite"))
"""The presets of a table over models: those left out differ from another in their sizes alone."""

MODELLED_KEYS = ("floor", "fused", "fused_no_prefetch", "separate", "separate_cmo")

BenchResult = dict[str, Any]
Check = dict[str, Any]

SeparateForm = Callable[[Any, Callable[[Any], Any]], Callable[..., Any]]
"""Takes torch_npu and a function that copies tensors to a device; returns a function that runs the
separate ops there. The argument of that function is a Cmo for prefetches, or None
(bench/torch_npu_ops.py)."""


@dataclass(frozen=True)
class BenchConfig:
    """One benchmark run.

    Attributes:
        model: a preset's name, or the path of a model's files (ascend_prefetch.models.model_name).
        tp: tensor-parallel degree; the benchmark runs rank 0.
        tokens: tokens in the batch.
        dtype: "bf16" or "fp16".
        weights: "nd" or "nz".
        quant: "none", "w8a8" (static activation scales) or "w8a8_dynamic".
        soc: SoC name, or a chip file (ascend_prefetch.lab.timing.find_timed_chip).
        launch_us: launch and start cost of a kernel in modelled times, us; None for that of the
            model's table.
        checkpoint: directory of a Hugging Face checkpoint; random weights without one.
        layer: layer of the checkpoint.
        engine: what loads in the op prefetch: "vector", "cube" or "sdma"; other ops have none.
        l2_state: "cold", or "warm" to model the fused kernel a second time, after a call that read
            all of the same weights.
        repeats: number of timed runs, of which the median is reported.
        device: "cpu" to run on the twin alone, or "npu" to measure on a device as well.
        seed: seed of weights and inputs.
    """

    model: str
    tp: int = 1
    tokens: int = 16
    dtype: str = "bf16"
    weights: str = "nd"
    quant: str = "none"
    soc: str = "Ascend910_9391"
    launch_us: float | None = None
    checkpoint: Path | None = None
    layer: int = 0
    engine: str = "vector"
    l2_state: str = "cold"
    repeats: int = 5
    device: str = "cpu"
    seed: int = 0

    def facts(self) -> dict[str, str | int]:
        """What every result of this configuration says of it, by the keys of the command line."""
        return {
            "model": self.model,
            "tp": self.tp,
            "tokens": self.tokens,
            "dtype": self.dtype,
            "weights": self.weights,
            "quant": self.quant,
            "soc": self.soc,
        }


@dataclass(frozen=True)
class BenchCase:
    """One op with its inputs, ready to run.

    Attributes:
        op: the op.
        arguments: the arguments of a call.
        check: judges the results of a call, given the account of its prefetched bytes and, if the
            call ran elsewhere than on the twin, a callable that runs the op there.
        separate: prepares the same work with torch_npu's own ops, see bench/torch_npu_ops.py; None
            if they cannot do it.
        torch: prepares the same mathematics in eager torch float32 and returns a function that runs
            it.
        prefetched: the tensors that cores may prefetch, by their names in the launch.
        floor_bytes: bytes that HBM has to deliver: each weight and input once. Results stay in L2.
        products: the weights of the matrix products, whose every element is used once per token.
        rounding: relative error of the layers of a checkpoint that were quantised for this run.
    """

    op: Callable[..., Any]
    arguments: Mapping[str, Any]
    check: Callable[..., Check]
    separate: SeparateForm | None
    torch: Callable[[], Callable[[], object]]
    prefetched: Sequence[str]
    floor_bytes: int
    products: Sequence[Linear]
    rounding: Mapping[str, float] = field(default_factory=dict)

    def run(self, **options: Any) -> Any:
        """Calls the op; `options` replace arguments."""
        return self.op(**{**self.arguments, **options})


class Compared(NamedTuple):
    """A result and its float64 value, and whether it was rounded only once, so that ulps apply."""

    actual: torch.Tensor
    expected: torch.Tensor
    rounded_once: bool = False


def run_case(op: str, config: BenchConfig, case: BenchCase) -> BenchResult:
    """Runs, checks and times a case on the twin; keys as in the command-line contract.

    `twin.torch_wall_s` is measured in this process. `peak_rss_mb` is the peak of the whole process,
    including the inputs, the reference and torch's copies.
    """
    chip = find_timed_chip(config.soc)
    with twin.chip(chip.soc):
        with poisoned_empty(), twin.tracing() as traces, twin.watching_sdma() as ranges:
            results = case.run()
        # The twin runs no kernel where the SDMA engine does all of it.
        account = (
            twin.account_prefetch(traces[0], case.prefetched)
            if traces
            else twin.account_sdma(ranges)
        )
        check = case.check(results, account)
        del results
        wall_s = median_seconds(case.run, config.repeats)
        modelled = _model(case, chip, config)
    with torch.inference_mode():
        torch_wall_s = median_seconds(case.torch(), config.repeats)
    return {
        "op": op,
        **config.facts(),
        **({} if case.products else {"engine": config.engine}),
        "check": check,
        **({"requantised": dict(case.rounding)} if case.rounding else {}),
        "twin": {
            "wall_s": wall_s,
            "torch_wall_s": torch_wall_s,
            "ratio": wall_s / torch_wall_s,
            "peak_rss_mb": peak_rss_mb(),
        },
        "modelled_us": {
            "floor": floor_us(case.floor_bytes, case.products, config.tokens, chip),
            **modelled.us,
        },
        "bytes": {
            "floor": case.floor_bytes,
            "hbm_read": modelled.hbm_read,
            "l2_hit": modelled.l2_hit,
        },
        "prefetch": dict(account),
    }


def checked_dimensions(config: BenchConfig) -> ModelDimensions:
    """The dimensions of the model that a configuration names.

    Raises:
        ValueError: the model, chip, quantisation or layout is unknown, or tp or the number of
            tokens does not fit.
    """
    find_timed_chip(config.soc)
    check_tokens("tokens", config.tokens)
    dims = get_model(config.model)
    if dims.qk_rope_head_dim != ROPE_DIM:
        raise ValueError(
            f"{dims.source}: key 'qk_rope_head_dim' of {dims.name}: expected {ROPE_DIM}, the size "
            f"of the ops' rope part, got {dims.qk_rope_head_dim}: no op takes this model"
        )
    shapes = [*mla_weight_shapes(dims, config.tp).values()]
    if dims.indexer is not None:
        shapes += indexer_weight_shapes(dims).values()
    nbytes = sum(2 * math.prod(shape) for shape in shapes)
    if nbytes > MAX_WEIGHT_BYTES:
        raise ValueError(
            f"{dims.source}: expected attention weights of at most {MAX_WEIGHT_BYTES} bytes on a "
            f"rank, got {shown(nbytes)}"
        )
    for name, known in (("quant", QUANTS), ("weights", LAYOUTS), ("dtype", tuple(DTYPES))):
        value = getattr(config, name)
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    return dims


def check_tokens(name: str, tokens: int) -> None:
    """Raises ValueError unless the ops accept this number of tokens, before inputs are made."""
    if not 1 <= tokens <= MAX_TOKENS:
        raise ValueError(f"{name}: expected 1 to {MAX_TOKENS}, got {shown(tokens)}")


def judge(compared: Sequence[Compared], config: BenchConfig, sound: bool = True) -> Check:
    """Compares results with their float64 values.

    Args:
        compared: the results. With quantisation, those rounded once are measured in ulps as well.
        config: gives dtype and quantisation.
        sound: False if the op changed something that it must not change.

    Returns:
        max_rel_err, tolerance and ok; with quantisation also max_ulp and ulp_tolerance, if any
        result was rounded only once. Errors are infinite if `sound` is False.
    """
    tolerance = TOLERANCES[config.dtype]
    error = max(reference.relative_error(result.actual, result.expected) for result in compared)
    check: Check = {"max_rel_err": error if sound else math.inf, "tolerance": tolerance}
    ok = check["max_rel_err"] <= tolerance
    once = [result for result in compared if result.rounded_once and result.actual.numel()]
    if once and config.quant != "none":
        check["max_ulp"] = max(
            reference.ulp_distance(result.actual, result.expected).max().item() for result in once
        )
        check["ulp_tolerance"] = ULP_TOLERANCES[config.dtype]
        ok = ok and check["max_ulp"] <= check["ulp_tolerance"]
    return {**check, "ok": ok}


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of `repeats` calls, after one warm-up call."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_rss_mb() -> float:
    """Peak resident set of this process so far, in MB (10^6 bytes)."""
    # getrusage will not do: its maximum includes the process that this one was forked from.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]
    return int(kilobytes) * 1024 / 1e6


@contextmanager
def poisoned_empty() -> Iterator[None]:
    """torch.empty returns NaN (and 255 for integers) inside the block."""
    before = torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = filled


def floor_us(
    floor_bytes: int, products: Sequence[Linear], tokens: int, chip: TimedChip
) -> dict[str, float] | None:
    """Modelled lower bound: the time to read all bytes at the chip's best HBM rate, or the time of
    the products at the cubes' peak rate, whichever is longer.

    It includes neither launch nor latency. The result is None for chips without a published HBM
    rate.
    """
    if not chip.modelled:
        return None
    memory_us = floor_bytes / chip.timeline("low").hbm_rate
    # int8 products run at twice the rate of 16-bit ones, so they take half as many slots.
    slots = sum(stored_weight(layer).nbytes / 2 for layer in products)
    info = twin.find_chip(chip.soc)
    rate = info["aic_count"] * _C.constants()["cube_macs"]["value"] * info["clock_mhz"]
    us = max(memory_us, tokens * slots / rate)
    return dict.fromkeys(LEVELS, us)


def _model(case: BenchCase, chip: TimedChip, config: BenchConfig) -> Modelled:
    if not chip.modelled:
        return Modelled(dict.fromkeys(MODELLED_KEYS[1:]), None, None)
    if not case.products:
        return model_warming(case.run, chip, config.launch_us)
    forms = op_forms(functools.partial(dry_kernels, case.run))
    modelled = model_op(forms, chip, config.launch_us)
    if config.l2_state == "warm":
        modelled.us["fused_warm"] = warm_us(forms["fused"], chip, config.launch_us)
    return modelled
