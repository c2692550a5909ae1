"""Why a call or a layer goes the way of upstream, said once per reason."""

from __future__ import annotations

import logging

# Below vLLM's own logger, whose handlers and level it shares.
logger = logging.getLogger("vllm.ascend_prefetch")

_said: set[str] = set()


class Unsupported(Exception):
    """What the fused ops do not do, or not here; its text is the reason that is logged."""


class UpstreamChanged(Exception):
    """Upstream is not what this package was written for; its text names what differs."""


def attribute(owner: object, name: str, what: str | None = None) -> object:
    """An attribute of upstream's that every known release has.

    Args:
        owner: the object of upstream's.
        name: of the attribute.
        what: the owner is called in the error; its class by default.

    Raises:
        UpstreamChanged: there is none, which a default would turn into a wrong answer.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise UpstreamChanged(f"{what or type(owner).__name__} has no {name}") from None


def say_once(
    reason: str, so: str = "vLLM Ascend's own path is taken", level: int = logging.INFO
) -> None:
    """Logs a reason, the first time it is one, and what is done because of it."""
    if reason not in _said:
        _said.add(reason)
        logger.log(level, "ascend_prefetch: %s: %s", so, reason)


def stay_off(reason: str) -> None:
    """Logs what is wrong as an error, once: upstream goes its own way from then on."""
    if reason not in _said:
        _said.add(reason)
        logger.error("ascend_prefetch stays off: %s; vLLM Ascend runs without it", reason)


def upstream_changed(error: Exception | str) -> None:
    """Logs as an error, once, what of upstream is not as it was: its own path is taken."""
    text = str(error)
    if isinstance(error, Exception) and not isinstance(error, UpstreamChanged):
        text = f"{type(error).__name__}: {error}"
    say_once(text, level=logging.ERROR)


def no_prefetch(error: Exception) -> None:
    """Logs what stands against a prefetch: ops run without it."""
    if isinstance(error, UpstreamChanged):
        say_once(str(error), so="nothing is prefetched", level=logging.ERROR)
    else:
        say_once(f"{type(error).__name__}: {error}", so="nothing is prefetched")


def remember(reason: str) -> None:
    """Counts a reason as said: who says it has words of its own."""
    _said.add(reason)


def reasons() -> tuple[str, ...]:
    """The reasons that have been said in this process, sorted."""
    return tuple(sorted(_said))


def forget() -> None:
    """Lets every reason be said again."""
    _said.clear()
