"""What brings the bytes of a weight into L2 between kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

_MOST_PIECES = 8  # that the op takes in one call


class Engine(Protocol):
    """An engine that works beside the current stream.

    Attributes:
        name: as the ledger has it.
    """

    name: str

    def start(
        self, weight: torch.Tensor, pieces: Sequence[tuple[int, int]], after: torch.Tensor | None
    ) -> None:
        """Begins to load pieces (offset, bytes) of a contiguous weight once `after` is there."""

    def join(self) -> None:
        """Makes the current stream wait for everything that was begun."""


class Sdma:
    """The copy engine, on a side stream of its own: what a graph capture wants joined.

    Vector cores would not do: on the current stream their prefetch is a kernel that the weight's
    reader waits for, so nothing would overlap.
    """

    name = "SDMA"

    def start(
        self, weight: torch.Tensor, pieces: Sequence[tuple[int, int]], after: torch.Tensor | None
    ) -> None:
        """Fetches pieces of a weight, each (offset, bytes), once `after` has been computed."""
        for first in range(0, len(pieces), _MOST_PIECES):
            some = pieces[first : first + _MOST_PIECES]
            torch.ops.ascend_prefetch.prefetch(
                [weight] * len(some),
                max_bytes=[nbytes for _, nbytes in some],
                offsets=[offset for offset, _ in some],
                after=after,
                engine="sdma",
            )

    def join(self) -> None:
        """The current stream waits for all that was started."""
        torch.ops.ascend_prefetch.prefetch_join()
