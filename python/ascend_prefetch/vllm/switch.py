"""The run-time switch: fused ops and prefetches on or off, without a restart.

Three ways to it:

- `ascend_prefetch.vllm.turn(False)` in the process that runs the model;
- `LLM(..., worker_extension_cls="ascend_prefetch.vllm.switch.Switchable")`, then
  `llm.collective_rpc("turn_ascend_prefetch", args=(False,))`;
- the environment variable ASCEND_PREFETCH=0 for processes that start with it.

A graph that was captured keeps what it was captured with; the switch holds for calls from Python,
which attention is under piecewise graphs and in eager mode, and for graphs captured later.
"""

from __future__ import annotations

import os

from .fallback import logger

VARIABLE = "ASCEND_PREFETCH"


class _Switch:
    __slots__ = ("on",)

    def __init__(self) -> None:
        value = os.environ.get(VARIABLE, "1")
        if value not in ("0", "1"):
            # Importing a plugin must not stop vLLM.
            logger.warning(
                "ascend_prefetch stays off: %s: expected 0 or 1, got %r", VARIABLE, value
            )
        self.on = value == "1"


switch = _Switch()


def turn(on: bool) -> bool:
    """Turns fused ops and prefetches of this process on or off.

    Returns:
        What it was before.
    """
    before, switch.on = switch.on, bool(on)
    return before


class Switchable:
    """Methods for vLLM's workers, by its option worker_extension_cls."""

    def turn_ascend_prefetch(self, on: bool) -> bool:
        """turn() in every worker; see LLM.collective_rpc."""
        return turn(on)

    def release_ascend_prefetch(self) -> None:
        """release() in every worker."""
        from .layer import release  # not before torch's ops are there

        release()
