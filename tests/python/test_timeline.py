"""timeline: trace events and pictures of what the timing model says a call does when."""

import json
import sys
from collections import Counter, defaultdict

import pytest

from ascend_prefetch import _lab
from ascend_prefetch.lab import cli, twin
from ascend_prefetch.lab.bench import BENCHES, BenchConfig
from ascend_prefetch.lab.timing import find_timed_chip
from ascend_prefetch.lab.timing.sequence import TracedKernel
from ascend_prefetch.lab.timing.timeline import mean_rates, model_timeline
from ascend_prefetch.lab.timing.trace_events import trace_events

CHIP = "Ascend910_9391"
SMALL = ["--model", "glm-4-moe-lite", "--tp", "20", "--tokens", "3"]
OPS = {
    "mla_prolog": ["--model", "glm-4-moe-lite", "--tp", "20"],
    "sfa_prolog": ["--model", "glm-5", "--tp", "64"],
    "o_proj": ["--model", "deepseek-v2-lite", "--tp", "16"],
    "prefetch": ["--model", "deepseek-v2-lite", "--tp", "16"],
}


def traced(op="mla_prolog", model="glm-4-moe-lite", tp=20):
    """Traces of a call and the tensors that it may prefetch."""
    case = BENCHES[op].make_case(BenchConfig(model, tp=tp, tokens=3))
    with twin.chip(CHIP), twin.dry(), twin.tracing() as traces:
        case.run()
    return [TracedKernel(trace) for trace in traces], case.prefetched


def run(out, *arguments, op="mla_prolog", size=SMALL):
    return cli.main(["timeline", op, *size, "--out", str(out), *arguments])


def lanes(events):
    """Complete events by process and thread."""
    found = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            found[event["pid"], event["tid"]].append(event)
    return found


@pytest.mark.parametrize("separate", [[], ["--separate"]], ids=["fused", "separate"])
@pytest.mark.parametrize("op", OPS)
def test_events_are_well_formed(op, separate, tmp_path):
    """What ui.perfetto.dev asks for: fields, names of all lanes, nothing that overlaps."""
    path = tmp_path / "t.json"
    assert run(path, *separate, op=op, size=[*OPS[op], "--tokens", "3"]) == 0
    content = json.loads(path.read_text())
    assert content["displayTimeUnit"] == "ns"
    assert "modelled, not measured" in content["otherData"]["title"]
    named = {"process_name": set(), "thread_name": set()}
    for event in content["traceEvents"]:
        assert {"ph", "pid", "tid", "ts", "name", "args"} <= set(event)
        assert event["ts"] >= 0
        if event["ph"] == "M" and event["name"] in named:
            assert event["args"]["name"]
            named[event["name"]].add((event["pid"], event["tid"]))
        elif event["ph"] == "X":
            assert event["dur"] >= 0
            assert event["name"] and event["cat"]
        elif event["ph"] == "C":
            assert all(value >= 0 for value in event["args"].values())
        else:
            assert event["name"] in ("process_sort_index", "thread_sort_index")
    by_lane = lanes(content["traceEvents"])
    assert set(by_lane) == named["thread_name"]
    assert {(pid, 0) for pid, _ in by_lane} <= named["process_name"]
    threads = [tid for _, tid in by_lane]
    assert len(set(threads)) == len(threads)
    assert not set(threads) & {pid for pid, _ in by_lane}
    for events in by_lane.values():
        events.sort(key=lambda event: (event["ts"], event["dur"]))
        for before, after in zip(events, events[1:], strict=False):
            # Both are whole ns, which floating-point us hold inexactly.
            end = round(1000 * before["ts"]) + round(1000 * before["dur"])
            assert end <= round(1000 * after["ts"])


def test_bytes_of_the_events_are_those_of_the_model():
    traces, prefetched = traced()
    timeline = model_timeline(_lab.Timeline(CHIP, "nominal"), traces, prefetched)
    [kernel] = timeline.kernels
    sums = Counter()
    for event in trace_events(timeline):
        if event["ph"] == "X" and event["cat"] in ("load", "prefetch", "store", "fixpipe"):
            sums.update({key: event["args"][key] for key in kernel.bytes})
        if event["ph"] == "X" and event["cat"] == "prefetch":
            sums["prefetched"] += event["args"]["bytes"]
    prefetches = sums.pop("prefetched")
    assert dict(sums) == kernel.bytes
    assert prefetches == twin.account_prefetch(traces[0].trace, prefetched)["planned"] > 0
    totals = [
        event["args"]["MB"]
        for event in trace_events(timeline)
        if event["name"] == "prefetched so far"
    ]
    assert totals == sorted(totals)
    assert totals[-1] == pytest.approx(prefetches / 1e6, abs=1e-6)


