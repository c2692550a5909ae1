"""Model presets, configurations and random weights."""

import dataclasses
import json

import pytest
import torch
import transformers

from ascend_prefetch.lab.reference import (
    quantise_dynamic,
    quantise_static,
    relative_error,
    w8a8_linear,
)
from ascend_prefetch.models import (
    MODELS,
    IndexerDimensions,
    ModelDimensions,
    get_model,
    indexer_weight_shapes,
    mla_weight_shapes,
    quantise_indexer_weights,
    quantise_linear,
    quantise_mla_weights,
    random_indexer_weights,
    random_mla_weights,
)

# The configuration class in transformers whose defaults are the model's configuration. Kimi-K2
# uses DeepSeek-V3's with other numbers, DeepSeek-V2-Lite's defaults are DeepSeek-V2's.
TRANSFORMERS_CONFIGS = {
    "deepseek-v3": "DeepseekV3Config",
    "deepseek-v3.2": "DeepseekV32Config",
    "glm-5": "GlmMoeDsaConfig",
    "longcat-flash": "LongcatFlashConfig",
    "glm-4-moe-lite": "Glm4MoeLiteConfig",
}


def config(**changes):
    """A configuration in the manner of DeepSeek-V3's original one."""
    values = {
        "model_type": "deepseek_v3",
        "hidden_size": 64,
        "num_attention_heads": 6,
        "q_lora_rank": 32,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 12,
        "rms_norm_eps": 1e-5,
    }
    return {**values, **changes}


def test_presets():
    assert list(MODELS) == [
        "deepseek-v3",
        "deepseek-v3.2",
        "glm-5",
        "kimi-k2",
        "longcat-flash",
        "longcat-flash-lite",
        "glm-4-moe-lite",
        "deepseek-v2",
        "deepseek-v2-lite",
    ]
    for name, dims in MODELS.items():
        assert get_model(name) is dims
        assert dims.source.startswith("https://huggingface.co/")


@pytest.mark.parametrize("name", TRANSFORMERS_CONFIGS)
def test_presets_agree_with_transformers(name):
    config_class = getattr(transformers, TRANSFORMERS_CONFIGS[name])
    expected = ModelDimensions.from_hf_config(config_class().to_dict())
    assert dataclasses.replace(get_model(name), name="", source="") == dataclasses.replace(
        expected, name="", source=""
    )


def test_unknown_model_lists_the_names():
    with pytest.raises(ValueError, match="deepseek-v3, deepseek-v3.2, .*got 'deepseek-v9'"):
        get_model("deepseek-v9")


def test_heads_per_rank():
    assert get_model("deepseek-v3").heads_per_rank(16) == 8
    assert get_model("glm-4-moe-lite").heads_per_rank(4) == 5


@pytest.mark.parametrize("tp", [0, -1, 8, 40])
def test_heads_per_rank_rejects(tp):
    with pytest.raises(ValueError, match=f"^tp: .* 20 heads of glm-4-moe-lite, got {tp}$"):
        get_model("glm-4-moe-lite").heads_per_rank(tp)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", 0), ("num_heads", 1.0), ("q_lora_rank", 0), ("qk_rope_head_dim", 63)]
    + [("kv_lora_rank", True), ("rms_norm_eps", 0.0), ("rms_norm_eps", "1e-6")]
    + [("q_lora_scale", 0.0), ("kv_lora_scale", 1), ("attentions_per_layer", 0)],
)
def test_dimensions_reject(field, value):
    with pytest.raises(ValueError, match=f"^{field}: expected .*, got {value!r}$"):
        dataclasses.replace(get_model("deepseek-v3"), **{field: value})


def test_from_hf_config_mapping():
    assert ModelDimensions.from_hf_config(config()) == ModelDimensions(
        name="deepseek_v3",
        hidden_size=64,
        num_heads=6,
        q_lora_rank=32,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=12,
        rms_norm_eps=1e-5,
        rope_interleaved=True,
        source="configuration",
    )
    assert ModelDimensions.from_hf_config(config(q_lora_rank=None)).q_lora_rank is None


@pytest.mark.parametrize(
    ("changes", "interleaved"),
    [
        ({"model_type": "deepseek_v32"}, False),
        ({"model_type": "glm_moe_dsa"}, True),
        ({"model_type": "deepseek_v32", "indexer_rope_interleave": True}, True),
    ],
)
def test_from_hf_config_indexer(changes, interleaved):
    sparse = config(index_topk=256, index_n_heads=4, index_head_dim=16, **changes)
    assert ModelDimensions.from_hf_config(sparse).indexer == IndexerDimensions(
        num_heads=4, head_dim=16, top_k=256, rope_interleaved=interleaved
    )


