"""How far fused kernels are from their floor."""

import json

import pytest

from ascend_prefetch.lab import cli
from ascend_prefetch.lab.bench import BenchConfig, floors, run_bench
from ascend_prefetch.lab.bench.floors import FloorCase, floor_rows
from ascend_prefetch.lab.timing import LEVELS, find_timed_chip

CHIP = find_timed_chip("Ascend910_9391")
SMALL = FloorCase("o_proj", "deepseek-v2-lite", 16, "w8a8_dynamic")


def test_rows_are_those_of_bench():
    """Times net of launch, the floor, and warm weights, as the verb bench has them."""
    (row,) = floor_rows([CHIP], cases=[SMALL])
    config = BenchConfig(
        model=SMALL.model, tp=16, quant=SMALL.quant, weights="nz", launch_us=0.0, l2_state="warm"
    )
    modelled = run_bench("o_proj", config)["modelled_us"]
    assert row["floor"] == pytest.approx(modelled["floor"]["nominal"])
    for level in LEVELS:
        assert row["fused"][level] == pytest.approx(modelled["fused"][level], rel=0.01)
        assert row["fused_warm"][level] == pytest.approx(modelled["fused_warm"][level], rel=0.02)
        assert row["fused_warm"][level] < row["fused"][level]
        assert row["over_floor"][level] == row["fused"][level] / row["floor"] > 1
        assert 0.9 < row["over_no_prefetch"][level] < 1.1


def test_a_row_for_each_chip_and_batch(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(floors, "CASES", (SMALL,))
    chip = tmp_path / "slow.json"
    slow = dict.fromkeys(LEVELS, 0.75)
    chip.write_text(json.dumps({"soc": CHIP.soc, "constants": {"hbm_rate": slow}}))
    arguments = ["floors", "--tokens", "1,5", "--soc", f"{CHIP.soc},{chip}", "--json", "-"]
    assert cli.main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["tokens"], row["constants"]) for row in rows] == [
        (tokens, constants) for tokens in (1, 5) for constants in (CHIP.soc, str(chip))
    ]
    for fast, slower in (rows[:2], rows[2:]):
        assert slower["fused"]["nominal"] > fast["fused"]["nominal"]


def test_a_model_without_the_op_is_refused():
    with pytest.raises(ValueError, match="^sfa_prolog: deepseek-v3 has mla_prolog$"):
        floor_rows([CHIP], cases=[FloorCase("sfa_prolog", "deepseek-v3", 16, "none")])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["floors", "--tokens", "0"], "tokens"),
        (["floors", "--soc", "Ascend910B3,absent"], "absent"),
        (["bench", "prefetch", "--model", "deepseek-v3", "--l2-state", "warm"], "l2-state"),
    ],
)
def test_bad_arguments_are_one_line(capsys, arguments, text):
    try:
        status = cli.main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert text in capsys.readouterr().err.splitlines()[-1]
