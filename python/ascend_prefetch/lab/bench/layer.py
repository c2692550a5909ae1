"""One decoder layer's attention part, modelled with and without prefetching.

A layer consists of the prolog, attention, o_proj and, if the model has them, experts. Attention and
experts are other projects' kernels, modelled as one read of their bytes at the best rate. Two
layers run in sequence, so that the second finds in L2 what the first left there; the second is
timed. All-reduces, norms between the parts and the host are left out in every form.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ascend_prefetch import _C
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import BenchConfig, check_tokens
from ascend_prefetch.lab.bench.inputs import total_bytes
from ascend_prefetch.lab.bench.layer_ops import DryOp, LayerOps
from ascend_prefetch.lab.bench.modelled import Times, timeline
from ascend_prefetch.lab.bench.upstream import upstream_cmo
from ascend_prefetch.lab.timing import LEVELS, TimedChip, find_timed_chip
from ascend_prefetch.lab.timing.sequence import (
    CmoPrefetch,
    Reader,
    SequenceStep,
    TracedKernel,
    replay,
)
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.models import ModelDimensions, get_model
from ascend_prefetch.planning import Decision, Window
from ascend_prefetch.shown import shown

FORMS = (
    "none",
    "cmo_once",
    "cmo_duplicate",
    "cmo_best",
    "fused_no_prefetch",
    "in_kernel",
    "planned",
)
"""The forms that are compared, besides the floor; cmo_duplicate exists for static W8A8 only."""

MAX_READ_BYTES = 1 << 32
"""Maximum bytes of caches, and of experts, that a layer reads: 4 of a die's 64 GB, which hold all
layers.

