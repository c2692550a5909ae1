"""What is measured on a device, with stand-ins for it: statistics, rotation, results, errors."""

import csv
import json
import math

import pytest
import torch

from ascend_prefetch.lab import cli, npu, reference
from ascend_prefetch.lab.bench import BENCHES, BenchConfig, measured, passed, run_bench, table
from ascend_prefetch.lab.bench.measured import (
    GraphTimer,
    check_on_device,
    linear_points,
    measure,
    placed,
    rotation_copies,
    summary,
)
from ascend_prefetch.lab.bench.torch_npu_ops import Cmo
from ascend_prefetch.lab.timing import COLUMNS, read_points
from ascend_prefetch.lab.timing.add_points import add_points
from ascend_prefetch.linear import linear_to_nz
from double import calls
from torch_npu_stand_in import StandInNpu, StandInTorchNpu

SOC = "Ascend910_9391"
SMALL = {
    "mla_prolog": BenchConfig("glm-4-moe-lite", tp=20, tokens=3),
    "sfa_prolog": BenchConfig("deepseek-v3.2", tp=128, tokens=3),
    "o_proj": BenchConfig("deepseek-v2-lite", tp=16, tokens=3),
    "prefetch": BenchConfig("deepseek-v2-lite", tp=16, tokens=3),
}


def small(op, **options):
    return BenchConfig(**{**vars(SMALL[op]), "repeats": 1, **options})


def on_cpu(tree):
    return placed(tree, torch.device("cpu"))


def stand_in(replay_ms=lambda graph: 1.0):
    return StandInTorchNpu(StandInNpu(replay_ms))


# --- numbers ---


def test_summary_is_the_median_and_the_deciles():
    assert summary([float(x) for x in range(101)]) == {"median": 50, "p10": 10, "p90": 90}
    assert summary([3.0, 1.0]) == {"median": 2, "p10": 1.2, "p90": 2.8}


@pytest.mark.parametrize(
    ("read", "copies"), [(200, 2), (100, 3), (67, 4), (2, 101), (1000, 2), (1.57, 129), (1, None)]
)
def test_between_two_calls_of_a_copy_twice_l2_is_read(read, copies):
    l2 = 100
    if copies == 129:  # one more than there may be
        copies = None
    assert rotation_copies(read, l2) == copies
    if copies is not None:
        assert (copies - 1) * read >= 2 * l2 > (copies - 2) * read


def test_a_sample_is_a_replay_over_its_calls():
    """Copies take turns, in whole rounds, and each is called once before the capture."""
    npu = StandInNpu(lambda graph: 0.001 * len(graph.calls) * (npu.replays + 1))
    before = []

    def call(name):
        npu.note(name)
        if npu.capturing is None:
            before.append(name)

    copies = [lambda name=name: call(name) for name in "abcde"]
    samples = GraphTimer(npu, replays=4).samples_us(copies)
    assert before == list("abcde")
    (graph,) = npu.captures
    assert graph.calls == list("abcde") * 7  # 35 calls, the first whole rounds from 32 on
    # A call of the n-th replay takes n us; the first three replays do not count.
    assert samples == pytest.approx([5, 6, 7, 8])


def test_placed_copies_keep_what_is_shared():
    tensor, other = torch.ones(2), torch.zeros(3)
    tree = {"a": tensor, "b": [tensor, None, 5], "c": (other,)}
    copy = on_cpu(tree)
    assert copy["a"] is copy["b"][0] and copy["b"][1:] == [None, 5]
    assert copy["a"].data_ptr() != tensor.data_ptr()
    assert torch.equal(copy["c"][0], other)


# --- the separate ops ---


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("quant", ["none", "w8a8", "w8a8_dynamic"])
@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_separate_ops_compute_the_same(op, quant, dtype):
    """On the double's ops, caches included; both quantise, so that an int8 step may differ."""
    case = BENCHES[op].make_case(small(op, quant=quant, dtype=dtype))
    outputs = case.run()
    outputs = [outputs] if op == "o_proj" else [out for out in outputs if out.numel()]
    kept = []

    def place(tree):
        kept.append(on_cpu(tree))
        return kept[-1]

    results = case.separate(stand_in(), place)()
    assert len(results) == len(outputs)
    bound = 1e-2 if quant == "none" else 3e-2
    for actual, expected in zip(results, outputs, strict=True):
        assert actual.shape == expected.shape
        assert reference.relative_error(actual, expected.double()) < bound
    if op != "o_proj":
        inputs = kept[1]
        for name in ("kv_cache", "rope_cache"):
            written, wanted = getattr(inputs, name).written(), case.arguments[name]
            wanted = wanted.flatten(0, 2)[inputs.slot_mapping]
            assert reference.relative_error(written, wanted.double()) < bound


