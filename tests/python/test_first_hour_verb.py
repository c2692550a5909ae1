"""first-hour: steps that fail, hang or are missing, what the report holds, and its measurements on
the double of ACL, where no number is a time of a device."""

from __future__ import annotations

import json
import os
import signal
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import torch

from acl_double import AclError
from ascend_prefetch import ops
from ascend_prefetch.lab import cli, npu
from ascend_prefetch.lab.bench.measured import GraphTimer
from ascend_prefetch.lab.cli import first_hour as verb
from ascend_prefetch.lab.first_hour import (
    Step,
    collective,
    first_hour_steps,
    fork_join,
    reads,
    report,
    steps,
)
from ascend_prefetch.lab.first_hour.events import spans_us
from ascend_prefetch.lab.timing import read_points
from on_double import SOC, on_double
from torch_npu_stand_in import StandInNpu, StandInTorchNpu

CPU = torch.device("cpu")
NO_NPU = npu.NpuStatus((), "there is no /dev/davinci*")


@pytest.fixture
def npus(monkeypatch):
    """Sets how many NPUs there are; with a reason they cannot be used."""

    def set_count(count, missing=None):
        visible = tuple(f"/dev/davinci{number}" for number in range(max(1, count)))
        monkeypatch.setattr(npu, "status", lambda: npu.NpuStatus(visible, missing))
        stand_in = StandInTorchNpu(StandInNpu(None, SOC))
        stand_in.npu.device_count = lambda: count
        monkeypatch.setitem(sys.modules, "torch_npu", stand_in)

    return set_count


@pytest.fixture
def runs(monkeypatch, tmp_path, capsys):
    """Runs the verb with other steps; returns the exit status and the content of the report."""

    def run(*chosen, options=()):
        monkeypatch.setattr(verb, "first_hour_steps", lambda folder, soc, ranks: list(chosen))
        out = tmp_path / "report.tar.gz"
        status = cli.main(["first-hour", "--out", str(out), *options])
        files = {}
        with tarfile.open(out) as archive:
            for member in archive:
                assert (member.uid, member.uname) == (0, "")
                if member.isfile():
                    files[member.name] = archive.extractfile(member).read().decode()
        assert [path.name for path in tmp_path.iterdir()] == ["report.tar.gz"]
        return status, files, capsys.readouterr()

    return run


def python(name, code, **options):
    return Step(name, f"what {name} is", 1, (sys.executable, "-c", code), **options)


# --- without a device ---


