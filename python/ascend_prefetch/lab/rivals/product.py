"""A matrix product on the cube cores of a kernel that is not ours.

Weights are in FRACTAL_NZ, so that a core's share of a tile is a contiguous block. A tile of the
product is loaded in slices of its depth through two buffers in L1, which the cube empties through
two halves of L0 each.
"""

from __future__ import annotations

from dataclasses import dataclass

from .trace_builder import FIX, MTE1, MTE2, M, Tensor, TraceBuilder

_FRACTAL_BYTES = 512
_L0_HALF = 32 * 1024
_BUFFERS = 2


@dataclass(frozen=True)
class Product:
    """C = A x B, cut over cube cores.

    Attributes:
        a: the rows, [m, k].
        b: the weight, [n, k] of each of `batch` products.
        c: the results.
        m, n, k: sizes of one product.
        tile_n: columns of a tile.
        slice_k: depth of a slice.
        element_bytes: of A and B; C has 4 bytes where they have 1, else 2.
        batch: products of this size, such as heads.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    m: int
    n: int
    k: int
    tile_n: int
    slice_k: int
    element_bytes: int
    batch: int = 1

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.batch * -(-self.n // self.tile_n)

    def tiles_of(self, core: int, cubes: int) -> list[int]:
        """The tiles of a core."""
        return list(range(core, self.tiles, cubes))

    def slices(self, tile: int) -> list[tuple[int, int, int]]:
        """(offset into B, columns, depth) of each slice of a tile."""
        per_product = -(-self.n // self.tile_n)
        batch, column = divmod(tile, per_product)
        columns = min(self.tile_n, self.n - column * self.tile_n)
        start = (batch * self.n + column * self.tile_n) * self.k
        found = []
        for first in range(0, self.k, self.slice_k):
            depth = min(self.slice_k, self.k - first)
            found.append(((start + first * columns) * self.element_bytes, columns, depth))
        return found

    @property
    def result_bytes(self) -> int:
        """Bytes of an element of C."""
        return 4 if self.element_bytes == 1 else 2


class CubeLane:
    """Issues products on one cube core.

    Attributes:
        core: the core.
    """

    def __init__(self, builder: TraceBuilder, core: int) -> None:
        self._builder = builder
        self.core = core
        self._turn = 0
        self._half = 0
        self._preloaded: list[tuple[int, int]] = []
        for buffer in range(_BUFFERS):
            builder.set_flag(core, MTE1, MTE2, buffer)
            builder.set_flag(core, M, MTE1, buffer)
        builder.set_flag(core, FIX, M, 0)

    def preload(self, product: Product, slices: int) -> None:
        """Loads the weight of the first slices of a product, before what it waits for."""
        tiles = product.tiles_of(self.core, self._builder.cubes)
        for offset, columns, depth in product.slices(tiles[0])[:slices] if tiles else []:
            buffer = (self._turn + len(self._preloaded)) % _BUFFERS
            self._builder.wait_flag(self.core, MTE1, MTE2, buffer)
            nbytes = columns * depth * product.element_bytes
            self._builder.load(self.core, product.b, offset, nbytes)
            self._preloaded.append((offset, nbytes))

    def run(self, product: Product, behind_tile: tuple[int, int] | None = None) -> None:
        """Issues the core's tiles of a product.

        Args:
            product: the product.
            behind_tile: mode and flag that are set behind each tile; None for none.
        """
        cubes = self._builder.cubes
        work = [
            (tile, part, slices)
            for tile in product.tiles_of(self.core, cubes)
            for slices in [product.slices(tile)]
            for part in range(len(slices))
        ]
        # The next slice is loaded before the cube works on this one.
        self._load(product, work, 0)
        for number, (tile, part, slices) in enumerate(work):
            self._load(product, work, number + 1)
            _, columns, depth = slices[part]
            if part == 0:
                self._builder.wait_flag(self.core, FIX, M, 0)
            self._multiply(product, columns, depth)
            if part == len(slices) - 1:
                self._store(product, tile, columns)
                if behind_tile is not None:
                    self._builder.cross_set(self.core, FIX, *behind_tile)

    def _load(
        self, product: Product, work: list[tuple[int, int, list[tuple[int, int, int]]]], at: int
    ) -> None:
        if at >= len(work):
            return
        builder, core = self._builder, self.core
        _, part, slices = work[at]
        offset, columns, depth = slices[part]
        # The buffer of the slice that follows the one that is multiplied next.
        buffer = (self._turn + (1 if at else 0)) % _BUFFERS
        nbytes = columns * depth * product.element_bytes
        if self._preloaded:
            self._preloaded.pop(0)
        else:
            builder.wait_flag(core, MTE1, MTE2, buffer)
            builder.load(core, product.b, offset, nbytes)
        rows = min(product.m * depth * product.element_bytes, product.a.nbytes)
        builder.load(core, product.a, 0, rows)
        builder.set_flag(core, MTE2, MTE1, buffer)

    def _multiply(self, product: Product, columns: int, depth: int) -> None:
        builder, core = self._builder, self.core
        buffer = self._turn % _BUFFERS
        self._turn += 1
        unit = 32 // product.element_bytes
        m, n = round_up(product.m, 16), round_up(columns, 16)
        step = max(unit, _L0_HALF // (max(m, n) * product.element_bytes) // unit * unit)
        builder.wait_flag(core, MTE2, MTE1, buffer)
        for first in range(0, depth, step):
            k = min(step, depth - first)
            half = self._half
            self._half = 1 - half
            builder.wait_flag(core, M, MTE1, half)
            builder.move(core, True, m * k * product.element_bytes // _FRACTAL_BYTES)
            builder.move(core, False, n * k * product.element_bytes // _FRACTAL_BYTES)
            builder.set_flag(core, MTE1, M, half)
            builder.wait_flag(core, MTE1, M, half)
            builder.mmad(core, m, n, k, product.element_bytes)
            builder.set_flag(core, M, MTE1, half)
        builder.set_flag(core, MTE1, MTE2, buffer)

    def _store(self, product: Product, tile: int, columns: int) -> None:
        builder, core = self._builder, self.core
        width = product.n * product.batch * product.result_bytes
        batch, column = divmod(tile, -(-product.n // product.tile_n))
        offset = (batch * product.n + column * product.tile_n) * product.result_bytes
        builder.set_flag(core, M, FIX, 0)
        builder.wait_flag(core, M, FIX, 0)
        builder.fixpipe(core, product.c, offset, product.m, columns * product.result_bytes, width)
        builder.set_flag(core, FIX, M, 0)


def round_up(value: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-value // unit) * unit
