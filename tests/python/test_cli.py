"""The command line: contract of the JSON keys, exit status, one-line errors."""

from __future__ import annotations

import json
import subprocess

import pytest
import torch
from safetensors.torch import save_file

from ascend_prefetch.lab import cli, twin
from ascend_prefetch.lab.bench.table import row_verdict
from ascend_prefetch.models import get_model

BENCH = ["bench", "mla_prolog", "--model", "deepseek-v3", "--tp", "16", "--tokens", "3"]


def run_json(capsys, *arguments):
    status = cli.main([*arguments, "--json", "-"])
    return status, json.loads(capsys.readouterr().out)


def test_bench_prints_the_contract(capsys):
    status, result = run_json(capsys, *BENCH)
    assert status == 0
    assert set(result) == {
        "op", "model", "tp", "tokens", "dtype", "weights", "quant", "soc",
        "check", "twin", "modelled_us", "bytes", "prefetch",
    }  # fmt: skip
    assert result["op"] == "mla_prolog"
    assert (result["model"], result["tp"], result["tokens"]) == ("deepseek-v3", 16, 3)
    assert (result["dtype"], result["quant"]) == ("bf16", "none")
    assert result["soc"] == "Ascend910_9391"
    assert set(result["check"]) == {"max_rel_err", "tolerance", "ok"}
    assert result["check"]["ok"] is True
    assert 1e-4 < result["check"]["max_rel_err"] <= result["check"]["tolerance"] == 4e-3
    assert set(result["twin"]) == {"wall_s", "torch_wall_s", "ratio", "peak_rss_mb"}
    assert set(result["modelled_us"]) == {
        "floor", "fused", "fused_no_prefetch", "separate", "separate_cmo",
    }  # fmt: skip
    assert set(result["bytes"]) == {"floor", "hbm_read", "l2_hit"}
    assert set(result["prefetch"]) == {"planned", "landed", "pending", "unused", "duplicated"}


def test_bench_floor_is_the_weights_over_the_published_rate(capsys):
    _, result = run_json(capsys, *BENCH)
    # qkv_a 2112 x 7168, q_b 8 x 192 x 1536, W_UK 8 x 128 x 512, norms, then the inputs: hidden,
    # cos and sin in fp32, int64 slots.
    weights = 2 * (2112 * 7168 + 8 * 192 * 1536 + 8 * 128 * 512 + 1536 + 512)
    inputs = 3 * (2 * 7168 + 2 * 4 * 64 + 8)
    assert result["bytes"]["floor"] == weights + inputs
    assert result["modelled_us"]["floor"]["nominal"] == pytest.approx((weights + inputs) / 1.49e6)


def test_the_floor_of_prefill_is_arithmetic(capsys):
    """4,096 tokens: 24 cores x 4,096 products a cycle at 1,850 MHz take longer than HBM."""
    _, result = run_json(
        capsys, "bench", "o_proj", "--model", "deepseek-v2-lite", "--tp", "16", "--tokens", "4096"
    )
    products = 4096 * (512 * 128 + 128 * 2048)
    nominal = result["modelled_us"]["floor"]["nominal"]
    assert nominal == pytest.approx(products / (24 * 4096 * 1850))
    assert nominal > result["bytes"]["floor"] / 1.49e6


@pytest.mark.parametrize(
    "extra",
    [
        ["--weights", "nz"],
        ["--dtype", "fp16"],
        ["--model", "glm-4-moe-lite", "--tp", "4"],
        ["--soc", "Ascend910B3"],
    ],
)
def test_bench_checks_every_variant(capsys, extra):
    status, result = run_json(capsys, *BENCH, *extra)
    assert status == 0
    assert result["check"]["ok"] is True
    prefetch = result["prefetch"]
    assert prefetch["unused"] == prefetch["duplicated"] == 0
    assert prefetch["planned"] == prefetch["landed"] + prefetch["pending"]


