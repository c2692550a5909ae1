"""Model presets, configurations and random weights."""

import dataclasses
import json

import pytest
import torch
import transformers

from ascend_prefetch.models import (
    MODELS,
    IndexerDimensions,
    ModelDimensions,
    get_model,
    mla_weight_shapes,
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
        "glm-4-moe-lite",
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
    + [("kv_lora_rank", True), ("rms_norm_eps", 0.0), ("rms_norm_eps", "1e-6")],
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
    assert not ModelDimensions.from_hf_config(config(rope_interleave=False)).rope_interleaved
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
    path.write_text(json.dumps({"model_type": "llama", "hidden_size": 4096}))
    with pytest.raises(ValueError, match="config.json: key 'num_attention_heads' is missing"):
        ModelDimensions.from_hf_config(tmp_path)
    with pytest.raises(ValueError, match="^indexer.head_dim: expected a positive integer, got 0$"):
        ModelDimensions.from_hf_config(config(index_topk=1, index_n_heads=1, index_head_dim=0))


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