def test_nz_weights_are_cast_to_the_format_of_a_device():
    for quant, op, layers in (("none", "o_proj", 1), ("w8a8", "mla_prolog", 2)):
        torch_npu = stand_in()
        BENCHES[op].make_case(small(op, weights="nz", quant=quant)).separate(torch_npu, on_cpu)()
        assert torch_npu.cast == [29] * layers


@pytest.mark.parametrize(
    ("op", "tp", "sizes"),
    [
        # qkv_a as a whole, [1344, 2048].
        ("mla_prolog", 20, [2 * 1344 * 2048]),
        # o_proj, [2048, 20 x 256]: 16 MiB of it.
        ("o_proj", 1, [16 << 20]),
        # Both as wholes: o_proj [2048, 256] and qkv_a.
        ("prefetch", 20, [2 * 2048 * 256, 2 * 1344 * 2048]),
    ],
)
def test_prefetches_beside_them_are_upstreams(op, tp, sizes):
    torch_npu = stand_in()
    config = BenchConfig("glm-4-moe-lite", tp=tp, tokens=3)
    run = BENCHES[op].make_case(config).separate(torch_npu, on_cpu)
    with calls.record() as seen:
        run(Cmo(torch_npu))
    assert [size for _, size in seen.prefetched] == sizes


# --- results ---


def measured_case(op, monkeypatch, replay_ms=lambda graph: 1.0, **options):
    """The result of measure() on a stand-in; the op itself runs on the twin."""
    monkeypatch.setattr(measured, "device_of", lambda torch_npu: torch.device("cpu"))
    config = small(op, **options)
    result, case = run_bench(op, config), BENCHES[op].make_case(config)
    torch_npu = stand_in(replay_ms)
    # A few copies and calls are as good as the hundred that these sizes would take.
    monkeypatch.setattr(measured, "rotation_copies", lambda read, l2: 3)
    monkeypatch.setattr(measured, "_CALLS", 4)
    timer = GraphTimer(torch_npu.npu, replays=5)
    return torch_npu, result, measure(torch_npu, case, SOC, result, timer)


def test_measured_forms_stand_beside_the_modelled_ones(monkeypatch):
    # 6 calls over three copies, 4 of one: 10 us a call either way.
    counts = iter([6, 4] * 4)
    durations = {}

    def replay_ms(graph):
        return durations.setdefault(graph, next(counts) * 0.01 if graph not in durations else 0)

    _, result, found = measured_case("o_proj", monkeypatch, replay_ms)
    assert set(found) == {"measured_us", "npu"}
    assert set(found["measured_us"]) == set(result["modelled_us"]) - {"floor"}
    for times in found["measured_us"].values():
        assert set(times) == {"cold", "warm"}
        for kind in times.values():
            assert kind == pytest.approx({"median": 10, "p10": 10, "p90": 10})
    device = found["npu"]
    assert (device["name"], device["torch_npu"]) == (SOC, "2.13.0")
    assert (device["copies"], device["replays"]) == (3, 5)
    assert device["check"]["ok"] is True and 0 < device["check"]["max_rel_err"] <= 4e-3
    # Whether both round alike depends on the host's matrix products.
    assert 0 <= device["separate_rel_err"] < 1e-2
    assert passed(result | found)
    device["check"]["ok"] = False
    assert not passed(result | found) and passed(result)


def test_prefetch_itself_has_two_forms(monkeypatch):
    _, result, found = measured_case("prefetch", monkeypatch)
    none = {name for name, times in found["measured_us"].items() if times is None}
    assert none == {"fused_no_prefetch", "separate"}
    assert none == {name for name, times in result["modelled_us"].items() if times is None}
    assert found["npu"]["separate_rel_err"] is None


def test_what_does_not_fit_is_not_measured(monkeypatch):
    """Weights beyond L2 are never warm; small ones are not measured cold."""
    torch_npu, _, found = measured_case("o_proj", monkeypatch)
    monkeypatch.setattr(measured, "rotation_copies", lambda read, l2: None)
    config = small("o_proj")
    case, result = BENCHES["o_proj"].make_case(config), run_bench("o_proj", config)
    timer = GraphTimer(torch_npu.npu, replays=2)
    forms = measure(torch_npu, case, SOC, result, timer)["measured_us"]
    assert forms["fused"]["cold"] is None and forms["fused"]["warm"] is not None
    result["prefetch"]["planned"] = 192 << 20
    forms = measure(torch_npu, case, SOC, result, timer)["measured_us"]
    assert forms["fused"]["warm"] is None


