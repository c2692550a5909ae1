"""What the cores load and store, and when, from the traces of the twin: results alone do not show a
byte that moves twice, or comes after the wait that was meant to hide it."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from mla_cases import WEIGHTS, MlaCase, MlaInputs, cache_arguments
from o_proj_cases import OProjCase, OProjInputs
from sfa_cases import INDEXER_WEIGHTS, SfaCase, SfaInputs
from traces import BARRIER, CROSS_WAIT, FIXPIPE, LOAD, STORE, Trace
from w8a8_cases import DYNAMIC, PREFIXES, STATIC, quantise_layers

RING = 4  # weight tiles in L1
# Shares of 2 or 3 tokens for most vector cores, and of the heads in one step.
MLA = MlaCase(100, hidden=512, q_lora=192, kv_lora=128, nope=64, heads=3)
SFA = SfaCase(100, hidden=512, q_lora=192, kv_lora=128, nope=64, heads=3, indexer_heads=32)
QUANTS = pytest.mark.parametrize(
    "quant", [None, STATIC, DYNAMIC], ids=["bf16", "static", "dynamic"]
)


def prolog_trace(case, quant=None):
    inputs = (SfaInputs if isinstance(case, SfaCase) else MlaInputs)(case)
    layers = [name for name in PREFIXES if name in inputs.nd and inputs.nd[name] is not None]
    quantise_layers(inputs, dict.fromkeys(layers if quant else [], quant), seed=1)
    with twin.chip("Ascend910_9391"), twin.tracing() as traces:
        inputs.op(**inputs.arguments, **cache_arguments(inputs))
    return Trace(traces[0]), inputs.arguments


def o_proj_trace(case):
    inputs = OProjInputs(case)
    with twin.chip("Ascend910_9391"), twin.tracing() as traces:
        torch.ops.ascend_prefetch.o_proj(**inputs.arguments)
    return Trace(traces[0]), inputs.arguments


def loads(trace, core):
    """(tensor, bytes from its start, bytes) of every load of a core."""
    return [
        (trace.tensors.get(tensor), offset, size * count)
        for op, _, tensor, _, offset, _, size, count in trace.records(core)
        if op == LOAD
    ]


def cube(trace):
    return range(trace.aic_count)


def vector(trace):
    return range(trace.aic_count, trace.core_count)


@QUANTS
@pytest.mark.parametrize("tokens", [1, 16, 100, 128])
@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_weights_are_loaded_once(op, tokens, quant):
    """By all cube cores together, for as many tokens as make one tile of rows."""
    if op == "o_proj":
        names = ["w_uv", "o_proj_weight"]
        trace, arguments = o_proj_trace(OProjCase(tokens, hidden=4160, quant=quant))
    else:
        case = replace(MLA if op == "mla_prolog" else SFA, tokens=tokens)
        names = [*WEIGHTS, *(INDEXER_WEIGHTS if op == "sfa_prolog" else ())]
        trace, arguments = prolog_trace(case, quant)
    loaded = dict.fromkeys(names, 0)
    for core in cube(trace):
        for name, _, size in loads(trace, core):
            if name in loaded:
                loaded[name] += size
    assert loaded == {name: arguments[name].nbytes for name in names}
    # And go on to L0B once.
    assert sum(trace.bytes_to_l0b(core) for core in cube(trace)) == sum(loaded.values())


def stored(trace, names):
    """Bytes that all cores together store to each tensor."""
    total = dict.fromkeys(names, 0)
    for core in range(trace.core_count):
        for op, _, tensor, _, _, _, size, count in trace.records(core):
            if op in (STORE, FIXPIPE) and trace.tensors.get(tensor) in total:
                total[trace.tensors[tensor]] += size * count
    return total


@QUANTS
@pytest.mark.parametrize("options", [{}, {"kv_cache_scale": 0.05, "quantize_q_nope": True}])
@pytest.mark.parametrize("tokens", [1, 47, 49, 100])
@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog"])
def test_results_are_stored_once(op, tokens, options, quant):
    """A core that does what is another's as well does no harm to them."""
    case = replace(MLA if op == "mla_prolog" else SFA, tokens=tokens, **options)
    outputs = {
        name: torch.Size(shape).numel() * dtype.itemsize
        for name, (shape, dtype) in case.outputs().items()
    }
    # Each row of a cache, by its slot.
    caches = {
        name: tokens * width * dtype.itemsize for name, (width, dtype) in case.cache_rows().items()
    }
    expected = {name: size for name, size in (outputs | caches).items() if size}
    if op == "sfa_prolog" and quant is None:
        del expected["indexer_q"]  # rotated in place
    trace, _ = prolog_trace(case, quant)
    assert stored(trace, expected) == expected


