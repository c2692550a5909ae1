"""Chip files: fitted to measured points, written and read."""

from __future__ import annotations

import json
import os
import re

import pytest

from ascend_prefetch import _C
from ascend_prefetch.lab import cli
from ascend_prefetch.lab.timing import (
    LEVELS,
    TimedChip,
    calibrate,
    correlate,
    find_timed_chip,
    read_points,
)
from timing_points import COPY, GEMM, op_summary_row, write_op_summary, write_points

SHAPES = [(16, 4096, 7168), (16, 8192, 2048), (32, 2048, 7168)]


def measured_by_the_model(path, rows, chip="Ascend910B1", **constants):
    """A points file whose measured values are what the model says with other constants."""
    rows = [row | {"id": str(number), "soc": chip} for number, row in enumerate(rows)]
    points = read_points(write_points(path, *rows)).points
    levels = {level: constants for level in LEVELS}
    times = correlate(points, TimedChip(chip, levels)).points
    write_points(
        path,
        *(row | {"value_us": time["modelled_us"]} for row, time in zip(rows, times, strict=True)),
    )
    return path


def gemms(**change):
    return [GEMM | {"m": m, "n": n, "k": k} | change for m, n, k in SHAPES]


@pytest.mark.parametrize(("hbm_rate", "launch_us"), [(1.1, 4.2), (1.72, 9.0)])
def test_rate_and_launch_are_found(tmp_path, hbm_rate, launch_us):
    path = measured_by_the_model(
        tmp_path / "points.csv", [*gemms(), COPY], hbm_rate=hbm_rate, launch_us=launch_us
    )
    result = calibrate(read_points(path).points)
    assert result.fitted == {
        "hbm_rate": pytest.approx(hbm_rate, rel=0.002),
        "launch_us": pytest.approx(launch_us, abs=0.1),
    }
    assert result.points == 4
    assert result.mape_before > 5
    assert result.mape_after < 0.1


def test_one_odd_point_does_not_decide(tmp_path):
    path = measured_by_the_model(
        tmp_path / "points.csv", [*gemms(), COPY], hbm_rate=1.2, launch_us=4.2
    )
    points = read_points(path).points
    odd = GEMM | {"id": "odd", "m": "16", "n": "2048", "k": "2048", "value_us": "1000"}
    points += read_points(write_points(tmp_path / "odd.csv", odd)).points
    assert calibrate(points).fitted["hbm_rate"] == pytest.approx(1.2, rel=0.01)


def test_points_without_a_launch_say_nothing_about_it(tmp_path):
    rows = [*gemms(launch_included="no"), COPY]
    path = measured_by_the_model(tmp_path / "points.csv", rows, hbm_rate=1.3)
    result = calibrate(read_points(path).points)
    assert result.fitted == {"hbm_rate": pytest.approx(1.3, rel=0.002)}
    # One point is enough for one constant.
    alone = calibrate(read_points(path).points[:1])
    assert alone.fitted == {"hbm_rate": pytest.approx(1.3, rel=0.002)}


def test_what_comes_no_closer_is_left_alone(tmp_path):
    path = measured_by_the_model(tmp_path / "points.csv", gemms())
    result = calibrate(read_points(path).points)
    assert (result.fitted, result.mape_before, result.mape_after) == ({}, 0, 0)
    assert result.chip == TimedChip("Ascend910B1")


def test_a_chip_without_a_published_rate_gets_one(tmp_path):
    rows = [row | {"aic": "20", "launch_included": "no"} for row in gemms()]
    path = measured_by_the_model(tmp_path / "points.csv", rows, chip="Ascend910_9362", hbm_rate=0.9)
    with pytest.raises(ValueError, match="no source says how fast the HBM of Ascend910_9362 is"):
        correlate(read_points(path).points)
    result = calibrate(read_points(path).points)
    assert result.fitted == {"hbm_rate": pytest.approx(0.9, rel=0.002)}
    assert result.mape_before is None


def test_a_launch_below_nothing_is_none(tmp_path):
    path = measured_by_the_model(tmp_path / "points.csv", gemms(), hbm_rate=1.4, launch_us=0.0)
    points = read_points(path).points
    result = calibrate(points)
    assert result.fitted["launch_us"] == pytest.approx(0, abs=0.1)
    assert all(result.chip.constants[level]["launch_us"] >= 0 for level in LEVELS)


