"""How much one window fetches, by the planner, from published or profiled lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ascend_prefetch import _C
from ascend_prefetch.planning import (
    MOST_LOSS_SHARE,
    LayerPart,
    LayerWeight,
    WindowDecision,
    plan_windows,
)
from ascend_prefetch.policy import Request
from ascend_prefetch.windows import (
    KnownWindow,
    WindowFile,
    idle_lengths,
    planner_window,
    read_window_file,
)

from ..linears import bytes_of, leading_bytes

READER_US_PER_MB = {
    "fused_qkv_a": 0.43,
    "indexer_wk": 0.13,
    "indexer_weights_proj": 1.6,
    "q_b": 0.19,
    "indexer_wq_b": 0.57,
    "w_uk": 0.12,
    "w_uv": 0.55,
    "o_proj": 0.42,
    "other": 0.3,
}
"""us by which a reader is faster for each MB of its weight in L2: the least that replays of the
timing model give, cold less warm, for DeepSeek-V3, V3.2 and GLM-5 at TP1 to TP8 in W8A8 (fitted on
modelled times). "other" stands for products that are not ours: cold less warm of CANN's, which
measured points give as 0.47, less a third."""

# Two windows of a layer may fetch something: the combine and the collective behind it. Each may
# lose half of what a layer may lose.
_WINDOWS_OF_A_LAYER = 2


class Wanted(NamedTuple):
    """A weight that is read after a window.

    Attributes:
        weight: the weight.
        memory: its bytes that may be fetched, [bytes] uint8.
        name: its name, a key of READER_US_PER_MB or another one.
        layer: number of the decoder layer that reads it.
        key: of its memory in the ledger's steps.
    """

    weight: torch.Tensor
    memory: torch.Tensor
    name: str
    layer: int
    key: int

    @classmethod
    def of(cls, weight: torch.Tensor, name: str, layer: int, ratio: float = 1.0) -> Wanted:
        """A weight of which at most a share is fetched, counted from its beginning."""
        memory = bytes_of(weight)[: leading_bytes(weight, ratio)]
        return cls(weight, memory, name, layer, Request.key_of(weight))


class WindowPlanner:
    """Plans single windows on a chip."""

    def __init__(self, chip: str, lengths: str | None) -> None:
        """
        Args:
            chip: SoC name.
            lengths: a file of lengths from a profile; None for published ones.

        Raises:
            ValueError, OSError: the chip is unknown, or the file cannot be read.
        """
        self._chip = chip
        self._file: WindowFile | None = None if lengths is None else read_window_file(Path(lengths))
        self._rates = {name: _C.engine_cost(chip, name).rate for name in ("cube", "sdma")}

    def length_of(self, window: KnownWindow) -> KnownWindow:
        """The window with the length that the user's profile has of it, if there is a profile.

        Raises:
            ValueError: the profile has no such window.
        """
        return window if self._file is None else self._file.measured(window)

    def read_us(self, nbytes: int) -> float:
        """us in which HBM delivers so many bytes, at the rate that cube cores get of it."""
        return nbytes / self._rates["cube"]

    def fetch(
        self,
        windows: Sequence[KnownWindow],
        moved_bytes: Sequence[int],
        passing_bytes: int | None,
        wanted: Sequence[Wanted],
        warmed: Sequence[int],
        layer_us: float,
    ) -> list[WindowDecision]:
        """What a window fetches; its engine is what fits the cores that it leaves.

        Args:
            windows: the window, or windows that follow one another as one, with their lengths.
            moved_bytes: bytes that the kernel of each of them moves.
            passing_bytes: bytes that pass through L2 between the window and the use of `wanted`;
                None where unknown, which fetches nothing.
            wanted: the weights that are read after it, in the order of their use.
            warmed: bytes at the start of each that this step has fetched already.
            layer_us: a lower bound of the time of the layer.
        """
        rates = self._rates
        idle = [
            idle_lengths(window, moved, rates["cube"], rates["sdma"])
            for window, moved in zip(windows, moved_bytes, strict=True)
        ]
        short, nominal, long = (sum(lengths) for lengths in zip(*idle, strict=True))
        name = windows[-1].name
        cube = all(window.leaves == "cube" for window in windows)
        window = planner_window(
            name,
            (short, nominal, long),
            begins="what is before it",
            ends=wanted[0].name,
            leaves="cube" if cube else "none",
        )
        parts = [
            LayerPart(name, sum(moved_bytes), [], window),
            LayerPart("what passes", passing_bytes),
            LayerPart("the reader", 0, list(range(len(wanted)))),
        ]
        weights = []
        for one, done in zip(wanted, warmed, strict=True):
            nbytes = one.memory.nbytes
            worth = READER_US_PER_MB.get(one.name, READER_US_PER_MB["other"])
            weights.append(LayerWeight(one.name, nbytes, min(done, nbytes), worth, worth))
        most_loss = MOST_LOSS_SHARE * layer_us / _WINDOWS_OF_A_LAYER
        return plan_windows(self._chip, parts, weights, most_loss)