@QUANTS
@pytest.mark.parametrize("bias", ["none", "float32"])
@pytest.mark.parametrize("tokens", [1, 47, 49, 100])
def test_results_of_o_proj_are_stored_once(tokens, bias, quant):
    case = OProjCase(tokens, hidden=4160, bias=bias, quant=quant)
    trace, _ = o_proj_trace(case)
    assert stored(trace, ["out"]) == {"out": tokens * case.hidden * 2}


def test_blocks_of_rows_are_multiplied_once():
    """1024 rows pass by a tile of columns before the next; those behind them are not among them."""
    case = OProjCase(1200, hidden=64, heads=1, kv_lora=16, value=16)
    trace, arguments = o_proj_trace(case)
    assert stored(trace, ["out"]) == {"out": 1200 * 64 * 2}
    loaded = sum(
        size for core in cube(trace) for name, _, size in loads(trace, core) if name == "w_uv"
    )
    assert loaded == 10 * arguments["w_uv"].nbytes  # for each 128 rows


@pytest.mark.parametrize("quant", [STATIC, DYNAMIC], ids=["static", "dynamic"])
@pytest.mark.parametrize("tokens", [1, 47, 49, 100])
def test_how_often_quantised_rows_are_loaded(tokens, quant):
    """Once with a scale of the layer; with one of the token whole, by each vector core that has a
    part of the row."""
    rows = tokens * 4160 * 2
    times = 1 if quant.static else max(48 // tokens, 1)
    case = OProjCase(tokens, heads=1, value=4160, up_project=False, quant=quant)
    for trace, name in (
        (o_proj_trace(case)[0], "attn_output"),
        (prolog_trace(replace(MLA, tokens=tokens, hidden=4160), quant)[0], "hidden_states"),
    ):
        total = sum(
            size
            for core in vector(trace)
            for loaded, _, size in loads(trace, core)
            if loaded == name
        )
        assert total == times * rows


@pytest.mark.parametrize("tokens", [2, 16])
def test_a_left_matrix_that_l1_keeps_is_loaded_once(tokens):
    """By every core, for all its tiles of columns."""
    case = OProjCase(tokens, hidden=7168, heads=8, value=128, up_project=False)
    trace, arguments = o_proj_trace(case)
    for core in cube(trace):
        done = loads(trace, core)
        left = sum(size for name, _, size in done if name == "attn_output")
        assert left == arguments["attn_output"].nbytes
        assert len([name for name, _, _ in done if name == "o_proj_weight"]) > RING


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_every_other_cube_core_begins_with_its_weight(op):
    """All at once they would read the same rows of A, and leave HBM without work."""
    if op == "o_proj":
        trace, _ = o_proj_trace(OProjCase(16, hidden=4160, up_project=False))
        weight, left = "o_proj_weight", "attn_output"
    else:
        trace, _ = prolog_trace(MLA if op == "mla_prolog" else SFA)
        weight, left = "qkv_a_weight", "hidden_states"
    for core in cube(trace):
        first, second, *_ = [name for name, _, _ in loads(trace, core)]
        assert (first, second) == ((weight, left) if core % 2 else (left, weight))


@pytest.mark.parametrize(
    ("op", "awaited", "weights"),
    [
        ("mla_prolog", "q_c", ["q_b_weight", "w_uk"]),
        ("mla_prolog", "workspace", ["w_uk"]),
        ("sfa_prolog", "q_c", ["q_b_weight", "indexer_wq_b", "w_uk"]),
        ("o_proj", "workspace", ["o_proj_weight"]),
    ],
)
def test_the_ring_of_weights_is_full_when_what_is_multiplied_comes(op, awaited, weights):
    """Cube cores wait for it with as many tiles of the next weights as L1 has slots for."""
    if op == "o_proj":
        trace, _ = o_proj_trace(OProjCase(16, hidden=7168, heads=8, value=128))
    else:
        case = MLA if op == "mla_prolog" else SFA
        trace, _ = prolog_trace(replace(case, hidden=1024, q_lora=1536, kv_lora=512, heads=40))
    full = 0
    for core in cube(trace):
        names = [name for name, _, _ in loads(trace, core)]
        tiles = sum(name in weights for name in names)
        ahead = sum(name in weights for name in names[: names.index(awaited)])
        assert ahead == min(RING, tiles)
        full += tiles > RING
    assert full or weights == ["w_uk"]


@QUANTS
@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog"])
@pytest.mark.parametrize("tokens", [5, 49, 100])
def test_tables_of_the_query_are_there_when_it_comes(tokens, op, quant):
    """Vector cores load cos and sin of their first step before they await q_b, and none twice."""
    case = replace(MLA if op == "mla_prolog" else SFA, tokens=tokens, skip=0.5)
    trace, _ = prolog_trace(case, quant)
    rotated = 0
    for core in vector(trace):
        tables = [rows for name, *rows in loads(trace, core) if name == "cos"]
        assert all(one != other for one, other in pairwise(tables))
        records = [(r[0], trace.tensors.get(r[2])) for r in trace.records(core)]
        if (STORE, "q_rope") not in records:
            continue
        rotated += 1
        wait = max(
            place
            for place, (op, _) in enumerate(records[: records.index((STORE, "q_rope"))])
            if op == CROSS_WAIT
        )
        assert (LOAD, "cos") in records[:wait]
        assert (LOAD, "cos") not in records[wait : records.index((STORE, "q_rope"))]
    # Behind an int8 q_b those beside the three cube cores that made the columns.
    assert rotated == (min(tokens, 48) if quant is None else 6)


@QUANTS
@pytest.mark.parametrize("tokens", [5, 48, 100])
def test_what_belongs_to_columns_is_loaded_once_for_them(tokens, quant):
    """Bias and scales of a cube core's columns, for all tokens that a core beside it has."""
    case = OProjCase(
        tokens, hidden=20480, heads=1, kv_lora=16, value=64, bias="float32", quant=quant
    )
    trace, _ = o_proj_trace(case)
    parts = set()
    for core in vector(trace):
        for name in ("bias", "dequant_scale") if quant else ("bias",):
            columns = [offset for loaded, offset, _ in loads(trace, core) if loaded == name]
            assert len(columns) == len(set(columns))
            parts.update(columns if name == "bias" else ())
    assert len(parts) == 24


@pytest.mark.parametrize(("to_l1", "slots"), [(False, 5), (True, 15)])
def test_a_landing_pad_is_overwritten_when_it_has_arrived(to_l1, slots):
    """The kernel that reads a matrix awaits all loads whenever its pad is full."""
    tile = 32 * 1024
    trace = Trace(_lab.trace_copy("Ascend910_9391", 40, tile, 1, tile, 1, 1, to_l1, 1))
    done = [op for op, *_ in trace.records(0) if op in (LOAD, BARRIER)]
    expected = []
    for tile_index in range(40):
        expected += [BARRIER, LOAD] if tile_index % slots == 0 and tile_index > 0 else [LOAD]
    assert done[: len(expected)] == expected
    assert BARRIER not in done[len(expected) + 1 :]
