"""One decoder layer's attention part, modelled with and without prefetching.

A layer is the prolog, attention, o_proj and, where there are experts, their bytes. Attention and
experts are somebody else's kernels: each stands for its bytes, read once at the best rate. Layers
follow each other, so what one leaves in L2 the next one finds; the second of two is timed.
All-reduces, norms between the parts and the host are left out, alike in every form.
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
from ascend_prefetch.lab.timing.sequence import CmoPrefetch, Kernel, Reader, Step, replay
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.models import ModelDimensions, get_model
from ascend_prefetch.planning import Decision
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
"""What is compared, besides the floor; cmo_duplicate exists with static W8A8 only."""

MOST_READ_BYTES = 1 << 32
"""Of the caches, and of the experts, that a layer reads: 4 of a die's 64 GB, which hold all layers.

Modelling takes as long as there are bytes, about a minute for these."""

TwoLayers = tuple[list[Step], list[Step]]

# Where black boxes pretend to lie: apart from every tensor, a layer each.
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
        moe_bytes: expert weights that are read after o_proj, bytes; 0 for none.
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
        """The keys of a report that say which layer it is about: all but launch_us."""
        keys = dataclasses.asdict(self)
        del keys["launch_us"]
        return keys


def check_layer(config: LayerConfig) -> None:
    """Before any work, which takes as long as there are bytes to read.

    Raises:
        ValueError: caches or experts of more than MOST_READ_BYTES, or less than there can be.
    """
    dims = get_model(config.model)
    check_tokens("batch", config.batch)
    if config.kv_len < 1:
        raise ValueError(f"kv-len: expected 1 or more, got {config.kv_len}")
    cached = sum(reader.nbytes for reader in attention_readers(config, dims, 0))
    if cached > MOST_READ_BYTES:
        raise ValueError(
            f"kv-len: expected caches of at most {MOST_READ_BYTES} bytes that attention reads, got "
            f"{shown(cached)} of {config.batch} sequences of {shown(config.kv_len)} tokens"
        )
    if not 0 <= config.moe_bytes <= MOST_READ_BYTES:
        raise ValueError(
            f"moe-bytes: expected 0 to {MOST_READ_BYTES} bytes that experts read, "
            f"got {shown(config.moe_bytes)}"
        )


class Layer:
    """One of several layers in a row.

    Attributes:
        ops: its prolog and o_proj.
        attention: attention kernels between the two.
        experts: readers after them.
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
    """The ops of two layers in a row, which several configurations of a layer can share.

    Attributes:
        first, second: the second one's qkv_a may be prefetched by the first.
    """

    def __init__(self, config: BenchConfig) -> None:
        """Raises ValueError for a configuration that makes no sense."""
        self.second = LayerOps(config)
        self.first = LayerOps(config, stored_weight(self.second.weights.qkv_a))


def attention_readers(config: LayerConfig, dims: ModelDimensions, number: int) -> list[Reader]:
    """The attention kernels of a layer: what they read of the caches, in 16-bit elements.

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
    """The kernel that reads the expert weights of a layer, where there are any."""
    if not config.moe_bytes:
        return []
    return [Reader("experts", _EXPERT_ADDRESS + number * _LAYER_STRIDE, config.moe_bytes)]


def model_layer(config: LayerConfig, layer_ops: TwoLayerOps | None = None) -> dict[str, Any]:
    """Models a layer in all forms; keys as in the command-line contract.

    Args:
        config: the layer.
        layer_ops: made for config.bench(); of its own without.

    Raises:
        ValueError: a configuration that makes no sense, or a chip that is not modelled.
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
    """What a form brings into L2 in how much idle time, and what that saves, us.

    A byte in L2 saves what HBM takes for it, 1 / 1.49 us per MB and 6 % more with ND2NZ loads, as
    long as others still read HBM while it is read out of L2; else 1 / 5.96 us per MB less.
    """
    nbytes = sum(decision.bytes for decision in decisions)
    return {
        "bytes": nbytes,
        "idle_us": sum(decision.idle_us for decision in decisions if decision.bytes),
        "saved_us": {level: without[level] - with_it[level] for level in LEVELS},
    }


