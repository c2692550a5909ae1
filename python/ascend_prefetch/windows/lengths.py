"""How long the windows of a decode step are, for any number of ranks, tokens and bytes.

Between published points lengths are interpolated linearly. Outside them the nearest point stands,
and the window is marked as extrapolated: no claim may rest on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import published
from .published import ASSUMED, DERIVED, PUBLISHED, Lengths

CASES = ("short", "nominal", "long")
"""The names of a window's lengths."""


@dataclass(frozen=True)
class KnownWindow:
    """What is known of a window between kernels: the time of another project's kernel.

    For the planner it becomes a window of its own type (ascend_prefetch.planning.Window), with what
    passes through L2 until the use.

    Attributes:
        name: what runs: "all_reduce", "all_gather", "dispatch", "combine", "indexer",
            "sparse_attention", "attention", "norm" or "top_k".
        us: its lengths, us, launch included where a function below was given one.
        provenance: class of the lengths: "published", "derived", "assumed" or "profiled".
        source: where the lengths come from.
        extrapolated: whether they lie outside what was published.
        hbm: what is known of its use of HBM: "derived" (the bytes that it must move, idle
            otherwise), "published" (busy by itself) or "unknown", which counts as busy too.
        leaves: cores that it leaves idle: "cube", or "none" where SDMA alone could fetch.
    """

    name: str
    us: Lengths
    provenance: str
    source: str
    extrapolated: bool = False
    hbm: str = "derived"
    leaves: str = "cube"


def all_reduce(ranks: int, nbytes: int) -> KnownWindow:
    """An all-reduce in AIV mode.

    Args:
        ranks: ranks that take part, 2 or more.
        nbytes: message of each rank.
    """
    us, outside, _ = _interpolate(published.ALL_REDUCE, ranks)
    growth, other_ranks, _ = _interpolate(
        {n: Lengths(us, us, us) for n, us in published.ALL_REDUCE_2_MIB.items()}, ranks
    )
    beyond = nbytes - published.COLLECTIVE_BYTES
    if beyond > 0:
        most = published.ALL_REDUCE_MAX_BYTES
        share = beyond / (most - published.COLLECTIVE_BYTES)
        us = us.plus(min(share, 1.0) * growth.nominal)
        outside = outside or other_ranks or nbytes > most
    return KnownWindow("all_reduce", us, _class_of_ranks(ranks), "AIC, AICG", outside)


def all_gather(ranks: int, nbytes: int) -> KnownWindow:
    """An all-gather in AIV mode; arguments as for all_reduce."""
    us, outside, _ = _interpolate(published.ALL_GATHER, ranks)
    outside = outside or nbytes > published.COLLECTIVE_BYTES
    source = "AIC, scaled as the all-reduce"
    return KnownWindow("all_gather", us, _class_of_ranks(ranks), source, outside)


def _class_of_ranks(ranks: int) -> str:
    """The class of a collective's lengths: that of the least certain of them."""
    return DERIVED if ranks <= published.ALL_REDUCE_DERIVED_RANKS else ASSUMED


def dispatch(ep: int, tokens: int) -> KnownWindow:
    """MC2 dispatch.

    Args:
        ep: ranks of expert parallelism.
        tokens: tokens that each rank sends.
    """
    return _exchange("dispatch", published.DISPATCH_FEW, published.DISPATCH_MANY, ep, tokens)


def combine(ep: int, tokens: int) -> KnownWindow:
    """MC2 combine; arguments as for dispatch."""
    return _exchange("combine", published.COMBINE_FEW, published.COMBINE_MANY, ep, tokens)


def indexer(queries: int, cached: int, launch_us: float = 0.0) -> KnownWindow:
    """The lightning indexer.

    Args:
        queries: query tokens.
        cached: cached tokens of each request.
        launch_us: launch and start of a kernel, us: the part of it that does not grow with the
            cached tokens.
    """
    us, outside, _ = _interpolate(published.INDEXER, queries)
    us = us.times(cached / published.INDEXER_CACHED, launch_us)
    source = f"AICG, scaled from {published.INDEXER_CACHED:,} cached tokens"
    return KnownWindow("indexer", us, DERIVED, source, outside, leaves="none")