def test_from_hf_config_longcat():
    longcat = config(model_type="longcat_flash")
    dims = ModelDimensions.from_hf_config(longcat)
    assert (dims.q_lora_scale, dims.kv_lora_scale) == (2**0.5, 2.0)
    assert dims.attentions_per_layer == 2
    plain = ModelDimensions.from_hf_config({**longcat, "mla_scale_q_lora": False})
    assert (plain.q_lora_scale, plain.kv_lora_scale) == (1.0, 2.0)
    others = ModelDimensions.from_hf_config(config())
    assert (others.q_lora_scale, others.kv_lora_scale, others.attentions_per_layer) == (1, 1, 1)


def test_from_hf_config_file_and_directory(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config()))
    assert ModelDimensions.from_hf_config(tmp_path) == ModelDimensions.from_hf_config(str(path))
    assert ModelDimensions.from_hf_config(path).source == str(path)


def test_from_hf_config_errors(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(FileNotFoundError, match="config.json"):
        ModelDimensions.from_hf_config(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="config.json: expected JSON, got"):
        ModelDimensions.from_hf_config(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="config.json: expected a JSON object, got list"):
        ModelDimensions.from_hf_config(tmp_path)
    path.write_text(json.dumps({"model_type": "deepseek_v3", "hidden_size": 4096}))
    with pytest.raises(ValueError, match="config.json: key 'num_attention_heads' is missing"):
        ModelDimensions.from_hf_config(tmp_path)
    sparse = config(model_type="deepseek_v32", index_topk=1, index_n_heads=1, index_head_dim=0)
    with pytest.raises(ValueError, match="^indexer.head_dim: expected a positive integer, got 0$"):
        ModelDimensions.from_hf_config(sparse)
    del sparse["index_topk"]
    with pytest.raises(ValueError, match="^configuration: key 'index_topk' is missing$"):
        ModelDimensions.from_hf_config(sparse)
    sparse |= {"index_topk": 1, "index_head_dim": 128, "q_lora_rank": None}
    with pytest.raises(ValueError, match="^q_lora_rank: expected a query latent for the indexer"):
        ModelDimensions.from_hf_config(sparse)


@pytest.mark.parametrize("name", MODELS)
def test_random_weights_have_the_shapes(name):
    dims = get_model(name)
    tp = dims.num_heads // 2
    weights = random_mla_weights(dims, tp, torch.bfloat16, seed=0)
    shapes = mla_weight_shapes(dims, tp)
    for field in dataclasses.fields(weights):
        tensor = getattr(weights, field.name)
        if field.name not in shapes:
            assert tensor is None
            continue
        assert tuple(tensor.shape) == shapes[field.name]
        assert tensor.dtype == torch.bfloat16
        assert tensor.is_contiguous()
    assert (weights.q_a_norm is None) == (name == "deepseek-v2-lite")


def test_weight_bytes_of_deepseek_v3():
    """The bf16 megabytes of each weight, as DeepSeek-V3's dimensions give them by hand."""

    def megabytes(tp):
        shapes = mla_weight_shapes(get_model("deepseek-v3"), tp)
        return {name: 2 * torch.Size(shape).numel() / 1e6 for name, shape in shapes.items()}

    assert megabytes(1) == pytest.approx(
        {
            "qkv_a": 30.277632,  # 2112 x 7168
            "q_a_norm": 0.003072,
            "q_b": 75.497472,  # 24576 x 1536
            "w_uk": 16.777216,  # 128 x 128 x 512
            "w_uv": 16.777216,
            "kv_a_norm": 0.001024,
            "o_proj": 234.881024,  # 7168 x 16384
        }
    )
    assert megabytes(16)["o_proj"] == pytest.approx(14.680064)
    assert megabytes(16)["qkv_a"] == megabytes(1)["qkv_a"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_weights_are_scaled_by_fan_in_and_seeded(dtype):
    dims = get_model("glm-4-moe-lite")
    weights = random_mla_weights(dims, 5, dtype, seed=1)
    for name, fan_in in [("qkv_a", 2048), ("q_b", 768), ("w_uk", 192), ("w_uv", 512)] + [
        ("o_proj", 4 * 256)
    ]:
        tensor = getattr(weights, name).float()
        assert tensor.std().item() == pytest.approx(fan_in**-0.5, rel=0.01)
        assert tensor.mean().item() == pytest.approx(0.0, abs=0.01 * fan_in**-0.5)
    assert weights.q_a_norm.float().mean().item() == pytest.approx(1.0, abs=0.02)
    assert weights.kv_a_norm.float().std().item() == pytest.approx(0.1, rel=0.15)

    again = random_mla_weights(dims, 5, dtype, seed=1)
    other = random_mla_weights(dims, 5, dtype, seed=2)
    assert torch.equal(weights.q_b, again.q_b)
    assert not torch.equal(weights.q_b, other.q_b)


def test_random_weights_reject():
    with pytest.raises(ValueError, match="^tp: .*got 3$"):
        random_mla_weights(get_model("deepseek-v3"), 3, torch.bfloat16, seed=0)
    with pytest.raises(ValueError, match="^dtype: .*got torch.int8$"):
        random_mla_weights(get_model("deepseek-v3"), 1, torch.int8, seed=0)


# --- indexer ---


@pytest.mark.parametrize(("name", "heads"), [("deepseek-v3.2", 64), ("glm-5", 32)])
def test_random_indexer_weights(name, heads):
    dims = get_model(name)
    shapes = indexer_weight_shapes(dims)
    assert shapes == {
        "wq_b": (heads * 128, dims.q_lora_rank),
        "wk": (128, dims.hidden_size),
        "k_norm": (128,),
        "k_norm_bias": (128,),
        "weights_proj": (heads, dims.hidden_size),
    }
    weights = random_indexer_weights(dims, torch.bfloat16, seed=0)
    for field, shape in shapes.items():
        tensor = getattr(weights, field)
        assert tuple(tensor.shape) == shape
        assert tensor.dtype == (torch.float32 if "norm" in field else torch.bfloat16)
    assert weights.wq_b.float().std().item() == pytest.approx(dims.q_lora_rank**-0.5, rel=0.01)
    assert weights.k_norm.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(random_indexer_weights(dims, torch.bfloat16, seed=0).wk, weights.wk)

    fused = weights.fused()
    assert fused.weights_proj is None
    assert torch.equal(fused.wk, torch.cat([weights.wk, weights.weights_proj]))
    assert fused.fused() is fused


@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("deepseek-v3.2", "glm-5")])
def test_models_without_an_indexer(name):
    with pytest.raises(ValueError, match=f"^model: expected one with an indexer, got '{name}'$"):
        random_indexer_weights(get_model(name), torch.bfloat16, seed=0)


