"""sweep: rows against the models of ops and layers, and what happens to the file."""

import csv
import functools
import json
import os

import pytest

from ascend_prefetch.lab import cli, twin
from ascend_prefetch.lab.bench import BENCHES, BenchConfig, sweep
from ascend_prefetch.lab.bench.common import VARIED_MODELS, floor_us
from ascend_prefetch.lab.bench.layer import LayerConfig, TwoLayerOps, model_layer
from ascend_prefetch.lab.bench.modelled import model_op, op_forms
from ascend_prefetch.lab.bench.sweep import COLUMNS, KEYS, Grid, read_sweep, run_sweep, sweep_groups
from ascend_prefetch.lab.bench.sweep_totals import RATIOS, sweep_totals
from ascend_prefetch.lab.timing import LEVELS, find_timed_chip
from ascend_prefetch.lab.timing.sequence import dry_kernels

TINY = Grid(models=("deepseek-v2-lite",), tp=(16,), tokens=(2,), kv_len=(16, 100))
COMMAND = ["sweep", "--models", "deepseek-v2-lite", "--tp", "16", "--tokens", "2"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run_sweep(sweep_groups([TINY]), tmp_path_factory.mktemp("sweep") / "sweep.csv")


def times(row, name):
    return {level: row[f"{name}_us_{level}"] for level in LEVELS}


def rounded(us):
    """To a tenth of a nanosecond, as in the file."""
    return {level: round(us[level], 4) for level in LEVELS}


def test_a_row_holds_what_layer_says(rows):
    config = LayerConfig("deepseek-v2-lite", tp=16, batch=2, kv_len=100)
    result = model_layer(config)
    row = rows[1]
    assert {key: row[key] for key in KEYS} == {
        "soc": "Ascend910_9391", "model": "deepseek-v2-lite", "tp": 16, "tokens": 2,
        "kv_len": 100, "moe_bytes": 0, "dtype": "bf16", "weights": "nd", "quant": "none",
    }  # fmt: skip
    forms = set(result["modelled_us"]) - {"windows", "mlapo"}
    for form in forms:
        assert times(row, f"layer_{form}") == rounded(result["modelled_us"][form])
    for form in forms - {"none", "floor"}:
        gain = result["gain_pct"][form]["high"]
        assert row[f"layer_{form}_gain_pct_high"] == round(gain, 4)
    assert row["layer_cmo_duplicate_us_low"] is None
    planned = sum(one["bytes"] for one in result["plan"] if one["engine"] == "MTE2")
    assert row["planned_MTE2_bytes"] == planned > 0


@pytest.mark.parametrize(
    ("model", "tp", "quant", "name", "op"),
    [
        ("deepseek-v2-lite", 16, "none", "prolog", "mla_prolog"),
        ("deepseek-v2-lite", 16, "w8a8", "o_proj", "o_proj"),
        ("glm-5", 64, "w8a8_dynamic", "prolog", "sfa_prolog"),
    ],
)
def test_ops_without_data_are_those_of_bench(model, tp, quant, name, op):
    grid = Grid(models=(model,), tp=(tp,), tokens=(2,), kv_len=(16,), quant=(quant,))
    ((row,),) = map(sweep.model_group, sweep_groups([grid]))
    config = BenchConfig(model, tp=tp, tokens=2, quant=quant)
    case = BENCHES[op].make_case(config)
    chip = find_timed_chip(config.soc)
    with twin.chip(chip.soc):
        modelled = model_op(op_forms(functools.partial(dry_kernels, case.run)), chip)
    for form, us in modelled.us.items():
        assert times(row, f"{name}_{form}") == rounded(us)
    floor = floor_us(case.floor_bytes, case.products, 2, chip)
    assert times(row, f"{name}_floor") == rounded(floor)


def test_rows_of_shared_ops_are_those_of_the_layer():
    (group,) = sweep_groups([TINY])
    shared = TwoLayerOps(group.config)
    first, second = (model_layer(layer, shared) for layer in group.layer_configs())
    assert (first["kv_len"], second["kv_len"]) == (16, 100)
    assert first["modelled_us"]["none"]["low"] < second["modelled_us"]["none"]["low"]


# --- which rows there are ---


def test_the_default_has_every_model_and_every_modelled_chip():
    groups = sweep_groups()
    layers = [layer for group in groups for layer in group.layer_configs()]
    assert len(layers) == len(set(layers)) == 654
    assert {layer.model for layer in layers} == set(VARIED_MODELS)
    chips = [info["name"] for info in twin.chips() if find_timed_chip(info["name"]).modelled]
    assert {layer.soc for layer in layers} == set(chips)
    assert {layer.kv_len for layer in layers} == {1024, 4096, 32768}
    assert any(layer.moe_bytes for layer in layers)


def test_what_makes_no_sense_is_left_out():
    grid = Grid(
        models=("glm-4-moe-lite", "deepseek-v3"),
        tp=(3, 5, 8),
        tokens=(16, 32),
        kv_len=(16384, 32768),
        soc=("Ascend910_9391", "Ascend910_9362"),
    )
    groups = sweep_groups([grid, grid])
    found = [(g.config.model, g.config.tp, g.config.tokens, g.config.soc) for g in groups]
    assert found == [
        ("glm-4-moe-lite", 5, 16, "Ascend910_9391"),
        ("glm-4-moe-lite", 5, 32, "Ascend910_9391"),
        ("deepseek-v3", 8, 16, "Ascend910_9391"),
        ("deepseek-v3", 8, 32, "Ascend910_9391"),
    ]
    # 32 sequences of 32,768 tokens do not fit.
    assert [[kv for kv, _ in group.layers] for group in groups] == 2 * [[16384, 32768], [16384]]


# --- the file ---


def test_the_file_is_what_was_returned(rows, tmp_path):
    path = tmp_path / "again.csv"
    groups = sweep_groups([TINY])
    lines = []
    found = run_sweep(groups, path, processes=2, progress=lines.append)
    assert read_sweep(path) == found
    with path.open() as file:
        header, *cells = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert len(cells) == 2
    assert lines == [
        "[2/2] Ascend910_9391 deepseek-v2-lite TP16 T=2 none nd: about 0 s left",
    ]
    assert found == rows
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    path = tmp_path / "sweep.csv"
    path.write_text("before")
    model = sweep.model_group

    def fail_in_the_second(group):
        if group.config.tokens == 3:
            raise RuntimeError("refused")
        return model(group)

    monkeypatch.setattr(sweep, "model_group", fail_in_the_second)
    groups = sweep_groups([Grid(models=("deepseek-v2-lite",), tp=(16,), tokens=(2, 3))])
    with pytest.raises(RuntimeError, match="refused"):
        run_sweep(groups, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_sweep(rows, tmp_path):
    path = tmp_path / "sweep.csv"
    path.write_text("model,tp\n")
    with pytest.raises(ValueError, match="line 1: expected the columns of a sweep of this version"):
        read_sweep(path)
    path.write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(ValueError, match="there is no row in it"):
        read_sweep(path)
    path.write_text(",".join(COLUMNS) + "\nAscend910_9391,glm-5,x" + "," * (len(COLUMNS) - 3))
    with pytest.raises(ValueError, match="line 2: tp: expected a number, got 'x'$"):
        read_sweep(path)
    good = ["Ascend910_9391", "glm-5"] + ["1"] * (len(COLUMNS) - 2)
    for line, text in (
        (good[:-1], f"expected {len(COLUMNS)} cells, got {len(COLUMNS) - 1}"),
        ([*good, "1"], f"expected {len(COLUMNS)} cells, got {len(COLUMNS) + 1}"),
        ([*good[:-1], "1" * 5000], f"{COLUMNS[-1]}: expected a number, got '111"),
        ([*good[:9], "nan", *good[10:]], f"{COLUMNS[9]}: expected a number, got 'nan'"),
        ([*good[:-1], '"1'], "no line of CSV: unexpected end of data"),
        (["x" * 200000, *good[1:]], "no line of CSV: field larger than field limit"),
        (["\0", *good[1:]], "there are bytes of value 0 in it"),
    ):
        path.write_text("\n".join([",".join(COLUMNS), ",".join(good), ",".join(line)]))
        with pytest.raises(ValueError, match=f"^{path}, line 3: {text}"):
            read_sweep(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"^{path}: expected a file, got a FIFO$"):
        read_sweep(path)


# --- totals ---


def test_totals_name_the_worst_and_the_best(rows):
    first, second = (dict(row) for row in rows)
    for level in LEVELS:
        first[f"layer_planned_us_{level}"] = 1.5 * first[f"layer_fused_no_prefetch_us_{level}"]
        second[f"layer_planned_us_{level}"] = 0.5 * second[f"layer_fused_no_prefetch_us_{level}"]
        second[f"layer_in_kernel_us_{level}"] = 2 * second[f"layer_cmo_best_us_{level}"]
        second[f"layer_cmo_best_us_{level}"] = second[f"layer_planned_us_{level}"] / 1.25
    totals = sweep_totals([first, second])
    assert totals["rows"] == 2
    assert set(totals["ratios"]) == set(RATIOS)
    found = totals["ratios"]["layer: planned / fused_no_prefetch"]["high"]
    assert found["worst"]["ratio"] == pytest.approx(1.5)
    assert found["best"]["ratio"] == pytest.approx(0.5)
    assert (found["worst"]["kv_len"], found["best"]["kv_len"]) == (16, 100)
    better = totals["ratios"]["layer: planned / better of in_kernel and cmo_best"]["low"]
    assert (better["best"]["kv_len"], better["best"]["ratio"]) == (100, pytest.approx(1.25))


# --- command line ---


def test_command(capsys, tmp_path):
    out, picture = tmp_path / "sweep.csv", tmp_path / "sweep.png"
    options = ["--kv-len", "16, 100", "--moe-bytes", "0", "--soc", "Ascend910B3"]
    options += ["--weights", "nz", "--quant", "w8a8", "--processes", "1"]
    command = [*COMMAND, "--out", str(out), "--plot", str(picture), *options]
    assert cli.main([*command, "--json", "-"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["rows"], result["out"]) == (2, str(out))
    assert printed.err.startswith("[2/2] Ascend910B3 deepseek-v2-lite TP16 T=2 w8a8 nz: about ")
    found = read_sweep(out)
    assert [(row["soc"], row["kv_len"]) for row in found] == [
        ("Ascend910B3", 16),
        ("Ascend910B3", 100),
    ]
    assert all(row["layer_cmo_duplicate_us_low"] > 0 for row in found)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 rows, modelled: time over time, worst and best"
    assert lines[-1] == f"wrote {out}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--models", "gpt"], "model: expected a config.json, a directory"),
        (["--tp", "3"], "no combination of what was asked for makes sense"),
        (["--soc", "Ascend910_9362"], "no combination of what was asked for makes sense"),
        (["--soc", "Ascend999"], "unknown chip 'Ascend999'"),
        (["--weights", "nc1hwc0"], "weights: expected one of nd, nz, got 'nc1hwc0'"),
        (["--quant", "w4a8"], "quant: expected one of none, w8a8, w8a8_dynamic, got 'w4a8'"),
        (["--out", "absent/sweep.csv"], "out: there is no directory 'absent'"),
        (["--out", "/"], "out: '/' is a directory"),
        (["--plot", "sweep.pdf"], "plot: expected a name that ends in .png, got 'sweep.pdf'"),
    ],
)
def test_refused_in_one_line(capsys, tmp_path, arguments, text):
    out = tmp_path / "sweep.csv"
    assert cli.main([*COMMAND, "--out", str(out), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("ascend_prefetch sweep: ")
    assert text in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--tp", "0"], ["--tokens", "1,,2"], ["--moe-bytes", "-1"], ["--processes", "0"]]
)
def test_argument_errors(capsys, tmp_path, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*COMMAND, "--out", str(tmp_path / "sweep.csv"), *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err
