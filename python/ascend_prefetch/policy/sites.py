"""How much of a weight fits into the time that HBM idles before its use, outside the fused ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from ascend_prefetch import _C, backend
from ascend_prefetch.planning import Decision


class Site(NamedTuple):
    """A place in vLLM Ascend's model code that calls the policy.

    Attributes:
        name: of the site, for people and settings.
        module: "attn", "moe" or "mlp".
        ratio: the weight's name among the module's ratios.
        weight: its name, for people.
        launches: kernels that are launched from the site to the weight's first read, at least:
            HBM idles during each launch. The reader is one of them.
        most_bytes: vLLM Ascend's cap; 0 for none.
    """

    name: str
    module: str
    ratio: str
    weight: str
    launches: int
    most_bytes: int = 0


MOST_MLP_BYTES = 18 * 1024 * 1024
"""Of an MLP weight, as in vLLM Ascend."""

# The kernels in between: none, quantisation, gating and dispatch, the norm, the activation.
BEFORE_QKV_A = Site("before qkv_a", "attn", "qkv", "fused_qkv_a_proj", 1)
BEFORE_O_PROJ = Site("before o_proj", "attn", "o", "o_proj", 1)
QUANTISE_QKV = Site("quantise qkv", "attn", "qkv", "qkv_proj", 2)
QUANTISE_O_PROJ = Site("quantise o_proj", "attn", "o", "o_proj", 2)
SELECT_EXPERTS = Site("select experts", "moe", "gate_up", "w13_weight", 3)
MLP_NORM = Site("MLP norm", "mlp", "gate_up", "gate_up_proj", 2, MOST_MLP_BYTES)
MLP_ACTIVATION = Site("MLP activation", "mlp", "down", "down_proj", 2, MOST_MLP_BYTES)


class Piece(NamedTuple):
    """Bytes [offset, offset + bytes) of a weight."""

    offset: int
    bytes: int


class WindowPlanner:
    """What SDMA brings of a weight at a site, as plan/plan_layer.h decides it; decisions are kept.

    The time is that of the site's launches in the best case, or what the weight's reader would have
    to wait for. Caps take from what is decided.
    """

    _MOST_KEPT = 1024

    def __init__(self, chip: str | None = None, idle_us: Mapping[str, float] | None = None) -> None:
        """
        Args:
            chip: SoC name; by default that of backend.chip().
            idle_us: by name of a site, how long HBM idles there, where that is known better.
        """
        self._chip = chip
        self._idle_us = dict(idle_us or {})
        table = _C.timing_constants()
        self._launch_us = table["launch_us"]["low"]
        # Unused here, but not published for every chip, and plan_sdma wants one.
        self._constants = {"hbm_rate": table["hbm_rate"]["nominal"]}
        self._decided: dict[tuple[str | None, Site, int, int], tuple[Piece, Decision]] = {}

    def piece(self, site: Site, nbytes: int, most: int) -> Piece:
        """The piece of a weight of `nbytes` bytes that is brought at a site, at most `most` bytes.

        Raises:
            ValueError: an unknown chip.
        """
        key = (self._chip or backend.chip(), site, nbytes, most)
        if key not in self._decided:
            if len(self._decided) >= self._MOST_KEPT:
                self._decided.clear()
            self._decided[key] = self._decide(*key)
        return self._decided[key][0]

    @torch.compiler.assume_constant_result
    def traced_piece(self, site: Site, nbytes: int, most: int) -> tuple[int, int]:
        """piece() while a graph is traced, which keeps what it gives."""
        offset, size = self.piece(site, nbytes, most)
        return offset, size

    def decisions(self) -> list[Decision]:
        """What was decided so far, and why."""
        return [decision for _, decision in self._decided.values()]

    def _decide(self, chip: str, site: Site, nbytes: int, most: int) -> tuple[Piece, Decision]:
        idle_us = self._idle_us.get(site.name, site.launches * self._launch_us)
        windows = [(site.name, idle_us, 0)]
        ((offset, size, reason),) = _C.plan_sdma(
            chip, site.weight, nbytes, 0, windows, self._constants
        )
        if size > most:
            offset, size = offset + size - most, most
            reason += f", capped at {most / 1e6:.2f}"
        return Piece(offset, size), Decision(site.weight, "SDMA", site.name, idle_us, size, reason)


def dense_bytes(weight: torch.Tensor) -> torch.Tensor | None:
    """A contiguous tensor over the weight's memory; None where it has holes.

    Weights are kept transposed here and there, which is a matter of strides alone.
    """
    if weight.is_contiguous():
        return weight
    expected = 1
    for stride, length in sorted(zip(weight.stride(), weight.shape, strict=True)):
        if length != 1 and stride != expected:
            return None
        expected *= length
    return weight.as_strided((weight.numel(),), (1,))