# --- quantised layers ---


@pytest.mark.parametrize("quant", ["w8a8", "w8a8_dynamic"])
def test_quantised_layers_compute_nearly_the_same(quant):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 2048, generator=generator).mul(2048**-0.5).bfloat16()
    weight[5] = 0
    x = torch.randn(16, 2048, generator=generator).bfloat16()
    layer = quantise_linear(weight, quant)
    assert layer.weight.shape == (2048, 96)
    assert layer.weight.is_contiguous()
    # Symmetric, and every channel fills its range.
    largest = layer.weight.abs().amax(0)
    assert largest.tolist() == [0 if channel == 5 else 127 for channel in range(96)]
    assert relative_error(layer.float_weight(), weight) < 0.01
    expected = x.double() @ weight.double().T
    assert 0.005 < relative_error(w8a8_linear(x, layer), expected) < 0.02


def test_quantised_activations_fill_int8():
    layer = quantise_linear(torch.randn(4, 64), "w8a8")
    x = torch.randn(16, 7168, generator=torch.Generator().manual_seed(0)).bfloat16()
    values = quantise_static(x, layer.input_scale, layer.input_offset).int()
    assert -128 <= values.min() <= -110
    assert 100 <= values.max() <= 127
    assert (values.abs() >= 127).float().mean() < 1e-3
    assert quantise_dynamic(x)[0].abs().amax(1).tolist() == [127] * 16
    assert layer.quant_bias.tolist() == (5 * layer.weight.sum(0, dtype=torch.int32)).tolist()


@pytest.mark.parametrize("name", ["deepseek-v3.2", "deepseek-v2-lite"])
@pytest.mark.parametrize("quant", ["none", "w8a8", "w8a8_dynamic"])
def test_quantised_models(name, quant):
    dims = get_model(name)
    weights = random_mla_weights(dims, dims.num_heads, torch.bfloat16, seed=0)
    quantised = quantise_mla_weights(weights, quant)
    for field in dataclasses.fields(weights):
        before, after = getattr(weights, field.name), getattr(quantised, field.name)
        if quant == "none" or field.name not in ("qkv_a", "q_b", "o_proj"):
            assert after is before
            continue
        assert tuple(after.weight.shape) == tuple(reversed(before.shape))
        assert (after.input_scale is None) == (quant == "w8a8_dynamic")
        assert relative_error(after.float_weight(), before) < 0.015
    if dims.indexer is not None:
        indexer = random_indexer_weights(dims, torch.bfloat16, seed=0)
        changed = quantise_indexer_weights(indexer, quant)
        assert changed.wk is indexer.wk
        assert (changed.wq_b is indexer.wq_b) == (quant == "none")


def test_quantise_rejects():
    with pytest.raises(ValueError, match="^quant: expected one of none, w8a8, .*, got 'w4a8'$"):
        quantise_linear(torch.zeros(2, 2), "w4a8")
