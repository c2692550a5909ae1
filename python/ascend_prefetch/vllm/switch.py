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
import weakref
from typing import Any

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


holders: weakref.WeakSet[Any] = weakref.WeakSet()
"""What holds weights or caches in this process, and lets go of them by its forget()."""


def release() -> None:
    """Lets go of all weights and caches, at any time; the next step takes them up again.

    For sleep mode and before weights are replaced, in every process that runs the model: without it
    a layer's old weights stay until its next step, which sees that they were replaced.
    """
    for holder in list(holders):
        holder.forget()


class Switchable:
    """Methods for vLLM's workers, by its option worker_extension_cls."""

    def turn_ascend_prefetch(self, on: bool) -> bool:
        """turn() in every worker; see LLM.collective_rpc."""
        return turn(on)

    def release_ascend_prefetch(self) -> None:
        """release() in every worker."""
        release()
