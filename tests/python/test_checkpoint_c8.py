"""Scales of int8 caches, and weights of 4 bits, as msmodelslim writes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ascend_prefetch.lab.bench import mla_prolog
from ascend_prefetch.lab.bench.common import BenchConfig, run_case
from ascend_prefetch.linear import W8A8Linear
from ascend_prefetch.models import MlaWeights, load_mla_weights
from attention_checkpoint import SMALL, save_attention

DENSE = dataclasses.replace(SMALL, indexer=None)
PREFIX = "model.layers.0.self_attn"


def save(directory: Path, tensors: dict[str, torch.Tensor | None], quant: str = "none") -> None:
    """A small checkpoint with these tensors of its attention added, or left out."""
    save_attention(directory, DENSE, quant, seed=3)
    path = directory / "model.safetensors"
    found = load_file(path)
    for name, tensor in tensors.items():
        found.pop(f"{PREFIX}.{name}", None)
        if tensor is not None:
            found[f"{PREFIX}.{name}"] = tensor
    save_file(found, path)


def describe(directory: Path, *names: str) -> None:
    types = {f"{PREFIX}.{name}.weight": "W4A8_DYNAMIC" for name in names}
    path = directory / "quant_model_description.json"
    path.write_text(json.dumps({**types, "version": "1.0.0"}))


def load(directory: Path, rank: int = 0, size: int = 1, **options) -> MlaWeights:
    return load_mla_weights(directory, DENSE, 0, rank, size, torch.bfloat16, **options)


@pytest.mark.parametrize("shape", [(1, 1), (1,), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_scale_of_int8_latents(tmp_path, shape, dtype):
    scale = torch.full(shape, 0.0625, dtype=dtype)
    offset = torch.zeros(shape, dtype=torch.int8)
    heads = torch.full((DENSE.num_heads, 1), 0.5)
    save(tmp_path, {"fa_k.scale": scale, "fa_k.offset": offset, "fa_q.scale": heads})
    found = load(tmp_path, rank=1, size=2).kv_cache_scale
    assert found is not None and found.dtype is torch.float32
    assert found.tolist() == [0.0625]
    assert "kv_cache_scale" not in load(tmp_path).prolog_arguments()


def test_without_one(tmp_path):
    save(tmp_path, {})
    assert load(tmp_path).kv_cache_scale is None


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"fa_k.scale": torch.ones(2, 1)},
            r"self_attn\.fa_k\.scale: expected one scale, \[1, 1\], as all heads share a latent, "
            r"got shape \[2, 1\]; .* `ignored`: 'fa_k.scale'",
        ),
        ({"fa_k.scale": torch.zeros(1, 1)}, "fa_k.scale: expected a positive scale, got 0.0"),
        ({"fa_k.scale": torch.full((1, 1), torch.nan)}, "fa_k.scale: expected a positive scale"),
        ({"fa_k.scale": torch.ones(1, 1).int()}, r"fa_k\.scale: expected dtype .*, got I32"),
        (
            {"fa_k.scale": torch.ones(1, 1), "fa_k.offset": torch.ones(1, 1).char()},
            "fa_k.offset: expected zeros, as vLLM Ascend quantises caches symmetrically",
        ),
    ],
)
def test_damaged_scales(tmp_path, tensors, message):
    save(tmp_path, tensors)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    assert load(tmp_path, ignored=list(tensors)).kv_cache_scale is None


def test_bench_has_an_int8_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(mla_prolog, "checked_dimensions", lambda config: DENSE)
    save(tmp_path, {"fa_k.scale": torch.full((1, 1), 0.03)}, "w8a8_dynamic")
    config = BenchConfig(
        model="small", tp=1, tokens=3, checkpoint=tmp_path, quant="w8a8_dynamic", repeats=1
    )
    case = mla_prolog.mla_prolog_case(config)
    assert case.arguments["kv_cache"].dtype is torch.int8
    assert case.arguments["kv_cache_scale"].tolist() == pytest.approx([0.03])
    assert run_case("mla_prolog", config, case)["check"]["ok"]


def four_bits(rows: int, columns: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 8, (rows, columns), dtype=torch.int8, generator=draw)


def packed(weight: torch.Tensor) -> torch.Tensor:
    """Two outputs in an element, as msmodelslim packs them: the even one in the low half."""
    return (weight[0::2] & 15) | (weight[1::2] << 4)


def of_4_bits(name: str, weight: torch.Tensor, scale: torch.Tensor, pack: bool, groups: int = 0):
    """Its tensors; with groups, the second scales too."""
    rows = weight.shape[0]
    tensors = {
        f"{name}.weight": packed(weight) if pack else weight,
        f"{name}.weight_scale": scale,
        f"{name}.weight_offset": torch.zeros(rows, 1),
        f"{name}.scale_bias": torch.ones(rows, 16 if name == "o_proj" else 1),
    }
    if groups:
        second = 1 + torch.arange(rows * groups).view(rows, groups) / 128
        tensors[f"{name}.weight_scale_second"] = second
        tensors[f"{name}.weight_offset_second"] = torch.zeros(rows, groups, dtype=torch.int64)
    return tensors


Q_B = (DENSE.num_heads * DENSE.qk_head_dim, 64)
O_PROJ = (DENSE.hidden_size, DENSE.num_heads * DENSE.v_head_dim)


@pytest.mark.parametrize("pack", [True, False])
def test_scales_per_output_become_int8(tmp_path, pack):
    """With the same integers, by the slice of a rank."""
    q_b, o_proj = four_bits(*Q_B, seed=1), four_bits(*O_PROJ, seed=2)
    scales = {"q_b_proj": torch.rand(Q_B[0], 1) + 0.1, "o_proj": torch.rand(O_PROJ[0], 1) + 0.1}
    save(
        tmp_path,
        {
            **of_4_bits("q_b_proj", q_b, scales["q_b_proj"], pack),
            **of_4_bits("o_proj", o_proj, scales["o_proj"], pack),
        },
    )
    describe(tmp_path, "q_b_proj", "o_proj")
    for rank in range(2):
        found = load(tmp_path, rank, 2)
        rows = slice(rank * DENSE.qk_head_dim, (rank + 1) * DENSE.qk_head_dim)
        columns = slice(rank * DENSE.v_head_dim, (rank + 1) * DENSE.v_head_dim)
        assert isinstance(found.q_b, W8A8Linear) and found.q_b.input_scale is None
        assert torch.equal(found.q_b.weight, q_b[rows].T)
        assert torch.equal(found.q_b.dequant_scale, scales["q_b_proj"][rows, 0])
        assert isinstance(found.o_proj, W8A8Linear)
        assert torch.equal(found.o_proj.weight, o_proj[:, columns].T)
        assert torch.equal(found.o_proj.dequant_scale, scales["o_proj"][:, 0])


@pytest.mark.parametrize("pack", [True, False])
def test_scales_per_group_become_16_bits(tmp_path, pack):
    """A rank's columns may begin within a group."""
    weight, scale = four_bits(*O_PROJ, seed=2), torch.rand(O_PROJ[0], 1) + 0.1
    tensors = of_4_bits("o_proj", weight, scale, pack, groups=1)
    tensors |= of_4_bits("q_b_proj", four_bits(*Q_B, seed=1), torch.ones(Q_B[0], 1), pack, 4)
    save(tmp_path, tensors)
    describe(tmp_path, "q_b_proj", "o_proj")
    found = load(tmp_path, 1, 2)
    second = tensors["o_proj.weight_scale_second"]
    whole = (weight.float() * (scale * second)).bfloat16()
    assert torch.equal(found.o_proj, whole[:, DENSE.v_head_dim :])
    second = tensors["q_b_proj.weight_scale_second"].repeat_interleave(16, dim=1)
    whole = (four_bits(*Q_B, seed=1).float() * second).bfloat16()
    assert torch.equal(found.q_b, whole[DENSE.qk_head_dim :])


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("weight", torch.zeros(3, 64).char(), r"q_b_proj\.weight: expected numbers of 4 bits"),
        ("weight_scale", None, "q_b_proj.weight: expected W8A8, W8A8_DYNAMIC or W4A8_DYNAMIC"),
        ("weight_scale", torch.ones(5, 1), r"q_b_proj\.weight_scale: expected shape"),
        ("weight_offset", torch.ones(Q_B[0], 1), r"q_b_proj\.weight_offset: expected zeros"),
        (
            "weight_scale_second",
            torch.ones(Q_B[0], 5),
            r"q_b_proj\.weight_scale_second: expected a scale for each group of inputs, "
            r"\[256, groups\], where groups divides 64, got shape \[256, 5\]",
        ),
    ],
)
def test_damaged_weights_of_4_bits(tmp_path, name, tensor, message):
    tensors: dict[str, torch.Tensor | None] = {
        **of_4_bits("q_b_proj", four_bits(*Q_B, seed=1), torch.ones(Q_B[0], 1), True)
    }
    tensors[f"q_b_proj.{name}"] = tensor
    save(tmp_path, tensors)
    describe(tmp_path, "q_b_proj")
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
