"""The command line: contract of the JSON keys, exit status, one-line errors."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from ascend_prefetch import cli, twin
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
    assert prefetch["planned"] > 0
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
        (["--quant", "w8a8"], "quant: expected 'none', got 'w8a8'"),
        (["--model", "deepseek-v2-lite", "--tp", "1"], "got 'deepseek-v2-lite'"),
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
    "arguments",
    [["--tokens", "0"], ["--model", "gpt"], ["--dtype", "fp8"], ["--launch-us", "nan"]],
)
def test_argument_errors_exit_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*BENCH, *arguments])
    assert stop.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_info_lists_what_there_is(capsys, tmp_path):
    status, result = run_json(capsys, "info")
    assert status == 0
    assert result["backends"] == {"twin": True, "npu": False}
    chips = {chip["name"]: (chip["aic_count"], chip["aiv_count"]) for chip in result["chips"]}
    assert chips["Ascend910_9391"] == (24, 48)
    assert chips["Ascend910B3"] == (20, 40)
    rate = result["constants"]["hbm_read_vector"]
    assert (rate["value"], rate["unit"], rate["class"]) == (1.49, "TB/s", "published")
    assert cli.main(["info", "--json", str(tmp_path / "info.json")]) == 0
    assert "Ascend910_9391 (24 AIC + 48 AIV)" in capsys.readouterr().out
    assert json.loads((tmp_path / "info.json").read_text()) == result
