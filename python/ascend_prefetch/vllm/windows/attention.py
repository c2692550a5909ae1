"""What is fetched beside sparse attention, from before the indexer to o_proj: W_UV and o_proj."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ascend_prefetch import windows
from ascend_prefetch.planning import WindowDecision

from ..arguments import Output
from ..fallback import no_prefetch
from ..regions import NOTHING
from .fetch import Fetching, Plans
from .plan import Wanted, WindowPlanner

# Cached tokens per request are rounded down to a multiple, so that a plan serves many steps.
_ROUND = 512


class AttentionWindow:
    """The window of one layer's sparse attention.

    The indexer and attention keep all cores busy, so SDMA alone can fetch (windows.lengths).
    """

    def __init__(
        self, planner: WindowPlanner, output: Output, number: int, has_indexer: bool
    ) -> None:
        """
        Args:
            planner: plans the window.
            output: the weights that are fetched.
            number: of the decoder layer.
            has_indexer: whether the layer chooses its tokens itself.
        """
        self._planner = planner
        self._has_indexer = has_indexer
        self._wanted = [
            Wanted.of(output.options["w_uv"], "w_uv", number),
            Wanted.of(output.o_proj, "o_proj", number),
        ]
        self._plans = Plans()

    def beside(
        self, tokens: int, requests: int, cached: int, chosen: int, moved: tuple[int, int]
    ) -> AbstractContextManager[None]:
        """A context for the indexer and attention.

        Args:
            tokens: rows of the step.
            requests: requests of the step.
            cached: cached tokens of all requests; 0 where the host does not know them.
            chosen: most cached tokens that a row attends to.
            moved: bytes that the indexer reads, and that attention reads.
        """
        each = cached // max(1, requests)
        if each <= chosen:  # nobody has published how long attention takes that chooses nothing
            return NOTHING
        rounded = each // _ROUND * _ROUND
        try:
            fetches = self._plans.bring(
                self._wanted,
                (tokens, requests, rounded),
                "sparse_attention",
                lambda done: self._decide(tokens, rounded, chosen, moved, done),
            )
        except Exception as error:  # must not stop the forward pass
            no_prefetch(error)
            return NOTHING
        return Fetching(fetches) if fetches else NOTHING

    def _decide(
        self,
        tokens: int,
        cached: int,
        chosen: int,
        moved: tuple[int, int],
        done: tuple[int, ...],
    ) -> list[WindowDecision]:
        found = [windows.sparse_attention(tokens, chosen)]
        if self._has_indexer:
            found.insert(0, windows.indexer(tokens, cached))
        found = [self._planner.length_of(window) for window in found]
        nbytes = sum(one.memory.nbytes for one in self._wanted)
        layer_us = self._planner.read_us(nbytes) + sum(window.us.short for window in found)
        return self._planner.fetch(found, moved[-len(found) :], 0, self._wanted, done, layer_us)