def _second_layer(layers: TwoLayers, chip: TimedChip, launch_us: float | None) -> Times:
    """How long the second of two layers takes, by level; L2 is cold before the first one."""
    times = {}
    for level in LEVELS:
        line = timeline(chip, level, launch_us)
        replay(line, layers[0])
        start = line.now
        replay(line, layers[1])
        times[level] = line.now - start
    return times


class LayerForms:
    """Two layers in a row, in every form: a method for each of FORMS."""

    def __init__(self, config: LayerConfig, chip: TimedChip, layer_ops: TwoLayerOps) -> None:
        self.config = config
        self.chip = chip
        self.first = Layer(config, 0, layer_ops.first)
        self.second = Layer(config, 1, layer_ops.second)
        # What is prefetched by the second layer, by form.
        self.decisions: dict[str, list[Decision]] = {}

    def none(self) -> TwoLayers:
        """Separate kernels."""
        return self._separate(list)

    def cmo_once(self) -> TwoLayers:
        """Separate kernels with CMO prefetches as vLLM Ascend had them."""
        return self._separate(upstream_cmo)

    def cmo_duplicate(self) -> TwoLayers:
        """Likewise, with o_proj asked for twice."""
        return self._separate(functools.partial(upstream_cmo, duplicate=True))

    def cmo_best(self) -> TwoLayers:
        """Fused kernels; CMO alone, sized and anchored by the planner."""
        return self._fused("cmo_best", in_kernel=False, sdma=True)

    def fused_no_prefetch(self) -> TwoLayers:
        """Fused kernels alone."""
        return self._fused("", in_kernel=False, sdma=False)

    def in_kernel(self) -> TwoLayers:
        """Fused kernels with their own prefetches."""
        return self._fused("in_kernel", in_kernel=True, sdma=False)

    def planned(self) -> TwoLayers:
        """Both engines, each in the windows that fit it."""
        return self._fused("planned", in_kernel=True, sdma=True)

    def _separate(self, cmo: Callable[[list[Kernel]], list[Step]]) -> TwoLayers:
        def steps(layer: Layer) -> list[Step]:
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
    ) -> list[Step]:
        prolog, o_proj = layer.ops.prolog, layer.ops.o_proj
        o_proj_weight = stored_weight(layer.ops.weights.o_proj)
        before_o_proj = _Stage(prolog, "o_proj", o_proj_weight, layer.attention, "before o_proj")
        before_prolog = _Stage(
            o_proj, "qkv_a", layer.ops.next_qkv_a, layer.experts, "before the next prolog"
        )
        steps: list[Step] = []
        for stage in (before_o_proj, before_prolog):
            steps += self._stage_steps(stage, in_kernel, sdma, decisions)
        return steps

    def _stage_steps(
        self, stage: _Stage, in_kernel: bool, sdma: bool, decisions: list[Decision]
    ) -> list[Step]:
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
        steps: list[Step] = [kernel]
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
        """Offset and bytes of what SDMA brings before each reader and behind the last one."""
        # Between two kernels HBM idles while the second one is launched and starts: as long as in
        # the best case, or the reader would have to wait for SDMA.
        idle_us = timeline(self.chip, "low", self.config.launch_us).launch_us
        passing = sum(reader.nbytes for reader in stage.readers)
        windows = []
        for reader in stage.readers:
            windows.append((f"before {reader.name}", idle_us, passing))
            passing -= reader.nbytes
        windows.append((stage.last_window, idle_us, 0))
        pieces = _C.plan_sdma(
            self.chip.soc,
            stage.weight_name,
            stage.weight.nbytes,
            warmed,
            windows,
            self.chip.constants.get("nominal", {}),
        )
        decisions.extend(
            Decision(stage.weight_name, "SDMA", window, idle_us, nbytes, reason)
            for (window, *_), (_, nbytes, reason) in zip(windows, pieces, strict=True)
        )
        return [(offset, nbytes) for offset, nbytes, _ in pieces]


class _Stage(NamedTuple):
    """An op, and what follows until the kernel that uses the weight which the op may prefetch.

    Attributes:
        op: launches one kernel.
        weight_name, weight: what it may prefetch.
        readers: kernels that follow it.
        last_window: name of the window behind them.
    """

    op: DryOp
    weight_name: str
    weight: torch.Tensor
    readers: list[Reader]
    last_window: str