def test_refusals(tmp_path):
    rows = [GEMM, GEMM | {"id": "b", "soc": "Ascend910B2"}]
    points = read_points(write_points(tmp_path / "points.csv", *rows)).points
    with pytest.raises(ValueError, match="^points: expected one SoC, got Ascend910B1, Ascend910B2"):
        calibrate(points)
    with pytest.raises(ValueError, match="^points: expected one SoC, got none; --soc chooses one$"):
        calibrate([])


def test_one_point_fits_the_rate_alone(tmp_path):
    """A product and its launch: nothing tells the one from the other."""
    path = measured_by_the_model(tmp_path / "points.csv", gemms()[:1], hbm_rate=1.2)
    (point,) = read_points(path).points
    assert point.holds_launch
    result = calibrate([point])
    assert set(result.fitted) == {"hbm_rate"}
    assert result.fitted["hbm_rate"] == pytest.approx(1.2, rel=2e-3)
    assert result.mape_after < 0.1 < result.mape_before


# --- chip files ---


def test_calibrate_writes_a_chip_file(capsys, tmp_path):
    path = measured_by_the_model(
        tmp_path / "points.csv", [*gemms(), COPY], hbm_rate=1.2, launch_us=6.0
    )
    out = tmp_path / "chip.json"
    assert cli.main(["calibrate", "--points", str(path), "--out", str(out), "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    content = json.loads(out.read_text())
    assert [file.name for file in tmp_path.iterdir()].count("chip.json") == 1
    assert len(list(tmp_path.iterdir())) == 2

    assert content["soc"] == printed["soc"] == "Ascend910B1"
    rate, launch = content["constants"]["hbm_rate"], content["constants"]["launch_us"]
    assert set(content["constants"]) == set(printed["fitted"]) == {"hbm_rate", "launch_us"}
    assert printed["fitted"]["hbm_rate"] == rate | {"unit": "TB/s", "range": [0.2, 3.0]}
    # The distances of the table.
    table = _C.timing_constants()
    launches = table["launch_us"]
    assert rate["nominal"] == pytest.approx(1.2, rel=0.002)
    assert rate["low"] == rate["nominal"]
    assert rate["high"] == pytest.approx(rate["nominal"] * table["hbm_rate"]["high"] / 1.49)
    for level in ("low", "high"):
        distance = launches[level] - launches["nominal"]
        assert launch[level] == pytest.approx(launch["nominal"] + distance)
    calibration = content["calibration"]
    assert calibration["fitted"] == {"hbm_rate": [0.2, 3.0], "launch_us": [0.0, 20.0]}
    assert (calibration["points"], calibration["source"]) == (4, "points.csv")
    assert calibration["mape_before"] == printed["mape_before"] > 5
    assert calibration["mape_after"] == printed["mape_after"] < 0.1

    assert cli.main(["correlate", "--points", str(path), "--soc", str(out), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["mape"] == pytest.approx(printed["mape_after"])


def test_a_chip_file_keeps_its_other_constants(capsys, tmp_path):
    path = measured_by_the_model(tmp_path / "points.csv", gemms(), hbm_rate=1.2)
    base, out = tmp_path / "base.json", tmp_path / "out.json"
    spread = {"low": 170, "nominal": 190, "high": 250}
    base.write_text(json.dumps({"soc": "Ascend910B1", "constants": {"cube_load_cycles": spread}}))
    arguments = ["calibrate", "--points", str(path), "--out", str(out), "--soc", str(base)]
    assert cli.main(arguments) == 0
    content = json.loads(out.read_text())
    assert content["constants"]["cube_load_cycles"] == spread
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("hbm_rate: 1.2")
    assert lines[0].endswith("fitted between 0.2 and 3")
    assert lines[-2].startswith("3 points of Ascend910B1, modelled: mean absolute error ")
    assert lines[-1] == f"wrote {out}: any --soc takes it in place of a SoC name"


def test_calibrate_reads_a_profile(tmp_path):
    rows = [op_summary_row(us="150"), op_summary_row(us="60", shapes="16,5120;5120,5120",
                                                     output="16,5120")]  # fmt: skip
    path = write_op_summary(tmp_path / "op_summary.csv", *rows)
    out = tmp_path / "chip.json"
    arguments = ["calibrate", "--points", str(path), "--out", str(out)]
    assert cli.main(arguments) == 2
    assert not out.exists()
    assert cli.main([*arguments, "--soc", "Ascend910_9391"]) == 0
    chip = find_timed_chip(str(out))
    assert (chip.soc, chip.source) == ("Ascend910_9391", str(out))
    assert set(chip.constants["nominal"]) == {"hbm_rate", "launch_us"}


def test_bench_takes_a_chip_file(capsys, tmp_path):
    chip = tmp_path / "chip.json"
    slow = {"launch_us": {"low": 100, "nominal": 200, "high": 300}}
    chip.write_text(json.dumps({"soc": "Ascend910B3", "constants": slow}))
    config = ["--model", "deepseek-v2-lite", "--tp", "16", "--tokens", "1"]
    times = []
    for soc in ("Ascend910B3", str(chip)):
        assert cli.main(["bench", "o_proj", *config, "--soc", soc, "--json", "-"]) == 0
        times.append(json.loads(capsys.readouterr().out)["modelled_us"]["fused"])
    table, own = times
    launches = _C.timing_constants()["launch_us"]
    more = {level: slow["launch_us"][level] - launches[level] for level in LEVELS}
    assert own == pytest.approx({level: table[level] + more[level] for level in LEVELS})


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ("absent/chip.json", "out: there is no directory '.*absent'"),
        ("chip.txt", "out: expected a name that ends in .json, got '.*chip.txt'"),
        ("directory.json", "out: '.*directory.json' is a directory"),
    ],
)
def test_calibrate_refuses_in_one_line(capsys, tmp_path, out, text):
    (tmp_path / "directory.json").mkdir()
    path = write_points(tmp_path / "points.csv", *gemms())
    assert cli.main(["calibrate", "--points", str(path), "--out", str(tmp_path / out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(f"ascend_prefetch calibrate: {text}\n", printed.err)


def test_nothing_half_written(capsys, tmp_path, monkeypatch):
    path = measured_by_the_model(tmp_path / "points.csv", gemms(), hbm_rate=1.2)
    out = tmp_path / "chip.json"
    out.write_text("before")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    assert cli.main(["calibrate", "--points", str(path), "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith("ascend_prefetch calibrate: disk full\n")
    assert out.read_text() == "before"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chip.json", "points.csv"]


SPREAD = '{"low": 1.2, "nominal": 1.2, "high": 1.1}'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "expected JSON, got: Expecting value"),
        ("[" * 100000, "expected JSON, got too many levels"),
        (
            '{"soc": "Ascend910B1", "soc": "Ascend910B3"}',
            "expected JSON, got: 'soc' is there twice",
        ),
        ("[]", "expected a chip file with 'soc' and 'constants' of low, nominal, .* got TypeError"),
        ('{"soc": "Ascend910B1"}', "expected a chip file .*, got KeyError: 'constants'"),
        ('{"soc": "Ascend910B1", "constants": 1}', "expected a chip file .*, got AttributeError"),
        (
            '{"soc": "Ascend910B1", "constants": {"hbm_rate": {"low": 1}}}',
            "expected a chip file .*, got KeyError: 'nominal'",
        ),
        (
            '{"soc": "Ascend910B1", "constants": {"hbm_rate": "fast"}}',
            "expected a chip file .*, got TypeError",
        ),
        *(
            (
                f'{{"soc": "Ascend910B1", "constants": {{"hbm_rate": {{"low": {value}}}}}}}',
                f"expected a chip file .* 'hbm_rate': expected a number, 0 or from .*, got {shown}",
            )
            for value, shown in (
                ("1" + "0" * 400, "1000"),
                ("1e400", "inf"),
                ("NaN", "nan"),
                ("1e-300", "1e-300"),
                ("true", "True"),
                ('"1.2"', "'1.2'"),
            )
        ),
        ('{"soc": "Ascend999", "constants": {}}', "unknown chip 'Ascend999'; known chips: "),
        ('{"soc": 3, "constants": {}}', "unknown chip '3'; known chips: "),
        (
            f'{{"soc": "Ascend910B1", "constants": {{"hbm": {SPREAD}}}}}',
            "timing model: there is no constant 'hbm'",
        ),
        (
            '{"soc": "Ascend910B1", "constants": {"hbm_rate": '
            '{"low": 0, "nominal": 1, "high": 1}}}',
            "timing model: constant 'hbm_rate' must be a number above 0, got 0",
        ),
    ],
)
def test_malformed_chip_files(tmp_path, content, text):
    path = tmp_path / "chip.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"^{path}: {text}"):
        find_timed_chip(str(path))


def test_a_chip_file_is_not_waited_for(tmp_path):
    path = tmp_path / "chip.json"
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"^{path}: expected a file, got a FIFO$"):
        find_timed_chip(str(path))
