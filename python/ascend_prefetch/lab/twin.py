"""The host twin that runs the ops on CPU tensors: which chip it plays, and its traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypedDict, cast

from ascend_prefetch import _C, _lab


class ChipInfo(TypedDict):
    """One known SoC: core counts, clock in MHz, L2 size in MiB."""

    name: str
    aic_count: int
    aiv_count: int
    clock_mhz: int
    l2_mib: int


class PrefetchBytes(TypedDict):
    """What became of prefetched bytes; planned = landed + pending + unused.

    landed: in L2, and loaded before every read, as flags or the order of launches have it.
    pending: their consumer is not part of the trace, nor of those that follow.
    unused: their consumer ran, but did not read them or may have read them too early.
    duplicated: loaded by a prefetch although one had loaded them already (part of planned).
    """

    planned: int
    landed: int
    pending: int
    unused: int
    duplicated: int


class Access(NamedTuple):
    """Who touched the bytes that a report is about.

    Attributes:
        core: e.g. "AIV 3".
        pipe: e.g. "MTE2".
        instruction: e.g. "DataCopy".
        file: source file of the kernel, and its `line`.
        writes: whether it writes, or reads.
        where: the local buffer or GM tensor, e.g. "UB" or "GM tensor 'kv_cache'".
        first_byte: first byte there of all that the instruction reads, or writes.
        bytes: from the first to the last of them.
        conflict_first: first of the bytes in question, which lie in the above.
        conflict_bytes: how many of them.
    """

    core: str
    pipe: str
    instruction: str
    file: str
    line: int
    writes: bool
    where: str
    first_byte: int
    bytes: int
    conflict_first: int
    conflict_bytes: int


class TwinError(RuntimeError):
    """A kernel that ran on the twin broke a rule of the hardware. The twin can be used again.

    Attributes:
        code: which rule; csrc/twin/README.md explains the codes.
        kernel: name of the launch.
        core: who broke it, e.g. "AIV 3".
        file: source file of the kernel, and its `line`.
        message: what happened, with the values; str() has all fields.
        accesses: of "uninitialised" the one that reads, of races the later one and then the one
            that nothing orders it after; empty for other codes.
        ordered_by: of races the calls that would order the accesses, else empty.
    """

    def __init__(
        self,
        text: str,
        code: str,
        kernel: str,
        core: str,
        file: str,
        line: int,
        message: str,
        accesses: Sequence[Access],
        ordered_by: str,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.kernel = kernel
        self.core = core
        self.file = file
        self.line = line
        self.message = message
        self.accesses = tuple(accesses)
        self.ordered_by = ordered_by

    def __reduce__(self) -> tuple[Any, ...]:
        # By default rebuilt from `args`, which is the text alone.
        place = (self.kernel, self.core, self.file, self.line)
        details = (self.message, self.accesses, self.ordered_by)
        return type(self), (str(self), self.code, *place, *details)


@contextmanager
def _set(read: Callable[[], Any], write: Callable[[Any], None], value: Any) -> Iterator[None]:
    """A setting of the twin inside the block, and what it was before behind it."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def chips() -> list[ChipInfo]:
    """The chips that the twin can play."""
    return _C.chips()


def find_chip(name: str) -> ChipInfo:
    """The chip called `name`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    for info in chips():
        if info["name"] == name:
            return info
    with chip(name):  # refuses it
        raise AssertionError(name)


@contextmanager
def chip(name: str) -> Iterator[None]:
    """CPU launches inside the block play the SoC `name`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    with _set(_lab.twin_chip, _lab.set_twin_chip, name):
        yield


@contextmanager
def sanitizing(mode: str) -> Iterator[None]:
    """CPU launches inside the block are checked for more than the rules that always hold.

    Args:
        mode: "off"; "memory" for bytes that are used before they are written; "full" for accesses
            that nothing orders as well. What is found is a TwinError.

    Raises:
        ValueError: another mode.
    """
    with _set(_lab.sanitize_mode, _lab.set_sanitize_mode, mode):
        yield


@contextmanager
def schedule(seed: int) -> Iterator[None]:
    """The cores of CPU launches inside the block take turns in an order of their own.

    Results do not depend on it unless a kernel has a race.

    Args:
        seed: 0 for the fixed order; any other number up to 2^64 - 1 for a random one, the same
            every time.

    Raises:
        TypeError: not such a number.
    """
    with _set(_lab.schedule_seed, _lab.set_schedule_seed, seed):
        yield


@contextmanager
def dry() -> Iterator[None]:
    """CPU launches inside the block go through their control flow only, for the sake of traces.

    They check and trace every instruction, but compute nothing: results keep whatever bytes they
    had. Slots are read, weights and activations are not.
    """
    with _set(_lab.dry, _lab.set_dry, True):
        yield


@contextmanager
def separate_kernels() -> Iterator[None]:
    """CPU launches inside the block run each op as separate kernels, one after the other.

    A product, norm, rotation or cache write each, of the same blocks and tiles as the fused
    kernels: what these are compared with. Results are the same; nothing is prefetched.
    """
    with _set(_lab.separate_kernels, _lab.set_separate_kernels, True):
        yield


@contextmanager
def tracing() -> Iterator[list[bytes]]:
    """Collects a trace of every launch inside the block; the list is filled when the block ends.

    The format is documented in csrc/twin/include/twin/trace_format.h.
    """
    traces: list[bytes] = []
    _lab.start_tracing()
    try:
        yield traces
    finally:
        traces.extend(_lab.take_traces())


class BufferUsage(NamedTuple):
    """What a launch took of one local buffer, in bytes.

    Attributes:
        peak: the most that was allocated at once on any core.
        capacity: of one core; 0 when no core of the launch has the buffer.
    """

    peak: int
    capacity: int


class LaunchBuffers(NamedTuple):
    """What a launch took of the local buffers.

    Attributes:
        kernel: name of the launch.
        buffers: by name: UB, L1, L0A, L0B, L0C, BT (bias table), FB (fixpipe buffer).
    """

    kernel: str
    buffers: dict[str, BufferUsage]


@contextmanager
def buffer_usage() -> Iterator[list[LaunchBuffers]]:
    """Collects what every launch inside the block takes of the local buffers of its cores.

    The list is filled when the block ends; a launch that fails is part of it.
    """
    launches: list[LaunchBuffers] = []
    _lab.start_buffer_usage()
    try:
        yield launches
    finally:
        for kernel, rows in _lab.take_buffer_usage():
            buffers = {name: BufferUsage(peak, capacity) for name, peak, capacity in rows}
            launches.append(LaunchBuffers(kernel, buffers))


def account_prefetch(trace: bytes | Sequence[bytes], weights: Sequence[str]) -> PrefetchBytes:
    """Accounts for the bytes of the named tensors that vector cores prefetched.

    A weight of several launches is known by its address and size: what mla_prolog prefetched as
    "prefetch[0]" is accounted for where o_proj reads it as "o_proj_weight".

    Args:
        trace: of one launch, or those of launches that followed each other, as tracing() has them.
            L2 is empty before the first one.
        weights: names of tensors in at least one of them.

    Raises:
        ValueError: not a trace of this version, launches of several chips or none, or a name that
            no trace holds.
    """
    launches = [trace] if isinstance(trace, bytes) else list(trace)
    return cast(PrefetchBytes, _lab.account_prefetch(launches, list(weights)))