def sparse_attention(queries: int, selected: int, launch_us: float = 0.0) -> KnownWindow:
    """Sparse attention.

    Args:
        queries: query tokens.
        selected: cached tokens that each of them attends to.
        launch_us: as for indexer, of the selected tokens.
    """
    points = published.SPARSE_ATTENTION | published.SPARSE_SECOND_ROUND
    us, outside, provenance = _interpolate(points, queries)
    if selected != published.SPARSE_SELECTED:
        us = us.times(selected / published.SPARSE_SELECTED, launch_us)
        provenance = DERIVED
    if not outside and queries not in published.SPARSE_ATTENTION:
        provenance = DERIVED
    return KnownWindow(
        "sparse_attention",
        us,
        provenance,
        "AICG, 16 heads a rank",
        outside,
        leaves="none",
    )


def dense_attention(nbytes: int, share: float = 1.0, launch_us: float = 0.0) -> KnownWindow:
    """Dense attention, which reads its cache once.

    Args:
        nbytes: bytes that it reads.
        share: the chip's HBM rate relative to that of a 910C die.
        launch_us: launch and start of a kernel, us, which precede the read.
    """
    us = launch_us + nbytes / (published.DENSE_ATTENTION_RATE * 1e6 * share)
    source = "CM384: 84.1 % of HBM at its best, no spread published"
    if launch_us:
        source += "; and a launch"
    return KnownWindow(
        "attention", Lengths(us, us, us), DERIVED, source, hbm="published", leaves="none"
    )


def norm(tokens: int) -> KnownWindow:
    """The norm between attention and feed-forward, with the residual's addition."""
    us, outside, provenance = _interpolate(published.NORM, tokens)
    return KnownWindow("norm", us, provenance, "AICG, 6,144 elements", outside, hbm="unknown")


def top_k(tokens: int) -> KnownWindow:
    """The choice of experts behind the gate, for the tokens of a rank."""
    us, outside, provenance = _interpolate(published.TOP_K, tokens)
    return KnownWindow("top_k", us, provenance, "AICG, 256 experts", outside, hbm="unknown")


def _exchange(
    name: str, few: Lengths, many: Mapping[int, float], ep: int, tokens: int
) -> KnownWindow:
    usual, outside, _ = _interpolate({n: Lengths(us, us, us) for n, us in many.items()}, ep)
    if tokens <= published.FEW_TOKENS:
        # Short and nominal are published as they are, long is not.
        return KnownWindow(name, few, DERIVED, "AICG, CM384, SGL", outside)
    nominal = usual.nominal
    at_many = Lengths(
        nominal * published.SHORTEST_SHARE_MANY[name], nominal, nominal + few.long - few.nominal
    )
    us, more, _ = _interpolate({published.FEW_TOKENS: few, published.MANY_TOKENS: at_many}, tokens)
    return KnownWindow(name, us, DERIVED, "AICG, CM384, SGL", outside or more)


def _interpolate(points: Mapping[int, Lengths], at: int) -> tuple[Lengths, bool, str]:
    """Lengths at a place between points, whether it lies outside them, and their class.

    What lies between two points is derived, unless both have the same lengths.
    """
    places = sorted(points)
    if at <= places[0]:
        return points[places[0]], at < places[0], PUBLISHED
    if at >= places[-1]:
        return points[places[-1]], at > places[-1], PUBLISHED
    above = next(place for place in places if place >= at)
    below = max(place for place in places if place <= at)
    if points[above] == points[below]:
        return points[above], False, PUBLISHED
    share = (at - below) / (above - below)
    pairs = zip(points[below], points[above], strict=True)
    return Lengths(*(a + share * (b - a) for a, b in pairs)), False, DERIVED
