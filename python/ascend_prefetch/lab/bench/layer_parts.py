"""The parts of a layer that are not ours: attention, collectives, feed-forward.

A part is a read of weights or caches at the best rate of HBM, or a window: a kernel of a published
or profiled length, in which some bytes pass through L2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ascend_prefetch import windows
from ascend_prefetch.lab.timing.sequence import Pause, Reader
from ascend_prefetch.models import ModelDimensions, get_experts, get_feed_forward
from ascend_prefetch.windows import KnownWindow
from ascend_prefetch.windows.published import DERIVED

if TYPE_CHECKING:
    from ascend_prefetch.lab.bench.layer_config import LayerConfig

MODELLED_SOURCE = "bytes at the model's best HBM rate, and a launch"

# Addresses of what the parts read: outside every tensor, a range for each layer.
_CACHE_ADDRESS = 1 << 50
_FEED_FORWARD_ADDRESS = 1 << 51
_LAYER_STRIDE = 1 << 44
_PART_STRIDE = 1 << 36
# Activations are in the same memory in every layer.
_ACTIVATION_ADDRESS = 1 << 53
_ELEMENT_BYTES = 2


@dataclass(frozen=True)
class Part:
    """A part of a layer.

    Attributes:
        name: what runs.
        reads: what it reads; a part that is no window reads one region.
        window: its length; None where the model computes the time of its read.
        passing: bytes that pass through L2 while it runs, where they are not those of `reads`.
    """

    name: str
    reads: tuple[Reader, ...] = ()
    window: KnownWindow | None = None
    passing: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that pass through L2 while it runs."""
        return sum(read.nbytes for read in self.reads) if self.passing is None else self.passing

    def step(self, case: str) -> Reader | Pause:
        """The part with the length of a case: short, nominal or long."""
        if self.window is None:
            (read,) = self.reads
            return read
        return Pause(self.name, getattr(self.window.us, case), self.reads)


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
    """One kernel that reads the given bytes of expert weights; empty without such."""
    if not config.moe_bytes:
        return []
    return [Reader("experts", _FEED_FORWARD_ADDRESS + number * _LAYER_STRIDE, config.moe_bytes)]


def attention_parts(
    config: LayerConfig,
    dims: ModelDimensions,
    number: int,
    hbm_share: float,
    launch_us: float = 0.0,
) -> list[Part]:
    """Attention, between the prolog and o_proj.

    Args:
        config: the layer.
        dims: dimensions of the model.
        number: number of the layer, which has a cache of its own.
        hbm_share: the chip's HBM rate relative to a 910C die's.
        launch_us: launch and start of a kernel, us.
    """
    readers = attention_readers(config, dims, number)
    if config.windows is None:
        return [Part(reader.name, (reader,)) for reader in readers]
    if dims.indexer is None:
        (cache,) = readers
        found = [windows.dense_attention(cache.nbytes, hbm_share, launch_us)]
    elif config.kv_len <= dims.indexer.top_k:
        # Nobody has published how long sparse attention takes that selects nothing.
        return [Part(reader.name, (reader,)) for reader in readers]
    else:
        found = [
            windows.indexer(config.batch, config.kv_len, launch_us),
            windows.sparse_attention(config.batch, dims.indexer.top_k, launch_us),
        ]
    return [
        Part(window.name, (reader,), config.length_of(window))
        for reader, window in zip(readers, found, strict=True)
    ]


def feed_forward_parts(config: LayerConfig, dims: ModelDimensions, number: int) -> list[Part]:
    """Everything between o_proj and the next prolog."""
    if config.windows is None:
        if config.kind == "dense" or config.moe_bytes:
            return [Part(reader.name, (reader,)) for reader in expert_readers(config, number)]
        return [part for part in _moe_parts(config, dims, number) if part.window is None]
    if config.kind == "dense":
        return list(_dense_parts(config, dims, number))
    return list(_moe_parts(config, dims, number))


def left_out(config: LayerConfig) -> list[str]:
    """Names of the parts that the layer lacks, as the model's configuration has no size of them."""
    known = get_feed_forward(config.model).intermediate_size is not None
    needed = config.kind == "dense" and config.windows is not None and not config.moe_bytes
    return ["gate_up", "down"] if needed and not known else []