def test_rates_add_up_to_the_bytes_and_stay_below_those_of_the_chip():
    traces, prefetched = traced("o_proj", "deepseek-v2-lite", 16)
    timeline = model_timeline(_lab.Timeline(CHIP, "nominal"), traces, prefetched)
    [kernel] = timeline.kernels
    assert timeline.hbm_rate == pytest.approx(1.49e6)
    assert max(rates.hbm_read for rates in timeline.rates) <= timeline.hbm_rate * (1 + 1e-12)
    for name in ("hbm_read", "l2_hit", "written"):
        means = mean_rates(timeline, name, timeline.end / 7, 7)
        assert sum(means) * timeline.end / 7 == pytest.approx(kernel.bytes[name], rel=1e-9)
    counted = [event for event in trace_events(timeline) if event["name"] == "HBM read"]
    assert counted[-1]["args"] == {"MB/us": 0}
    times = [event["ts"] for event in counted]
    assert times == sorted(times)
    spans = zip(counted, counted[1:], strict=False)
    total = sum(first["args"]["MB/us"] * (last["ts"] - first["ts"]) for first, last in spans)
    assert total == pytest.approx(kernel.bytes["hbm_read"] / 1e6, abs=1e-6 * timeline.end)


def test_sdma_has_a_lane_and_a_counter():
    traces, prefetched = traced()
    model = _lab.Timeline(CHIP, "nominal")
    piece = 1 << 18
    model.prefetch(1 << 44, piece, delay=0)
    model.prefetch(1 << 45, piece, delay=2)
    timeline = model_timeline(model, traces, prefetched)
    events = trace_events(timeline)
    pieces = [event for event in events if event["ph"] == "X" and event["name"] == "prefetch"]
    assert [event["args"] for event in pieces] == [
        {"bytes": piece, "hbm_read": piece, "l2_hit": 0}
    ] * 2
    # During the launch nothing else wants HBM.
    us = piece / 0.285e6
    rates = [(event["ts"], event["args"]["MB/us"]) for event in events if event["name"] == "SDMA"]
    assert rates == [
        (0, 0.285),
        (pytest.approx(us, abs=1e-3), 0),
        (2, 0.285),
        (pytest.approx(2 + us, abs=1e-3), 0),
    ]
    assert timeline.prefetches()[:2] == [(pytest.approx(us), piece), (pytest.approx(2 + us), piece)]


def test_separate_kernels_follow_each_other(tmp_path, capsys):
    assert run(tmp_path / "t.json", "--separate", "--launch-us", "2", "--json", "-") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["separate"] is True
    assert result["level"] == "nominal"
    assert result["prefetched_bytes"] == 0
    assert [kernel["kernel"] for kernel in result["kernels"]] == [
        "qkv_a", "q_norm", "q_b", "kv_norm_rope_cache", "q_rope", "w_uk",
    ]  # fmt: skip
    end = 0
    for kernel in result["kernels"]:
        assert kernel["launched_us"] == end
        assert kernel["start_us"] == pytest.approx(end + 2)
        end = kernel["end_us"]
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    launches = [event for event in events if event.get("cat") == "launch"]
    assert [launch["dur"] for launch in launches] == [pytest.approx(2, abs=1e-3)] * 6


def test_without_prefetch(tmp_path, capsys):
    path = tmp_path / "t.json"
    assert run(path, "--no-prefetch", "--json", "-") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["no_prefetch"] is True
    assert result["prefetched_bytes"] == 0
    assert "without prefetch" in json.loads(path.read_text())["otherData"]["title"]
    assert run(path, "--no-prefetch", op="prefetch") == 2
    text = "ascend_prefetch timeline: no-prefetch: nothing is left of prefetch\n"
    assert capsys.readouterr().err == text


def test_levels_are_ordered(tmp_path, capsys):
    ends = []
    for level in ("low", "nominal", "high"):
        assert run(tmp_path / "t.json", "--level", level, "--json", "-") == 0
        ends.append(json.loads(capsys.readouterr().out)["kernels"][0]["end_us"])
    assert ends == sorted(ends)
    assert ends[0] < ends[2]


