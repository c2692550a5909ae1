"""npu_mla_prolog_v3, CANN's fused prolog, as the timing model sees it.

Read from hicann/ops-transformer at 881753ebc5d1, attention/mla_prolog_v3/docs (order and flags),
attention/mla_prolog/op_host/mla_prolog_tiling.cpp (columns of a core) and
op_kernel/arch22/kernel_mla_prolog_split_n_arch22.h (slices, flags), and from vLLM Ascend's call of
it (attention/sfa_v1.py, _sfa_preprocess_prolog_v3). Nothing is copied:

    AIC  q_a | kv_a | wait for the norm | q_b, a flag | all cube cores meet (W_UK's weight) | W_UK
    AIV  meet | norm q_c | meet | flag | meet | kv, caches | dequantise q_b and rotate

With int8 weights the rows are quantised by a kernel of their own (npu_dynamic_quant) before it.
Left out are the same things as in mla_preprocess.py.
"""

from __future__ import annotations

from .product import CubeLane, Product
from .shapes import PrologShape
from .trace_builder import FIX, MTE3, TraceBuilder
from .vector_lane import RowWork, VectorLane

NAME = "mla_prolog_v3"

MAX_TOKENS = 128
"""Rows of a step of the op; it takes more in several steps, which are not represented."""

_QUANTISE, _NORM_QUANTISE, _NORM, _KEY_ROWS, _DEQUANTISE_ROPE, _ROPE = 9, 14, 7, 14, 10, 7
_Q_A_DONE, _KV_A_DONE, _NORMED, _Q_B_DONE, _DEQUANTISED, _MEET, _MEET_CUBES = range(7)
_KV_A_COLUMNS = 64  # columns of kv_a of a core
_LEAST_Q_A_COLUMNS = 64


def mla_prolog_v3(shape: PrologShape, chip: str, cubes: int, vectors: int) -> list[bytes]:
    """The traces of its launches: with int8 weights two, else one.

    Args:
        shape: the prolog.
        chip: SoC name.
        cubes, vectors: cores of the chip.

    Raises:
        ValueError: more rows than are represented.
    """
    if shape.tokens > MAX_TOKENS:
        raise ValueError(f"{NAME}: expected at most {MAX_TOKENS} tokens, got {shape.tokens}")
    rows = shape.written("hidden_states", shape.tokens * shape.hidden, shape.weight_element_bytes)
    launches = []
    if shape.int8:
        quantise = TraceBuilder("dynamic_quant", chip, 0, vectors)
        source = shape.written("hidden_states_bf16", shape.tokens * shape.hidden, 2)
        work = RowWork(source, rows, shape.tokens, shape.hidden, 2, 1, _QUANTISE)
        for core in range(vectors):
            VectorLane(quantise, core).run(work)
        launches.append(quantise.trace())
    builder = TraceBuilder(NAME, chip, cubes, vectors)
    size = shape.weight_element_bytes
    align = 32 // size
    q_a_columns = max(_share(shape.q_lora, cubes, align), _LEAST_Q_A_COLUMNS)
    head = shape.nope + shape.rope
    q_b_n = shape.heads * head
    # With int8 weights no head is cut, so that it can be dequantised and rotated by its own block.
    q_b_columns = _share(q_b_n, cubes, head if shape.int8 and shape.heads >= 8 else align)
    deep, shallow = (1024, 512) if shape.int8 else (512, 256)
    sums = 4 if shape.int8 else 2

    def product(
        name: str, n: int, k: int, columns: int, depth: int, element_bytes: int, batch: int = 1
    ) -> Product:
        rows_of = rows
        if k != shape.hidden:
            rows_of = shape.written(f"{name}_rows", shape.tokens * k * batch, element_bytes)
        return Product(
            a=rows_of,
            b=shape.weight(f"{name}_weight", n * k * batch, element_bytes),
            c=shape.written(
                f"{name}_sums", shape.tokens * n * batch, sums if element_bytes == size else 2
            ),
            m=shape.tokens,
            n=n,
            k=k,
            tile_n=columns,
            slice_k=min(depth, k),
            element_bytes=element_bytes,
            batch=batch,
        )

    q_a = product("q_a", shape.q_lora, shape.hidden, q_a_columns, deep, size)
    kv_a = product("kv_a", shape.kv_lora + shape.rope, shape.hidden, _KV_A_COLUMNS, deep, size)
    q_b = product("q_b", q_b_n, shape.q_lora, q_b_columns, shallow, size)
    # A core has whole heads.
    w_uk = product("w_uk", shape.kv_lora, shape.nope, shape.kv_lora, shape.nope, 2, shape.heads)
    for core in range(cubes):
        lane = CubeLane(builder, core)
        lane.run(q_a)
        builder.cross_set(core, FIX, 2, _Q_A_DONE)
        lane.run(kv_a)
        builder.cross_set(core, FIX, 2, _KV_A_DONE)
        builder.cross_wait(core, _NORMED)
        lane.run(q_b)
        builder.cross_set(core, FIX, 2, _Q_B_DONE)
        lane.preload(w_uk, 1)
        if shape.int8:
            builder.cross_wait(core, _DEQUANTISED)
        else:
            builder.meet(core, FIX, _MEET_CUBES)
        lane.run(w_uk)
    caches = shape.written("caches", shape.tokens * kv_a.n, 2)
    queries = shape.written("q_rope", shape.tokens * q_b.n, 2)
    tiles = 2 * q_b.tiles
    per_tile = -(-q_b.m // 2) * q_b.tile_n
    for core in range(cubes, cubes + vectors):
        vector = VectorLane(builder, core)
        builder.cross_wait(core, _Q_A_DONE)
        builder.meet(core, MTE3, _MEET)
        norm = _NORM_QUANTISE if shape.int8 else _NORM
        vector.run(RowWork(q_a.c, q_b.a, shape.tokens, shape.q_lora, sums, size, norm))
        builder.meet(core, MTE3, _MEET)
        builder.cross_set(core, MTE3, 2, _NORMED)
        builder.cross_wait(core, _KV_A_DONE)
        builder.meet(core, MTE3, _MEET)
        vector.run(RowWork(kv_a.c, caches, shape.tokens, kv_a.n, sums, 2, _KEY_ROWS))
        builder.cross_wait(core, _Q_B_DONE)
        if shape.int8:
            work = RowWork(q_b.c, queries, tiles, per_tile, sums, 2, _DEQUANTISE_ROPE)
            vector.run(work)
            builder.meet(core, MTE3, _MEET)
            builder.cross_set(core, MTE3, 2, _DEQUANTISED)
        else:
            builder.meet(core, MTE3, _MEET)
            rope = shape.heads * shape.rope
            vector.run(RowWork(q_b.c, queries, shape.tokens, rope, 2, 2, _ROPE))
    return [*launches, builder.trace()]


def hand_overs(int8: bool) -> int:
    """Waits in a row, on the way from the first row to the last query."""
    # Flag, meet, norm; meet, flag, q_b; then with 16 bits the cubes meet, with int8 a flag, the
    # values, meet and another flag.
    return 7 if int8 else 5


def _share(n: int, cubes: int, align: int) -> int:
    """Columns of a core where n columns are cut over all of them in multiples of `align`."""
    return -(-n // (align * cubes)) * align
