"""Our prolog beside those of others: the same sizes, tokens and constants, in the same model.

A rival's modelled time says what its structure (bytes, launches, hand-overs, tiles) costs. What was
measured of it, over what the model says, is by how much the model errs on such a kernel. Nothing
was measured of ours: the same factor on it says how long it would take if the model erred alike.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.timing import LEVELS, TimedChip
from ascend_prefetch.lab.timing.sequence import TracedKernel, replay
from ascend_prefetch.models import ModelDimensions, get_model
from ascend_prefetch.windows import published

from . import mla_preprocess, mla_prolog_v3
from .shapes import PrologShape

if TYPE_CHECKING:
    from ascend_prefetch.lab.bench.layer_config import LayerConfig
    from ascend_prefetch.lab.bench.layer_ops import LayerOps

Times = dict[str, float]

_KV_LORA, _ROPE = 512, 64
_PUBLISHED_MODEL, _PUBLISHED_TP, _PUBLISHED_SOC = "glm-5", 4, "Ascend910_9391"
PUBLISHED_AT = (
    f"{_PUBLISHED_MODEL} W8A8 TP{_PUBLISHED_TP} on {_PUBLISHED_SOC}: {published.MLAPO.short} to "
    f"{published.MLAPO.long} us over {published.MLAPO_CALLS:,} calls (AICG)"
)


class Rival(NamedTuple):
    """A fused prolog of others, at the sizes of a layer.

    Attributes:
        name: the op.
        kernels: its launches; None where it cannot run.
        why_not: why it cannot run, or "".
        hand_overs: how often one kind of cores waits for the other, or all cores for each other.
        weight_bytes: bytes of its weights.
    """

    name: str
    kernels: list[TracedKernel] | None
    why_not: str = ""
    hand_overs: int = 0
    weight_bytes: int = 0


def mlapo(config: LayerConfig, dims: ModelDimensions, soc: str, layer: int = 0) -> Rival:
    """mla_preprocess of vLLM Ascend."""
    name = mla_preprocess.NAME
    why_not = _why_no_mlapo(config, dims)
    if why_not:
        return Rival(name, None, why_not)
    shape = _shape(config, dims, layer)
    cubes, vectors = _cores(soc)
    dynamic = config.quant == "w8a8_dynamic"
    trace = mla_preprocess.mla_preprocess(shape, soc, cubes, vectors, dynamic)
    hand_overs = mla_preprocess.hand_overs(shape.int8)
    return Rival(name, [TracedKernel(trace)], "", hand_overs, shape.weight_bytes)


def mlapo_kernels(
    config: LayerConfig, dims: ModelDimensions, soc: str, layer: int
) -> list[TracedKernel] | None:
    """The launches of mla_preprocess for a layer; None where it cannot run."""
    return mlapo(config, dims, soc, layer).kernels


def prolog_v3(config: LayerConfig, dims: ModelDimensions, soc: str) -> Rival:
    """npu_mla_prolog_v3 of CANN."""
    name = mla_prolog_v3.NAME
    why_not = _why_no_prolog_v3(config, dims)
    if why_not:
        return Rival(name, None, why_not)
    shape = _shape(config, dims, 0)
    traces = mla_prolog_v3.mla_prolog_v3(shape, soc, *_cores(soc))
    hand_overs = mla_prolog_v3.hand_overs(shape.int8)
    kernels = [TracedKernel(trace) for trace in traces]
    return Rival(name, kernels, "", hand_overs, shape.weight_bytes)


def compare(config: LayerConfig, ops: LayerOps, chip: TimedChip) -> list[dict[str, Any]]:
    """A row per rival; times are us of the prolog alone, launches included, L2 cold.

    Keys: name, why_not ("" where it can run), launches, hand_overs, weight_bytes, modelled_us,
    published_us and published_at (None where nobody published a time), measured_over_modelled,
    modelled_if_alike_us, ours_us, ours_if_alike_us. An indexer's projections, which rivals leave to
    other kernels, are separate kernels beside them and part of our op. measured_over_modelled is
    that of the nominal constants; the times `if_alike` take the ratio of their own level.

    Args:
        config: the layer.
        ops: its ops.
        chip: the chip of the model; the twin must play it.
    """
    separate = ops.prolog.kernels(separate=True)
    indexer = [kernel for kernel in separate if kernel.name.startswith("indexer_")]
    ours = _times(ops.prolog.kernels(prefetch_bytes=0), chip, config.launch_us)
    rows = []
    for rival in (mlapo(config, ops.dims, chip.soc), prolog_v3(config, ops.dims, chip.soc)):
        kernels = None if rival.kernels is None else [*rival.kernels, *indexer]
        modelled = None if kernels is None else _times(kernels, chip, config.launch_us)
        ratio: Times | None = None
        if rival.name == mla_preprocess.NAME:
            ratio = measured_over_modelled(chip, config.launch_us)
        rows.append(
            {
                "name": rival.name,
                "why_not": rival.why_not,
                "launches": None if kernels is None else len(kernels),
                "hand_overs": rival.hand_overs or None,
                "weight_bytes": rival.weight_bytes or None,
                "modelled_us": modelled,
                "published_us": published.MLAPO.nominal if ratio else None,
                "published_at": PUBLISHED_AT if ratio else None,
                "measured_over_modelled": ratio["nominal"] if ratio else None,
                "modelled_if_alike_us": _scaled(modelled, ratio),
                "ours_us": ours,
                "ours_if_alike_us": _scaled(ours, ratio),
            }
        )
    return rows


def measured_over_modelled(chip: TimedChip, launch_us: float | None) -> Times:
    """mla_preprocess as it was measured, over the model's time with the constants of each level.

    Args:
        chip: the chip whose constants take the place of the table's; the sizes and cores are those
            of the chip that was measured.
        launch_us: launch and start cost, us, that replaces the model's.
    """
    constants = {level: tuple(sorted(chip.constants.get(level, {}).items())) for level in LEVELS}
    return dict(_measured_over_modelled(tuple(constants.items()), launch_us))


@functools.cache
def _measured_over_modelled(
    constants: tuple[tuple[str, tuple[tuple[str, float], ...]], ...], launch_us: float | None
) -> Times:
    chip = TimedChip(_PUBLISHED_SOC, {level: dict(values) for level, values in constants})
    shape = PrologShape.of(
        get_model(_PUBLISHED_MODEL), _PUBLISHED_TP, published.MLAPO_TOKENS, int8=True
    )
    trace = mla_preprocess.mla_preprocess(shape, _PUBLISHED_SOC, *_cores(_PUBLISHED_SOC))
    modelled = _times([TracedKernel(trace)], chip, launch_us)
    return {level: published.MLAPO.nominal / us for level, us in modelled.items()}


def _times(kernels: list[TracedKernel], chip: TimedChip, launch_us: float | None) -> Times:
    constants = {} if launch_us is None else {"launch_us": launch_us}
    times = {}
    for level in LEVELS:
        timeline = chip.timeline(level, **constants)
        replay(timeline, kernels)
        times[level] = timeline.now
    return times


def _scaled(times: Times | None, ratio: Times | None) -> Times | None:
    if times is None or ratio is None:
        return None
    return {level: us * ratio[level] for level, us in times.items()}


def _shape(config: LayerConfig, dims: ModelDimensions, layer: int) -> PrologShape:
    return PrologShape.of(dims, config.tp, config.batch, config.quant != "none", layer)


def _cores(soc: str) -> tuple[int, int]:
    info = twin.find_chip(soc)
    return info["aic_count"], info["aiv_count"]


def _why_no_mlapo(config: LayerConfig, dims: ModelDimensions) -> str:
    """Why mla_preprocess cannot run a layer; "" where it can."""
    if dims.q_lora_rank is None:
        return "the model has no query latent"
    if (dims.kv_lora_rank, dims.qk_rope_head_dim) != (_KV_LORA, _ROPE):
        return "latent and rope other than 512 and 64 may be inaccurate by its own words"
    if config.quant == "none" and dims.indexer is not None:
        return "with 16-bit weights it does not return the query latent, which the indexer needs"
    if config.quant == "none" and config.dtype != "bf16":
        return "16-bit weights are bf16"
    if config.batch > mla_preprocess.MAX_TOKENS:
        return f"tiles of more than {mla_preprocess.MAX_TOKENS} tokens are not represented"
    return ""


def _why_no_prolog_v3(config: LayerConfig, dims: ModelDimensions) -> str:
    """Why npu_mla_prolog_v3 cannot run a layer; "" where it can."""
    if dims.q_lora_rank not in (1536, 2048):
        return "it takes query latents of 1,536 and 2,048"
    heads = dims.heads_per_rank(config.tp)
    if heads & (heads - 1) or heads > 128:
        return "it takes powers of two as heads, at most 128"
    if config.quant == "w8a8":
        return "vLLM Ascend gives it no weights with static activation scales"
    if config.dtype != "bf16":
        return "16-bit weights are bf16"
    if config.batch > mla_prolog_v3.MAX_TOKENS:
        return f"steps of more than {mla_prolog_v3.MAX_TOKENS} tokens are not represented"
    return ""