def test_a_chip_file(tmp_path, capsys):
    chip = tmp_path / "chip.json"
    values = {"low": 1.0, "nominal": 20.0, "high": 30.0}
    chip.write_text(json.dumps({"soc": CHIP, "constants": {"launch_us": values}}))
    assert find_timed_chip(str(chip)).soc == CHIP
    assert run(tmp_path / "t.json", "--soc", str(chip), "--json", "-") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["soc"] == str(chip)
    assert result["kernels"][0]["start_us"] == 20.0


@pytest.mark.parametrize(("engine", "cores"), [("vector", 48), ("cube", 24)])
def test_engines_of_prefetch(tmp_path, capsys, engine, cores):
    """Each loads everything, by its own cores alone."""
    path = tmp_path / "t.json"
    size = ["--model", "deepseek-v2-lite", "--tp", "16"]
    assert run(path, "--engine", engine, "--json", "-", op="prefetch", size=size) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["engine"] == engine
    assert result["prefetched_bytes"] == 2 * 2048 * (128 + 576)
    trace = json.loads(path.read_text())
    events = [event for event in trace["traceEvents"] if event.get("cat") == "prefetch"]
    assert f"by {engine} cores on" in trace["otherData"]["title"]
    assert len(lanes(events)) == cores


def test_sdma_runs_no_kernel(tmp_path, capsys):
    assert run(tmp_path / "t.json", "--engine", "sdma", op="prefetch") == 2
    text = "engine: expected vector or cube, got sdma, which runs no kernel"
    assert capsys.readouterr().err == f"ascend_prefetch timeline: {text}\n"


@pytest.mark.parametrize("separate", [[], ["--separate"]], ids=["fused", "separate"])
def test_a_picture(tmp_path, capsys, separate):
    path = tmp_path / "t.png"
    assert run(path, *separate) == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [file.name for file in tmp_path.iterdir()] == ["t.png"]
    printed = capsys.readouterr().out
    assert f"on {CHIP}: modelled at nominal, L2 empty at first\n" in printed
    assert printed.endswith(f"wrote {path}\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.svg", "out: expected a name that ends in .json or .png, got '{}'"),
        ("absent/t.json", "out: there is no directory '{}'"),
        ("directory.json", "out: '{}' is a directory"),
    ],
)
def test_a_bad_name_is_refused_before_any_work(tmp_path, capsys, monkeypatch, name, text):
    monkeypatch.setitem(BENCHES, "mla_prolog", None)
    (tmp_path / "directory.json").mkdir()
    path = tmp_path / name
    named = path.parent if "absent" in name else path
    assert run(path) == 2
    assert capsys.readouterr().err == f"ascend_prefetch timeline: {text.format(named)}\n"
    assert [file.name for file in tmp_path.rglob("*")] == ["directory.json"]


def test_a_picture_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(tmp_path / "t.png") == 2
    text = "matplotlib is not installed: pip install 'ascend-prefetch[plots]'\n"
    assert capsys.readouterr().err.endswith(text)
    assert run(tmp_path / "t.json") == 0
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]


def test_nothing_is_half_written(tmp_path, capsys, monkeypatch):
    """What was there stays when drawing fails half-way."""

    def fail(_, path, **__):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    path = tmp_path / "t.png"
    path.write_bytes(b"before")
    assert run(path) == 2
    assert capsys.readouterr().err == "ascend_prefetch timeline: no space left\n"
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["t.png"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--soc", "Ascend310P3"], "Ascend310P3"),
        (["--tokens", "8193"], "8193"),
        (["--tp", "7"], "got 7"),
        (["--soc", "absent.json"], "absent.json"),
    ],
)
def test_refuses_in_one_line(tmp_path, capsys, arguments, text):
    assert run(tmp_path / "t.json", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert text in printed.err
    assert list(tmp_path.iterdir()) == []


def test_wants_a_model_and_a_name(tmp_path, capsys):
    assert run(tmp_path / "t.json", size=[]) == 2
    assert capsys.readouterr().err.endswith("model: expected one by --model, got none\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["timeline", "o_proj", *SMALL])
    assert stop.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_no_launch_is_no_timeline():
    with pytest.raises(ValueError, match="expected one or more kernels, got none"):
        model_timeline(_lab.Timeline(CHIP, "nominal"), [], ())
