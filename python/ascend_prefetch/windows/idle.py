"""A window as the planner sees it: for how long HBM idles in it, and for whom."""

from __future__ import annotations

from ascend_prefetch.planning import Window

from .lengths import KnownWindow


def idle_lengths(
    window: KnownWindow, nbytes: int, hbm_rate: float, sdma_rate: float
) -> tuple[float, float, float]:
    """For how long HBM idles in a window of short, nominal and long length, us.

    Args:
        window: the window.
        nbytes: bytes that its own kernel moves.
        hbm_rate: bytes per us that HBM delivers.
        sdma_rate: bytes per us that SDMA moves.

    Returns:
        Zeros where the window keeps HBM busy, or nobody has published whether it does. Of a window
        that leaves no cores, for how long SDMA has room in it: it needs only a part of the rate
        that is left.
    """
    if window.hbm != "derived":
        return (0.0, 0.0, 0.0)
    lengths = []
    for us in window.us:
        idle = max(0.0, us - nbytes / hbm_rate)
        if window.leaves != "cube":
            idle = min(us, idle * hbm_rate / sdma_rate)
        lengths.append(idle)
    return (lengths[0], lengths[1], lengths[2])


def planner_window(
    name: str, idle: tuple[float, float, float], *, begins: str, ends: str, leaves: str
) -> Window:
    """The planner's own type, of a window that leaves "cube" cores or "none"."""
    return Window(name, idle, 0, begins=begins, ends=ends, cube_cores=leaves == "cube")
