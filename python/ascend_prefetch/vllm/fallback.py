"""Why a call or a layer goes upstream; each reason is logged once."""

from __future__ import annotations

import logging

# Below vLLM's own logger, whose handlers and level it shares.
logger = logging.getLogger("vllm.ascend_prefetch")

_said: set[str] = set()


class Unsupported(Exception):
    """The fused ops cannot do this, or not on this device; the text is the reason to log."""


class UpstreamChanged(Exception):
    """Upstream's code differs from what this package was written for; the text names how."""


def attribute(owner: object, name: str, what: str | None = None) -> object:
    """An attribute that upstream's object has in every known release.

    Args:
        owner: upstream's object.
        name: name of the attribute.
        what: what the error calls the owner; by default its class.

    Raises:
        UpstreamChanged: the attribute is missing; a default value could give wrong results.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise UpstreamChanged(f"{what or type(owner).__name__} has no {name}") from None


def say_once(
    reason: str, so: str = "vLLM Ascend's own path is taken", level: int = logging.INFO
) -> None:
    """Logs a reason and its consequence `so`, the first time that this reason occurs."""
    if reason not in _said:
        _said.add(reason)
        logger.log(level, "ascend_prefetch: %s: %s", so, reason)


def stay_off(reason: str) -> None:
    """Logs as an error, once, why the plugin stays off: upstream's own code runs from then on."""
    if reason not in _said:
        _said.add(reason)
        logger.error("ascend_prefetch stays off: %s; vLLM Ascend runs without it", reason)


def upstream_changed(error: Exception | str) -> None:
    """Logs as an error, once, how upstream has changed; upstream's own path is taken."""
    text = str(error)
    if isinstance(error, Exception) and not isinstance(error, UpstreamChanged):
        text = f"{type(error).__name__}: {error}"
    say_once(text, level=logging.ERROR)


def no_prefetch(error: Exception) -> None:
    """Logs why a prefetch is impossible; the ops run without it."""
    if isinstance(error, UpstreamChanged):
        say_once(str(error), so="nothing is prefetched", level=logging.ERROR)
    else:
        say_once(f"{type(error).__name__}: {error}", so="nothing is prefetched")


def remember(reason: str) -> None:
    """Marks a reason as logged, for a caller that logs it in its own words."""
    _said.add(reason)


def reasons() -> tuple[str, ...]:
    """The reasons that have been logged in this process, sorted."""
    return tuple(sorted(_said))


def forget() -> None:
    """Lets every reason be logged again."""
    _said.clear()
