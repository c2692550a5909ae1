"""Where the model is: which layer's windows are open, from its o_proj to the next prolog."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ..regions import NOTHING
from ..switch import holders, switch
from .fetch import Fetching
from .layer_windows import LayerWindows


class Running:
    """The layer between whose o_proj and whose successor's prolog the model is.

    A worker runs one model in one thread, or a model and its draft model one after the other. Where
    micro-batches take turns there are no windows (weights.LayerWeights).
    """

    def __init__(self) -> None:
        self._windows: LayerWindows | None = None
        self._rows = 0
        self._experts_done = self._inside = False
        holders.add(self)

    def enter(self) -> None:
        """A layer's attention begins."""
        self._windows = None

    def leave(self, windows: LayerWindows, rows: int) -> None:
        """A layer's attention has ended.

        Args:
            windows: the windows of the layer.
            rows: rows of the step.
        """
        self._windows = windows
        self._rows = rows
        self._experts_done = False

    def forget(self) -> None:
        """Closes what is open, so that no weight is held."""
        self._windows = None

    @property
    def open(self) -> bool:
        """Whether a window may be used."""
        return self._windows is not None and switch.on and not self._inside

    def experts_done(self) -> None:
        """The products of the layer's routed experts have been issued."""
        self._experts_done = True

    def beside(self, kind: str, nbytes: int) -> AbstractContextManager[None]:
        """A context for a collective, beside which weights are prefetched.

        Args:
            kind: "all_reduce", "all_gather" or "combine".
            nbytes: bytes of this rank's message; of combine, bytes of a row.
        """
        windows = self._windows
        if windows is None or not self.open:
            return NOTHING
        fetches = windows.behind(kind, nbytes, self._rows, self._experts_done)
        if windows.complete:
            self._windows = None
        return Fetching(fetches, self._hold) if fetches else NOTHING

    def _hold(self, inside: bool) -> None:
        """Keeps windows that lie within a window from being used."""
        self._inside = inside


running = Running()
"""Of this process."""
