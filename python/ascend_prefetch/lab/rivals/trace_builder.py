"""Builds the trace of a kernel that is not ours, instruction by instruction.

The form is that of the twin's traces (csrc/twin/include/twin/trace_format.h), so that the timing
model replays such a kernel exactly as it replays ours.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_MAGIC, _VERSION = 0x52545741, 1
_HEADER = struct.Struct("<6IQ")
_CORE = struct.Struct("<2Q")
_TENSOR = struct.Struct("<2Q2I")
# op, pipe, tensor, site, GM offset, block stride, block bytes, block count, buffer, local offset,
# local bytes, five arguments
_RECORD = struct.Struct("<BBHIQQIIB3xII5I")
_NO_TENSOR, _NO_BUFFER = 0xFFFF, 255

_LOAD, _STORE, _MOVE, _MMAD, _FIXPIPE, _VECTOR = range(6)
_SET_FLAG, _WAIT_FLAG, _BARRIER = 7, 8, 9
_CROSS_SET, _CROSS_WAIT = 10, 11
_L0A, _L0B = 2, 3

S, V, M, MTE1, MTE2, MTE3, FIX, _ALL = range(8)
"""Pipes, by the numbers of twin::TracePipe."""


class Tensor(NamedTuple):
    """A tensor in GM.

    Attributes:
        name: name in the trace.
        address: its address; a tensor of the same address and size in another kernel is the same.
        nbytes: its size.
        written: whether the kernel writes it; such tensors are told apart by name and size alone.
    """

    name: str
    address: int
    nbytes: int
    written: bool = False


class TraceBuilder:
    """The trace of one launch. Cores are numbered AIC first, then AIV 2i and 2i + 1 of AIC i."""

    def __init__(self, kernel: str, chip: str, cubes: int, vectors: int) -> None:
        self.kernel = kernel
        self.chip = chip
        self.cubes = cubes
        self.vectors = vectors
        self._tensors: dict[Tensor, int] = {}
        self._records: list[list[bytes]] = [[] for _ in range(cubes + vectors)]

    def load(self, core: int, tensor: Tensor, offset: int, nbytes: int) -> None:
        """GM to L1 or UB, one contiguous block."""
        self._add(core, _LOAD, MTE2, tensor=tensor, offset=offset, block=nbytes)

    def store(self, core: int, tensor: Tensor, offset: int, nbytes: int) -> None:
        """UB to GM, one contiguous block."""
        self._add(core, _STORE, MTE3, tensor=tensor, offset=offset, block=nbytes)

    def move(self, core: int, to_a: bool, fractals: int) -> None:
        """L1 to L0A or L0B."""
        self._add(core, _MOVE, MTE1, buffer=_L0A if to_a else _L0B, arguments=(fractals, 0))

    def mmad(self, core: int, m: int, n: int, k: int, element_bytes: int) -> None:
        """A product on the cube."""
        self._add(core, _MMAD, M, arguments=(m, n, k, element_bytes, 1))

    def fixpipe(
        self, core: int, tensor: Tensor, offset: int, rows: int, row_bytes: int, stride: int
    ) -> None:
        """L0C to GM: rows whose starts are `stride` bytes apart."""
        self._add(
            core, _FIXPIPE, FIX, tensor=tensor, offset=offset, block=row_bytes, blocks=rows,
            stride=stride,
        )  # fmt: skip

    def vector(self, core: int, repeats: int) -> None:
        """A vector instruction of so many repeats of 256 bytes."""
        self._add(core, _VECTOR, V, arguments=(repeats, 256 * repeats, 4))

    def set_flag(self, core: int, source: int, destination: int, event: int) -> None:
        """A flag from one pipe of a core to another."""
        self._add(core, _SET_FLAG, source, arguments=(source, destination, event))

    def wait_flag(self, core: int, source: int, destination: int, event: int) -> None:
        """The wait for such a flag."""
        self._add(core, _WAIT_FLAG, destination, arguments=(source, destination, event))

    def barrier(self, core: int, pipe: int) -> None:
        """What follows on a pipe waits for the results of what came before."""
        self._add(core, _BARRIER, pipe)

    def meet(self, core: int, pipe: int, flag: int) -> None:
        """All cores of this type meet: sets the flag behind `pipe` and waits for it (mode 0)."""
        self.cross_set(core, pipe, 0, flag)
        self.cross_wait(core, flag)

    def cross_set(self, core: int, pipe: int, mode: int, flag: int) -> None:
        """A flag to other cores: mode 0 to all of this type, 2 to the other type of the block."""
        self._add(core, _CROSS_SET, pipe, arguments=(mode, flag))

    def cross_wait(self, core: int, flag: int) -> None:
        """The wait for such a flag, which holds the whole core."""
        self._add(core, _CROSS_WAIT, S, arguments=(flag,))

    def trace(self) -> bytes:
        """The serialised trace."""
        counts = [len(records) for records in self._records]
        parts = [
            _HEADER.pack(
                _MAGIC, _VERSION, len(counts), self.cubes, len(self._tensors), 1, sum(counts)
            )
        ]
        first = 0
        for count in counts:
            parts.append(_CORE.pack(first, count))
            first += count
        for tensor in self._tensors:
            parts.append(_TENSOR.pack(tensor.address, tensor.nbytes, tensor.written, 0))
        for records in self._records:
            parts += records
        texts = [self.kernel, *(tensor.name for tensor in self._tensors), self.kernel, self.chip]
        parts += [text.encode() + b"\0" for text in texts]
        return b"".join(parts)

    def _add(
        self,
        core: int,
        op: int,
        pipe: int,
        *,
        tensor: Tensor | None = None,
        offset: int = 0,
        block: int = 0,
        blocks: int = 1,
        stride: int = 0,
        buffer: int = _NO_BUFFER,
        arguments: tuple[int, ...] = (),
    ) -> None:
        index = _NO_TENSOR
        if tensor is not None:
            index = self._tensors.setdefault(tensor, len(self._tensors))
        padded = (*arguments, 0, 0, 0, 0, 0)[:5]
        record = _RECORD.pack(
            op, pipe, index, 0, offset, stride or block, block, blocks, buffer, 0, 0, *padded
        )
        self._records[core].append(record)
