"""The host twin that runs the ops on CPU tensors: which chip it plays, and its traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

from ascend_prefetch import _C


class ChipInfo(TypedDict):
    """One known SoC: core counts, clock in MHz, L2 size in MiB."""

    name: str
    aic_count: int
    aiv_count: int
    clock_mhz: int
    l2_mib: int


class PrefetchBytes(TypedDict):
    """What became of prefetched bytes; planned = landed + pending + unused.

    landed: loaded, by the flags of the trace, before every read of the bytes, and still in L2.
    pending: their consumer is not part of the trace.
    unused: their consumer ran, but did not read them or may have read them too early.
    duplicated: loaded by a prefetch although one had loaded them already (part of planned).
    """

    planned: int
    landed: int
    pending: int
    unused: int
    duplicated: int


def chips() -> list[ChipInfo]:
    """The chips that the twin can play."""
    return _C.chips()


def find_chip(name: str) -> ChipInfo:
    """The chip called `name`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    with chip(name):
        return next(info for info in chips() if info["name"] == name)


@contextmanager
def chip(name: str) -> Iterator[None]:
    """CPU launches inside the block play the SoC `name`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    before = _C.twin_chip()
    _C.set_twin_chip(name)
    try:
        yield
    finally:
        _C.set_twin_chip(before)


@contextmanager
def sanitizing(mode: str) -> Iterator[None]:
    """CPU launches inside the block are checked for more than the rules that always hold.

    Args:
        mode: "off"; "memory" for bytes that are used before they are written; "full" for accesses
            that nothing orders as well. What is found is a RuntimeError; csrc/twin/README.md lists
            the codes.

    Raises:
        ValueError: another mode.
    """
    before = _C.sanitize_mode()
    _C.set_sanitize_mode(mode)
    try:
        yield
    finally:
        _C.set_sanitize_mode(before)


@contextmanager
def tracing() -> Iterator[list[bytes]]:
    """Collects a trace of every launch inside the block; the list is filled when the block ends.

    The format is documented in csrc/twin/include/twin/trace_format.h.
    """
    traces: list[bytes] = []
    _C.start_tracing()
    try:
        yield traces
    finally:
        traces.extend(_C.take_traces())


def account_prefetch(trace: bytes, weights: Sequence[str]) -> PrefetchBytes:
    """Accounts for the bytes of the named tensors that vector cores prefetched in a trace.

    Raises:
        ValueError: not a trace of this version, or a name that the trace does not hold.
    """
    return _C.account_prefetch(trace, list(weights))
