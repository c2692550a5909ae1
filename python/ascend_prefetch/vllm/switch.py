"""The run-time switch: fused ops and prefetches on or off, without a restart.

There are three ways to use it:

- `ascend_prefetch.vllm.turn(False)` in the process that runs the model;
- `LLM(..., worker_extension_cls="ascend_prefetch.vllm.Switchable")`, then
  `llm.collective_rpc("turn_ascend_prefetch", args=(False,))`;
- the environment variable ASCEND_PREFETCH=0 for processes that start with it.

A captured graph keeps what it was captured with. The switch affects calls from Python, as those of
attention are in eager mode and under piecewise graphs, and graphs that are captured later.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from ascend_prefetch.shown import shown

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


_WORDS = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}


def turn(on: bool | int | str) -> bool:
    """Turns fused ops and prefetches of this process on or off.

    Args:
        on: true or false; or, as calls from outside of Python bring it, 1, 0 or the words "true",
            "on", "1", "false", "off", "0".

    Returns:
        Whether they were on before.

    Raises:
        ValueError: `on` is something else; nothing is changed.
    """
    wanted = _WORDS.get(str(on).lower()) if isinstance(on, bool | int | str) else None
    if wanted is None:
        raise ValueError(f"turn: expected true or false, got {shown(on)}")
    before, switch.on = switch.on, wanted
    for told in _told:
        told(wanted)
    return before


_told: list[Callable[[bool], None]] = []


def on_turn(told: Callable[[bool], None]) -> None:
    """Has a function called with each new state of the switch."""
    _told.append(told)


holders: weakref.WeakSet[Any] = weakref.WeakSet()
"""Objects of this process that hold weights or caches; their method forget() releases them."""


def release() -> None:
    """Releases all weights and caches, at any time; the next step finds them again.

    Call it for sleep mode and before weights are replaced, in every process that runs the model.
    Without it the old weights of a layer stay alive until its next step notices the replacement.
    """
    for holder in list(holders):
        holder.forget()
