"""What a layer fetches in the windows from its o_proj to the next layer's prolog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from ascend_prefetch import windows
from ascend_prefetch.planning import WindowDecision
from ascend_prefetch.windows import KnownWindow

from .. import neighbours
from ..arguments import Prolog
from ..fallback import no_prefetch
from ..following import Following
from ..regions import NOTHING
from ..seams import WindowSeam
from ..watch import Watch
from .feed_forward import first_weights
from .fetch import Fetch, Fetching, Plans
from .plan import Wanted, WindowPlanner


class LayerWindows:
    """The windows of one layer behind its attention.

    Plans are made once for a window, the step's rows and what other windows and kernels have
    fetched before, and kept until a weight is replaced.

    Attributes:
        complete: whether nothing is left for later windows, as the last call of behind() says.
    """

    def __init__(
        self,
        planner: WindowPlanner,
        place: neighbours.Place,
        following: Following,
        ratios: Mapping[str, Mapping[str, float]],
        vllm_config: Any,
        seam: WindowSeam,
    ) -> None:
        """
        Args:
            planner: plans the windows.
            place: of the layer.
            following: the layer behind it.
            ratios: the most that may be fetched of a weight, as a share (PrefetchConfig).
            vllm_config: vLLM's.
            seam: of upstream's collectives.

        Raises:
            UpstreamChanged: vLLM Ascend has no setting of shared experts beside dispatch.
        """
        self._planner = planner
        self._place = place
        self._following = following
        self._ratios = ratios
        parallel = vllm_config.parallel_config
        self._tensor_ranks = int(parallel.tensor_parallel_size)
        self._data_ranks = int(parallel.data_parallel_size)
        self._seam = seam
        self._overlap = seam.shared_experts_overlap()
        self._prolog: Prolog | None = None
        self._wanted: list[Wanted] = []
        self._plans = Plans()
        self.complete = False
        self._own: list[Wanted] = []
        self._own_plans = Plans()
        self._watch, self._looked = Watch(), False

    def behind_o_proj(self, nbytes: int) -> AbstractContextManager[None]:
        """A context for the all-reduce of o_proj's result, whose message has so many bytes.

        What the layer reads next is prefetched beside it.
        """
        try:
            if not self._watch.unchanged() or not self._looked:
                self._look()
            if not self._own:
                return NOTHING
            fetches = self._own_plans.bring(
                self._own,
                (nbytes,),
                "o_proj_all_reduce",
                lambda done: self._decide_behind_o_proj(nbytes, done),
            )
        except Exception as error:  # must not stop the forward pass
            no_prefetch(error)
            return NOTHING
        return Fetching(fetches) if fetches else NOTHING

    def _decide_behind_o_proj(self, nbytes: int, done: tuple[int, ...]) -> list[WindowDecision]:
        window = self._planner.length_of(windows.all_reduce(self._tensor_ranks, nbytes))
        read_us = self._planner.read_us(sum(one.memory.nbytes for one in self._own))
        layer_us = read_us + window.us.short
        return self._planner.fetch([window], [nbytes], 0, self._own, done, layer_us)

    def _look(self) -> None:
        """Makes the list of what this layer reads behind o_proj, from the running model."""
        self._watch, self._looked = Watch(), True
        self._own = []
        self._own_plans.clear()
        found = first_weights(self._seam.running_model(), self._place, self._watch)
        self._own = [
            Wanted.of(weight, name, self._place.number, self._ratios["mlp"].get(name, 1.0))
            for name, weight in found
        ]

    def behind(self, kind: str, nbytes: int, rows: int, experts_done: bool) -> Sequence[Fetch]:
        """What is fetched beside a collective behind attention, and claimed for this step.

        Args:
            kind: "all_reduce", "all_gather" or "combine".
            nbytes: bytes of this rank's message; of combine, bytes of a row.
            rows: rows of the step.
            experts_done: whether the layer's routed experts have been read.
        """
        self.complete = False
        try:
            prolog = self._following.prolog()
            if prolog is not self._prolog:
                self._take(prolog)
            between = self._following.between
            if not self._wanted or between is None:
                return ()
            if between.experts and not experts_done:
                return ()  # the experts pass before the next prolog
            fetches = self._plans.bring(
                self._wanted,
                (kind, nbytes, rows),
                kind,
                lambda done: self._decide(kind, nbytes, rows, between, done),
            )
            self.complete = self._plans.complete
            return fetches
        except Exception as error:  # must not stop the forward pass
            no_prefetch(error)
            return ()

    def _take(self, prolog: Prolog | None) -> None:
        """Makes the list of what the next prolog reads, in the order of its use."""
        self._prolog, self._wanted = prolog, []
        self._plans.clear()
        if prolog is not None:
            shares = {"fused_qkv_a": self._ratios["attn"]["qkv"]}
            self._wanted = [
                Wanted.of(weight, name, self._following.number, shares.get(name, 1.0))
                for name, weight in prolog.in_order()
            ]

    def _decide(
        self,
        kind: str,
        nbytes: int,
        rows: int,
        between: neighbours.FeedForward,
        done: tuple[int, ...],
    ) -> list[WindowDecision]:
        # Upstream may read shared experts before the window or after it.
        passing = between.dense if between.experts else 0
        window, moved = self._window(kind, nbytes, rows, between)
        if self._overlap and kind == "combine":
            busy_us = self._planner.read_us(between.dense)
            window = replace(window, us=_shortened(window.us, busy_us))
        layer_bytes = between.bytes(rows) + sum(one.memory.nbytes for one in self._wanted)
        layer_us = self._planner.read_us(layer_bytes) + window.us.short
        return self._planner.fetch([window], [moved], passing, self._wanted, done, layer_us)

    def _window(
        self, kind: str, nbytes: int, rows: int, between: neighbours.FeedForward
    ) -> tuple[KnownWindow, int]:
        """A window with its length, and the bytes that its kernel moves."""
        if kind == "combine":
            tokens = -(-rows // self._tensor_ranks)
            # On average a rank's experts receive as many rows as its tokens choose.
            moved = tokens * (between.chosen // self._data_ranks) * nbytes
            window = windows.combine(self._seam.expert_ranks(), tokens)
        elif kind == "all_gather":
            window, moved = windows.all_gather(self._tensor_ranks, nbytes), nbytes
        else:
            window, moved = windows.all_reduce(self._tensor_ranks, nbytes), nbytes
        return self._planner.length_of(window), moved


def _shortened(lengths: windows.Lengths, us: float) -> windows.Lengths:
    """Lengths of a window in which upstream's own products have HBM for so long."""
    return windows.Lengths(*(max(0.0, length - us) for length in lengths))
