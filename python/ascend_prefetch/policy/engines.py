"""Engines that load the bytes of a weight into L2 between kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

_MAX_PIECES = 8  # maximum number of pieces in one call of the op prefetch


class Engine(Protocol):
    """An engine that works beside the current stream.

    Attributes:
        name: name of the engine in the ledger.
    """

    name: str

    def start(
        self, weight: torch.Tensor, pieces: Sequence[tuple[int, int]], after: torch.Tensor | None
    ) -> None:
        """Starts loading pieces (offset, bytes) of a contiguous weight once `after` is computed."""

    def join(self) -> None:
        """Makes the current stream wait for every load that was started."""


class Sdma:
    """The copy engine, on a side stream; it must be joined before a graph capture ends.

    It takes no core, whatever kernels run beside it.
    """

    name = "SDMA"

    def start(
        self, weight: torch.Tensor, pieces: Sequence[tuple[int, int]], after: torch.Tensor | None
    ) -> None:
        """Fetches pieces of a weight, each (offset, bytes), once `after` has been computed."""
        for first in range(0, len(pieces), _MAX_PIECES):
            some = pieces[first : first + _MAX_PIECES]
            torch.ops.ascend_prefetch.prefetch(
                [weight] * len(some),
                max_bytes=[nbytes for _, nbytes in some],
                offsets=[offset for offset, _ in some],
                after=after,
                engine="sdma",
            )

    def join(self) -> None:
        """Makes the current stream wait for every load that was started."""
        torch.ops.ascend_prefetch.prefetch_join()
