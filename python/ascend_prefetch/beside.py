"""Prefetches beside a window: forked from the current stream where it begins, joined at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType

import torch

from .ops import prefetch, prefetch_join


class _Beside:
    """What prefetch_beside returns."""

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        max_bytes: Sequence[int] | None,
        offsets: Sequence[int] | None,
        engine: str,
        cores: int | None,
    ) -> None:
        self._weights = list(weights)
        self._max_bytes = None if max_bytes is None else list(max_bytes)
        self._offsets = None if offsets is None else list(offsets)
        self._engine, self._cores = engine, cores

    def __enter__(self) -> None:
        if not self._weights:
            return
        try:
            prefetch(
                self._weights,
                max_bytes=self._max_bytes,
                offsets=self._offsets,
                cores=self._cores,
                engine=self._engine,
                beside=True,
            )
        except Exception:
            _join_after_an_error()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._weights:
            return
        if kind is None:
            prefetch_join()
        else:
            _join_after_an_error()


def _join_after_an_error() -> None:
    """Leaves no open fork; the first error is the one that says what went wrong."""
    with contextlib.suppress(RuntimeError):
        prefetch_join()


def prefetch_beside(
    weights: Sequence[torch.Tensor],
    *,
    max_bytes: Sequence[int] | None = None,
    offsets: Sequence[int] | None = None,
    engine: str = "cube",
    cores: int | None = None,
) -> contextlib.AbstractContextManager[None]:
    """Prefetches weights beside the work of a block, such as a collective.

    The prefetch begins after everything issued to the current stream before the block, and what
    follows the block waits for it. All windows of a stream share one side stream and its events.
    The block holds in eager mode and in a graph capture alike, if the capture includes all of it;
    an error in the block leaves no open fork. Blocks may be nested: the end of the inner one joins
    both. The host waits for nothing.

    Inside the block the current stream must be the same at its end as at its beginning.

    Args:
        weights: 0 to 8 contiguous tensors of any dtype, in the order of need; without one nothing
            happens.
        max_bytes, offsets: as in ascend_prefetch.ops.prefetch.
        engine: what loads: "cube", "vector" or "sdma".
        cores: the number of cores that the window leaves; all by default. Must be None for "sdma".

    Raises:
        RuntimeError, ValueError: as in ascend_prefetch.ops.prefetch, where the block begins.
    """
    return _Beside(weights, max_bytes, offsets, engine, cores)
