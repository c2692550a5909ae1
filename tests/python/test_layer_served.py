"""layer: a layer as it is served, with collectives and an MLP or experts."""

import json

import pytest
import torch

from ascend_prefetch import ops, windows
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.layer import FORMS, LayerConfig, model_layer
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.bench.layer_parts import (
    attention_parts,
    expected_experts,
    expert_bytes,
    feed_forward_parts,
)
from ascend_prefetch.lab.cli import main
from ascend_prefetch.lab.timing import LEVELS, TimedChip
from ascend_prefetch.lab.timing.sequence import (
    CmoPrefetch,
    Pause,
    Reader,
    dry_kernels,
    replay,
)
from ascend_prefetch.models import FEED_FORWARDS, MODELS, get_model
from ascend_prefetch.windows import CASES

SERVED = ["--quant", "w8a8_dynamic", "--kind", "moe", "--tp", "4", "--dp", "4", "--ep", "16"]


def moe(model="deepseek-v3", **options):
    given = {"tp": 4, "dp": 4, "quant": "w8a8_dynamic", "kind": "moe", "windows": "published"}
    return LayerConfig(model, **{**given, **options})


def parts(config, number=0):
    return feed_forward_parts(config, get_model(config.model), number)


# --- the parts ---


def test_a_moe_layer_in_its_order():
    assert [part.name for part in parts(moe())] == [
        "all_reduce", "norm", "gate", "top_k", "shared_gate_up", "shared_down", "dispatch",
        "experts_gate_up", "experts_down", "combine", "all_gather", "shared_all_reduce",
    ]  # fmt: skip
    alone = [part.name for part in parts(moe(tp=1, dp=16))]
    assert not any("all_" in name for name in alone)


def test_a_dense_layer_in_its_order():
    config = LayerConfig("deepseek-v3", tp=16, windows="published")
    found = parts(config)
    assert [part.name for part in found] == [
        "all_reduce", "norm", "gate_up", "down", "mlp_all_reduce",
    ]  # fmt: skip
    # 18,432 columns on 16 ranks, 7,168 rows, 2 bytes.
    assert [part.nbytes for part in found[2:4]] == [2 * 7168 * 1152 * 2, 7168 * 1152 * 2]
    (experts,) = [
        part
        for part in parts(LayerConfig("deepseek-v3", tp=16, moe_bytes=5000, windows="published"))
        if part.window is None
    ]
    assert (experts.name, experts.nbytes) == ("experts", 5000)


def test_expected_experts():
    config = moe()
    # 256 experts on 16 ranks; 64 tokens, each of which leaves an expert out with 31 / 32.
    assert expected_experts(config) == pytest.approx(16 * (1 - (31 / 32) ** 64))
    one = 3 * 7168 * 2048
    assert expert_bytes(config, get_model("deepseek-v3")) == round(expected_experts(config) * one)
    assert expert_bytes(moe(quant="none"), get_model("deepseek-v3")) == pytest.approx(
        2 * expert_bytes(config, get_model("deepseek-v3")), abs=1
    )
    assert expert_bytes(moe(moe_bytes=9), get_model("deepseek-v3")) == 9
    # Every expert of a rank is chosen by many tokens: 44 MB each, 8 at EP32.
    many = moe(dp=8, batch=128)
    assert expert_bytes(many, get_model("deepseek-v3")) == pytest.approx(352e6, rel=0.01)


def test_bytes_of_a_moe_layer():
    found = {part.name: part for part in parts(moe())}
    assert found["gate"].nbytes == 7168 * 256 * 2
    assert found["shared_gate_up"].nbytes == 2 * 7168 * 512
    assert found["shared_down"].nbytes == 7168 * 512
    routed = found["experts_gate_up"].nbytes + found["experts_down"].nbytes
    assert routed == expert_bytes(moe(), get_model("deepseek-v3"))
    assert found["experts_gate_up"].nbytes == 2 * routed // 3
    # 64 tokens choose 8 of 256 experts each: 32 rows a rank, int8 on the way and 16 bits back.
    assert found["dispatch"].nbytes == 32 * 7168
    assert found["combine"].nbytes == 32 * 7168 * 2
    # Without dynamic scales rows have 16 bits on the way too.
    for quant in ("none", "w8a8"):
        found = {part.name: part for part in parts(moe(quant=quant))}
        assert found["dispatch"].nbytes == found["combine"].nbytes == 32 * 7168 * 2
    assert found["all_reduce"].nbytes == 16 * 7168 * 2