@pytest.mark.parametrize("op", ["mla_prolog", "o_proj", "prefetch"])
def test_a_weight_that_changes_on_the_device_fails_the_check(op):
    config = small(op)
    case, result = BENCHES[op].make_case(config), run_bench(op, config)
    assert check_on_device(case, on_cpu, result)["ok"] is True
    name = {"mla_prolog": "w_uk", "o_proj": "w_uv", "prefetch": "weights"}[op]
    wrong = type(case)(**{**vars(case), "op": damaging(case.op, name)})
    check = check_on_device(wrong, on_cpu, result)
    assert (check["ok"], check["max_rel_err"], check["changed"]) == (False, math.inf, [name])


def damaging(op, name):
    def call(**arguments):
        results = op(**arguments)
        tensor = arguments[name]
        (tensor[0] if isinstance(tensor, list) else tensor).view(-1)[5] += 1
        return results

    call.__name__ = op.__name__
    return call


def test_a_device_that_writes_no_cache_fails_the_check():
    """Although the twin has written those of the case."""
    config = small("mla_prolog")
    case, result = BENCHES["mla_prolog"].make_case(config), run_bench("mla_prolog", config)
    case.run()

    def elsewhere(**arguments):
        return case.op(**{**arguments, "kv_cache": arguments["kv_cache"].clone()})

    elsewhere.__name__ = case.op.__name__
    check = check_on_device(type(case)(**{**vars(case), "op": elsewhere}), on_cpu, result)
    assert check["ok"] is False


# --- points for correlate ---


def test_points_are_what_correlate_reads(monkeypatch, tmp_path):
    monkeypatch.setattr(measured, "device_of", lambda torch_npu: torch.device("cpu"))
    monkeypatch.setattr(measured, "rotation_copies", lambda read, l2: 2 if read > 1e6 else None)
    path = tmp_path / "points.csv"
    for weights in ("nd", "nz", "nd"):  # the last in place of the first
        config = small("mla_prolog", weights=weights)
        torch_npu = stand_in(lambda graph: 32 * 0.0125)
        case = BENCHES["mla_prolog"].make_case(config)
        timer = GraphTimer(torch_npu.npu, replays=3)
        add_points(path, linear_points(torch_npu, case, config, SOC, timer))
    # q_b is [256, 768], too small here, and W_UK is batched.
    nd, nz = read_points(path, SOC).points
    assert (nd.id, nz.id) == ("linear-3x1344x2048-bf16-ND", "linear-3x1344x2048-bf16-NZ")
    assert (nd.measured_us, nd.metric, nd.launch_included) == (12.5, "task", True)
    kernel = nd.kernel
    assert (kernel.m, kernel.n, kernel.k, kernel.cores) == (3, 1344, 2048, 24)
    assert (kernel.dtype, kernel.nz, nz.kernel.nz) == ("bf16", False, True)
    with path.open() as file:
        assert (
            "bench on Ascend910_9391 with torch_npu 2.13.0" in next(csv.DictReader(file))["source"]
        )


def test_points_do_not_go_into_another_file(tmp_path):
    path = tmp_path / "op_summary.csv"
    path.write_text("OP Type,Task Duration(us)\nMatMul,3\n")
    with pytest.raises(
        ValueError, match="op_summary.csv, line 1: expected the columns id,kernel,soc,"
    ):
        add_points(path, [])
    assert path.read_text().startswith("OP Type")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["a,gemm"], "line 2: expected 17 cells, got 2"),
        ([",".join("a" * 17)] * 2, "line 3: id: there is a second 'a'"),
        ([",".join("a" * 17), '"a' + "," * 16], "line 3: no line of CSV: unexpected end of data"),
    ],
)
def test_points_that_cannot_be_read_are_not_lost(tmp_path, rows, text):
    """What add_points reads it writes again."""
    path = tmp_path / "points.csv"
    content = "\n".join([",".join(COLUMNS), *rows])
    path.write_text(content)
    with pytest.raises(ValueError, match=f"^{path}, {text}$"):
        add_points(path, [])
    assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


# --- without a device, or with another one ---


