"""Why a call or a layer goes the way of upstream, said once per reason."""

from __future__ import annotations

import logging

# Below vLLM's own logger, whose handlers and level it shares.
logger = logging.getLogger("vllm.ascend_prefetch")

_said: set[str] = set()


class Unsupported(Exception):
    """What the fused ops do not do, or not here; its text is the reason that is logged."""


def say_once(reason: str) -> None:
    """Logs that a reason sends calls to vLLM Ascend's own path, the first time it does."""
    if reason not in _said:
        _said.add(reason)
        logger.info("ascend_prefetch: vLLM Ascend's own path is taken: %s", reason)


def reasons() -> tuple[str, ...]:
    """The reasons that have been said in this process, sorted."""
    return tuple(sorted(_said))


def forget() -> None:
    """Lets every reason be said again."""
    _said.clear()
