"""Replays of the kernels of points in the timing model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .chips import TimedChip
from .point import Point, PointKernel

# Maximum bytes of traces that are kept for further replays.
_KEPT_BYTES = 256 << 20


class Replays:
    """Points and the traces of their kernels; points of the same kernel share a replay."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = list(points)
        self._kernels: dict[PointKernel, list[int]] = {}
        for index, point in enumerate(self._points):
            self._kernels.setdefault(point.kernel, []).append(index)
        self._traces: dict[PointKernel, bytes] = {}

    def times(
        self,
        chip: TimedChip | None,
        levels: Sequence[str],
        constants: Mapping[str, float] | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> list[dict[str, float]]:
        """The modelled value of each point's metric, us, by level.

        Args:
            chip: the chip of all points; by default the table's row of each point's chip.
            levels: names in LEVELS.
            constants: constants that replace even the chip's.
            progress: called with a line before each kernel.

        Raises:
            ValueError: a kernel does not support a shape, a chip is not modelled, or a point is of
                another chip.
        """
        result: list[dict[str, float]] = [{} for _ in self._points]
        for number, (kernel, indices) in enumerate(self._kernels.items(), 1):
            first = self._points[indices[0]]
            progress(f"[{number}/{len(self._kernels)}] {first.id}")
            try:
                if chip is not None and chip.soc != kernel.soc:
                    raise ValueError(f"expected one of {chip.soc}, got {kernel.soc}")
                trace = self._trace(kernel)
                for level in levels:
                    timeline = (chip or TimedChip(kernel.soc)).timeline(level, **(constants or {}))
                    times = timeline.run(trace)
                    for index in indices:
                        result[index][level] = self._points[index].modelled_us(times)
            except ValueError as error:
                raise ValueError(f"point {first.id}: {error}") from error
        return result

    def _trace(self, kernel: PointKernel) -> bytes:
        if kernel in self._traces:
            return self._traces[kernel]
        trace = kernel.trace()
        if len(trace) + sum(map(len, self._traces.values())) <= _KEPT_BYTES:
            self._traces[kernel] = trace
        return trace
