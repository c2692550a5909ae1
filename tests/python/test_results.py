"""results: the generated page says what its numbers are, and holds what the models say."""

import json

import pytest

from ascend_prefetch.lab import cli
from ascend_prefetch.lab.bench.layer import LayerConfig, model_layer
from ascend_prefetch.lab.bench.results import Scope, make_results
from ascend_prefetch.lab.bench.results_page import results_page
from ascend_prefetch.lab.bench.sweep import Grid, run_sweep, sweep_groups
from ascend_prefetch.lab.timing import LEVELS, correlate, read_points
from timing_points import COPY, GEMM, write_points

MODEL = "deepseek-v2-lite"


@pytest.fixture(scope="module")
def scope(tmp_path_factory):
    points = write_points(tmp_path_factory.mktemp("points") / "points.csv", GEMM, COPY)
    return Scope(
        points=points,
        launches=(0.0, 10.0),
        op_model=MODEL,
        op_tp=(16,),
        op_tokens=(1, 2),
        op_weights=("nz",),
        layer_models=(MODEL,),
        layer_batch=2,
        layer_kv_len=100,
        layer_moe_bytes=(0, 1_000_000),
        layer_quants=("none", "w8a8"),
    )


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    grid = Grid(models=(MODEL,), tp=(16,), tokens=(2,), kv_len=(16, 100))
    run_sweep(sweep_groups([grid]), path)
    return path


@pytest.fixture(scope="module")
def results(scope, sweep_file):
    return make_results(scope, sweep_file)


def rows_of(page, heading):
    """Cells of the first table below a heading, less its own."""
    lines = page.split(f"\n{heading}\n", 1)[1].splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_first_lines_say_that_nothing_was_measured(results):
    page = results_page(results, ["make it"])
    lines = [line for line in page.splitlines() if line]
    assert lines[0] == "# Results"
    assert lines[1].startswith("**Everything on this page is modelled. Nothing was measured on a ")
    assert "published_constants.json" in lines[2]
    assert lines[4:7] == ["```sh", "make it", "```"]


def test_correlation(results, scope):
    expected = correlate(read_points(scope.points).points)
    rows = rows_of(results_page(results, []), "## The model against measurements")
    for row, point in zip(rows, expected.points, strict=True):
        assert row[:2] == [point["id"], f"{point['measured_us']:.1f}"]
        levels = (point["low_us"], point["modelled_us"], point["high_us"])
        assert row[2] == " / ".join(f"{us:.1f}" for us in levels)


def test_ops(results):
    assert [(op["op"], op["tokens"]) for op in results["ops"]] == [
        ("mla_prolog", 1),
        ("o_proj", 1),
        ("mla_prolog", 2),
        ("o_proj", 2),
    ]
    op = results["ops"][2]
    free, slow = op["launches"]
    assert slow["fused"] == pytest.approx({level: free["fused"][level] + 10 for level in LEVELS})
    assert all(slow["separate"][level] > free["separate"][level] + 20 for level in LEVELS)
    page = results_page(results, [])
    row = rows_of(page, "### mla_prolog")[1]
    us = op["modelled_us"]
    assert row[:4] == ["16", "nz", "2", f"{us['floor']['nominal']:.1f}"]
    assert row[4] == " / ".join(f"{us['fused'][level]:.1f}" for level in LEVELS)

    def over(above, below):
        return " / ".join(f"{above[level] / below[level]:.2f}" for level in LEVELS)

    assert row[8] == over(us["fused"], us["floor"])
    assert row[9] == over(free["fused"], us["floor"])
    assert row[10] == over(us["separate"], us["fused"])
    text = "mla_prolog: separate kernels over fused, by launch and start cost of a kernel:"
    by_launch = rows_of(page, text)[1]
    assert by_launch[3:] == [over(at["separate"], at["fused"]) for at in op["launches"]]


def test_layers(results):
    expected = model_layer(LayerConfig(MODEL, tp=16, batch=2, kv_len=100, quant="w8a8"))
    layer = results["layers"][2]
    assert (layer["quant"], layer["moe_bytes"]) == ("w8a8", 0)
    assert layer == expected
    page = results_page(results, [])
    rows = rows_of(page, "## A layer: TP16, batch 2, KV 100 on Ascend910_9391")
    assert [row[:3] for row in rows] == [
        [MODEL, "none", "0"],
        [MODEL, "none", "1"],
        [MODEL, "w8a8", "0"],
        [MODEL, "w8a8", "1"],
    ]
    assert rows[0][6] == "-"  # nothing is asked for twice
    assert rows[2][6] != "-"
    ships, fused = (layer["modelled_us"][form] for form in ("windows", "fused_no_prefetch"))
    gain = 100 * (1 - ships["high"] / fused["high"])
    heading = "Gain over `none`, %, and last of `windows` over `fused_no_prefetch`:"
    assert rows_of(page, heading)[2][-1].endswith(f" / {gain:.1f}")
    decisions = rows_of(page, "What the planner decided in `windows`:")
    assert len(decisions) == sum(len(layer["plan"]) for layer in results["layers"])


def test_sweep(results, scope):
    page = results_page(results, [], "pictures/sweep.png")
    rows = rows_of(page, "## The sweep: 2 configurations")
    assert rows[0][:2] == ["layer: in_kernel / fused_no_prefetch", "low"]
    found = results["sweep"]["ratios"]["layer: in_kernel / fused_no_prefetch"]["low"]["worst"]
    assert rows[0][2] == f"{found['ratio']:.3f}"
    assert rows[0][3] == f"{MODEL} TP16 T=2 KV {found['kv_len']} none nd Ascend910_9391"
    assert "![Gains of planned prefetching](pictures/sweep.png)" in page
    assert "The sweep" not in results_page({**results, "sweep": None}, [])


def test_command(capsys, tmp_path, monkeypatch, scope, sweep_file):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.results, "Scope", lambda: scope)
    (tmp_path / "docs").mkdir()
    (tmp_path / "sweep.csv").write_text(sweep_file.read_text())
    (tmp_path / "sweep.png").write_text("")
    command = ["results", "--out", "docs/results.md"]
    assert cli.main([*command, "--sweep", "sweep.csv", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["sweep"]["rows"] == 2
    page = (tmp_path / "docs" / "results.md").read_text()
    assert "\npython -m ascend_prefetch sweep --out sweep.csv --plot sweep.png\n" in page
    assert "\npython -m ascend_prefetch results --out docs/results.md --sweep sweep.csv\n" in page
    assert "](../sweep.png)" in page
    assert cli.main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 points, 4 ops, 4 layers, all modelled",
        "wrote docs/results.md",
    ]
    assert list((tmp_path / "docs").iterdir()) == [tmp_path / "docs" / "results.md"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--out", "page.txt"], "out: expected a name that ends in .md, got 'page.txt'"),
        (["--out", "absent/page.md"], "out: there is no directory 'absent'"),
        (["--out", "page.md", "--sweep", "absent.csv"], "No such file or directory: 'absent.csv'"),
    ],
)
def test_refused_in_one_line(capsys, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["results", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ascend_prefetch results: ")
    assert text in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
