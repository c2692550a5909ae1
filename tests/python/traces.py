"""Reads the traces of twin.tracing(): csrc/twin/include/twin/trace_format.h."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ascend_prefetch.lab import twin

HEADER = struct.Struct("<6IQ")
CORE = struct.Struct("<2Q")
TENSOR = struct.Struct("<2Q2I")
# op, pipe, tensor, site, GM offset, block stride, block bytes, block count of a record.
RECORD = struct.Struct("<BBHIQQII32x")
RECORD_FIELDS = RECORD.size - 32
# op, buffer, fractals of a record: of moves into L0.
MOVE = struct.Struct("<B31xB11xI16x")
L0B = 3
LOAD, STORE, MOVED, FIXPIPE = 0, 1, 2, 4
SET_FLAG, WAIT_FLAG, BARRIER, CROSS_SET, CROSS_WAIT = 7, 8, 9, 10, 11
MTE2 = 4
ALL_PIPES = 7


class Trace:
    """The parts of a serialised trace that tests look at."""

    def __init__(self, trace: bytes) -> None:
        header = HEADER.unpack_from(trace)
        _, _, self.core_count, self.aic_count, tensor_count, site_count, record_count = header
        self.tensor_table = HEADER.size + self.core_count * CORE.size
        self.first_record = self.tensor_table + tensor_count * TENSOR.size
        self._bytes = trace
        self.texts = self.first_record + record_count * RECORD.size
        texts = trace[self.texts :].split(b"\0")
        self.tensors = dict(enumerate(text.decode() for text in texts[site_count:][:tensor_count]))
        self.kernel = texts[site_count + tensor_count].decode()

    def records(self, core: int) -> Iterator[tuple[int, ...]]:
        """The fields of RECORD of every record."""
        return RECORD.iter_unpack(self._records(core))

    def bytes_to_l0b(self, core: int) -> int:
        """What a core moves from L1 to L0B."""
        moves = MOVE.iter_unpack(self._records(core))
        return 512 * sum(fractals for op, to, fractals in moves if (op, to) == (MOVED, L0B))

    def _records(self, core: int) -> bytes:
        first, count = CORE.unpack_from(self._bytes, HEADER.size + core * CORE.size)
        start = self.first_record + first * RECORD.size
        return self._bytes[start : start + count * RECORD.size]

    def without_addresses(self) -> tuple[bytes, bytes]:
        """Everything but the tensor table."""
        return self._bytes[: self.tensor_table], self._bytes[self.first_record :]


def launches(function: Callable[..., object], *args: object, **kwargs: object) -> list[str]:
    """The kernels that a call launches, in order."""
    with twin.tracing() as traces:
        function(*args, **kwargs)
    return [Trace(trace).kernel for trace in traces]