def test_weights_of_two_layers_do_not_overlap():
    reads = [
        read
        for number in (0, 1)
        for part in parts(moe(), number)
        for read in part.reads
        if "rows" not in read.name
    ]
    ends = sorted((read.address, read.address + read.nbytes) for read in reads)
    assert all(first[1] <= second[0] for first, second in zip(ends, ends[1:], strict=False))


def test_windows_of_the_parts():
    found = {part.name: part.window for part in parts(moe())}
    assert found["all_reduce"] == windows.all_reduce(4, 16 * 7168 * 2)
    # 16 tokens on 4 ranks.
    assert found["dispatch"] == windows.dispatch(16, 4)
    assert found["combine"] == windows.combine(16, 4)
    assert found["all_gather"] == windows.all_gather(4, 4 * 7168 * 2)


def test_attention_has_the_published_length():
    config = LayerConfig("deepseek-v3", windows="published")
    (attention,) = attention_parts(config, get_model("deepseek-v3"), 0, 1.0)
    assert attention.window.us.nominal == pytest.approx(16 * 4096 * 1152 / (0.841 * 1.6e6))
    config = LayerConfig("glm-5", windows="published")
    indexer, attention = attention_parts(config, get_model("glm-5"), 0, 1.0)
    assert indexer.window == windows.indexer(16, 4096)
    assert attention.window == windows.sparse_attention(16, 2048)
    assert (indexer.name, attention.name) == ("indexer", "sparse_attention")


def test_sparse_attention_that_selects_nothing_has_no_window():
    for kv_len, has in ((2048, False), (2049, True)):
        config = LayerConfig("glm-5", kv_len=kv_len, windows="published")
        found = attention_parts(config, get_model("glm-5"), 0, 1.0)
        assert [part.window is not None for part in found] == [has, has]


def test_without_windows_a_moe_layer_keeps_its_bytes():
    found = parts(moe(windows=None))
    assert [part.name for part in found] == [
        "gate", "shared_gate_up", "shared_down", "experts_gate_up", "experts_down",
    ]  # fmt: skip
    assert [part.name for part in parts(moe(windows=None, moe_bytes=100))] == ["experts"]


def test_every_model_has_a_feed_forward():
    assert set(FEED_FORWARDS) == set(MODELS)


# --- a window in a sequence ---


def test_a_pause_lasts_as_long_as_its_bytes_need():
    chip = TimedChip("Ascend910_9391")
    read = Reader("rows", 1 << 50, 14_900_000)
    for us, expected in ((3.0, 10.0 + 2.0), (50.0, 50.0)):
        line = chip.timeline("nominal", launch_us=2.0)
        (times,) = replay(line, [Pause("combine", us, (read,))])
        assert times["us"] == pytest.approx(expected, rel=0.02)
        assert times["end"] == line.now
        assert times["bytes"]["hbm_read"] == pytest.approx(14_900_000, abs=512)


def test_sdma_works_on_during_a_pause():
    line = TimedChip("Ascend910_9391").timeline("nominal")
    replay(line, [CmoPrefetch(1 << 50, 2_850_000), Pause("all_reduce", 20.0)])
    assert line.now == 20.0
    # 0.285 TB/s: 10 us.
    assert line.sdma_transfers[-1][1] == pytest.approx(10.0, rel=0.05)
    (times,) = replay(line, [Reader("weight", 1 << 50, 2_850_000)])
    assert times["bytes"]["hbm_read"] == 0
    with pytest.raises(ValueError, match="wait: expected 0 or more us, got -1"):
        line.wait(-1)


def test_what_a_pause_reads_evicts():
    """The account of prefetched bytes sees the reads of a window."""
    line = TimedChip("Ascend910_9391").timeline("nominal")
    weight = Reader("weight", 1 << 50, 1_000_000)
    flood = Pause("dispatch", 10.0, (Reader("rows", 1 << 51, 300_000_000),))
    first, _, again = replay(line, [weight, flood, weight])
    # Which of the lines not used last are evicted is random: a few survive.
    assert 0.95 * first["bytes"]["hbm_read"] < again["bytes"]["hbm_read"] <= 1_000_064
    line = TimedChip("Ascend910_9391").timeline("nominal")
    _, _, kept = replay(line, [weight, Pause("dispatch", 10.0), weight])
    assert kept["bytes"]["hbm_read"] == 0


