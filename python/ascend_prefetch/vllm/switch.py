"""The run-time switch: fused ops and prefetches on or off, without a restart.

There are three ways to use it:

- `ascend_prefetch.vllm.turn(False)` in the process that runs the model;
- `LLM(..., worker_extension_cls="ascend_prefetch.vllm.switch.Switchable")`, then
  `llm.collective_rpc("turn_ascend_prefetch", args=(False,))`;
- the environment variable ASCEND_PREFETCH=0 for processes that start with it.

A captured graph keeps what it was captured with. The switch affects calls from Python, as those of
attention are in eager mode and under piecewise graphs, and graphs that are captured later.
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
        Whether they were on before.
    """
    before, switch.on = switch.on, bool(on)
    return before


holders: weakref.WeakSet[Any] = weakref.WeakSet()
"""Objects of this process that hold weights or caches; their method forget() releases them."""


def release() -> None:
    """Releases all weights and caches, at any time; the next step finds them again.

    Call it for sleep mode and before weights are replaced, in every process that runs the model.
    Without it the old weights of a layer stay alive until its next step notices the replacement.
    """
    for holder in list(holders):
        holder.forget()


class Switchable:
    """Methods that vLLM's option worker_extension_cls adds to its workers."""

    def turn_ascend_prefetch(self, on: bool) -> bool:
        """Calls turn() in this worker; see LLM.collective_rpc."""
        return turn(on)

    def release_ascend_prefetch(self) -> None:
        """Calls release() in this worker."""
        release()
