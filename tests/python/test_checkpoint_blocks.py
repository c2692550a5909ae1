"""Checkpoints whose weights have 8 bits and a scale for each block: dequantised when loaded."""

import dataclasses
import json
import re

import pytest
import torch
from safetensors.torch import save_file

from ascend_prefetch.lab import cli
from ascend_prefetch.linear import W8A8Linear
from ascend_prefetch.models import (
    get_model,
    indexer_weight_shapes,
    load_indexer_weights,
    load_mla_weights,
    quantise_linear,
    quantise_mla_weights,
    rounding_error,
)
from attention_checkpoint import ODD, layer_tensors
from mla_cases import SEED

PREFIX = "model.layers.0.self_attn"
E4M3 = torch.float8_e4m3fn


def weight_shapes(dims):
    """(out, in) of each projection under its name in a checkpoint."""
    shapes = {
        "q_a_proj": (dims.q_lora_rank, dims.hidden_size),
        "kv_a_proj_with_mqa": (dims.kv_lora_rank + dims.qk_rope_head_dim, dims.hidden_size),
        "q_b_proj": (dims.num_heads * dims.qk_head_dim, dims.q_lora_rank),
        "kv_b_proj": (
            dims.num_heads * (dims.qk_nope_head_dim + dims.v_head_dim),
            dims.kv_lora_rank,
        ),
        "o_proj": (dims.hidden_size, dims.num_heads * dims.v_head_dim),
    }
    if dims.indexer is not None:
        of_indexer = indexer_weight_shapes(dims)
        shapes |= {f"indexer.{name}": of_indexer[name] for name in ("wq_b", "wk")}
    return shapes