# --- the verb ---


@pytest.mark.parametrize("model", ["deepseek-v3", "deepseek-v3.2"])
def test_the_contract(model, capsys):
    command = ["layer", "--model", model, *SERVED, "--batch", "16", "--kv-len", "4096"]
    assert main([*command, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    forms = {*FORMS, "planned", "mlapo", "floor"} - {"cmo_duplicate"}
    assert set(result["modelled_us"]) == forms
    for times in (*result["modelled_us"].values(), *result["gain_pct"].values()):
        assert tuple(times) == LEVELS
    us = result["modelled_us"]
    assert us["planned"] == us["windows"]
    assert result["prefetch"]["planned"] == result["prefetch"]["windows"]
    for form in forms - {"floor"}:
        assert us[form]["nominal"] > us["floor"]["nominal"]
        if form != "none":
            gain = 100 * (1 - us[form]["low"] / us["none"]["low"])
            assert result["gain_pct"][form]["low"] == pytest.approx(gain)
    assert (result["kind"], result["dp"], result["ep"]) == ("moe", 4, 16)
    assert result["window_lengths"] == "published"
    _check_windows(result)
    _check_parts(result)


def _check_windows(result):
    keys = {"name", "us", "engine", "region", "bytes", "saved_us", "bound_us", "why"}
    for row in result["windows"]:
        assert keys <= set(row)
        assert tuple(row["us"]) == CASES
        assert row["us"]["short"] <= row["us"]["nominal"] <= row["us"]["long"]
        assert row["why"]
        if not row["bytes"]:
            assert set(row["saved_us"].values()) == {0.0}
    rows = {(row["name"], row["region"]): row for row in result["windows"]}
    # Experts pass after dispatch, and nothing large after combine.
    dispatch = rows["dispatch", "layer+1.fused_qkv_a"]
    assert dispatch["bytes"] == dispatch["bound_us"] == 0
    assert "MB pass through L2 before its use" in dispatch["why"]
    combine = rows["combine", "layer+1.fused_qkv_a"]
    assert combine["passing_bytes"] < 1e6
    assert combine["engine"] == "cube"
    assert combine["bytes"] > 15_000_000
    bound = result["windows_bound"]
    assert 0.8 * bound["bound_us"] <= bound["planned_us"] <= bound["bound_us"]
    # Every us is explained, and nothing is lost where constants are the least favourable.
    us = result["modelled_us"]
    saved = us["in_kernel"]["nominal"] - us["windows"]["nominal"]
    explained = sum(row["saved_us"]["nominal"] for row in result["windows"])
    assert saved == pytest.approx(explained, rel=0.1)
    assert saved > 0.005 * us["fused_no_prefetch"]["nominal"]
    for case in result["windows_case"].values():
        for level in LEVELS:
            assert case["windows"][level] <= 1.003 * case["fused_no_prefetch"][level]
    assert tuple(result["windows_case"]) == CASES
    for form in ("windows", "fused_no_prefetch"):
        assert result["windows_case"]["nominal"][form] == result["modelled_us"][form]
        short, nominal, long = (result["windows_case"][case][form]["nominal"] for case in CASES)
        assert short < nominal < long


def test_what_windows_bring_is_found_in_l2():
    """Nothing is fetched in vain or twice: the prolog reads the rest of its weights from HBM."""
    config = moe(batch=4, kv_len=64, weights="nz")
    result = model_layer(config, rivals=False)
    brought = sum(row["bytes"] for row in result["windows"] if row["region"].startswith("layer+1."))
    weights = sum(tensor.nbytes for _, tensor in LayerOps(config.bench()).prolog_weights())
    (prolog,) = (part for part in result["parts"] if part["name"] == "prolog")
    assert brought > 15_000_000
    # Beside the weights it reads activations, norms and tables.
    assert prolog["hbm_bytes"] + brought == pytest.approx(weights, abs=0.01 * brought + 300_000)


def _check_parts(result):
    total = sum(part["nominal_us"] for part in result["parts"])
    assert total == pytest.approx(result["modelled_us"]["windows"]["nominal"])
    for part in result["parts"]:
        assert {"name", "us", "hbm_bytes", "class", "source", "extrapolated"} <= set(part)
        assert tuple(part["us"]) == (LEVELS if part["scale"] == "constants" else CASES)
    parts_of = {part["name"]: part for part in result["parts"]}
    assert [name for name, part in parts_of.items() if part["ours"]] == ["prolog", "o_proj"]
    assert parts_of["all_gather"]["extrapolated"]
    # Published, joined with what is prefetched beside it, and slowed down by that meanwhile.
    combine = parts_of["combine"]
    lengths = {"short": 27.0, "nominal": 80.0, "long": 140.0}
    for (case, us), slowed in zip(lengths.items(), (0.15, 0.05, 0.0), strict=True):
        fetched = combine["hbm_bytes"] / 1.45e6
        assert combine["us"][case] == pytest.approx(us + 1.0 + slowed * fetched, abs=0.5)


def test_the_prefetch_kernel_takes_what_its_reads_take():
    """Windows are replayed with a read of each weight, which stands for the kernel of the op."""
    weights = [torch.empty(nbytes, dtype=torch.int8) for nbytes in (15_138_816, 9_437_184)]
    chip = TimedChip("Ascend910_9391")
    with twin.chip(chip.soc):
        kernels = dry_kernels(lambda: ops.prefetch(weights, engine="cube"))
    for level in LEVELS:
        line = chip.timeline(level)
        (kernel,) = (line.run(one.trace, launched=True) for one in kernels)
        line = chip.timeline(level)
        for index, weight in enumerate(weights):
            line.stream(f"weight {index}", index << 40, weight.nbytes, True, launched=True)
        # Reads one after the other wait twice for their first bytes.
        assert kernel["us"] == pytest.approx(line.now, rel=0.08)
        assert kernel["us"] < 1.02 * line.now


def test_a_timeline_shows_the_side_stream(tmp_path, capsys):
    path = tmp_path / "layer.json"
    command = ["layer", "--model", "deepseek-v3", *SERVED, "--batch", "4", "--kv-len", "64"]
    assert main([*command, "--timeline", str(path), "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)["windows"]
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    lanes = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event["name"] == "thread_name"
    }
    spans = [(lanes[event["pid"], event["tid"]], event) for event in events if event["ph"] == "X"]
    side = [event for lane, event in spans if lane == "side stream"]
    fetched = {f"prefetch {row['region']}": row["bytes"] for row in rows if row["bytes"]}
    assert {event["name"]: event["args"]["hbm_read"] for event in side} == pytest.approx(
        fetched, abs=1024
    )
    (combine,) = (event for lane, event in spans if event["name"] == "combine")
    for event in side:
        assert combine["ts"] + 1.0 <= event["ts"]
        assert event["ts"] + event["dur"] <= combine["ts"] + combine["dur"] - 1.0
    names = [event["name"] for lane, event in spans if lane == "kernels"]
    assert names.index("combine") < names.index("all_gather")
    assert {"HBM read", "L2 hit"} <= {event["name"] for event in events if event["ph"] == "C"}


def test_longer_windows_make_longer_layers():
    """Without prefetches a layer is longer by as much as its windows are."""
    result = model_layer(moe(batch=4, kv_len=64), rivals=False)
    lengths = [part.window.us for part in parts(moe(batch=4, kv_len=64)) if part.window]
    wide = [us for us in lengths if us.short > 10]
    case = result["windows_case"]
    longer = case["long"]["fused_no_prefetch"]["low"] - case["nominal"]["fused_no_prefetch"]["low"]
    assert longer >= sum(us.long - us.nominal for us in wide)
    # At low constants a launch is shorter than any window.
    assert longer == pytest.approx(sum(us.long - us.nominal for us in lengths), rel=0.02)


def test_a_part_is_within_its_own_range():
    """Attention of 64 tokens takes less than the read of its bytes and a launch."""
    result = model_layer(moe(batch=1, kv_len=64))
    for part in result["parts"]:
        ends = list(part["us"].values())
        assert ends[0] - 1e-9 <= part["nominal_us"] <= ends[2] + 1e-9
        assert part["nominal_us"] == pytest.approx(ends[1])
    (attention,) = (part for part in result["parts"] if part["name"] == "attention")
    # The nominal launch of the table, and 64 rows of 1,152 bytes.
    assert attention["nominal_us"] >= 6.8 + 64 * 1152 / (0.841 * 1.6e6)


def test_extrapolated_lengths_are_marked(capsys):
    command = ["layer", "--model", "deepseek-v3", *SERVED, "--batch", "4", "--kv-len", "64"]
    assert main(command) == 0
    lines = capsys.readouterr().out.split("windows between kernels")[1].splitlines()
    marked = [line.split()[0] for line in lines if "(length extrapolated)" in line]
    # All-gathers are published for 8 and 16 ranks.
    assert marked == ["all_gather"]


def test_a_profile_replaces_the_published_lengths(tmp_path, capsys):
    lengths = {
        name: {"short": 10.0, "nominal": 20.0, "long": 30.0, "count": 50}
        for name in ("all_reduce", "all_gather", "dispatch", "combine", "attention")
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"windows": lengths}), encoding="utf-8")
    command = ["layer", "--model", "deepseek-v3", *SERVED, "--batch", "4", "--kv-len", "64"]
    assert main([*command, "--windows", str(path), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["window_lengths"] == "mine.json"
    rows = {part["name"]: part for part in result["parts"]}
    known = {row["name"]: row["us"] for row in result["windows"]}
    assert known["combine"] == {"short": 10.0, "nominal": 20.0, "long": 30.0}
    assert rows["combine"]["us"]["long"] == pytest.approx(31.0)  # and a join
    assert rows["combine"]["class"] == "profiled"
    assert rows["combine"]["source"] == "profile mine.json"
    assert not rows["all_gather"]["extrapolated"]
    # Short kernels that the profile does not have keep their length, which for 4 tokens lies
    # between published ones; a rank has 1 token to choose experts for.
    assert rows["norm"]["class"] == "derived"
    assert rows["top_k"]["class"] == "published"
    del lengths["combine"]
    path.write_text(json.dumps({"windows": lengths}), encoding="utf-8")
    assert main([*command, "--windows", str(path)]) == 2
    error = capsys.readouterr().err
    assert "windows: expected 'combine' in mine.json, as this layer has such a window" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--kind", "moe", "--tp", "4", "--dp", "4", "--ep", "8"],
            "ep: expected tp x dp = 4 x 4 = 16 for a moe layer, got 8",
        ),
        (
            ["--kind", "moe", "--tp", "16", "--dp", "32"],
            "ep: expected at most the 256 experts of deepseek-v3, got 512",
        ),
        (
            ["--kind", "moe", "--quant", "none", "--batch", "128"],
            "ep: expected experts of at most 4294967296 bytes that a rank reads, got",
        ),
        (["--kind", "sparse"], "invalid choice: 'sparse'"),
        (["--dp", "0"], "expected a whole number from 1"),
        (["--windows", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_input(arguments, message, capsys):
    command = ["layer", "--model", "deepseek-v3", *arguments]
    try:
        status = main(command)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_experts_that_are_not_modelled(capsys):
    assert main(["layer", "--model", "longcat-flash", "--kind", "moe"]) == 2
    assert "kind: expected dense for longcat-flash" in capsys.readouterr().err


def test_ep_is_tp_times_dp_by_default():
    assert moe().reported_layer()["ep"] == 16
    assert moe(ep=16).reported_layer()["ep"] == 16


def test_memory_of_a_die():
    """DeepSeek-V3 in int8 on 16 ranks: 58 layers of 16 experts and a quarter of the shared one."""
    fits = model_layer(moe(batch=1, kv_len=16))["memory"]
    # W_UK and W_UV have 2 bytes an element.
    attention = 7168 * 2112 + 32 * 192 * 1536 + 2 * 2 * 32 * 128 * 512 + 7168 * 32 * 128
    experts = 58 * 3 * 7168 * (16 * 2048 + 512)
    dense = 3 * 3 * 7168 * 4608
    expected = 61 * attention + experts + dense
    assert fits["weights_bytes"] == pytest.approx(expected, rel=1e-5)
    assert fits["fits"]
    assert not model_layer(moe(batch=1, kv_len=16, quant="none"))["memory"]["fits"]