def test_bench_reads_a_checkpoint(capsys, tmp_path):
    dims = get_model("deepseek-v3")
    prefix = "model.layers.2.self_attn."
    generator = torch.Generator().manual_seed(3)

    def weight(*shape):
        return (torch.randn(*shape, generator=generator) * shape[-1] ** -0.5).bfloat16()

    q_lora, kv_lora, heads = dims.q_lora_rank, dims.kv_lora_rank, dims.num_heads
    rope, nope, v = dims.qk_rope_head_dim, dims.qk_nope_head_dim, dims.v_head_dim
    save_file(
        {
            prefix + "q_a_proj.weight": weight(q_lora, dims.hidden_size),
            prefix + "q_a_layernorm.weight": torch.ones(q_lora, dtype=torch.bfloat16),
            prefix + "q_b_proj.weight": weight(heads * (nope + rope), q_lora),
            prefix + "kv_a_proj_with_mqa.weight": weight(kv_lora + rope, dims.hidden_size),
            prefix + "kv_a_layernorm.weight": torch.ones(kv_lora, dtype=torch.bfloat16),
            prefix + "kv_b_proj.weight": weight(heads * (nope + v), kv_lora),
            prefix + "o_proj.weight": weight(dims.hidden_size, heads * v),
        },
        tmp_path / "model.safetensors",
    )
    arguments = [*BENCH, "--checkpoint", str(tmp_path)]
    status, result = run_json(capsys, *arguments, "--layer", "2")
    assert status == 0
    assert result["check"]["ok"] is True
    assert cli.main([*arguments, "--layer", "7"]) == 2
    assert "model.layers.7.self_attn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--soc", "Ascend999"], "unknown chip 'Ascend999'; known chips: Ascend910B1"),
        (["--tp", "3"], "128 heads"),
        (["--tokens", "8193"], "8193"),
        (["--checkpoint", "absent-directory"], "absent-directory"),
    ],
)
def test_bench_refuses_in_one_line(capsys, arguments, text):
    chip_before = twin.chips()
    assert cli.main([*BENCH, *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("ascend_prefetch bench: ")
    assert text in printed.err
    assert twin.chips() == chip_before


@pytest.mark.parametrize(
    "model", ["deepseek-v3", "kimi-k2", "longcat-flash", "glm-4-moe-lite", "deepseek-v2-lite"]
)
def test_sfa_prolog_wants_an_indexer(capsys, model):
    assert cli.main(["bench", "sfa_prolog", "--model", model]) == 2
    text = f"sfa_prolog: model: expected one with an indexer, got '{model}'"
    assert capsys.readouterr().err == f"ascend_prefetch bench: {text}\n"


def test_bench_runs_prefetch_with_every_engine(capsys):
    arguments = ["bench", "prefetch", "--model", "deepseek-v2-lite", "--tp", "16"]
    status, result = run_json(capsys, *arguments, "--engine", "cube")
    assert (status, result["engine"]) == (0, "cube")
    assert cli.main([*arguments, "--engine", "sdma"]) == 0
    assert "prefetch deepseek-v2-lite TP16 T=16 bf16 none nd by sdma on " in capsys.readouterr().out


def test_other_ops_have_no_engine(capsys):
    assert cli.main([*BENCH, "--engine", "cube"]) == 2
    text = "engine: expected none with mla_prolog, which is no prefetch"
    assert capsys.readouterr().err == f"ascend_prefetch bench: {text}\n"


def test_bench_wants_a_model(capsys):
    assert cli.main(["bench", "o_proj"]) == 2
    assert capsys.readouterr().err.endswith("model: expected one by --model, got none\n")


def test_checkpoint_of_another_quantisation(capsys, tmp_path):
    """Layers that a checkpoint holds as W8A8 run as what they are."""
    dims = get_model("deepseek-v2-lite")
    prefix = "model.layers.0.self_attn."
    shapes = {
        "q_proj": (dims.num_heads * dims.qk_head_dim, dims.hidden_size),
        "kv_a_proj_with_mqa": (dims.kv_lora_rank + dims.qk_rope_head_dim, dims.hidden_size),
        "o_proj": (dims.hidden_size, dims.num_heads * dims.v_head_dim),
    }
    tensors = {
        "kv_a_layernorm.weight": torch.ones(dims.kv_lora_rank),
        "kv_b_proj.weight": torch.zeros(dims.num_heads * 256, dims.kv_lora_rank),
    }
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = torch.ones(shape, dtype=torch.int8)
        tensors[f"{name}.weight_scale"] = torch.ones(shape[0], 1)
    save_file(
        {prefix + name: tensor for name, tensor in tensors.items()},
        tmp_path / "quant_model_weights.safetensors",
    )
    arguments = ["bench", "o_proj", "--model", dims.name, "--checkpoint", str(tmp_path)]
    assert cli.main([*arguments, "--quant", "w8a8"]) == 2
    text = "quant: expected 'w8a8_dynamic' as in the checkpoint, got 'w8a8'\n"
    assert capsys.readouterr().err.endswith(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tokens", "0"],
        ["--quant", "w4a8"],
        ["--weights", "nc1hwc0"],
        ["--dtype", "fp8"],
        ["--launch-us", "nan"],
    ],
)
def test_argument_errors_exit_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*BENCH, *arguments])
    assert stop.value.code == 2
    assert arguments[1] in capsys.readouterr().err