def expected_experts(config: LayerConfig) -> float:
    """Expected number of a rank's routed experts that at least one token of a step chooses.

    Tokens are those of all data-parallel ranks. They choose independently and evenly (assumed):
    real routers are uneven, which activates fewer.
    """
    experts = get_experts(config.model)
    local = -(-experts.count // config.ranks)
    tokens = config.batch * config.dp
    return local * (1 - (1 - experts.top_k / experts.count) ** tokens)


def expert_bytes(config: LayerConfig, dims: ModelDimensions) -> int:
    """Bytes of the routed experts that a rank reads in a step: expected, unless given."""
    if config.moe_bytes:
        return config.moe_bytes
    size = 3 * dims.hidden_size * get_experts(config.model).intermediate_size
    return round(expected_experts(config) * size * config.weight_bytes)


class _Places:
    """Hands out the addresses of a layer's feed-forward weights, in their order."""

    def __init__(self, number: int) -> None:
        self._next = _FEED_FORWARD_ADDRESS + number * _LAYER_STRIDE

    def weight(self, name: str, nbytes: int) -> Part:
        """A part that reads a weight."""
        address = self._next
        self._next += _PART_STRIDE
        return Part(name, (Reader(name, address, max(1, nbytes)),))


def _dense_parts(config: LayerConfig, dims: ModelDimensions, number: int) -> Iterator[Part]:
    places = _Places(number)
    yield from _all_reduce(config, dims, "all_reduce")
    yield Part("norm", (), config.length_of(windows.norm(config.batch)), _rows(config, dims))
    if config.moe_bytes:
        yield places.weight("experts", config.moe_bytes)
    elif (whole := get_feed_forward(config.model).intermediate_size) is not None:
        width = -(-whole // config.tp)
        nbytes = dims.hidden_size * width * config.weight_bytes
        yield places.weight("gate_up", 2 * nbytes)
        yield places.weight("down", nbytes)
    yield from _all_reduce(config, dims, "mlp_all_reduce")


def _moe_parts(config: LayerConfig, dims: ModelDimensions, number: int) -> Iterator[Part]:
    experts = get_experts(config.model)
    places = _Places(number)
    # The gate has 16 bits and is not split (vllm-ascend; MatMulV2 of 256 x 6,144 in AICG).
    gate = dims.hidden_size * experts.count * _ELEMENT_BYTES
    rank_tokens = -(-config.batch // config.tp)
    # Rows that a rank's experts receive, from all ranks.
    received = math.ceil(config.batch * config.dp * experts.top_k / config.ranks)
    rows = received * dims.hidden_size
    # Dispatch quantises rows where activations have dynamic scales, else they have 16 bits.
    sent = rows * (1 if config.quant == "w8a8_dynamic" else _ELEMENT_BYTES)
    routed = expert_bytes(config, dims)

    yield from _all_reduce(config, dims, "all_reduce")
    yield Part("norm", (), config.length_of(windows.norm(config.batch)), _rows(config, dims))
    yield places.weight("gate", gate)
    yield Part("top_k", (), config.length_of(windows.top_k(rank_tokens)), 0)
    if experts.shared:
        width = -(-experts.shared * experts.intermediate_size // config.tp)
        nbytes = dims.hidden_size * width * config.weight_bytes
        yield places.weight("shared_gate_up", 2 * nbytes)
        yield places.weight("shared_down", nbytes)
    yield _exchange(config, "dispatch", windows.dispatch(config.ranks, rank_tokens), sent)
    yield places.weight("experts_gate_up", 2 * routed // 3)
    yield places.weight("experts_down", routed - 2 * routed // 3)
    yield _exchange(
        config, "combine", windows.combine(config.ranks, rank_tokens), rows * _ELEMENT_BYTES
    )
    if config.tp > 1:
        nbytes = rank_tokens * dims.hidden_size * _ELEMENT_BYTES
        window = config.length_of(windows.all_gather(config.tp, nbytes))
        yield Part("all_gather", (), window, _rows(config, dims))
        if experts.shared:
            # MC2 leaves the shared expert's partial sums to an all-reduce of their own
            # (vllm-ascend, ops/fused_moe/fused_moe.py).
            yield from _all_reduce(config, dims, "shared_all_reduce")


def _all_reduce(config: LayerConfig, dims: ModelDimensions, name: str) -> Iterator[Part]:
    """The all-reduce of every token's row; none on one rank."""
    if config.tp > 1:
        rows = _rows(config, dims)
        yield Part(name, (), config.length_of(windows.all_reduce(config.tp, rows)), rows)


def _exchange(config: LayerConfig, name: str, window: KnownWindow, nbytes: int) -> Part:
    read = Reader(f"{name}_rows", _ACTIVATION_ADDRESS, max(1, nbytes))
    return Part(name, (read,), config.length_of(window))


def _rows(config: LayerConfig, dims: ModelDimensions) -> int:
    """Bytes of every token's row between the parts of a layer."""
    return config.batch * dims.hidden_size * _ELEMENT_BYTES


def source_of(part: Part) -> tuple[str, str, bool]:
    """Source and class of a part's time, and whether it is extrapolated."""
    if part.window is None:
        return MODELLED_SOURCE, DERIVED, False
    return part.window.source, part.window.provenance, part.window.extrapolated
