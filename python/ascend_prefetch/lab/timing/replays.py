"""Replays of the kernels of points in the timing model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin

from .chips import TimedChip
from .point import Point, PointKernel, PointLaunch

# Maximum bytes of traces that are kept for further replays.
_KEPT_BYTES = 256 << 20

# Multiplications of all points together up to which every product is replayed whole; with more,
# each for at most as many as the second number says, so that hundreds of points take minutes.
_WHOLE_PRODUCTS = 2**40
_REPLAYED_PRODUCTS = 2**35

# Address of the weights that other launches of a rotation read, apart from all tensors of traces,
# and the bytes between two of them.
_OTHER_WEIGHTS = 1 << 50
_GAP = 4096

# Tensors that a kernel writes; DryTensors of csrc/lab/microbenchmarks.cpp names them.
_WRITTEN = ("c", "sums", "target", "scales")


class Replays:
    """Points and the traces of their kernels; points of the same kernel share a replay."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = list(points)
        self._kernels: dict[PointKernel, list[int]] = {}
        for index, point in enumerate(self._points):
            self._kernels.setdefault(point.kernel, []).append(index)
        whole = sum(kernel.products for kernel in self._kernels) <= _WHOLE_PRODUCTS
        self._replayed = None if whole else _REPLAYED_PRODUCTS
        self._kept: dict[PointKernel, list[PointLaunch]] = {}

    def times(
        self,
        chip: TimedChip | None,
        levels: Sequence[str],
        constants: Mapping[str, float] | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> list[dict[str, float]]:
        """The modelled value of each point's metric, us, by level.

        As many threads as there are cores replay the kernels, since the replays need no
        interpreter.

        Args:
            chip: the chip of all points; by default the table's row of each point's chip.
            levels: names in LEVELS.
            constants: constants that replace even the chip's.
            progress: called with a line when a kernel's turn has come.

        Raises:
            ValueError: a kernel does not support a shape, a chip is not modelled, or a point is of
                another chip.
        """
        result: list[dict[str, float]] = [{} for _ in self._points]
        threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            futures = [
                threads.submit(self._replay, kernel, chip, levels, constants or {})
                for kernel in self._kernels
            ]
            for number, (indices, future) in enumerate(
                zip(self._kernels.values(), futures, strict=True), 1
            ):
                first = self._points[indices[0]]
                progress(f"[{number}/{len(futures)}] {first.id}")
                try:
                    launches, by_level = future.result()
                except ValueError as error:
                    raise ValueError(f"point {first.id}: {error}") from error
                for index in indices:
                    point = self._points[index]
                    for level, replays in by_level.items():
                        result[index][level] = point.modelled_us(launches, replays)
        finally:
            threads.shutdown(cancel_futures=True)
        return result

    def _replay(
        self,
        kernel: PointKernel,
        chip: TimedChip | None,
        levels: Sequence[str],
        constants: Mapping[str, float],
    ) -> tuple[list[PointLaunch], dict[str, list[dict[str, Any]]]]:
        if chip is not None and chip.soc != kernel.soc:
            raise ValueError(f"expected one of {chip.soc}, got {kernel.soc}")
        launches = self._launches(kernel)
        by_level = {}
        for level in levels:
            timeline = (chip or TimedChip(kernel.soc)).timeline(level, **constants)
            if kernel.weights > 0:
                _leave_in_l2(timeline, launches, kernel)
            by_level[level] = [timeline.run(launch.trace) for launch in launches]
        return launches, by_level

    def _launches(self, kernel: PointKernel) -> list[PointLaunch]:
        if kernel in self._kept:
            return self._kept[kernel]
        launches = kernel.launches(self._replayed)
        kept = [launch for others in list(self._kept.values()) for launch in others]
        if sum(len(launch.trace) for launch in [*kept, *launches]) <= _KEPT_BYTES:
            self._kept[kernel] = launches
        return launches


def _leave_in_l2(timeline: Any, launches: Sequence[PointLaunch], kernel: PointKernel) -> None:
    """Leaves in L2 what launches of a kernel leave there that read several weights in turn.

    All launches share their other tensors. The next launch, that of the traces, is that of the
    first weight.
    """
    others = []
    for launch in launches:
        for name, (address, nbytes) in _lab.describe_trace(launch.trace)["tensors"].items():
            if name in ("weight", "matrix"):
                weight = address
            else:
                others.append((address, nbytes, name in _WRITTEN))
    capacity = twin.find_chip(kernel.soc)["l2_mib"] << 20
    nbytes = kernel.weight_bytes
    turns = list(range(kernel.weights))
    if kernel.weights * nbytes > 2 * capacity:
        # Nothing of an earlier turn survives: the last launches alone fill L2.
        turns = turns[-(2 * capacity // nbytes + 1) :]
    elif kernel.weights * nbytes > capacity // 2:
        turns *= _TURNS_TO_STEADY_STATE
    for turn in turns:
        for address, size, written in others:
            timeline.touch(address, size, written)
        if kernel.around_l2:
            continue
        other = _OTHER_WEIGHTS + turn * (nbytes + _GAP)
        timeline.touch(weight if turn == 0 else other, nbytes, False)


# After the first turn L2 is full; the share that survives a turn changes by less than 1 % from the
# third on.
_TURNS_TO_STEADY_STATE = 3
