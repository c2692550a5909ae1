"""Fused prologs of others as structures, replayed in the timing model."""

import pytest

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.layer import LayerConfig
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.rivals import mla_preprocess, mla_prolog_v3
from ascend_prefetch.lab.rivals.compare import compare, measured_over_modelled
from ascend_prefetch.lab.rivals.mla_preprocess import Tile, tile_of
from ascend_prefetch.lab.rivals.shapes import PrologShape
from ascend_prefetch.lab.rivals.trace_builder import MTE2, MTE3, Tensor, TraceBuilder, V
from ascend_prefetch.lab.timing import LEVELS, TimedChip
from ascend_prefetch.models import get_model
from traces import CROSS_SET, CROSS_WAIT, LOAD, Trace

CHIP = "Ascend910_9391"
CUBES, VECTORS = 24, 48


def shape(model="glm-5", tp=4, tokens=9, int8=True):
    return PrologShape.of(get_model(model), tp, tokens, int8)


def replayed(traces, level="nominal", **constants):
    line = TimedChip(CHIP).timeline(level, **constants)
    return [line.run(trace) for trace in traces], line.now


def test_a_built_trace_is_replayed_by_hand():
    """One core loads 64 KB, works 10 repeats on it and stores 32 KB, one after the other."""
    builder = TraceBuilder("by_hand", CHIP, 0, 1)
    builder.load(0, Tensor("x", 1 << 52, 1 << 16), 0, 1 << 16)
    builder.set_flag(0, MTE2, V, 0)
    builder.wait_flag(0, MTE2, V, 0)
    builder.vector(0, 10)
    builder.set_flag(0, V, MTE3, 0)
    builder.wait_flag(0, V, MTE3, 0)
    builder.store(0, Tensor("y", 0, 1 << 15, written=True), 0, 1 << 15)
    free = {"scalar_cycles": 0, "event_cycles": 0, "hbm_latency": 0, "launch_us": 2}
    (times,), now = replayed([builder.trace()], **free)
    assert times["kernel"] == "by_hand"
    cycles = 235 + (1 << 16) / 80 + 10 * 2 + 34 + 150 + (1 << 15) / 66
    assert now == pytest.approx(2 + cycles / 1850, rel=1e-3)
    assert times["bytes"]["hbm_read"] == 1 << 16


def test_tiles_of_the_published_step():
    """GLM-5, W8A8, TP4, 9 tokens, on 24 cores, worked out from the op's planner.

    qkv_a: 2,624 columns over 24 cores are 110, rounded to 112; 256 KB of L1 hold 2,048 of depth.
    q_b: 4,096 columns over 24 are 171, rounded to 176; 1,365 of depth are rounded to 1,024.
    W_UK: a head is a tile of 512 columns and its whole depth, so that 16 of 24 cores work.
    """
    assert tile_of(9, 2624, 6144, CUBES, 1) == Tile(112, 2048)
    assert tile_of(9, 4096, 2048, CUBES, 1) == Tile(176, 1024)
    assert tile_of(9, 512, 192, CUBES, 2, batch=16, cut_evenly=False) == Tile(512, 192)


@pytest.mark.parametrize("dynamic", [False, True])
def test_mla_preprocess_reads_every_weight_once(dynamic):
    made = shape()
    trace = mla_preprocess.mla_preprocess(made, CHIP, CUBES, VECTORS, dynamic)
    described = _lab.describe_trace(trace)
    assert described["kernel"] == "mla_preprocess"
    weights = {name: size for name, (_, size) in described["tensors"].items() if "_weight" in name}
    assert weights == {
        "qkv_a_weight": 6144 * 2624, "q_b_weight": 2048 * 4096, "w_uk_weight": 16 * 192 * 512 * 2,
    }  # fmt: skip
    assert sum(weights.values()) == made.weight_bytes
    parsed = Trace(trace)
    names = {index: name for index, name in parsed.tensors.items() if "_weight" in name}
    loaded = dict.fromkeys(names.values(), 0)
    for core in range(CUBES):
        for op, _, tensor, _, _, _, block, count in parsed.records(core):
            if op == LOAD and tensor in names:
                loaded[names[tensor]] += block * count
    assert loaded == weights
    (times,), _ = replayed([trace])
    activations = times["bytes"]["hbm_read"] - made.weight_bytes
    assert 0 <= activations < 300_000


def test_hand_overs_are_those_of_the_trace():
    """A vector core of the first block waits as often as the page says, all its tiles in one."""
    for dynamic in (False, True):
        parsed = Trace(mla_preprocess.mla_preprocess(shape(), CHIP, CUBES, VECTORS, dynamic))
        waits = sum(record[0] == CROSS_WAIT for record in parsed.records(CUBES))
        # Of nine waits in a row the cube's own are three flags, with dynamic scales a meeting too.
        assert waits == mla_preprocess.hand_overs(int8=True) - (4 if dynamic else 3)


def test_prolog_v3_launches():
    for int8, names in ((True, ["dynamic_quant", "mla_prolog_v3"]), (False, ["mla_prolog_v3"])):
        traces = mla_prolog_v3.mla_prolog_v3(
            shape("deepseek-v3", 16, 16, int8), CHIP, CUBES, VECTORS
        )
        assert [_lab.describe_trace(trace)["kernel"] for trace in traces] == names
        times, _ = replayed(traces)
        read = sum(one["bytes"]["hbm_read"] for one in times)
        assert 0 <= read - shape("deepseek-v3", 16, 16, int8).weight_bytes < 400_000


