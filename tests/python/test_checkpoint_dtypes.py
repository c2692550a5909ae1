"""Dtypes of what the loaders make by default: what the ops take."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from ascend_prefetch.lab import reference
from ascend_prefetch.models import load_indexer_weights, load_mla_weights
from attention_checkpoint import SMALL, save_attention
from mla_cases import SEED

PREFIX = "model.layers.0.self_attn."
NORMS = ("q_a_layernorm.weight", "kv_a_layernorm.weight")
BIASES = ("q_a_layernorm.bias", "kv_a_layernorm.bias")
# A projection that DeepSeek keeps in float32 for its accuracy, and the norms.
PRECISE = ("indexer.weights_proj.weight", "indexer.k_norm.weight", "indexer.k_norm.bias", *NORMS)


def save(directory, change, quant="none"):
    """A checkpoint in bf16 whose tensors, by their names in the module, `change` gets first."""
    save_attention(directory, SMALL, quant, SEED)
    path = directory / "model.safetensors"
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in load_file(path).items()}
    tensors |= change(tensors)
    save_file({PREFIX + name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return tensors


def precise(tensors):
    """The tensors that are often float32, with more bits than bf16 has."""
    generator = torch.Generator().manual_seed(SEED + 1)
    return {
        name: tensors[name].float() * (1 + torch.rand(tensors[name].shape, generator=generator) / 9)
        for name in PRECISE
    } | {name: torch.randn(64, generator=generator) for name in BIASES}


@pytest.mark.parametrize("quant", ["none", "w8a8", "w8a8_dynamic"])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("explicit", [False, True])
def test_the_ops_take_it(tmp_path, quant, half, explicit):
    def change(tensors):
        halves = {n: t.to(half) for n, t in tensors.items() if t.dtype == torch.bfloat16}
        return halves | precise(tensors)

    tensors = save(tmp_path, change, quant)
    dtype = half if explicit else None
    weights = load_mla_weights(tmp_path, SMALL, 0, 0, 1, dtype)
    indexer = load_indexer_weights(tmp_path, SMALL, 0, dtype)
    for field in ("q_a_norm", "kv_a_norm", "q_a_norm_bias", "kv_a_norm_bias", "w_uk", "w_uv"):
        assert getattr(weights, field).dtype == half
    assert torch.equal(weights.q_a_norm_bias, tensors["q_a_layernorm.bias"].to(half))
    assert torch.equal(weights.kv_a_norm, tensors["kv_a_layernorm.weight"].to(half))
    assert indexer.wk.dtype == indexer.weights_proj.dtype == half
    assert torch.equal(indexer.k_norm, tensors["indexer.k_norm.weight"])
    assert torch.equal(indexer.k_norm_bias, tensors["indexer.k_norm.bias"])

    generator = torch.Generator().manual_seed(SEED + 2)
    x = torch.empty(3, 64, dtype=half).normal_(generator=generator)
    cos, sin = reference.rope_tables(torch.arange(3), 64)
    *_, q_c, _, _, heads = torch.ops.ascend_prefetch.sfa_prolog(
        **weights.prolog_arguments(),
        **indexer.arguments(),
        hidden_states=x,
        cos=cos.float(),
        sin=sin.float(),
        slot_mapping=torch.arange(3),
        kv_cache=torch.full((1, 8, 1, 64), float("nan"), dtype=half),
        rope_cache=torch.full((1, 8, 1, 64), float("nan"), dtype=half),
        indexer_cache=torch.full((1, 8, 1, 128), float("nan"), dtype=half),
    )
    assert q_c.dtype == half
    expected = x.double() @ tensors["indexer.weights_proj.weight"].double().T
    # Only the weight's rounding to the activations' dtype is in between.
    assert reference.relative_error(heads, expected) < torch.finfo(half).eps / 2
    torch.ops.ascend_prefetch.o_proj(
        torch.zeros(3, 2, 64, dtype=half), **weights.o_proj_arguments()
    )
    fused = indexer.fused()
    assert fused.wk.dtype == half


def test_scaled_norms_are_rounded_once(tmp_path):
    """The factor of a float32 norm is applied before its rounding."""
    tensors = save(tmp_path, precise)
    dims = dataclasses.replace(SMALL, q_lora_scale=3.0**0.5, kv_lora_scale=5.0**0.5)
    weights = load_mla_weights(tmp_path, dims, 0, 0, 1)
    for norm, name, scale in (
        (weights.q_a_norm, "q_a_layernorm.weight", 3.0),
        (weights.q_a_norm_bias, "q_a_layernorm.bias", 3.0),
        (weights.kv_a_norm, "kv_a_layernorm.weight", 5.0),
        (weights.kv_a_norm_bias, "kv_a_layernorm.bias", 5.0),
    ):
        assert torch.equal(norm, (tensors[name].double() * scale**0.5).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_16_bit_weights_what_is_stored_is_kept(tmp_path, dtype):
    """For the references, which take it."""
    save(tmp_path, lambda tensors: {name: t.to(dtype) for name, t in tensors.items()})
    assert load_mla_weights(tmp_path, SMALL, 0, 0, 1).q_b.dtype == dtype
    assert load_indexer_weights(tmp_path, SMALL, 0).wk.dtype == dtype


def test_two_16_bit_dtypes_are_refused(tmp_path):
    name = "kv_b_proj.weight"
    tensors = save(tmp_path, lambda tensors: {name: tensors[name].half()})
    message = (
        r"self_attn: expected 16-bit weights of one dtype, got BF16 \(q_a_proj.weight\) and F16 "
        r"\(kv_b_proj.weight\): pass dtype$"
    )
    with pytest.raises(ValueError, match=message):
        load_mla_weights(tmp_path, SMALL, 0, 0, 1)
    weights = load_mla_weights(tmp_path, SMALL, 0, 0, 1, torch.bfloat16)
    assert torch.equal(weights.w_uk[1], tensors[name][128:192].bfloat16())
