"""Row by row work of the vector cores of a kernel that is not ours."""

from __future__ import annotations

from dataclasses import dataclass

from .trace_builder import MTE2, MTE3, Tensor, TraceBuilder, V

_REPEAT = 64
"""fp32 elements of a repeat of 256 bytes."""


@dataclass(frozen=True)
class RowWork:
    """What is done with each piece of a tensor: load, some vector instructions, store.

    Attributes:
        source, target: read and written tensors.
        pieces: number of pieces, such as rows.
        elements: elements of a piece.
        source_bytes, target_bytes: bytes of an element.
        instructions: vector instructions over all elements of a piece, each of which waits for the
            one before it.
    """

    source: Tensor
    target: Tensor
    pieces: int
    elements: int
    source_bytes: int
    target_bytes: int
    instructions: int


class VectorLane:
    """Issues row work on one vector core.

    Attributes:
        core: the core, numbered behind the cube cores.
    """

    def __init__(self, builder: TraceBuilder, core: int) -> None:
        self._builder = builder
        self.core = core
        self._index = core - builder.cubes

    def run(self, work: RowWork) -> None:
        """Issues the core's share of the pieces."""
        for piece in range(self._index, work.pieces, self._builder.vectors):
            self.piece(work, piece)

    def piece(self, work: RowWork, piece: int) -> None:
        """Issues one piece; nothing of the next overlaps with it."""
        builder, core = self._builder, self.core
        nbytes = work.elements * work.source_bytes
        builder.load(core, work.source, _at(work.source, piece * nbytes, nbytes), nbytes)
        builder.set_flag(core, MTE2, V, 0)
        builder.wait_flag(core, MTE2, V, 0)
        for _ in range(work.instructions):
            builder.vector(core, -(-work.elements // _REPEAT))
            builder.barrier(core, V)
        builder.set_flag(core, V, MTE3, 0)
        builder.wait_flag(core, V, MTE3, 0)
        nbytes = work.elements * work.target_bytes
        builder.store(core, work.target, _at(work.target, piece * nbytes, nbytes), nbytes)
        # The next piece is loaded into the same buffer.
        builder.set_flag(core, MTE3, MTE2, 0)
        builder.wait_flag(core, MTE3, MTE2, 0)


def _at(tensor: Tensor, offset: int, nbytes: int) -> int:
    """An offset at which so many bytes are left: halves of tiles are pieces of their tensor."""
    return min(offset, max(0, tensor.nbytes - nbytes))
