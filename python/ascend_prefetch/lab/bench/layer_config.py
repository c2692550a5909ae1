"""One layer of a model as it is served: its configuration and what of it is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

from ascend_prefetch.lab.bench.common import BenchConfig, check_tokens
from ascend_prefetch.lab.bench.layer_parts import (
    attention_readers,
    expert_bytes,
    feed_forward_parts,
)
from ascend_prefetch.models import get_experts, get_model
from ascend_prefetch.shown import shown
from ascend_prefetch.windows import KnownWindow, WindowFile

KINDS = ("dense", "moe")
"""What follows the attention: an MLP, or experts."""

PUBLISHED_WINDOWS = "published"
"""LayerConfig.windows for the published lengths."""

MAX_READ_BYTES = 1 << 32
"""Maximum bytes of caches, and of experts, that a layer reads: 4 of a die's 64 GB, which hold all
layers.

The time of modelling is proportional to the bytes, and about a minute for this maximum."""


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """One layer of a model.

    Attributes:
        model, tp, dtype, weights, quant, soc, launch_us: as in BenchConfig.
        batch: sequences of one data-parallel rank, one token each.
        kv_len: cached tokens of each sequence.
        moe_bytes: bytes of expert weights that are read after o_proj; 0 for none in a dense layer,
            for the expected ones in a MoE layer.
        kind: one of KINDS.
        dp: data-parallel degree (ranks with other sequences).
        ep: ranks of expert parallelism, tp x dp; None for that. It says nothing of a dense layer.
        windows: lengths of collectives and attention: PUBLISHED_WINDOWS, a file of the user's, or
            None to leave out collectives and attention's idle time: the attention part alone.
        prefetch_experts: whether experts are fetched during dispatch, which helps only where
            grouped products read them through L2.
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
    kind: str = "dense"
    dp: int = 1
    ep: int | None = None
    windows: str | WindowFile | None = None
    prefetch_experts: bool = False

    @property
    def ranks(self) -> int:
        """Ranks over which the experts are spread."""
        return self.tp * self.dp

    @property
    def weight_bytes(self) -> int:
        """Bytes of an element of the feed-forward weights."""
        return 2 if self.quant == "none" else 1

    def length_of(self, window: KnownWindow) -> KnownWindow:
        """A window with its published length, or that of the user's file.

        Raises:
            ValueError: the file does not have it.
        """
        if isinstance(self.windows, WindowFile):
            return self.windows.measured(window)
        return window

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
        """The keys of a report that identify the attention part."""
        keys = dataclasses.asdict(self)
        for name in ("launch_us", "kind", "dp", "ep", "windows", "prefetch_experts"):
            del keys[name]
        return keys

    def reported_layer(self) -> dict[str, Any]:
        """The keys of a report that identify the layer: all but launch_us."""
        lengths = self.windows.name if isinstance(self.windows, WindowFile) else self.windows
        return {
            **self.reported(),
            "kind": self.kind,
            "dp": self.dp,
            "ep": self.ranks if self.kind == "moe" else self.ep,
            "window_lengths": lengths or "none",
            "prefetch_experts": self.prefetch_experts,
        }


def check_layer(config: LayerConfig) -> None:
    """Checks a layer before any work, whose time is proportional to the bytes that are read.

    Raises:
        ValueError: caches, experts or an MLP have more than MAX_READ_BYTES, a size is impossible,
            or the degrees of parallelism contradict each other.
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
    if config.kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {shown(config.kind)}")
    if config.dp < 1:
        raise ValueError(f"dp: expected 1 or more, got {config.dp}")
    if config.kind == "moe":
        _check_experts(config)
    parts = feed_forward_parts(config, dims, 0)
    nbytes = sum(read.nbytes for part in parts for read in part.reads)
    if nbytes > MAX_READ_BYTES:
        raise ValueError(
            f"model: expected a feed-forward network of at most {MAX_READ_BYTES} bytes that a rank "
            f"reads, got {shown(nbytes)} of {config.model}"
        )


def _check_experts(config: LayerConfig) -> None:
    experts = get_experts(config.model)
    if config.ep is not None and config.ep != config.ranks:
        raise ValueError(
            f"ep: expected tp x dp = {config.tp} x {config.dp} = {config.ranks} for a moe layer, "
            f"got {config.ep}"
        )
    if config.ranks > experts.count:
        raise ValueError(
            f"ep: expected at most the {experts.count} experts of {config.model}, "
            f"got {config.ranks}"
        )
    nbytes = expert_bytes(config, get_model(config.model))
    if nbytes > MAX_READ_BYTES:
        raise ValueError(
            f"ep: expected experts of at most {MAX_READ_BYTES} bytes that a rank reads, got "
            f"{nbytes} on {config.ranks} ranks"
        )
