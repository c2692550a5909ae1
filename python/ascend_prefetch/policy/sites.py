"""How much of a weight can be loaded while HBM idles before its use, outside the fused ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from ascend_prefetch import _C, backend
from ascend_prefetch.planning import Decision, Window


class Site(NamedTuple):
    """A place in vLLM Ascend's model code that calls the policy.

    Attributes:
        name: name of the site, for people and settings.
        module: "attn", "moe" or "mlp".
        ratio: the weight's name among the module's ratios.
        weight: the weight's name, for people.
        launches: minimum number of kernels that are launched from the site to the weight's first
            read, its reader included; HBM idles during each launch.
        most_bytes: vLLM Ascend's maximum; 0 for none.
    """

    name: str
    module: str
    ratio: str
    weight: str
    launches: int
    most_bytes: int = 0


MAX_MLP_BYTES = 18 * 1024 * 1024
"""Maximum number of prefetched bytes of an MLP weight, as in vLLM Ascend."""

# Between site and reader run: nothing, quantisation, gating and dispatch, the norm, the activation.
BEFORE_QKV_A = Site("before qkv_a", "attn", "qkv", "fused_qkv_a_proj", 1)
BEFORE_O_PROJ = Site("before o_proj", "attn", "o", "o_proj", 1)
QUANTISE_QKV = Site("quantise qkv", "attn", "qkv", "qkv_proj", 2)
QUANTISE_O_PROJ = Site("quantise o_proj", "attn", "o", "o_proj", 2)
SELECT_EXPERTS = Site("select experts", "moe", "gate_up", "w13_weight", 3)
MLP_NORM = Site("MLP norm", "mlp", "gate_up", "gate_up_proj", 2, MAX_MLP_BYTES)
MLP_ACTIVATION = Site("MLP activation", "mlp", "down", "down_proj", 2, MAX_MLP_BYTES)


class Piece(NamedTuple):
    """Bytes [offset, offset + bytes) of a weight."""

    offset: int
    bytes: int


class WindowPlanner:
    """Decides how much of a weight SDMA loads at a site, and keeps the decisions.

    csrc/plan/plan_layer.h decides, from the shortest time that the site's launches can take, as the
    weight's reader would have to wait for more. Caps reduce the result.
    """

    _MAX_KEPT = 1024

    def __init__(self, chip: str | None = None, idle_us: Mapping[str, float] | None = None) -> None:
        """
        Args:
            chip: SoC name; by default that of backend.chip().
            idle_us: microseconds for which HBM idles, by name of a site, where the caller knows
                better than the launches tell.
        """
        self._chip = chip
        self._idle_us = dict(idle_us or {})
        table = _C.timing_constants()
        self._launch_us = table["launch_us"]["low"]
        # plan_sdma requires the constant, though it has no effect here; it is not published for
        # every chip.
        self._constants = {"hbm_rate": table["hbm_rate"]["nominal"]}
        self._decided: dict[tuple[str | None, Site, int, int], tuple[Piece, Decision]] = {}

    def piece(self, site: Site, nbytes: int, most: int) -> Piece:
        """The piece of a weight of `nbytes` bytes to load at a site, at most `most` bytes.

        Raises:
            ValueError: the chip is unknown.
        """
        key = (self._chip or backend.chip(), site, nbytes, most)
        if key not in self._decided:
            if len(self._decided) >= self._MAX_KEPT:
                self._decided.clear()
            self._decided[key] = self._decide(*key)
        return self._decided[key][0]

    @torch.compiler.assume_constant_result
    def traced_piece(self, site: Site, nbytes: int, most: int) -> tuple[int, int]:
        """piece() as plain integers, for tracing: a compiled graph keeps them as constants."""
        offset, size = self.piece(site, nbytes, most)
        return offset, size

    def decisions(self) -> list[Decision]:
        """The decisions so far, with their reasons."""
        return [decision for _, decision in self._decided.values()]

    def _decide(self, chip: str, site: Site, nbytes: int, most: int) -> tuple[Piece, Decision]:
        idle_us = self._idle_us.get(site.name, site.launches * self._launch_us)
        window = Window(
            site.name,
            (idle_us, idle_us, idle_us),
            0,
            begins="the kernel before it",
            ends=site.weight,
        )
        ((offset, size, reason),) = _C.plan_sdma(
            chip, site.weight, nbytes, 0, [window], self._constants
        )
        if size > most:
            offset, size = offset + size - most, most
            reason += f", capped at {most / 1e6:.2f}"
        return Piece(offset, size), Decision(site.weight, "SDMA", site.name, idle_us, size, reason)


def dense_bytes(weight: torch.Tensor) -> torch.Tensor | None:
    """A contiguous tensor over the weight's memory; None if the memory has gaps.

    Some weights are stored transposed, so only their strides make them non-contiguous.
    """
    if weight.is_contiguous():
        return weight
    expected = 1
    for stride, length in sorted(zip(weight.stride(), weight.shape, strict=True)):
        if length != 1 and stride != expected:
            return None
        expected *= length
    return weight.as_strided((weight.numel(),), (1,))