def test_no_npu_is_one_line(monkeypatch):
    monkeypatch.setattr(npu, "status", lambda: npu.NpuStatus((), "there is no /dev/davinci*"))
    with pytest.raises(RuntimeError, match=r"^no NPU: there is no /dev/davinci\*$"):
        run_bench("o_proj", small("o_proj", device="npu"))


def test_another_chip_is_refused(monkeypatch):
    monkeypatch.setattr(npu, "require", lambda: StandInTorchNpu(StandInNpu(None, "Ascend910B3")))
    message = "soc: expected 'Ascend910B3', which the NPU is, got 'Ascend910_9391'"
    with pytest.raises(ValueError, match=f"^{message}$"):
        run_bench("o_proj", small("o_proj", device="npu"))


COMMAND = ["bench", "o_proj", "--model", "deepseek-v2-lite", "--tp", "16", "--tokens", "3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "npu"], "no NPU: there is no /dev/davinci*"),
        (
            ["--points-out", "points.csv"],
            "points-out: expected none without an NPU to measure on (--device npu)",
        ),
    ],
)
def test_the_command_line_without_a_device(options, message, monkeypatch, capsys):
    monkeypatch.setattr(npu, "status", lambda: npu.NpuStatus((), "there is no /dev/davinci*"))
    assert cli.main([*COMMAND, *options]) == 2
    assert capsys.readouterr().err == f"ascend_prefetch bench: {message}\n"


def test_a_device_that_cannot_be_used_is_told_of(monkeypatch, capsys):
    """The twin alone then; the result has the keys that it always had."""
    status = npu.NpuStatus(("/dev/davinci0",), "there is /dev/davinci0, but torch_npu is missing")
    monkeypatch.setattr(npu, "status", lambda: status)
    assert cli.main([*COMMAND, "--json", "-"]) == 0
    output = capsys.readouterr()
    assert output.err == (
        "no NPU: there is /dev/davinci0, but torch_npu is missing; the twin alone\n"
    )
    result = json.loads(output.out)
    assert not {"npu", "measured_us"} & set(result)
    assert result["soc"] == SOC


def test_all_ops_are_measured_one_by_one(monkeypatch, capsys):
    """On the chip that the NPU is, each in a process that is told to measure."""
    torch_npu = StandInTorchNpu(StandInNpu(None, "Ascend910B3"))
    monkeypatch.setattr(npu, "status", lambda: npu.NpuStatus(("/dev/davinci0",), None))
    monkeypatch.setattr(npu, "require", lambda: torch_npu)
    configs = []
    monkeypatch.setattr(
        "ascend_prefetch.lab.cli.bench.bench_table",
        lambda config, **_: configs.append(config) or [],
    )
    assert cli.main(["bench", "all", "--json", "-"]) == 0
    (config,) = configs
    assert (config.device, config.soc) == ("npu", "Ascend910B3")
    arguments = table._arguments("o_proj", config)
    assert arguments[arguments.index("--device") + 1] == "npu"
    capsys.readouterr()
    assert cli.main(["bench", "all", "--points-out", "p.csv"]) == 2
    assert "points-out: expected none with 'all'" in capsys.readouterr().err


def test_what_people_see_of_a_measurement(monkeypatch, capsys):
    _, result, found = measured_case("o_proj", monkeypatch, lambda graph: 0.048)
    monkeypatch.setattr("ascend_prefetch.lab.cli.bench.run_bench", lambda *_: result | found)
    assert cli.main([*COMMAND, "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("on Ascend910_9391 (twin and NPU)")
    (check,) = [line for line in lines if "check on NPU" in line]
    assert "ok: relative error" in check
    (fused,) = [line for line in lines if "measured us" in line]
    # 48 us for 6 calls over the copies, and for 4 of one.
    assert fused.split() == (
        "measured us fused cold 8.0 (8.0 to 8.0) warm 12.0 (12.0 to 12.0)".split()
    )
    assert lines[-2].split() == (
        "median (p10 to p90) of 5 replays of an NPU graph on Ascend910_9391; "
        "cold: over 3 copies".split()
    )
    found["npu"]["check"]["ok"] = False
    assert cli.main([*COMMAND, "--device", "cpu"]) == 1


def test_packed_weights_are_no_points():
    """The case keeps row-major products, whatever the op reads."""
    case = BENCHES["o_proj"].make_case(small("o_proj", weights="nz"))
    assert [weight.dim() for weight in case.products] == [3, 2]
    assert linear_to_nz(case.products[1]).shape == case.arguments["o_proj_weight"].shape