@pytest.mark.parametrize("verb", cli.VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_help(capsys, verb):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb.name, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: python -m ascend_prefetch {verb.name} ")
    assert "--json FILE" in printed
    assert "%%" not in printed


# --- the whole table ---


def test_all_runs_every_op(capsys, tmp_path):
    path = tmp_path / "table.json"
    chosen = ["--model", "deepseek-v2-lite", "--quant", "w8a8", "--weights", "nd"]
    sizes = ["--tp", "16", "--tokens", "2"]
    assert cli.main(["bench", "all", *chosen, *sizes, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["op"] for row in rows] == ["mla_prolog", "sfa_prolog", "o_proj", "prefetch"]
    assert rows[1] == {
        "op": "sfa_prolog",
        "model": "deepseek-v2-lite",
        "quant": "w8a8",
        "weights": "nd",
        "refused": "sfa_prolog: model: expected one with an indexer, got 'deepseek-v2-lite'",
    }
    for row in rows[:1] + rows[2:]:
        assert row["check"]["ok"] is True
        assert (row["tp"], row["tokens"], row["dtype"]) == (16, 2, "bf16")
        # Most of it is torch, whose builds differ; the whole of this model is far below 100 MB.
        assert 100 < row["twin"]["peak_rss_mb"] < 1500
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 6
    assert lines[1].startswith("mla_prolog  deepseek-v2-lite  w8a8   nd       ok ")
    assert lines[-1] == "3 ok, 1 refused, 0 failed"
    assert printed.err.count("\n") == 4
    assert printed.err.startswith("[1/4] mla_prolog deepseek-v2-lite w8a8 nd: ok, ")


def test_all_takes_every_combination(capsys):
    """None of which fits here, so that nothing runs."""
    status, result = run_json(capsys, "bench", "all", "--tp", "7")
    assert status == 0
    rows = result["rows"]
    combinations = {(row["op"], row["model"], row["quant"], row["weights"]) for row in rows}
    assert len(rows) == len(combinations) == 4 * 7 * 3 * 2
    assert all("heads of" in row["refused"] and "got 7" in row["refused"] for row in rows)


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        ((1, '{"check": {"ok": false, "max_rel_err": 1.0}}', ""), "FAILED"),
        ((2, "", "a trace\nascend_prefetch bench: no"), "ERROR: exit status 2: ascend_pre"),
        ((-9, "", ""), "ERROR: exit status -9: no message"),
    ],
)
def test_all_fails_with_a_row(capsys, monkeypatch, run, verdict):
    """A wrong result, and a run that ends otherwise than a combination that makes no sense."""
    completed = subprocess.CompletedProcess([], *run)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: completed)
    chosen = ["--model", "kimi-k2", "--quant", "none", "--weights", "nd"]
    status, result = run_json(capsys, "bench", "all", *chosen)
    assert status == 1
    kinds = ["error" if run[0] != 1 else "check"] * 4
    kinds[1] = "refused"
    for row, kind in zip(result["rows"], kinds, strict=True):
        assert kind in row
    assert row_verdict(result["rows"][0]).startswith(verdict)


def test_all_takes_no_checkpoint(capsys, tmp_path):
    assert cli.main(["bench", "all", "--checkpoint", str(tmp_path)]) == 2
    assert "checkpoint: expected none with 'all'" in capsys.readouterr().err


def test_info_lists_what_there_is(capsys, tmp_path):
    status, result = run_json(capsys, "info")
    assert status == 0
    assert result["backends"] == {"twin": True, "npu": False}
    chips = {chip["name"]: (chip["aic_count"], chip["aiv_count"]) for chip in result["chips"]}
    assert chips["Ascend910_9391"] == (24, 48)
    assert chips["Ascend910B3"] == (20, 40)
    assert chips["Ascend910B2C"] == (24, 48)
    rate = result["constants"]["hbm_read_vector"]
    assert (rate["value"], rate["unit"], rate["class"]) == (1.49, "TB/s", "published")
    assert cli.main(["info", "--json", str(tmp_path / "info.json")]) == 0
    assert "Ascend910_9391 (24 AIC + 48 AIV)" in capsys.readouterr().out
    assert json.loads((tmp_path / "info.json").read_text()) == result