def test_prolog_v3_cuts_columns_as_its_tiling_says():
    """1,536 columns of q_a on 24 cores of 64, 576 of kv_a on 9 of 64, 8 heads on 8 cores."""
    traces = mla_prolog_v3.mla_prolog_v3(shape("deepseek-v3", 16, 16), CHIP, CUBES, VECTORS)
    parsed = Trace(traces[-1])
    busy = {name: set() for name in parsed.tensors.values() if name.endswith("_weight")}
    for core in range(CUBES):
        for op, _, tensor, *_ in parsed.records(core):
            if op == LOAD and parsed.tensors[tensor] in busy:
                busy[parsed.tensors[tensor]].add(core)
    assert {name: len(cores) for name, cores in busy.items()} == {
        "q_a_weight": 24, "kv_a_weight": 9, "q_b_weight": 8, "w_uk_weight": 8,
    }  # fmt: skip


def test_flags_pair_up_at_many_sizes():
    for tokens in (1, 2, 7, 48, 128):
        for int8 in (True, False):
            for level in LEVELS:
                made = shape("kimi-k2", 8, tokens, int8)
                traces = mla_prolog_v3.mla_prolog_v3(made, CHIP, CUBES, VECTORS)
                traces += [
                    mla_preprocess.mla_preprocess(made, CHIP, CUBES, VECTORS, dynamic)
                    for dynamic in (False, True)
                ]
                _, now = replayed(traces, level)
                assert now > 3 * made.weight_bytes / 1.5e6
    sets = [
        record[0] for record in Trace(traces[-1]).records(0) if record[0] in (CROSS_SET, CROSS_WAIT)
    ]
    assert sets


def test_the_ratio_is_measured_over_modelled():
    trace = mla_preprocess.mla_preprocess(shape(), CHIP, CUBES, VECTORS)
    for level in LEVELS:
        _, now = replayed([trace], level)
        assert measured_over_modelled(TimedChip(CHIP), None)[level] == pytest.approx(72.5 / now)


def test_the_ratio_has_the_constants_of_what_it_multiplies():
    trace = mla_preprocess.mla_preprocess(shape(), CHIP, CUBES, VECTORS)
    _, now = replayed([trace], launch_us=0.0)
    without_launch = measured_over_modelled(TimedChip(CHIP), 0.0)
    assert without_launch["nominal"] == pytest.approx(72.5 / now)
    assert without_launch["nominal"] > measured_over_modelled(TimedChip(CHIP), None)["nominal"]
    slow = TimedChip(CHIP, {"nominal": {"launch_us": 9.0}})
    _, now = replayed([trace], launch_us=9.0)
    assert measured_over_modelled(slow, None)["nominal"] == pytest.approx(72.5 / now)
    row = rows(quant="w8a8", launch_us=0.0)["mla_preprocess"]
    assert row["measured_over_modelled"] == without_launch["nominal"]
    for level in LEVELS:
        alike = row["modelled_us"][level] * without_launch[level]
        assert row["modelled_if_alike_us"][level] == pytest.approx(alike)


def rows(**options):
    config = LayerConfig(**{"model": "deepseek-v3", "tp": 16, "batch": 16, **options})
    chip = TimedChip(CHIP)
    with twin.chip(CHIP):
        found = compare(config, LayerOps(config.bench()), chip)
    return {row["name"]: row for row in found}


def test_rows():
    row = rows(quant="w8a8")["mla_preprocess"]
    assert (row["launches"], row["hand_overs"], row["published_us"]) == (1, 9, 72.5)
    ratio = measured_over_modelled(TimedChip(CHIP), None)
    assert row["measured_over_modelled"] == ratio["nominal"]
    assert row["published_at"].endswith(": 59.7 to 91.8 us over 17,784 calls (AICG)")
    for level in LEVELS:
        alike = row["ours_us"][level] * ratio[level]
        assert row["ours_if_alike_us"][level] == pytest.approx(alike)
    v3 = rows()["mla_prolog_v3"]
    assert (v3["launches"], v3["measured_over_modelled"], v3["published_us"]) == (1, None, None)
    assert v3["ours_if_alike_us"] is None


def test_an_indexer_stays_separate():
    row = rows(model="glm-5", tp=4, batch=4, quant="w8a8_dynamic")["mla_preprocess"]
    assert row["launches"] == 1 + 5


@pytest.mark.parametrize(
    ("options", "rival", "why_not"),
    [
        ({"model": "deepseek-v2-lite", "tp": 1}, "mla_preprocess", "no query latent"),
        ({"model": "glm-5", "tp": 4}, "mla_preprocess", "does not return the query latent"),
        ({"dtype": "fp16"}, "mla_preprocess", "16-bit weights are bf16"),
        ({"quant": "w8a8"}, "mla_prolog_v3", "static activation scales"),
        ({"model": "glm-4-moe-lite", "tp": 1}, "mla_prolog_v3", "query latents of 1,536 and 2,048"),
    ],
)
def test_where_a_rival_cannot_run(options, rival, why_not):
    row = rows(**options)[rival]
    assert why_not in row["why_not"]
    assert row["modelled_us"] is row["launches"] is row["hand_overs"] is None


def test_more_tokens_than_are_represented():
    with pytest.raises(ValueError, match="mla_preprocess: expected at most 256 tokens, got 257"):
        mla_preprocess.mla_preprocess(shape(tokens=257), CHIP, CUBES, VECTORS)
    with pytest.raises(ValueError, match="mla_prolog_v3: expected at most 128 tokens, got 129"):
        mla_prolog_v3.mla_prolog_v3(shape(tokens=129), CHIP, CUBES, VECTORS)
    with pytest.raises(ValueError, match="deepseek-v2-lite has no query latent"):
        shape("deepseek-v2-lite", 1)
