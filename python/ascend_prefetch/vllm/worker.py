"""What vLLM's workers learn to do by worker_extension_cls="ascend_prefetch.vllm.Switchable"."""

from __future__ import annotations

from typing import Any

from .switch import release, turn


class Switchable:
    """Methods that vLLM's option worker_extension_cls adds to its workers."""

    def turn_ascend_prefetch(self, on: bool | int | str) -> bool:
        """Calls turn() in this worker; see LLM.collective_rpc."""
        return turn(on)

    def ascend_prefetch_counters(self) -> dict[str, Any]:
        """The counters of this worker, as plain values; see counters.Counters.table."""
        from .counters import counters  # the ops with it, which a plugin does not need to load

        return counters.table()

    def release_ascend_prefetch(self) -> None:
        """Calls release() in this worker."""
        release()