def random_values(shape, dtype, seed):
    """Every value of the dtype but NaN."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-127, 128, shape, dtype=torch.int8, generator=generator)
    if dtype == torch.int8:
        return values
    # 0x7f and 0xff are NaN.
    return torch.where((values & 0x7F) == 0x7F, 0, values).view(E4M3)


def blocks(shape, block, seed, fan_in):
    grid = [-(-size // of_block) for size, of_block in zip(shape, block, strict=True)]
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + torch.rand(grid, generator=generator)) * fan_in**-0.5 / 100


def block_layer(name, shape, block, dtype=E4M3, seed=0):
    return {
        f"{name}.weight": random_values(shape, dtype, seed),
        f"{name}.weight_scale_inv": blocks(shape, block, seed, shape[1]),
    }


def norms(dims):
    tensors = {
        "q_a_layernorm.weight": torch.full((dims.q_lora_rank,), 1.5).bfloat16(),
        "kv_a_layernorm.weight": torch.full((dims.kv_lora_rank,), 0.5).bfloat16(),
    }
    if dims.indexer is not None:
        shape = indexer_weight_shapes(dims)["weights_proj"]
        tensors["indexer.k_norm.weight"] = torch.ones(dims.indexer.head_dim)
        tensors["indexer.k_norm.bias"] = torch.zeros(dims.indexer.head_dim)
        tensors["indexer.weights_proj.weight"] = torch.full(shape, 0.01).bfloat16()
    return tensors


def block_tensors(dims, block, dtype=E4M3):
    tensors = norms(dims)
    for seed, (name, shape) in enumerate(weight_shapes(dims).items()):
        tensors |= block_layer(name, shape, block, dtype, SEED + seed)
    return tensors


def save(directory, tensors, config=None, prefix=PREFIX):
    directory.mkdir(exist_ok=True)
    named = {f"{prefix}.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    save_file(named, directory / "model.safetensors")
    if config is not None:
        (directory / "config.json").write_text(json.dumps(config))
    return directory


def meant(tensors, name, block):
    """The weight in float32, by a formula of its own: each scale as a block of that size."""
    values = tensors[f"{name}.weight"].float()
    scale = tensors[f"{name}.weight_scale_inv"].float()
    whole = torch.kron(scale, torch.ones(block))[: values.shape[0], : values.shape[1]]
    return values * whole


def in_parts(dims, weights):
    """What each tensor of a rank is made of, as checkpoint names."""
    heads = weights.w_uk.shape[0]
    kv_b = torch.cat([weights.w_uk, weights.w_uv.transpose(1, 2)], dim=1).flatten(0, 1)
    q_a, kv_a = weights.qkv_a.split([dims.q_lora_rank, weights.qkv_a.shape[0] - dims.q_lora_rank])
    found = {"q_a_proj": q_a, "kv_a_proj_with_mqa": kv_a, "q_b_proj": weights.q_b}
    return heads, {**found, "kv_b_proj": kv_b, "o_proj": weights.o_proj}


@pytest.mark.parametrize("dtype", [E4M3, torch.int8], ids=str)
@pytest.mark.parametrize("block", [(128, 128), (5, 7), (1, 3), (64, 1)], ids=str)
@pytest.mark.parametrize("tp", [1, 2, 4])
def test_every_rank_has_its_part_to_the_bit(tmp_path, dtype, block, tp):
    """Heads of 16 and 24 rows, which begin and end within blocks."""
    tensors = block_tensors(ODD, block, dtype)
    stated = {"quantization_config": {"quant_method": "fp8", "weight_block_size": list(block)}}
    save(tmp_path, tensors, stated)
    for rank in range(tp):
        weights = load_mla_weights(tmp_path, ODD, 0, rank, tp)
        heads, found = in_parts(ODD, weights)
        for name, part in found.items():
            whole = meant(tensors, name, block).bfloat16()
            if name in ("q_b_proj", "kv_b_proj"):
                rows = whole.shape[0] // ODD.num_heads * heads
                whole = whole[rank * rows : (rank + 1) * rows]
            if name == "o_proj":
                columns = ODD.v_head_dim * heads
                whole = whole[:, rank * columns : (rank + 1) * columns]
            assert part.dtype == torch.bfloat16
            assert torch.equal(part, whole), name
    whole = load_mla_weights(tmp_path, ODD, 0, 0, 1, torch.float32)
    assert torch.equal(whole.o_proj, meant(tensors, "o_proj", block))


def test_pieces_are_as_the_whole(tmp_path, monkeypatch):
    """Weights are converted in pieces, which need not end with a block."""
    save(
        tmp_path, block_tensors(ODD, (5, 7)), {"quantization_config": {"weight_block_size": [5, 7]}}
    )
    expected = load_mla_weights(tmp_path, ODD, 0, 1, 2)
    monkeypatch.setattr("ascend_prefetch.models.dequantise._CHUNK", 100)
    found = load_mla_weights(tmp_path, ODD, 0, 1, 2)
    assert torch.equal(found.q_b, expected.q_b) and torch.equal(found.o_proj, expected.o_proj)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e8m0fnu], ids=str)
def test_dtypes_of_scales(tmp_path, dtype):
    tensors = block_tensors(ODD, (128, 128))
    for name in tensors:
        if name.endswith("scale_inv"):
            tensors[name] = tensors[name].to(dtype)
    save(tmp_path, tensors)
    weights = load_mla_weights(tmp_path, ODD, 0, 0, 1)
    assert torch.equal(weights.o_proj, meant(tensors, "o_proj", (128, 128)).bfloat16())


@pytest.mark.parametrize("shape", [(48, 1), (48,), (1,), ()], ids=str)
@pytest.mark.parametrize("rank", [0, 1])
def test_scales_of_outputs_and_of_tensors(tmp_path, shape, rank):
    """As compressed-tensors writes FP8; scales of activations stay unread."""
    tensors = block_tensors(ODD, (128, 128))
    scale = torch.linspace(0.5, 1.5, 48).reshape(48, 1)
    scale = scale.reshape(shape) if len(shape) and shape[0] == 48 else scale[7].reshape(shape)
    del tensors["o_proj.weight_scale_inv"]
    tensors |= {"o_proj.weight_scale": scale.bfloat16(), "o_proj.input_scale": torch.ones(1)}
    save(tmp_path, tensors)
    columns = slice(rank * 28, (rank + 1) * 28)
    widened = scale.bfloat16().float().reshape(-1, 1)
    expected = tensors["o_proj.weight"].float()[:, columns] * widened
    found = load_mla_weights(tmp_path, ODD, 0, rank, 2)
    assert torch.equal(found.o_proj, expected.bfloat16())


def test_an_int8_kv_b_proj(tmp_path):
    """Int8 layers with a scale for each output stay W8A8; kv_b_proj has 16 bits in the ops."""
    tensors, layers = norms(ODD), {}
    for seed, (name, shape) in enumerate(weight_shapes(ODD).items()):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(shape, generator=generator)
        layers[name] = quantise_linear(weight, "w8a8_dynamic")
        tensors |= layer_tensors(name, layers[name])
    save(tmp_path, tensors)
    weights = load_mla_weights(tmp_path, ODD, 0, 1, 2)
    assert isinstance(weights.q_b, W8A8Linear)
    _, found = in_parts(ODD, dataclasses.replace(weights, qkv_a=torch.zeros(46, 1)))
    expected = layers["kv_b_proj"].float_weight()[48:].bfloat16()
    assert torch.equal(found["kv_b_proj"], expected)
    tensors["kv_b_proj.weight_offset"] = torch.ones(96, 1)
    save(tmp_path, tensors)
    with pytest.raises(ValueError, match=r"kv_b_proj\.weight_offset: expected zeros"):
        load_mla_weights(tmp_path, ODD, 0, 1, 2)


def test_some_layers_with_16_bits(tmp_path):
    tensors = block_tensors(ODD, (128, 128))
    del tensors["kv_a_proj_with_mqa.weight_scale_inv"]
    plain = torch.randn(22, 48, generator=torch.Generator().manual_seed(1)).bfloat16()
    tensors["kv_a_proj_with_mqa.weight"] = plain
    save(tmp_path, tensors)
    assert torch.equal(load_mla_weights(tmp_path, ODD, 0, 0, 1).qkv_a[24:], plain)


def test_the_block_of_a_nested_language_model(tmp_path):
    tensors = block_tensors(ODD, (5, 7))
    stated = {"weight_block_size": [5, 7]}
    outer = {"model_type": "kimi_k25", "text_config": {}}
    prefix = f"language_model.{PREFIX}"
    for config in (
        outer | {"quantization_config": stated},
        outer | {"text_config": {"quantization_config": stated}},
    ):
        save(tmp_path, tensors, config, prefix)
        weights = load_mla_weights(tmp_path, ODD, 0, 0, 1)
        assert torch.equal(weights.o_proj, meant(tensors, "o_proj", (5, 7)).bfloat16())


def refuses(directory, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_mla_weights(directory, ODD, 0, 0, 1)


def test_what_is_refused(tmp_path):
    good = block_tensors(ODD, (128, 128))
    where = f"tensor {PREFIX}.o_proj.weight"

    def with_changes(config=None, **changes):
        tensors = good | {name.replace("__", "."): value for name, value in changes.items()}
        return save(tmp_path, {k: v for k, v in tensors.items() if v is not None}, config)

    directory = with_changes(o_proj__weight_scale_inv=None)
    refuses(directory, f"{where}: expected weight_scale_inv or weight_scale beside a weight of F8_")
    directory = with_changes(o_proj__weight_scale_inv=torch.ones(2, 3))
    refuses(
        directory,
        f"{where}_scale_inv: expected a scale for each block of 128 x 128, [1, 1], for each "
        "output, [48, 1], or for the whole weight, [1], got shape [2, 3]",
    )
    directory = with_changes(o_proj__weight_scale_inv=torch.tensor([[float("nan")]]))
    refuses(directory, f"{where}_scale_inv: expected finite scales")
    directory = with_changes(o_proj__weight_scale_inv=torch.ones(1, 1, dtype=torch.int32))
    refuses(directory, f"{where}_scale_inv: expected dtype F32 or BF16 or F16 or F8_E8M0, got I32")
    directory = with_changes(o_proj__weight=good["o_proj.weight"].view(torch.float8_e5m2))
    refuses(directory, f"{where}: expected dtype F64 or F32 or F16 or BF16, got F8_E5M2")
    directory = with_changes(o_proj__weight=good["o_proj.weight"][:, :8].clone())
    refuses(directory, f"{where}: expected shape [48, 56], got [48, 8]")
    for size in ([0, 128], [128], "128", [128, 1.5], [2**31, 1], [True, 128]):
        directory = with_changes({"quantization_config": {"weight_block_size": size}})
        refuses(directory, "key 'quantization_config.weight_block_size': expected two positive int")
    (tmp_path / "config.json").write_text("[]")
    refuses(tmp_path, "config.json: expected a JSON object, got list")


def test_quantised_anew(tmp_path):
    save(tmp_path, block_tensors(ODD, (128, 128)))
    loaded = load_mla_weights(tmp_path, ODD, 0, 0, 1)
    made = quantise_mla_weights(loaded, "w8a8_dynamic")
    error = rounding_error(made.o_proj, loaded.o_proj)
    exact = loaded.o_proj.double()
    expected = (made.o_proj.float_weight().double() - exact).norm() / exact.norm()
    assert error == pytest.approx(expected.item(), rel=1e-4)
    # A step of a row's largest element / 127, evenly distributed, over values that fill E4M3.
    assert 0.003 < error < 0.03
    static = quantise_linear(loaded.o_proj, "w8a8")
    assert rounding_error(static, loaded.o_proj) == pytest.approx(error, rel=1e-3)
    assert rounding_error(loaded.o_proj, loaded.o_proj) == 0.0
    nothing = torch.zeros(4, 8)
    assert rounding_error(quantise_linear(nothing, "w8a8_dynamic"), nothing) == 0.0


# --- layers with the names and shapes of published checkpoints ---

CONFIG_KEYS = {
    "hidden_size": "hidden_size",
    "num_attention_heads": "num_heads",
    "q_lora_rank": "q_lora_rank",
    "kv_lora_rank": "kv_lora_rank",
    "qk_nope_head_dim": "qk_nope_head_dim",
    "qk_rope_head_dim": "qk_rope_head_dim",
    "v_head_dim": "v_head_dim",
    "rms_norm_eps": "rms_norm_eps",
}
TYPES = {
    "deepseek-v3": "deepseek_v3",
    "deepseek-v3.2": "deepseek_v32",
    "kimi-k2": "kimi_k2",
    "glm-5": "glm_moe_dsa",
}


def published_config(model):
    dims = get_model(model)
    config = {key: getattr(dims, name) for key, name in CONFIG_KEYS.items()}
    if dims.indexer is not None:
        config |= {
            "index_n_heads": dims.indexer.num_heads,
            "index_head_dim": dims.indexer.head_dim,
            "index_topk": dims.indexer.top_k,
        }
    quantisation = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    return {**config, "model_type": TYPES[model], "quantization_config": quantisation}


@pytest.mark.parametrize("model", TYPES)
def test_layers_of_published_size(capsys, tmp_path, model):
    """The checkpoint is the model, and one rank reads its slice of it."""
    dims = get_model(model)
    tensors = block_tensors(dims, (128, 128))
    save(tmp_path, tensors, published_config(model))
    rank, tp = 3, 16
    weights = load_mla_weights(tmp_path, dims, 0, rank, tp)
    heads = dims.num_heads // tp
    rows = slice(rank * heads * dims.qk_head_dim, (rank + 1) * heads * dims.qk_head_dim)
    expected = meant(tensors, "q_b_proj", (128, 128))[rows].bfloat16()
    assert torch.equal(weights.q_b, expected)
    columns = slice(rank * heads * dims.v_head_dim, (rank + 1) * heads * dims.v_head_dim)
    expected = meant(tensors, "o_proj", (128, 128))[:, columns].bfloat16()
    assert torch.equal(weights.o_proj, expected)
    if dims.indexer is not None:
        indexer = load_indexer_weights(tmp_path, dims, 0)
        assert torch.equal(indexer.wk, meant(tensors, "indexer.wk", (128, 128)).bfloat16())

    op = "mla_prolog" if dims.indexer is None else "sfa_prolog"
    chosen = ["bench", op, "--checkpoint", str(tmp_path), "--tp", str(tp), "--tokens", "1"]
    assert cli.main([*chosen, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["check"]["ok"] and result["model"] == str(tmp_path)
    assert "requantised" not in result


def test_bench_prints_the_error_of_quantising_anew(capsys, tmp_path):
    dims = dataclasses.replace(
        get_model("deepseek-v3.2"), hidden_size=512, num_heads=16, q_lora_rank=512
    )
    config = published_config("deepseek-v3.2")
    config |= {"hidden_size": 512, "num_attention_heads": 16, "q_lora_rank": 512}
    save(tmp_path, block_tensors(dims, (128, 128)), config)
    chosen = ["bench", "sfa_prolog", "--checkpoint", str(tmp_path), "--tp", "8", "--tokens", "2"]
    chosen += ["--quant", "w8a8_dynamic"]
    assert cli.main([*chosen, "--json", str(tmp_path / "result.json")]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    loaded = load_mla_weights(tmp_path, dims, 0, 0, 8)
    made = quantise_mla_weights(loaded, "w8a8_dynamic")
    assert set(result["requantised"]) == {"qkv_a", "q_b", "o_proj", "indexer_wq_b"}
    assert result["requantised"]["q_b"] == rounding_error(made.q_b, loaded.q_b)
    printed = capsys.readouterr().out
    error = f"{result['requantised']['q_b']:.1e}"
    assert "weights of the checkpoint, relative error of w8a8_dynamic: qkv_a " in printed
    assert f"q_b {error}" in printed
