"""Benchmarks of the ops: what their checks accept, and what they notice."""

import pytest
import torch

from ascend_prefetch.lab.bench import BENCHES, BenchConfig, run_bench

QUANTS = ("none", "w8a8", "w8a8_dynamic")
# The smallest rank of each kind of model: without a query latent, with one, with an indexer.
SMALL = {
    "mla_prolog": [("deepseek-v2-lite", 16), ("glm-4-moe-lite", 20)],
    "sfa_prolog": [("glm-5", 64), ("deepseek-v3.2", 128)],
    "o_proj": [("deepseek-v2-lite", 16)],
    "prefetch": [("deepseek-v2-lite", 16)],
}
CASES = [(op, *rank) for op, ranks in SMALL.items() for rank in ranks]
NOTHING_LOADED = {"planned": 0, "landed": 0, "pending": 0, "unused": 0, "duplicated": 0}


def small(op, model=None, **options):
    """The configuration of a small rank that `op` can run."""
    default_model, tp = next(rank for rank in SMALL[op] if model in (None, rank[0]))
    return BenchConfig(model=default_model, tp=tp, tokens=3, repeats=1, **options)


@pytest.mark.parametrize("layout", ["nd", "nz"])
@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize(("op", "model", "tp"), CASES)
def test_every_format(op, model, tp, quant, layout):
    result = run_bench(op, small(op, model, quant=quant, weights=layout))
    assert (result["op"], result["model"], result["tp"]) == (op, model, tp)
    assert (result["quant"], result["weights"]) == (quant, layout)
    check = result["check"]
    assert check["ok"] is True
    assert ("max_ulp" in check) == (quant != "none" and op != "prefetch")
    assert result["prefetch"]["unused"] == result["prefetch"]["duplicated"] == 0
    assert result["bytes"]["floor"] > 0


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
@pytest.mark.parametrize("quant", QUANTS)
def test_float16(op, quant):
    check = run_bench(op, small(op, dtype="fp16", quant=quant))["check"]
    assert check["ok"] is True
    assert check["tolerance"] == 1e-3
    assert check.get("ulp_tolerance", 2.0) == 2.0


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
@pytest.mark.parametrize("quant", QUANTS)
def test_a_wrong_element_is_noticed(op, quant):
    case = BENCHES[op].make_case(small(op, SMALL[op][-1][0], quant=quant))
    results = case.run()
    assert case.check(results, NOTHING_LOADED)["ok"]
    outputs = [results] if op == "o_proj" else [out for out in results if out.numel()]
    assert len(outputs) == {"mla_prolog": 3, "sfa_prolog": 5, "o_proj": 1}[op]
    for index, output in enumerate(outputs):
        kept = output.flatten()[7].item()
        output.view(-1)[7] = kept + 1.0 if index else float("nan")
        check = case.check(results, NOTHING_LOADED)
        assert not check["ok"]
        assert check["max_rel_err"] > check["tolerance"]
        output.view(-1)[7] = kept
    assert case.check(results, NOTHING_LOADED)["ok"]


def test_two_ulps_are_noticed():
    """Far below the norm-wise tolerance, and yet not what the integers say."""
    case = BENCHES["mla_prolog"].make_case(small("mla_prolog", "glm-4-moe-lite", quant="w8a8"))
    results = case.run()
    latent = results[2].view(-1)
    latent.view(torch.int16)[latent.abs().argmin()] += 3
    check = case.check(results, NOTHING_LOADED)
    assert check["max_rel_err"] <= check["tolerance"]
    assert check["max_ulp"] > 2
    assert not check["ok"]


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog"])
def test_rows_without_a_slot_are_watched(op, monkeypatch):
    """A cache with one row too many written fails, whatever the results are."""
    from ascend_prefetch.lab.bench.inputs import PagedCache

    case = BENCHES[op].make_case(small(op))
    results = case.run()
    monkeypatch.setattr(PagedCache, "others_untouched", lambda cache: False)
    check = case.check(results, NOTHING_LOADED)
    assert (check["ok"], check["max_rel_err"]) == (False, float("inf"))


def test_untouched_rows():
    from ascend_prefetch.lab.bench.inputs import PagedCache

    cache = PagedCache(torch.full((2, 128, 1, 4), float("nan")), torch.tensor([200, 3]))
    assert cache.others_untouched()
    cache.tensor[1, 72] = 1.0
    cache.tensor[0, 3] = 2.0
    assert cache.others_untouched()
    assert cache.written().tolist() == [[1.0] * 4, [2.0] * 4]
    cache.tensor[0, 4, 0, 3] = 0.0
    assert not cache.others_untouched()


def test_prefetch_changes_nothing_and_loads_everything_once():
    config = small("prefetch", quant="w8a8")
    case = BENCHES["prefetch"].make_case(config)
    case.run()
    # o_proj [128, 2048] and qkv_a [2048, 576] in int8.
    loaded = {**NOTHING_LOADED, "planned": 2048 * (128 + 576)}
    assert case.floor_bytes == loaded["planned"]
    assert case.check(None, loaded) == {"max_rel_err": 0.0, "tolerance": 0.0, "ok": True}
    assert not case.check(None, {**loaded, "planned": loaded["planned"] - 1})["ok"]
    assert not case.check(None, {**loaded, "duplicated": 1})["ok"]


@pytest.mark.parametrize("engine", ["vector", "cube", "sdma"])
def test_engines_of_prefetch_load_every_byte_once(engine):
    """Replayed at all constants; SDMA's ranges are those that the op gives the engine."""
    result = run_bench("prefetch", small("prefetch", engine=engine))
    loaded = 2 * 2048 * (128 + 576)
    assert result["engine"] == engine
    assert result["check"]["ok"]
    assert result["prefetch"] == {**NOTHING_LOADED, "planned": loaded, "pending": loaded}
    assert result["bytes"] == {"floor": loaded, "hbm_read": loaded, "l2_hit": 0}
    times = result["modelled_us"]
    assert times["floor"]["low"] < times["fused"]["low"] <= times["fused"]["high"]
    assert (times["fused"] == times["separate_cmo"]) == (engine == "sdma")
    assert times["separate"] is times["fused_no_prefetch"] is None


def test_engines_that_there_are():
    with pytest.raises(ValueError, match="engine: expected one of vector, cube, sdma, got 'mte2'"):
        run_bench("prefetch", small("prefetch", engine="mte2"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "gpt"}, "model: expected a config.json, .*, got 'gpt'"),
        ({"tp": 3}, "tp: expected a positive divisor of the 16 heads .*, got 3"),
        ({"quant": "w4a8"}, "quant: expected one of none, w8a8, w8a8_dynamic, got 'w4a8'"),
        ({"weights": "nc1hwc0"}, "weights: expected one of nd, nz, got 'nc1hwc0'"),
        ({"dtype": "fp32"}, "dtype: expected one of bf16, fp16, got 'fp32'"),
        ({"soc": "Ascend999"}, "unknown chip 'Ascend999'.*"),
    ],
)
@pytest.mark.parametrize("op", BENCHES)
def test_configurations_that_make_no_sense(op, change, message):
    config = BenchConfig(**{"model": "deepseek-v2-lite", **change})
    with pytest.raises(ValueError, match=f"^{message}$"):
        run_bench(op, config)
