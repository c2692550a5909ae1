"""The host twin, which runs the ops on CPU tensors: its chip, its modes and its traces."""

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

    landed: bytes in L2 that flags or the order of launches guarantee to be loaded before each read.
    pending: bytes whose consumer is in none of the traces.
    unused: bytes whose consumer ran, but did not read them or may have read them too early.
    duplicated: bytes prefetched again after a prefetch had loaded them (part of planned).
    """

    planned: int
    landed: int
    pending: int
    unused: int
    duplicated: int


class Access(NamedTuple):
    """An access to the bytes that a report is about.

    Attributes:
        core: e.g. "AIV 3".
        pipe: e.g. "MTE2".
        instruction: e.g. "DataCopy".
        file, line: place of the instruction in the kernel's source.
        writes: whether the instruction writes the bytes rather than reads them.
        where: the local buffer or GM tensor, e.g. "UB" or "GM tensor 'kv_cache'".
        first_byte: first byte that the instruction reads, or writes, in that buffer or tensor.
        bytes: number of bytes from the first to the last one that it reads, or writes.
        conflict_first: first of the conflicting bytes, which lie in that range.
        conflict_bytes: number of conflicting bytes.
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
        code: code of the rule; csrc/twin/README.md explains the codes.
        kernel: name of the launch.
        core: the core that broke the rule, e.g. "AIV 3".
        file, line: place in the kernel's source.
        message: what happened, with the values; str() has all fields.
        accesses: for "uninitialised" the reading access; for races the later access, and then the
            earlier one, which nothing orders before it; empty for other codes.
        ordered_by: for races the calls that would order the accesses; otherwise empty.
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
        # The default would rebuild the error from `args`, which has only the text.
        place = (self.kernel, self.core, self.file, self.line)
        details = (self.message, self.accesses, self.ordered_by)
        return type(self), (str(self), self.code, *place, *details)


@contextmanager
def _set(read: Callable[[], Any], write: Callable[[Any], None], value: Any) -> Iterator[None]:
    """Changes a setting of the twin inside the block and restores it afterwards."""
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
        ValueError: the name is unknown; the message lists the known ones.
    """
    for info in chips():
        if info["name"] == name:
            return info
    with chip(name):  # raises the error for an unknown name
        raise AssertionError(name)


@contextmanager
def chip(name: str) -> Iterator[None]:
    """CPU launches inside the block run as on the SoC `name`.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    with _set(_lab.twin_chip, _lab.set_twin_chip, name):
        yield


@contextmanager
def sanitizing(mode: str) -> Iterator[None]:
    """Checks CPU launches inside the block beyond the rules that are always checked.

    Args:
        mode: "off"; "memory" to report bytes that are used before they are written; "full" to
            report unordered accesses as well. Reports are raised as TwinError.

    Raises:
        ValueError: the mode is unknown.
    """
    with _set(_lab.sanitize_mode, _lab.set_sanitize_mode, mode):
        yield


@contextmanager
def schedule(seed: int) -> Iterator[None]:
    """Sets the order in which the cores of CPU launches inside the block take turns.

    Results do not depend on the order unless a kernel has a race.

    Args:
        seed: 0 for the fixed order; any other number up to 2^64 - 1 for a random order, which is
            reproducible.

    Raises:
        TypeError: `seed` is not such a number.
    """
    with _set(_lab.schedule_seed, _lab.set_schedule_seed, seed):
        yield


@contextmanager
def dry() -> Iterator[None]:
    """CPU launches inside the block run dry: they execute only their control flow, for traces.

    They check and trace every instruction, but compute nothing: the bytes of results stay as they
    were. Slots are read; weights and activations are not.
    """
    with _set(_lab.dry, _lab.set_dry, True):
        yield


@contextmanager
def separate_kernels() -> Iterator[None]:
    """CPU launches inside the block run each op as separate kernels, one after the other.

    Each kernel is one matrix product, norm, rotation or cache write, built from the same blocks and
    tiles as the fused kernels, which are compared with them. Results are the same; nothing is
    prefetched.
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


@contextmanager
def watching_sdma() -> Iterator[list[tuple[int, int]]]:
    """Collects what ops give to the SDMA engine inside the block, which the twin does not have.

    The list has (address, bytes) of each range, and is filled when the block ends.
    """
    ranges: list[tuple[int, int]] = []
    _lab.start_sdma_log()
    try:
        yield ranges
    finally:
        ranges.extend(_lab.take_sdma_log())


def account_sdma(ranges: Sequence[tuple[int, int]]) -> PrefetchBytes:
    """Accounts for (address, bytes) of ranges that SDMA loads: nothing reads them yet."""
    planned = sum(nbytes for _, nbytes in ranges)
    covered, end = 0, 0
    for address, nbytes in sorted(ranges):
        covered += max(0, address + nbytes - max(address, end))
        end = max(end, address + nbytes)
    again = planned - covered
    return {
        "planned": planned,
        "landed": 0,
        "pending": covered,
        "unused": again,
        "duplicated": again,
    }


class BufferUsage(NamedTuple):
    """The use of one local buffer by a launch, in bytes.

    Attributes:
        peak: maximum that was allocated at once on any core.
        capacity: capacity of one core; 0 if no core of the launch has the buffer.
    """

    peak: int
    capacity: int


class LaunchBuffers(NamedTuple):
    """The use of all local buffers by a launch.

    Attributes:
        kernel: name of the launch.
        buffers: the use by name: UB, L1, L0A, L0B, L0C, BT (bias table), FB (fixpipe buffer).
    """

    kernel: str
    buffers: dict[str, BufferUsage]


@contextmanager
def buffer_usage() -> Iterator[list[LaunchBuffers]]:
    """Collects the use of local buffers by every launch inside the block.

    The list is filled when the block ends; it includes launches that fail.
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
    """Accounts for the bytes of the named tensors that cores prefetched.

    A weight is recognised in several launches by its address and size: bytes that mla_prolog
    prefetched as "prefetch[0]" are accounted for where o_proj reads them as "o_proj_weight".

    Args:
        trace: the trace of one launch, or the traces of consecutive launches, as tracing() returns
            them. L2 is empty before the first one.
        weights: names of tensors, each of which at least one trace has.

    Raises:
        ValueError: a trace is not of this version, there are no launches or launches on several
            chips, or no trace has one of the names.
    """
    launches = [trace] if isinstance(trace, bytes) else list(trace)
    return cast(PrefetchBytes, _lab.account_prefetch(launches, list(weights)))
