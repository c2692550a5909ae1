"""sweep --served: rows against the layer, what counts, the file, the page and the picture."""

import json
from dataclasses import replace

import pytest

from ascend_prefetch.lab.bench.layer import model_layer
from ascend_prefetch.lab.bench.served import (
    COLUMNS,
    ServedGrid,
    counted,
    gain_pct,
    read_served,
    run_served,
    served_groups,
    served_totals,
)
from ascend_prefetch.lab.cli import main
from ascend_prefetch.lab.timing import LEVELS

TINY = ServedGrid(
    models=("deepseek-v3",), ranks=(("w8a8_dynamic", 1, 256),), kv_len=(16, 100), batch=(1,)
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "served.csv"
    run_served(served_groups(TINY), path)
    return path


def test_a_row_holds_what_layer_says(file):
    first, second = read_served(file)
    assert tuple(first) == COLUMNS
    assert (second["kv_len"], second["ep"], second["fits"]) == (100, 256, True)
    ((_, config),) = served_groups(TINY)
    result = model_layer(config, rivals=False)
    points = [(case, level) for case in ("short", "nominal") for level in LEVELS]
    for case, level in [*points, ("long", "nominal")]:
        for form in ("windows", "fused_no_prefetch"):
            # The first of the two layers is replayed in part.
            us = result["windows_case"][case][form][level]
            assert second[f"{form}_us_{case}_{level}"] == pytest.approx(us, rel=2e-3)
    fetched = [row for row in result["windows"] if row["bytes"]]
    assert second["cube_bytes"] == sum(row["bytes"] for row in fetched) > 15_000_000
    assert second["sdma_bytes"] == 0
    qkv_a = [row["bytes"] for row in fetched if row["region"] == "layer+1.fused_qkv_a"]
    in_kernel = sum(one["bytes"] for one in result["plan"] if one["weight"] == "qkv_a")
    assert second["fused_qkv_a_bytes"] == sum(qkv_a) == 7168 * 2112 - in_kernel
    assert second["bound_us"] == round(result["windows_bound"]["bound_us"], 4)
    assert 0.8 * second["bound_us"] <= second["planned_us"] <= second["bound_us"]
    gain = (
        1
        - result["modelled_us"]["windows"]["nominal"]
        / (result["modelled_us"]["fused_no_prefetch"]["nominal"])
    )
    assert gain_pct(second) == pytest.approx(100 * gain, abs=0.2)
    assert gain_pct(second) > 3


def test_what_counts(file):
    rows = read_served(file)
    assert list(counted(rows)) == rows
    totals = served_totals([*rows, {**rows[0], "fits": False}, {**rows[1], "extrapolated": True}])
    assert (totals["rows"], totals["counted"]) == (4, 2)
    (gains,) = totals["gains"]
    assert gains["least"] <= gains["median"] <= gains["most"]
    assert totals["least_share"] >= 0.8
    assert totals["worst_pct"] >= -0.3


def test_the_grid_of_the_page():
    groups = served_groups()
    configs = [config for group in groups for config in group]
    assert {config.model for config in configs} == {
        "deepseek-v3", "deepseek-v3.2", "glm-5", "kimi-k2",
    }  # fmt: skip
    assert {(config.quant, config.tp, config.dp) for config in configs} == set(ServedGrid().ranks)
    # A model of a trillion parameters takes more dies.
    assert not any(config.model == "kimi-k2" and config.ranks == 16 for config in configs)
    assert all(len({config.bench() for config in group}) == 1 for group in groups)


def test_a_damaged_file(file, tmp_path):
    damaged = tmp_path / "served.csv"
    damaged.write_text(file.read_text().replace("True", "perhaps", 1), encoding="utf-8")
    with pytest.raises(ValueError, match="fits: expected True or False, got 'perhaps'"):
        read_served(damaged)
    damaged.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the columns of served layers of this version"):
        read_served(damaged)


def test_the_verb_takes_some_axes(tmp_path, capsys):
    out = tmp_path / "served.csv"
    assert main(["sweep", "--served", "--out", str(out), "--tp", "4"]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith("--served: expected --models, --tokens or --kv-len, got --tp")
    )
    assert not out.exists()


def test_the_verb(tmp_path, capsys, monkeypatch):
    from ascend_prefetch.lab.cli import sweep as verb

    monkeypatch.setattr(verb, "ServedGrid", lambda: replace(TINY, models=("kimi-k2",)))
    out = tmp_path / "served.csv"
    axes = ["--models", "deepseek-v3", "--tokens", "1", "--kv-len", "16,100"]
    command = [
        "sweep",
        "--served",
        *axes,
        "--out",
        str(out),
        "--plot",
        str(tmp_path / "served.png"),
    ]
    assert main([*command, "--processes", "1", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["counted"]) == (2, 2)
    assert out.is_file()
    assert (tmp_path / "served.png").is_file()