The time of modelling is proportional to the bytes, and about a minute for this maximum."""

TwoLayers = tuple[list[SequenceStep], list[SequenceStep]]

# Addresses of what attention and experts read: outside every tensor, a range for each layer.
_CACHE_ADDRESS = 1 << 50
_EXPERT_ADDRESS = 1 << 51
_LAYER_STRIDE = 1 << 44
_ELEMENT_BYTES = 2


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """One layer of a model.

    Attributes:
        model, tp, dtype, weights, quant, soc, launch_us: as in BenchConfig.
        batch: sequences, one token each.
        kv_len: cached tokens of each sequence.
        moe_bytes: bytes of expert weights that are read after o_proj; 0 for none.
    """

    model: str
    tp: int = 1
    batch: int = 16
    kv_len: int = 4096
    dtype: str = "bf16"
    weights: str = "nd"
    quant: str = "none"
    soc: str = "Ascend910_9391"
    launch_us: float | None = None
    moe_bytes: int = 0

    def bench(self) -> BenchConfig:
        """The configuration of its ops."""
        return BenchConfig(
            model=self.model,
            tp=self.tp,
            tokens=self.batch,
            dtype=self.dtype,
            weights=self.weights,
            quant=self.quant,
            soc=self.soc,
            launch_us=self.launch_us,
        )

    def reported(self) -> dict[str, Any]:
        """The keys of a report that identify the layer: all but launch_us."""
        keys = dataclasses.asdict(self)
        del keys["launch_us"]
        return keys


def check_layer(config: LayerConfig) -> None:
    """Checks a layer before any work, whose time is proportional to the bytes that are read.

    Raises:
        ValueError: caches or experts have more than MAX_READ_BYTES, or an impossible size.
    """
    dims = get_model(config.model)
    check_tokens("batch", config.batch)
    if config.kv_len < 1:
        raise ValueError(f"kv-len: expected 1 or more, got {config.kv_len}")
    cached = sum(reader.nbytes for reader in attention_readers(config, dims, 0))
    if cached > MAX_READ_BYTES:
        raise ValueError(
            f"kv-len: expected caches of at most {MAX_READ_BYTES} bytes that attention reads, got "
            f"{shown(cached)} of {config.batch} sequences of {shown(config.kv_len)} tokens"
        )
    if not 0 <= config.moe_bytes <= MAX_READ_BYTES:
        raise ValueError(
            f"moe-bytes: expected 0 to {MAX_READ_BYTES} bytes that experts read, "
            f"got {shown(config.moe_bytes)}"
        )


class Layer:
    """One of several layers in a row.

    Attributes:
        ops: its prolog and o_proj.
        attention: attention kernels between the two.
        experts: kernels of the experts, after o_proj.
        floor_bytes: bytes that HBM has to deliver, each once. What attention writes stays in L2.
    """

    def __init__(self, config: LayerConfig, number: int, layer_ops: LayerOps) -> None:
        self.ops = layer_ops
        self.attention = attention_readers(config, layer_ops.dims, number)
        self.experts = expert_readers(config, number)
        weights = layer_ops.weights
        self.floor_bytes = layer_ops.prolog.floor_bytes
        self.floor_bytes += total_bytes([weights.w_uv, weights.o_proj])
        self.floor_bytes += sum(reader.nbytes for reader in self.attention + self.experts)


class TwoLayerOps:
    """The ops of two layers in sequence, which several configurations of a layer can share.

    Attributes:
        first, second: the ops of each layer; the first may prefetch the second's qkv_a.
    """

    def __init__(self, config: BenchConfig) -> None:
        """Raises ValueError for an invalid configuration."""
        self.second = LayerOps(config)
        self.first = LayerOps(config, stored_weight(self.second.weights.qkv_a))


def attention_readers(config: LayerConfig, dims: ModelDimensions, number: int) -> list[Reader]:
    """The attention kernels of a layer, as reads of the caches, which hold 16-bit elements.

    Sparse attention reads every indexer key and then at most top_k rows of each sequence.
    """
    row = (dims.kv_lora_rank + dims.qk_rope_head_dim) * _ELEMENT_BYTES
    address = _CACHE_ADDRESS + number * _LAYER_STRIDE
    if dims.indexer is None:
        return [Reader("attention", address, config.batch * config.kv_len * row)]
    keys = config.batch * config.kv_len * dims.indexer.head_dim * _ELEMENT_BYTES
    rows = config.batch * min(config.kv_len, dims.indexer.top_k)
    return [
        Reader("indexer", address, keys),
        Reader("attention", address + _LAYER_STRIDE // 2, rows * row),
    ]


def expert_readers(config: LayerConfig, number: int) -> list[Reader]:
    """The kernel that reads the expert weights of a layer; empty without experts."""
    if not config.moe_bytes:
        return []
    return [Reader("experts", _EXPERT_ADDRESS + number * _LAYER_STRIDE, config.moe_bytes)]


def model_layer(config: LayerConfig, layer_ops: TwoLayerOps | None = None) -> dict[str, Any]:
    """Models a layer in all forms; keys as in the command-line contract.

    Args:
        config: the layer.
        layer_ops: ops that were made for config.bench(); by default new ones.

    Raises:
        ValueError: the configuration is invalid, or the chip is not modelled.
    """
    if layer_ops is not None and layer_ops.first.config != config.bench():
        raise ValueError(
            f"layer_ops: expected those of {config.bench()}, got those of {layer_ops.first.config}"
        )
    check_layer(config)
    chip = find_timed_chip(config.soc)
    chip.timeline("nominal")  # refuses chips without a published HBM rate
    with twin.chip(chip.soc):
        forms = LayerForms(config, chip, layer_ops or TwoLayerOps(config.bench()))
        steps = {
            name: getattr(forms, name)()
            for name in FORMS
            if name != "cmo_duplicate" or config.quant == "w8a8"
        }
    times = {name: _second_layer(two, chip, config.launch_us) for name, two in steps.items()}
    floor = forms.first.floor_bytes / chip.timeline("low").hbm_rate
    us: dict[str, Times] = {**times, "floor": dict.fromkeys(LEVELS, floor)}
    return {
        **config.reported(),
        "modelled_us": us,
        "gain_pct": {
            name: {level: 100 * (1 - times[name][level] / times["none"][level]) for level in LEVELS}
            for name in times
            if name != "none"
        },
        "prefetch": {
            name: _prefetch_gain(decisions, times["fused_no_prefetch"], times[name])
            for name, decisions in forms.decisions.items()
        },
        "plan": [decision._asdict() for decision in forms.decisions["planned"]],
    }


def _prefetch_gain(decisions: list[Decision], without: Times, with_it: Times) -> dict[str, Any]:
    """The bytes that a form prefetches into L2, the idle time that it uses, and the us it saves.

    A prefetched byte saves its HBM time, 1 / 1.49 us per MB and 6 % more with ND2NZ loads, as long
    as other loads keep HBM busy while the byte is read from L2; otherwise it saves the time of the
    read from L2, 1 / 5.96 us per MB, less.
    """
    nbytes = sum(decision.bytes for decision in decisions)
    return {
        "bytes": nbytes,
        "idle_us": sum(decision.idle_us for decision in decisions if decision.bytes),
        "saved_us": {level: without[level] - with_it[level] for level in LEVELS},
    }


def _second_layer(layers: TwoLayers, chip: TimedChip, launch_us: float | None) -> Times:
    """The time of the second of two layers, us, by level; L2 is cold before the first one."""
    times = {}
    for level in LEVELS:
        line = timeline(chip, level, launch_us)
        replay(line, layers[0])
        start = line.now
        replay(line, layers[1])
        times[level] = line.now - start
    return times


class LayerForms:
    """Two layers in sequence, with a method for each of FORMS."""

    def __init__(self, config: LayerConfig, chip: TimedChip, layer_ops: TwoLayerOps) -> None:
        self.config = config
        self.chip = chip
        self.first = Layer(config, 0, layer_ops.first)
        self.second = Layer(config, 1, layer_ops.second)
        # The planner's decisions for the second layer, by form.
        self.decisions: dict[str, list[Decision]] = {}

    def none(self) -> TwoLayers:
        """Separate kernels without prefetches."""
        return self._separate(list)

    def cmo_once(self) -> TwoLayers:
        """Separate kernels with CMO prefetches as vLLM Ascend had them."""
        return self._separate(upstream_cmo)

    def cmo_duplicate(self) -> TwoLayers:
        """The same as cmo_once, with o_proj prefetched twice."""
        return self._separate(functools.partial(upstream_cmo, duplicate=True))

    def cmo_best(self) -> TwoLayers:
        """Fused kernels with CMO prefetches alone, whose size and place the planner chooses."""
        return self._fused("cmo_best", in_kernel=False, sdma=True)

    def fused_no_prefetch(self) -> TwoLayers:
        """Fused kernels without prefetches."""
        return self._fused("", in_kernel=False, sdma=False)

    def in_kernel(self) -> TwoLayers:
        """Fused kernels with their own prefetches."""
        return self._fused("in_kernel", in_kernel=True, sdma=False)

    def planned(self) -> TwoLayers:
        """Fused kernels with both engines, each in the windows that suit it."""
        return self._fused("planned", in_kernel=True, sdma=True)

    def _separate(self, cmo: Callable[[list[TracedKernel]], list[SequenceStep]]) -> TwoLayers:
        def steps(layer: Layer) -> list[SequenceStep]:
            return [
                *cmo(layer.ops.prolog.kernels(separate=True)),
                *layer.attention,
                *cmo(layer.ops.o_proj.kernels(separate=True)),
                *layer.experts,
            ]

        return steps(self.first), steps(self.second)

    def _fused(self, form: str, in_kernel: bool, sdma: bool) -> TwoLayers:
        decisions: list[Decision] = []
        if form:
            self.decisions[form] = decisions
        return (
            self._fused_layer(self.first, in_kernel, sdma, []),
            self._fused_layer(self.second, in_kernel, sdma, decisions),
        )

    def _fused_layer(
        self, layer: Layer, in_kernel: bool, sdma: bool, decisions: list[Decision]
    ) -> list[SequenceStep]:
        prolog, o_proj = layer.ops.prolog, layer.ops.o_proj
        o_proj_weight = stored_weight(layer.ops.weights.o_proj)
        before_o_proj = _Stage(prolog, "o_proj", o_proj_weight, layer.attention, "before o_proj")
        before_prolog = _Stage(
            o_proj, "qkv_a", layer.ops.next_qkv_a, layer.experts, "before the next prolog"
        )
        steps: list[SequenceStep] = []
        for stage in (before_o_proj, before_prolog):
            steps += self._stage_steps(stage, in_kernel, sdma, decisions)
        return steps

    def _stage_steps(
        self, stage: _Stage, in_kernel: bool, sdma: bool, decisions: list[Decision]
    ) -> list[SequenceStep]:
        passing = sum(reader.nbytes for reader in stage.readers)
        options = {"prefetch_passing_bytes": [passing]} if in_kernel else {"prefetch_bytes": 0}
        (kernel,) = stage.op.kernels(**options)
        warmed = 0
        if in_kernel:
            for decision in stage.op.plan(**options).decisions:
                window = f"{stage.op.name}, {decision.window}"
                decisions.append(decision._replace(weight=stage.weight_name, window=window))
                warmed += decision.bytes
        if not sdma:
            return [kernel, *stage.readers]
        steps: list[SequenceStep] = [kernel]
        pieces = self._plan_sdma(stage, warmed, decisions)
        for (offset, nbytes), reader in zip(pieces, [*stage.readers, None], strict=True):
            if nbytes:
                weight = stage.weight
                steps.append(CmoPrefetch(weight.data_ptr(), weight.nbytes, offset, nbytes))
            if reader is not None:
                steps.append(reader)
        return steps

    def _plan_sdma(
        self, stage: _Stage, warmed: int, decisions: list[Decision]
    ) -> list[tuple[int, int]]:
        """(offset, bytes) that SDMA loads before each reader and after the last one."""
        # Between two kernels HBM idles while the second is launched and starts. The shortest such
        # time is assumed, as the reader would otherwise have to wait for SDMA.
        idle_us = timeline(self.chip, "low", self.config.launch_us).launch_us
        passing = sum(reader.nbytes for reader in stage.readers)
        windows = []
        for reader in stage.readers:
            windows.append(_launch_gap(f"before {reader.name}", reader.name, idle_us, passing))
            passing -= reader.nbytes
        windows.append(_launch_gap(stage.last_window, stage.weight_name, idle_us, 0))
        pieces = _C.plan_sdma(
            self.chip.soc,
            stage.weight_name,
            stage.weight.nbytes,
            warmed,
            windows,
            self.chip.constants.get("nominal", {}),
        )
        decisions.extend(
            Decision(stage.weight_name, "SDMA", window.name, idle_us, nbytes, reason)
            for window, (_, nbytes, reason) in zip(windows, pieces, strict=True)
        )
        return [(offset, nbytes) for offset, nbytes, _ in pieces]


def _launch_gap(name: str, before: str, idle_us: float, passing_bytes: int) -> Window:
    """The window in which a kernel is launched: it leaves all cores, and so HBM, idle."""
    return Window(
        name,
        (idle_us, idle_us, idle_us),
        passing_bytes,
        begins="the kernel before it",
        ends=before,
        vector_cores=True,
        cube_cores=True,
    )


class _Stage(NamedTuple):
    """An op, and the kernels after it up to the one that uses the weight which the op may prefetch.

    Attributes:
        op: the op, which launches one kernel.
        weight_name, weight: the weight that it may prefetch.
        readers: the kernels that follow it.
        last_window: name of the window after them.
    """

    op: DryOp
    weight_name: str
    weight: torch.Tensor
    readers: list[Reader]
    last_window: str
