"""mla_preprocess (MLAPO), the fused prolog of vLLM Ascend, as the timing model sees it.

Read from vllm-project/vllm-ascend at 182b75ea84, csrc/mla_preprocess: the order of stages and
their hand-overs from op_kernel/mla_preprocess_mix_bf16.hpp (ProcessCube, ProcessVector,
PpMatmulW8a8Aic, PpMatmulW8a8Aiv, PpMatmulEinSum), tiles from op_host/mla_preprocess.h
(PpMatmulTilingApi), 16-bit weights from mla_preprocess_mix_bf16_nq.hpp. Nothing is copied:

    AIV  quantise rows | meet | dequantise qkv_a | meet | norm, quantise q_c | meet | kv, caches |
         dequantise q_b | meet | rope of the queries
    AIC  (two slices of qkv_a's weight) wait | qkv_a | (two slices of q_b) wait | q_b | wait | W_UK

Left out, since no source says what they cost: scalar reads of scales, waits of all pipes, and
instruction fetch. The model is therefore a lower estimate of this kernel, as it is of ours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .product import CubeLane, Product, round_up
from .shapes import PrologShape
from .trace_builder import FIX, MTE3, Tensor, TraceBuilder
from .vector_lane import RowWork, VectorLane

MAX_TOKENS = 256
"""Most rows whose tiles are represented here: a row of tiles, as in decode. The op takes 1,024."""

NAME = "mla_preprocess"

_L0C = 128 * 1024
_L1 = 512 * 1024
_PRELOADED = 2
# Vector instructions over a row, counted in the stages of the source.
_QUANTISE, _QUANTISE_DYNAMIC, _DEQUANTISE, _NORM_QUANTISE, _KEY_ROWS, _ROPE = 5, 9, 4, 12, 14, 7
_START_QKV_A, _START_Q_B, _START_W_UK, _TILE_DONE, _MEET, _MEET_CUBES = range(6)


class Tile(NamedTuple):
    """Columns of a tile and depth of a slice of it, and the cube cores that take tiles."""

    columns: int
    depth: int


def tile_of(
    m: int, n: int, k: int, cubes: int, element_bytes: int, batch: int = 1, cut_evenly: bool = True
) -> Tile:
    """The tile that the op's planner takes for `batch` products of m rows.

    It searches powers of two for the least of 1 / columns + 1 / rows; where cores would idle it
    then cuts the columns evenly over all of them.

    Args:
        m, n, k: sizes of a product.
        cubes: cube cores of the chip.
        element_bytes: of the operands.
        batch: products of this size.
        cut_evenly: whether columns may be cut evenly, which W_UK's may not.
    """
    rows = round_up(m, 16)
    most = 256 if element_bytes == 1 else 512
    candidates = [16 << i for i in range(6) if 16 << i <= min(most, round_up(n, 16))]
    columns = max(size for size in candidates if rows * size * 4 <= _L0C)
    tiles = batch * -(-n // columns)
    if cut_evenly and tiles % cubes < cubes * 3 // 4:
        share = -(-n // cubes)
        parts = -(-share // min(_L0C // (rows * 4), most))
        even = round_up(-(-share // parts), 16)
        if rows * even * 4 < _L0C and (rows + even) * 256 * element_bytes < _L1:
            columns = even
    unit, step = (512, 32) if element_bytes == 1 else (256, 16)
    depth = _L1 // 2 // ((rows + columns) * element_bytes)
    depth = depth // unit * unit if depth >= unit else depth // step * step
    if depth > 512:
        depth = depth // 512 * 512
    return Tile(columns, min(depth, k))


def mla_preprocess(
    shape: PrologShape, chip: str, cubes: int, vectors: int, dynamic: bool = False
) -> bytes:
    """The trace of one launch.

    Args:
        shape: the prolog.
        chip: SoC name.
        cubes, vectors: cores of the chip.
        dynamic: whether rows are quantised with scales of their own; otherwise static scales.

    Raises:
        ValueError: more rows than are represented.
    """
    if shape.tokens > MAX_TOKENS:
        raise ValueError(f"{NAME}: expected at most {MAX_TOKENS} tokens, got {shape.tokens}")
    builder = TraceBuilder(NAME, chip, cubes, vectors)
    products = _products(shape, cubes)
    for core in range(cubes):
        _cube(CubeLane(builder, core), builder, products, shape.int8 and dynamic)
    for core in range(cubes, cubes + vectors):
        _vector(VectorLane(builder, core), builder, products, shape, dynamic)
    return builder.trace()


def hand_overs(int8: bool) -> int:
    """Waits in a row from the first row to the last query: of one kind of cores for the other, or
    of all cores of a kind for each other."""
    # 16 bits: the cubes meet, flag, norm; meet, flag, q_b; flag, meet, flag, W_UK. int8: rows are
    # quantised before that; meet, flag.
    return 9 if int8 else 7


def _products(shape: PrologShape, cubes: int) -> list[Product]:
    """qkv_a, q_b and W_UK."""
    size = shape.weight_element_bytes
    qkv_a_n = shape.q_lora + shape.kv_lora + shape.rope
    q_b_n = shape.heads * (shape.nope + shape.rope)
    sizes = (
        ("qkv_a", qkv_a_n, shape.hidden, size, 1),
        ("q_b", q_b_n, shape.q_lora, size, 1),
        ("w_uk", shape.kv_lora, shape.nope, 2, shape.heads),
    )
    products = []
    for name, n, k, element_bytes, batch in sizes:
        tile = tile_of(shape.tokens, n, k, cubes, element_bytes, batch, cut_evenly=name != "w_uk")
        products.append(
            Product(
                a=shape.written(f"{name}_rows", shape.tokens * k * batch, element_bytes),
                b=shape.weight(f"{name}_weight", n * k * batch, element_bytes),
                c=shape.written(
                    f"{name}_sums", shape.tokens * n * batch, 4 if element_bytes == 1 else 2
                ),
                m=shape.tokens,
                n=n,
                k=k,
                tile_n=tile.columns,
                slice_k=tile.depth,
                element_bytes=element_bytes,
                batch=batch,
            )
        )
    return products


def _cube(lane: CubeLane, builder: TraceBuilder, products: list[Product], meets: bool) -> None:
    qkv_a, q_b, w_uk = products
    int8 = qkv_a.element_bytes == 1
    tiled = (2, _TILE_DONE) if int8 and not meets else None
    if int8:
        lane.preload(qkv_a, _PRELOADED)
        builder.cross_wait(lane.core, _START_QKV_A)
    lane.run(qkv_a, tiled)
    if tiled is None:
        # All rows of qkv_a are needed by every core that norms one.
        builder.meet(lane.core, FIX, _MEET_CUBES)
        builder.cross_set(lane.core, FIX, 2, _TILE_DONE)
    lane.preload(q_b, _PRELOADED)
    builder.cross_wait(lane.core, _START_Q_B)
    lane.run(q_b, (2, _TILE_DONE))
    builder.cross_wait(lane.core, _START_W_UK)
    lane.run(w_uk)


def _vector(
    lane: VectorLane,
    builder: TraceBuilder,
    products: list[Product],
    shape: PrologShape,
    dynamic: bool,
) -> None:
    qkv_a, q_b, w_uk = products
    tokens = shape.tokens
    int8 = shape.int8

    def meet_and_start(flag: int) -> None:
        builder.meet(lane.core, MTE3, _MEET)
        builder.cross_set(lane.core, MTE3, 2, flag)

    if int8:
        hidden = shape.written("hidden_states", tokens * shape.hidden, 2)
        work = _QUANTISE_DYNAMIC if dynamic else _QUANTISE
        lane.run(RowWork(hidden, qkv_a.a, tokens, shape.hidden, 2, 1, work))
        meet_and_start(_START_QKV_A)
    values = shape.written("qkv_a_values", tokens * qkv_a.n, 2)
    if int8 and not dynamic:
        _dequantise(lane, builder, qkv_a, values)
        builder.meet(lane.core, MTE3, _MEET)
    else:
        builder.cross_wait(lane.core, _TILE_DONE)
    source = qkv_a.c if int8 and dynamic else values if int8 else qkv_a.c
    norm = _NORM_QUANTISE if int8 else _NORM_QUANTISE - _QUANTISE
    read = source.nbytes // (tokens * qkv_a.n)
    lane.run(RowWork(source, q_b.a, tokens, shape.q_lora, read, q_b.element_bytes, norm))
    meet_and_start(_START_Q_B)
    keys = shape.written("caches", tokens * (shape.kv_lora + shape.rope), 2)
    lane.run(RowWork(source, keys, tokens, shape.kv_lora + shape.rope, read, 2, _KEY_ROWS))
    queries = shape.written("q_b_values", tokens * q_b.n, 2)
    _dequantise(lane, builder, q_b, queries if int8 else None)
    meet_and_start(_START_W_UK)
    heads = tokens * shape.heads
    each = -(-heads // builder.vectors)
    rotated = shape.written("q_rope", heads * shape.rope, 2)
    first = queries if int8 else q_b.c
    pieces = math.ceil(heads / each)
    lane.run(RowWork(first, rotated, pieces, each * shape.rope, 2, 2, _ROPE))


def _dequantise(
    lane: VectorLane, builder: TraceBuilder, product: Product, target: Tensor | None
) -> None:
    """Both vector cores of a block take half the rows of each tile, as soon as it is there.

    Without a target the tiles hold values already, and are only waited for.
    """
    index = lane.core - builder.cubes
    block, half = divmod(index, 2)
    rows = product.m // 2 if half == 0 else product.m - product.m // 2
    for tile in product.tiles_of(block, builder.cubes):
        builder.cross_wait(lane.core, _TILE_DONE)
        if not rows or target is None:
            continue
        columns = min(product.tile_n, product.n - tile * product.tile_n)
        work = RowWork(product.c, target, 2 * product.tiles, rows * columns, 4, 2, _DEQUANTISE)
        lane.piece(work, tile * 2 + half)