def test_without_a_device_it_says_what_it_would_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(npu, "status", lambda: NO_NPU)
    out = tmp_path / "report.tar.gz"
    assert cli.main(["first-hour", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "no NPU: there is no /dev/davinci*. On a device these steps would run:"
    assert lines[-1] == "no report was written: nothing was measured"
    names = [line.split()[0] for line in lines[1:-2]]
    assert names == [step.name for step in first_hour_steps(Path(), SOC, 2)]
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["first-hour", "--out", str(out), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["out"], result["reason"]) == (None, NO_NPU.missing)
    assert [step["name"] for step in result["steps"]] == names
    assert result["minutes"] == sum(step["minutes"] for step in result["steps"])
    assert all(step["settles"] and step["command"] for step in result["steps"])


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ("absent/report.tar.gz", "out: there is no directory '"),
        ("folder.tar.gz", "out: '"),
        ("report.zip", "out: expected a name that ends in .tar.gz, got '"),
        ("report.gz", "out: expected a name that ends in .tar.gz, got '"),
        (".tar.gz", "out: expected a name that ends in .tar.gz, got '"),
    ],
)
def test_bad_outputs(capsys, tmp_path, out, text):
    (tmp_path / "folder.tar.gz").mkdir()
    assert cli.main(["first-hour", "--out", str(tmp_path / out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith(f"ascend_prefetch first-hour: {text}")


def test_a_step_that_there_is_none_of(capsys, tmp_path):
    arguments = ["first-hour", "--out", str(tmp_path / "r.tar.gz"), "--only", "reads,nothing"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("ascend_prefetch first-hour: only: expected some of collect-env, info,")
    assert error.endswith("got 'nothing'\n")


# --- the list ---


def test_commands_of_the_steps_are_taken(monkeypatch, tmp_path):
    """Those of our own command line with every option and output, and tests that there are."""
    monkeypatch.chdir(tmp_path)
    found = Counter()
    for step in first_hour_steps(tmp_path, SOC, 16):
        words = list(step.command)
        if "ascend_prefetch" in words:
            words = words[words.index("ascend_prefetch") + 1 :]
            options = cli.parser().parse_args(words)
            cli._check_outputs(options.verb, options)
            found[words[0]] += 1
        if "pytest" in words:
            assert any(Path(word).exists() for word in words if word.startswith(str(steps.TESTS)))
    assert found == {
        "collect-env": 1, "info": 1, "bench": 8, "windows": 1, "correlate": 2, "calibrate": 1,
    }  # fmt: skip


def test_what_steps_need_is_written_by_steps_before():
    folder = Path("/report")
    written = {steps.TESTS}
    names = []
    for step in first_hour_steps(folder, SOC, 2):
        assert set(step.needs) <= written
        written |= {folder / step.name / word for word in step.command if word.endswith(".csv")}
        written |= {Path(word) for word in step.command if word.endswith(steps.POINTS)}
        names.append(step.name)
    assert len(set(names)) == len(names)
    assert {number.step for number in report.NUMBERS} <= set(names)


def test_collectives_take_as_many_devices_as_there_are():
    def ranks(count):
        found = first_hour_steps(Path(), SOC, count)
        (aiv,) = [step for step in found if step.name == "collective-aiv"]
        assert (aiv.devices, dict(aiv.environment)) == (2, {"HCCL_OP_EXPANSION_MODE": "AIV"})
        return [word for word in aiv.command if word.startswith("--nproc")]

    assert ranks(1) == ranks(2) == ["--nproc-per-node=2"]
    assert ranks(8) == ["--nproc-per-node=8"]
    assert ranks(64) == ["--nproc-per-node=16"]


# --- steps that fail ---


def test_whatever_fails_the_next_step_runs(npus, runs, monkeypatch, tmp_path):
    npus(1)
    monkeypatch.setattr(Step, "limit_s", property(lambda step: 2.0 if step.minutes == 9 else 60.0))
    hang = "import subprocess, sys, time\nprint('begun', flush=True)\ntime.sleep(1000)"
    status, files, printed = runs(
        python("fails", "print('so far'); raise SystemExit(3)"),
        Step("hangs", "", 9, (sys.executable, "-c", hang)),
        python("dies", "import os; os.kill(os.getpid(), 9)"),
        Step("absent", "", 1, ("/nowhere/program",)),
        python("two", "", devices=2),
        python("needs", "", needs=(Path("/nowhere/points.csv"),)),
        python("passes", "open('found.json', 'w').write('{}')"),
    )
    assert status == 1
    summary = json.loads(files["report/summary.json"])
    found = {step["name"]: (step["status"], step["exit_status"]) for step in summary["steps"]}
    assert found == {
        "fails": ("failed", 3), "hangs": ("timed out", None), "dies": ("failed", -9),
        "absent": ("not run", None), "two": ("not run", None), "needs": ("not run", None),
        "passes": ("passed", 0),
    }  # fmt: skip
    reasons = {step["name"]: step["reason"] for step in summary["steps"] if step["reason"]}
    assert reasons.pop("absent").startswith("it cannot be started: ")
    assert reasons == {
        "two": "it takes 2 NPUs, there is 1",
        "needs": "there is no /nowhere/points.csv",
    }
    assert files["report/fails/log.txt"] == "so far\n"
    assert files["report/hangs/log.txt"] == "begun\n"
    assert summary["steps"][-1]["files"] == ["found.json", "log.txt"]
    assert files["report/passes/found.json"] == "{}"
    assert summary["steps"][1]["seconds"] >= 2
    assert summary["device"] == {
        "visible": 1, "missing": None, "soc": SOC, "count": 1, "torch_npu": "2.13.0",
    }  # fmt: skip
    assert set(summary["numbers"].values()) == {None}
    text = files["report/summary.md"]
    assert "**saved_us_per_mb** was not measured" in text
    assert "| two | what two is | not run: it takes 2 NPUs, there is 1 |" in text
    assert printed.out == text + f"wrote {tmp_path / 'report.tar.gz'}\n"
    assert "[1/7] fails: failed after" in printed.err and "exit status 3" in printed.err


def test_one_device_is_no_failure(npus, runs):
    npus(1)
    status, files, _ = runs(python("two", "", devices=2), python("passes", ""))
    assert status == 0
    assert "report/two/log.txt" not in files


def test_a_device_that_cannot_be_used(npus, runs):
    """What needs none runs; the rest says why not."""
    why = "there is /dev/davinci0, but torch_npu cannot be imported"
    npus(0, why)
    status, files, _ = runs(python("one", ""), python("none", "", devices=0))
    assert status == 1
    rows = json.loads(files["report/summary.json"])["steps"]
    assert [(row["status"], row["reason"]) for row in rows] == [("not run", why), ("passed", None)]


def test_an_interrupted_run_has_what_was_done(npus, runs):
    """And its processes are gone."""
    npus(1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = (
        "import os, signal, time\n"
        "open('pid', 'w').write(str(os.getpid()))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(1000)"
    )
    try:
        status, files, printed = runs(
            python("passes", "print('done')"), python("stopped", child), python("left", "")
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert status == 130
    rows = json.loads(files["report/summary.json"])["steps"]
    assert [row["status"] for row in rows] == ["passed", "interrupted", "not run"]
    assert rows[2]["reason"] == "interrupted by SIGINT"
    assert files["report/passes/log.txt"] == "done\n"
    assert printed.err.endswith("ascend_prefetch first-hour: interrupted by SIGINT\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(files["report/stopped/pid"]), 0)


# --- the measurements, by hand ---


class Clock(StandInNpu):
    """torch.npu whose time goes on where work says so; a replay takes what its capture took."""

    def __init__(self):
        super().__init__(lambda graph: sum(graph.calls), SOC)

    def work(self, us):
        if self.capturing is not None:
            self.capturing.calls.append(us / 1e3)
        else:
            self.now_ms += us / 1e3


class TimedBeside(collective.Beside):
    """The collective takes 10 us; each prefetch 4 us more at the join; beside it 20 % of that."""

    def prefetch(self, engine, nbytes, mark):
        mark()
        self.npu.work(4.0)
        mark()

    def both(self, engine, nbytes, mark):
        mark()
        self.npu.work(10.8)
        mark()
        self.npu.work(0.5)
        mark()


def test_slowdown_of_a_collective(monkeypatch):
    monkeypatch.setattr(collective, "SAMPLES", 3)
    clock = Clock()
    region = torch.zeros(8)
    beside = TimedBeside(clock, lambda: clock.work(10.0), [region, region], region)
    kept = []
    result = collective.measure(beside, GraphTimer(clock, replays=3), lambda r: kept.append(1))
    assert result["alone_us"]["median"] == pytest.approx(10)
    assert len(result["beside"]) == 6
    for row in result["beside"]:
        assert row["prefetch_us"]["median"] == pytest.approx(4)
        assert row["until_join_us"]["median"] == pytest.approx(11.3)
        assert row["slowdown_pct"] == pytest.approx(20)
    assert [row["bytes"] for row in result["beside"]] == 2 * [2_000_000, 4_000_000, 8_000_000]
    assert result["graph"]["alone"]["us"]["median"] == pytest.approx(10)
    assert len(kept) == collective.ROUNDS + 3


def test_spans_are_between_the_marks():
    clock = Clock()

    def work(mark):
        clock.work(100)
        for us in (1, 2, 3):
            mark()
            clock.work(us)

    assert spans_us(clock, work, 3) == pytest.approx([1, 2])


def test_worth_of_a_byte_and_points(monkeypatch, tmp_path):
    """A rotation that L2 does not hold costs 0.5 us for a MB more."""
    clock = Clock()
    monkeypatch.setattr(reads, "WIDTHS", (576, 2304))
    monkeypatch.setattr(reads, "rotation_copies", lambda nbytes, l2: 5)
    samples = GraphTimer.samples_us

    def noted(timer, calls):
        clock.rotation = len(calls)
        return samples(timer, calls)

    def matmul(x, weight):
        clock.work(5 + weight.nbytes / 1e6 * (0.9 if clock.rotation > 3 else 0.4))

    monkeypatch.setattr(GraphTimer, "samples_us", noted)
    monkeypatch.setattr(reads.microbenchmarks, "matmul", matmul)
    monkeypatch.setattr(
        reads.microbenchmarks, "copy", lambda m, to_l1, **_: clock.work(40.0 if to_l1 else 30.0)
    )
    kept = []
    result = reads.measure(
        GraphTimer(clock, replays=3), CPU, SOC, lambda _, points: kept.append(list(points))
    )
    assert result["saved_us_per_mb"] == pytest.approx({"median": 0.5, "least": 0.5, "most": 0.5})
    path = tmp_path / "points.csv"
    reads.add_points(path, kept[-1])
    points = read_points(path, SOC).points
    assert [point.measured_us for point in points] == pytest.approx(
        [12.432, 8.303, 34.727, 18.212, 30, 40], abs=1e-3
    )
    assert [point.kernel.weights for point in points] == [5, 3, 5, 3, 0, 0]
    assert all(point.launch_included for point in points)


# --- on the double of ACL ---


@pytest.fixture
def double_timer():
    with on_double() as torch_npu:
        yield GraphTimer(torch_npu.npu, replays=2)


def test_forks_are_joined_in_captures(double_timer, monkeypatch):
    """All engines; a capture that a fork leaves open fails with the device's code."""
    torch.use_deterministic_algorithms(True)
    try:
        result = fork_join.measure(double_timer, CPU, 1 << 20, lambda found: None)
    finally:
        torch.use_deterministic_algorithms(False)
    assert list(result["engines"]) == ["cube", "vector", "sdma"]
    for found in result["engines"].values():
        assert found["results_equal"] is True and found["fork_join_us"] == 0
    assert set(result["overlap"]) == {"vector_us", "cube_us", "both_us", "overlapped_pct"}
    assert double_timer.npu.graphs == 7

    class Open:
        def __init__(self, weights, **options):
            self.arguments = weights, options

        def __enter__(self):
            ops.prefetch(self.arguments[0], engine=self.arguments[1]["engine"], beside=True)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(fork_join, "prefetch_beside", Open)
    result = fork_join.measure(double_timer, CPU, 1 << 20, lambda found: None)
    error = f"RuntimeError: {AclError('aclmdlRICaptureEnd', 107025)}"
    assert result["engines"]["cube"] == {"error": error}


def test_the_verb_on_the_double(npus, monkeypatch, tmp_path):
    """Whole processes, as on a device: torchrun with two ranks, a profile that windows reads."""
    npus(2)
    program = tmp_path / "python"
    folder = Path(__file__).parent
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={folder}:{folder.parent / 'vllm'}\n"
        f'exec {sys.executable} {folder / "on_double.py"} "$@"\n'
    )
    program.chmod(0o755)
    # What torchrun starts its ranks with.
    monkeypatch.setenv("PYTHON_EXEC", str(program))
    monkeypatch.setattr(steps, "PYTHON", (str(program),))
    out = tmp_path / "report.tar.gz"
    only = ["--only", "fork-join,reads,collective-aiv,windows"]
    status = cli.main(["first-hour", "--out", str(out), *only, "--json", str(tmp_path / "r.json")])
    with tarfile.open(out) as archive:
        archive.extractall(tmp_path, filter="data")
    logs = "\n".join(path.read_text() for path in tmp_path.glob("report/*/log.txt"))
    assert status == 0, logs
    result = json.loads((tmp_path / "r.json").read_text())
    assert [(step["name"], step["status"]) for step in result["steps"]] == [
        ("fork-join", "passed"), ("reads", "passed"), ("collective-aiv", "passed"),
        ("windows", "passed"),
    ]  # fmt: skip
    # The stand-in's clock does not move.
    assert result["numbers"] == {
        "collective_slowdown_pct": dict.fromkeys(
            f"{engine} {size} MB" for engine in ("cube", "sdma") for size in (2, 4, 8)
        ),
        "saved_us_per_mb": 0,
        "fork_join_us": {"cube": 0, "vector": 0, "sdma": 0},
        "cube_beside_vector_pct": None,
    }
    found = json.loads((tmp_path / "report" / "collective-aiv" / "collective.json").read_text())
    assert (found["ranks"], found["mode"], found["right"]) == (2, "AIV", True)
    windows = json.loads((tmp_path / "report" / "windows" / "windows.json").read_text())
    assert windows["windows"]["all_reduce"]["nominal"] == 9
    points = (tmp_path / "report" / "points.csv").read_text().splitlines()
    assert len(points) == 1 + 6
