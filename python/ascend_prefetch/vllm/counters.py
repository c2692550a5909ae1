"""What the plugin does, counted: for its summary, for people, and for vLLM's Prometheus endpoint.

Layers count when Python runs them: in eager mode, in piecewise graphs and while a graph is
captured. A replayed graph runs no Python and counts nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from . import neighbours
from .fallback import logger
from .regions import ledger

_FLUSH_SECONDS = 1.0
FUSED = "fused"


class Counters:
    """The counters of this process.

    Attributes:
        layers: calls of layers, by FUSED or the reason why they ran upstream's own path.
    """

    def __init__(self) -> None:
        self.layers: Counter[str] = Counter()
        self._steps = 0
        self._flushed = time.monotonic()
        self._prometheus: _Prometheus | None | bool = None

    def new_step(self, layer: Any) -> None:
        """A step begins with a layer: the one before is complete."""
        self._steps += 1
        if self._steps == 2:  # the step before was the first: all layers exist and have run
            logger.info("%s", summary(layer))
        now = time.monotonic()
        if now - self._flushed >= _FLUSH_SECONDS:
            self._flushed = now
            self.flush()

    def flush(self) -> None:
        """Brings Prometheus up to date, at most once a second."""
        if self._prometheus is None:
            self._prometheus = _prometheus() or False
        if self._prometheus:
            self._prometheus.update(self)  # type: ignore[union-attr]

    def table(self) -> dict[str, Any]:
        """All counters as plain values.

        Returns:
            `layers`: calls by FUSED or reason; `bytes`: prefetched, by "engine window";
            `refused_bytes`: asked for twice.
        """
        return {
            "layers": dict(self.layers),
            "bytes": {" ".join(key): value for key, value in sorted(ledger.brought.items())},
            "refused_bytes": ledger.totals.refused,
        }


counters = Counters()


def summary(layer: Any) -> str:
    """One line: how many layers run which way, what a step prefetched, what the planner counts on.

    Args:
        layer: any fused layer, for its settings.
    """
    reasons: Counter[str] = Counter()
    layers = neighbours.all_layers()
    fused = 0
    for one in layers:
        arguments = one.fused_weights.arguments
        if arguments is None:
            reasons["not run yet"] += 1
        elif arguments.prolog is None:
            reasons[arguments.reasons.get("prolog", "the prolog is switched off")] += 1
        else:
            fused += 1
    parts = [f"ascend_prefetch: {fused} of {len(layers)} layers run the fused ops"]
    parts += [f"{count} vLLM Ascend's own: {reason}" for reason, count in reasons.items()]
    steps = max(1, ledger.totals.steps - 1)
    each = [
        f"{nbytes / steps / max(1, len(layers)) / 1e6:.2f} MB beside {window} ({engine})"
        for (engine, window), nbytes in sorted(ledger.brought.items())
    ]
    parts.append("prefetched in a step per layer: " + (", ".join(each) or "nothing"))
    settings = layer.settings
    lengths = settings.window_lengths or "published"
    parts.append(
        f"the planner counts on {_chip()}, window lengths: {lengths}, "
        f"{settings.captured_kv_len} cached tokens per request in captured graphs"
    )
    return "; ".join(parts)


def _chip() -> str:
    from ascend_prefetch import backend

    try:
        return backend.chip()
    except Exception as error:  # a summary must not stop a step
        return f"no chip ({type(error).__name__})"


class _Prometheus:
    """The same counters as metrics of prometheus_client, which vLLM serves.

    vLLM's endpoint shows those of its workers where PROMETHEUS_MULTIPROC_DIR is set, which it sets
    itself for more than one API server.
    """

    def __init__(self, client: Any) -> None:
        self._layers = client.Counter(
            "ascend_prefetch_layers",
            "Calls of attention layers that Python ran, by path and reason",
            ["path", "reason"],
        )
        self._bytes = client.Counter(
            "ascend_prefetch_bytes", "Bytes prefetched, as planned", ["engine", "window"]
        )
        self._refused = client.Counter(
            "ascend_prefetch_refused_bytes", "Bytes that a step asked for twice"
        )
        self._told: Counter[tuple[str, ...]] = Counter()

    def update(self, now: Counters) -> None:
        """Adds what has been counted since the last time."""
        for reason, count in now.layers.items():
            labels = (FUSED, "") if reason == FUSED else ("upstream", reason)
            self._add(("layers", *labels), count, self._layers.labels(*labels))
        for where, nbytes in ledger.brought.items():
            self._add(("bytes", *where), nbytes, self._bytes.labels(*where))
        self._add(("refused",), ledger.totals.refused, self._refused)

    def _add(self, key: tuple[str, ...], value: int, counter: Any) -> None:
        if value > self._told[key]:
            counter.inc(value - self._told[key])
            self._told[key] = value


def _prometheus() -> _Prometheus | None:
    try:
        import prometheus_client

        return _Prometheus(prometheus_client)
    except Exception as error:  # not installed, or the names are taken by another copy
        logger.warning(
            "ascend_prefetch: Prometheus has no counters of it: %s: %s",
            type(error).__name__,
            error,
        )
        return None
