"""Loading W8A8 layers, LongCat's attentions and indexers from safetensors checkpoints."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import DeepseekV32Config, LongcatFlashConfig
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Attention
from transformers.models.longcat_flash.modeling_longcat_flash import LongcatFlashMLA

import transformers_mla as hf
from ascend_prefetch.lab import reference
from ascend_prefetch.linear import W8A8Linear
from ascend_prefetch.models import (
    IndexerDimensions,
    ModelDimensions,
    load_indexer_weights,
    load_mla_weights,
    quantise_linear,
)
from ascend_prefetch.packing import pack_dequant_scale
from attention_checkpoint import ODD, layer_tensors

DIMS = dataclasses.replace(
    ODD, indexer=IndexerDimensions(num_heads=3, head_dim=8, top_k=4, rope_interleaved=False)
)
PREFIX = "model.layers.0.self_attn"
SHAPES = {
    "q_a_proj": (24, 48),
    "kv_a_proj_with_mqa": (22, 48),
    "q_b_proj": (64, 24),
    "o_proj": (48, 56),
    "indexer.wq_b": (24, 24),
}


def randn(*shape, seed=0, dtype=torch.bfloat16):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def float_tensors():
    return {
        "q_a_layernorm.weight": randn(24),
        "kv_a_layernorm.weight": randn(16),
        "kv_b_proj.weight": randn(4 * 24, 16),
        "indexer.wk.weight": randn(8, 48),
        "indexer.k_norm.weight": randn(8, dtype=torch.float32),
        "indexer.k_norm.bias": randn(8, seed=1, dtype=torch.float32),
        "indexer.weights_proj.weight": randn(3, 48, seed=2),
    }


def quantised_tensors(quant, packed=False):
    """Every linear layer the way msmodelslim writes it, and the layers they were made of."""
    layers = {
        name: quantise_linear(randn(*shape, seed=seed), quant)
        for seed, (name, shape) in enumerate(SHAPES.items())
    }
    tensors = float_tensors()
    for name, layer in layers.items():
        tensors |= layer_tensors(name, layer)
        if quant == "w8a8_dynamic":
            continue
        if packed:
            tensors[f"{name}.deq_scale"] = pack_dequant_scale(layer.dequant_scale)
        # Both scalars as bfloat16 could hold them.
        tensors[f"{name}.input_scale"] = torch.tensor([0.03515625], dtype=torch.bfloat16)
        tensors[f"{name}.input_offset"] = torch.tensor([-5], dtype=torch.int8)
    return tensors, layers


def save(directory, tensors, types=None):
    named = {f"{PREFIX}.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    save_file(named, directory / "quant_model_weights.safetensors")
    if types is not None:
        description = {f"{PREFIX}.{name}": kind for name, kind in types.items()}
        path = directory / "quant_model_description.json"
        path.write_text(json.dumps({"model_quant_type": "W8A8", **description}))


def load(directory, rank=0, tp=1):
    return load_mla_weights(directory, DIMS, 0, rank, tp)


@pytest.mark.parametrize("tp", [1, 2, 4])
@pytest.mark.parametrize("packed", [False, True])
def test_static_layers(tmp_path, tp, packed):
    tensors, layers = quantised_tensors("w8a8", packed)
    save(tmp_path, tensors)
    ranks = [load(tmp_path, rank, tp) for rank in range(tp)]

    def check(layer, weight, source, quant_bias, outputs=slice(None)):
        assert isinstance(layer, W8A8Linear)
        assert torch.equal(layer.weight, weight)
        assert layer.weight.is_contiguous()
        expected = torch.cat([tensors[f"{name}.deq_scale"] for name in source])
        assert torch.equal(layer.dequant_scale, expected[outputs])
        assert layer.dequant_scale.dtype == (torch.int64 if packed else torch.float32)
        assert layer.input_scale.dtype == layer.input_offset.dtype == torch.float32
        assert (layer.input_scale.tolist(), layer.input_offset.tolist()) == ([0.03515625], [-5.0])
        if quant_bias:
            biases = torch.cat([tensors[f"{name}.quant_bias"] for name in source])
            assert torch.equal(layer.quant_bias, biases[outputs])
        else:
            assert layer.quant_bias is None

    both = ("q_a_proj", "kv_a_proj_with_mqa")
    qkv_a = torch.cat([layers[name].weight for name in both], dim=1)
    for rank, weights in enumerate(ranks):
        rows = slice(rank * 64 // tp, (rank + 1) * 64 // tp)
        check(weights.qkv_a, qkv_a, both, True)
        check(weights.q_b, layers["q_b_proj"].weight[:, rows], ("q_b_proj",), True, rows)
        columns = slice(rank * 56 // tp, (rank + 1) * 56 // tp)
        check(weights.o_proj, layers["o_proj"].weight[columns], ("o_proj",), rank == 0)
        assert weights.w_uk.dtype == weights.q_a_norm.dtype == torch.bfloat16

    values = randn(5, 56, seed=9)
    total = sum(
        reference.o_proj(part, weights.o_proj)
        for part, weights in zip(values.chunk(tp, dim=1), ranks, strict=True)
    )
    torch.testing.assert_close(total, reference.o_proj(values, load(tmp_path).o_proj))


@pytest.mark.parametrize("tp", [1, 2])
def test_dynamic_layers(tmp_path, tp):
    tensors, layers = quantised_tensors("w8a8_dynamic")
    save(tmp_path, tensors)
    ranks = [load(tmp_path, rank, tp) for rank in range(tp)]
    for weights in ranks:
        for layer in (weights.qkv_a, weights.q_b, weights.o_proj):
            assert layer.tensors().keys() == {"weight", "dequant_scale"}
            assert layer.dequant_scale.dtype == torch.float32
        assert torch.equal(weights.o_proj.dequant_scale, layers["o_proj"].dequant_scale)
    q_b = torch.cat([weights.q_b.weight for weights in ranks], dim=1)
    assert torch.equal(q_b, layers["q_b_proj"].weight)
    scales = torch.cat([weights.q_b.dequant_scale for weights in ranks])
    assert torch.equal(scales, layers["q_b_proj"].dequant_scale)
    qkv_a = torch.cat([layers[n].weight for n in ("q_a_proj", "kv_a_proj_with_mqa")], dim=1)
    assert torch.equal(ranks[-1].qkv_a.weight, qkv_a)


def test_layers_of_several_kinds(tmp_path):
    """Each linear is of a kind of its own; the description agrees."""
    static, dynamic = quantised_tensors("w8a8")[0], quantised_tensors("w8a8_dynamic")[0]
    tensors = {name: t for name, t in static.items() if not name.startswith(("q_b", "o_proj"))}
    tensors |= {name: t for name, t in dynamic.items() if name.startswith("q_b")}
    tensors["o_proj.weight"] = randn(48, 56)
    types = dict.fromkeys(tensors, "W8A8_MIX")
    types |= dict.fromkeys((name for name in tensors if name.startswith("q_b")), "W8A8_DYNAMIC")
    types["o_proj.weight"] = "FLOAT"
    save(tmp_path, tensors, types)
    weights = load(tmp_path)
    assert weights.qkv_a.input_scale is not None
    assert weights.q_b.input_scale is None
    assert torch.equal(weights.o_proj, tensors["o_proj.weight"])


@pytest.mark.parametrize("quant", ["w8a8", "w8a8_dynamic"])
def test_indexer(tmp_path, quant):
    tensors, layers = quantised_tensors(quant)
    save(tmp_path, tensors)
    weights = load_indexer_weights(tmp_path, DIMS, 0)
    assert torch.equal(weights.wq_b.weight, layers["indexer.wq_b"].weight)
    assert (weights.wq_b.input_scale is None) == (quant == "w8a8_dynamic")
    assert torch.equal(weights.wk, tensors["indexer.wk.weight"])
    assert torch.equal(weights.k_norm, tensors["indexer.k_norm.weight"])
    assert torch.equal(weights.k_norm_bias, tensors["indexer.k_norm.bias"])
    assert torch.equal(weights.weights_proj, tensors["indexer.weights_proj.weight"])


def test_indexer_of_transformers(tmp_path):
    config = DeepseekV32Config(
        hidden_size=48, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=24,
        kv_lora_rank=16, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=14,
        index_n_heads=3, index_head_dim=8,
    )  # fmt: skip
    module = DeepseekV32Attention(config, 0)
    hf.randomise(module, seed=3)
    save(tmp_path, module.state_dict())
    weights = load_indexer_weights(tmp_path, DIMS, 0, torch.bfloat16)
    indexer = module.indexer
    assert torch.equal(weights.wq_b, indexer.wq_b.weight.bfloat16())
    assert torch.equal(weights.wk, indexer.wk.weight.bfloat16())
    assert torch.equal(weights.weights_proj, indexer.weights_proj.weight.bfloat16())
    assert weights.k_norm.dtype == weights.k_norm_bias.dtype == torch.float32
    # The ops take the norm in float32: it stays as it is stored.
    assert torch.equal(weights.k_norm, indexer.k_norm.weight)
    assert torch.equal(weights.k_norm_bias, indexer.k_norm.bias)
    assert torch.equal(load(tmp_path).o_proj, module.o_proj.weight)


def test_layers_without_an_indexer(tmp_path):
    tensors = {n: t for n, t in quantised_tensors("w8a8")[0].items() if "indexer" not in n}
    save(tmp_path, tensors)
    assert load_indexer_weights(tmp_path, DIMS, 0) is None
    dense = dataclasses.replace(DIMS, indexer=None)
    with pytest.raises(ValueError, match="^model: expected one with an indexer, got 'small'$"):
        load_indexer_weights(tmp_path, dense, 0)


def change(tensors, name, value):
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value


@pytest.mark.parametrize(
    ("quant", "name", "value", "message"),
    [
        ("w8a8", "q_b_proj.deq_scale", None, "q_b_proj.deq_scale is missing"),
        ("w8a8", "q_b_proj.quant_bias", torch.ones(64), "quant_bias: expected dtype I32, got F32"),
        ("w8a8", "q_b_proj.deq_scale", torch.ones(64).half(), "expected dtype F32 or I64, got F16"),
        ("w8a8", "o_proj.input_scale", torch.ones(2), r"expected shape \[1\], got \[2\]"),
        (
            "w8a8",
            "o_proj.input_scale",
            None,
            "o_proj.weight: expected W8A8, .* int8 without scales",
        ),
        (
            "w8a8",
            "kv_a_proj_with_mqa.input_scale",
            torch.ones(1),
            r"kv_a_proj_with_mqa.input_scale: expected 0.03515625 as of q_a_proj, got 1.0$",
        ),
        (
            "w8a8",
            "kv_a_proj_with_mqa.weight",
            torch.ones(22, 48),
            r"expected projections of one type, got q_a_proj W8A8, kv_a_proj_with_mqa FLOAT$",
        ),
        ("w8a8_dynamic", "o_proj.weight_scale", torch.ones(48), r"expected shape \[48, 1\]"),
        ("w8a8_dynamic", "o_proj.weight_offset", torch.ones(48, 1), "weight_offset: expected zero"),
        ("w8a8_dynamic", "o_proj.weight_scale", None, "o_proj.weight: expected W8A8, W8A8_DYN"),
        ("w8a8_dynamic", "o_proj.bias", torch.ones(48), "o_proj.bias: expected a projection with"),
        (
            "w8a8",
            "kv_b_proj.weight",
            torch.ones(96, 16).char(),
            "kv_b_proj.* beside a weight of I8, found",
        ),
    ],
)
def test_damaged_layers(tmp_path, quant, name, value, message):
    tensors, _ = quantised_tensors(quant)
    change(tensors, name, value)
    save(tmp_path, tensors)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_other_quantisation_types(tmp_path):
    """W8A16 has the tensors of W8A8_DYNAMIC; only the description tells."""
    tensors, _ = quantised_tensors("w8a8_dynamic")
    save(tmp_path, tensors, {"q_b_proj.weight": "W8A16"})
    with pytest.raises(ValueError, match="q_b_proj.weight: expected W8A8, .*, got W8A16$"):
        load(tmp_path)
    (tmp_path / "quant_model_description.json").write_text("[]")
    with pytest.raises(ValueError, match="description.json: expected a JSON object of quant"):
        load(tmp_path)


# --- LongCat ---


def longcat_config():
    return LongcatFlashConfig(
        hidden_size=48, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=24,
        kv_lora_rank=16, qk_nope_head_dim=10, qk_rope_head_dim=6, head_dim=6, v_head_dim=14,
        num_layers=2, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip


def test_longcat(tmp_path):
    """Two attentions a layer; the scales of both latents end up in the norm weights."""
    config = longcat_config()
    # transformers' latent norms have an epsilon of their own.
    dims = dataclasses.replace(ModelDimensions.from_hf_config(config.to_dict()), rms_norm_eps=1e-6)
    tensors, modules = {}, []
    for layer in range(4):
        module = LongcatFlashMLA(config, layer).double()
        hf.randomise(module, seed=layer)
        modules.append(module)
        prefix = f"model.layers.{layer // 2}.self_attn.{layer % 2}."
        tensors |= {prefix + name: tensor for name, tensor in module.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")

    hidden_states = randn(5, 48, dtype=torch.float64)
    cos, sin = reference.rope_tables(torch.arange(5), 6, dtype=torch.float64)
    for layer, module in enumerate(modules):
        weights = load_mla_weights(tmp_path, dims, layer, 0, 1)
        factor = 2**0.5
        torch.testing.assert_close(weights.q_a_norm, module.q_a_layernorm.weight * factor)
        prolog = reference.mla_prolog(
            hidden_states, weights.qkv_a, weights.q_a_norm, weights.q_b, weights.w_uk,
            weights.kv_a_norm, cos, sin, eps=dims.rms_norm_eps,
        )  # fmt: skip
        latent = reference.attention(
            prolog.q_nope, prolog.q_rope, prolog.kv_c, prolog.k_rope, scale=16**-0.5, causal=True
        )
        output = reference.o_proj(latent, weights.o_proj, w_uv=weights.w_uv)
        expected = hf.attention_output(module, hidden_states, cos, sin)
        assert reference.relative_error(output, expected) < 1e-6


def test_longcat_norms_are_rounded_to_their_dtype(tmp_path):
    dims = dataclasses.replace(DIMS, q_lora_scale=3.0**0.5, attentions_per_layer=2)
    tensors = {
        name.replace(PREFIX, f"{PREFIX}.1"): tensor
        for name, tensor in checkpoint_of_floats().items()
    }
    save_file(tensors, tmp_path / "model.safetensors")
    weights = load_mla_weights(tmp_path, dims, 1, 0, 1)
    stored = tensors[f"{PREFIX}.1.q_a_layernorm.weight"]
    assert torch.equal(weights.q_a_norm, (stored.double() * 3.0**0.5).bfloat16())
    assert torch.equal(weights.kv_a_norm, tensors[f"{PREFIX}.1.kv_a_layernorm.weight"])
    with pytest.raises(ValueError, match=r"layers\.0\.self_attn\.0\.\w+\.weight is missing"):
        load_mla_weights(tmp_path, dims, 0, 0, 1)


def checkpoint_of_floats():
    tensors = float_tensors()
    for seed, (name, shape) in enumerate(SHAPES.items()):
        tensors[f"{name}.weight"] = randn(*shape, seed=seed)
    return {f"{PREFIX}.{name}": tensor for name, tensor in tensors.items()}
