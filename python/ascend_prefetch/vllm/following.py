"""The layer behind a layer: what its prolog reads, and what passes through L2 before."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from . import neighbours
from .arguments import LayerArguments, Prolog


class Following:
    """The layer behind a layer, which is looked up at the first use, when all layers exist.

    Attributes:
        number: the number of its decoder layer.
        between: the bytes of weights that are read between o_proj and its prolog; None before
            prolog() has returned one.
    """

    def __init__(self, place: neighbours.Place, vllm_config: object) -> None:
        self.number = place.number + 1
        self.between: neighbours.FeedForward | None = None
        self._place = place
        self._config = vllm_config
        self._layer: Callable[[], Any] | None = None
        self._arguments: LayerArguments | None = None

    def prolog(self) -> Prolog | None:
        """The weights of its prolog, another object once they were replaced; None without one.

        Raises:
            UpstreamChanged: the bytes in between cannot be read. It is raised once for weights, and
                then None is returned.
        """
        if self._layer is None:
            behind = neighbours.next_layer(self._place)
            self._layer = _nowhere if behind is None else weakref.ref(behind)
        layer = self._layer()
        arguments = None if layer is None else layer.fused_weights.arguments
        if arguments is not self._arguments:
            self._arguments, self.between = arguments, None
            if arguments is not None and arguments.prolog is not None:
                self.between = neighbours.FeedForward(self._config, self._place)
        if arguments is None or self.between is None:
            return None
        return arguments.prolog


def _nowhere() -> None:
    """Replaces the weak reference to the next layer where no layer follows."""
