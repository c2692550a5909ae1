"""Loading attention weights from safetensors checkpoints."""

import dataclasses
import json
import re
import shutil

import pytest
import torch
from safetensors import torch as safetensors_torch

from ascend_prefetch.models import load_mla_weights
from ascend_prefetch.shown import shown
from attention_checkpoint import ODD

NO_Q_LORA = dataclasses.replace(ODD, q_lora_rank=None)
LAYER = 3
PREFIX = f"model.layers.{LAYER}.self_attn"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def checkpoint_tensors(dims=ODD, dtype=torch.bfloat16):
    """The attention tensors of one layer under their Hugging Face names."""
    heads = dims.num_heads
    shapes = {
        "kv_a_proj_with_mqa.weight": (dims.kv_lora_rank + dims.qk_rope_head_dim, dims.hidden_size),
        "kv_a_layernorm.weight": (dims.kv_lora_rank,),
        "kv_b_proj.weight": (heads * (dims.qk_nope_head_dim + dims.v_head_dim), dims.kv_lora_rank),
        "o_proj.weight": (dims.hidden_size, heads * dims.v_head_dim),
    }
    if dims.q_lora_rank is None:
        shapes["q_proj.weight"] = (heads * dims.qk_head_dim, dims.hidden_size)
    else:
        shapes["q_a_proj.weight"] = (dims.q_lora_rank, dims.hidden_size)
        shapes["q_a_layernorm.weight"] = (dims.q_lora_rank,)
        shapes["q_b_proj.weight"] = (heads * dims.qk_head_dim, dims.q_lora_rank)
    generator = torch.Generator().manual_seed(0)
    return {
        f"{PREFIX}.{name}": torch.randn(shape, generator=generator).to(dtype)
        for name, shape in shapes.items()
    }


def save_single(directory, tensors):
    safetensors_torch.save_file(tensors, directory / SINGLE)


def save_sharded(directory, tensors, shards=3):
    """Spreads the tensors round-robin over shards."""
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        held = names[shard::shards]
        safetensors_torch.save_file({name: tensors[name] for name in held}, directory / file)
        weight_map |= dict.fromkeys(held, file)
    write_index(directory, weight_map)


def write_index(directory, weight_map):
    (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def load(directory, dims=ODD, layer=LAYER, tp_rank=0, tp_size=1, dtype=None):
    return load_mla_weights(directory, dims, layer, tp_rank, tp_size, dtype)


SAVERS = pytest.mark.parametrize("save", [save_single, save_sharded])


@SAVERS
@pytest.mark.parametrize("tp_size", [1, 2, 4])
def test_ranks_concatenate_to_the_checkpoint(tmp_path, save, tp_size):
    tensors = checkpoint_tensors()
    save(tmp_path, tensors)
    ranks = [load(tmp_path, tp_rank=rank, tp_size=tp_size) for rank in range(tp_size)]

    def stored(name):
        return tensors[f"{PREFIX}.{name}.weight"]

    for rank in ranks:
        assert torch.equal(
            rank.qkv_a, torch.cat([stored("q_a_proj"), stored("kv_a_proj_with_mqa")])
        )
        assert torch.equal(rank.q_a_norm, stored("q_a_layernorm"))
        assert torch.equal(rank.kv_a_norm, stored("kv_a_layernorm"))
        assert rank.q_a_norm_bias is None and rank.kv_a_norm_bias is None
        for field in dataclasses.fields(rank):
            tensor = getattr(rank, field.name)
            assert tensor is None or (tensor.is_contiguous() and tensor.dtype == torch.bfloat16)

    def joined(field, dim=0):
        return torch.cat([getattr(rank, field) for rank in ranks], dim=dim)

    assert torch.equal(joined("q_b"), stored("q_b_proj"))
    assert torch.equal(joined("o_proj", dim=1), stored("o_proj"))
    w_uk, w_uv = joined("w_uk"), joined("w_uv")
    assert w_uk.shape == (4, 10, 16)
    assert w_uv.shape == (4, 16, 14)
    for head in range(4):
        kv_b = stored("kv_b_proj")[head * 24 : (head + 1) * 24]
        assert torch.equal(w_uk[head], kv_b[:10])
        assert torch.equal(w_uv[head], kv_b[10:].T)


@pytest.mark.parametrize("tp_size", [1, 2])
def test_without_query_latent(tmp_path, tp_size):
    tensors = checkpoint_tensors(NO_Q_LORA)
    save_single(tmp_path, tensors)
    ranks = [load(tmp_path, NO_Q_LORA, tp_rank=rank, tp_size=tp_size) for rank in range(tp_size)]
    q_b = torch.cat([rank.q_b for rank in ranks])
    assert torch.equal(q_b, tensors[f"{PREFIX}.q_proj.weight"])
    assert torch.equal(ranks[0].qkv_a, tensors[f"{PREFIX}.kv_a_proj_with_mqa.weight"])
    assert ranks[0].q_a_norm is None


def test_norm_bias_and_other_layers(tmp_path):
    # In float32, which the ops do not take them in.
    biases = {"q_a": torch.randn(ODD.q_lora_rank), "kv_a": torch.randn(ODD.kv_lora_rank)}
    tensors = checkpoint_tensors()
    tensors |= {f"{PREFIX}.{name}_layernorm.bias": bias for name, bias in biases.items()}
    save_sharded(tmp_path, tensors | {"model.layers.0.self_attn.o_proj.weight": torch.zeros(1)})
    weights = load(tmp_path)
    assert torch.equal(weights.q_a_norm_bias, biases["q_a"].bfloat16())
    assert torch.equal(weights.kv_a_norm_bias, biases["kv_a"].bfloat16())


def test_dtype_converts(tmp_path):
    tensors = checkpoint_tensors(dtype=torch.float32)
    save_single(tmp_path, tensors)
    weights = load(tmp_path, dtype=torch.float16)
    for field in dataclasses.fields(weights):
        tensor = getattr(weights, field.name)
        assert tensor is None or tensor.dtype == torch.float16
    assert torch.equal(weights.q_b, tensors[f"{PREFIX}.q_b_proj.weight"].half())


def test_weights_outlive_the_files(tmp_path):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    tensors = checkpoint_tensors()
    save_single(directory, tensors)
    weights = load(directory)
    with open(directory / SINGLE, "r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(0)
        file.write(b"\0" * size)
    shutil.rmtree(directory)
    assert torch.equal(weights.o_proj, tensors[f"{PREFIX}.o_proj.weight"])


def test_shards_may_be_links(tmp_path):
    """As in the Hugging Face cache, where a snapshot consists of links to blobs elsewhere."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    tensors = checkpoint_tensors()
    save_sharded(blobs, tensors)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert torch.equal(load(snapshot).q_b, tensors[f"{PREFIX}.q_b_proj.weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tp_size": 3}, "tp: expected a positive divisor of the 4 heads of small, got 3"),
        ({"tp_rank": 2, "tp_size": 2}, "tp_rank: expected 0 <= tp_rank < 2, got 2"),
        ({"tp_rank": -1}, "tp_rank: expected 0 <= tp_rank < 1, got -1"),
        ({"layer": -1}, "layer: expected an index >= 0, got -1"),
        ({"dtype": torch.int8}, "dtype: expected a floating-point dtype, got torch.int8"),
    ],
)
def test_argument_errors(tmp_path, arguments, message):
    save_single(tmp_path, checkpoint_tensors())
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load(tmp_path, **arguments)


def test_missing_directory_and_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="^directory: expected a checkpoint .*absent$"):
        load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=f"expected {INDEX} or {SINGLE}, found neither"):
        load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(FileNotFoundError, match="found neither"):
        load(tmp_path)


@SAVERS
def test_missing_tensor(tmp_path, save):
    tensors = checkpoint_tensors()
    del tensors[f"{PREFIX}.kv_a_layernorm.weight"]
    save(tmp_path, tensors)
    with pytest.raises(ValueError, match=f"tensor {PREFIX}.kv_a_layernorm.weight is missing"):
        load(tmp_path)


@SAVERS
def test_misnamed_tensor_suggests_names(tmp_path, save):
    tensors = checkpoint_tensors()
    tensors[f"{PREFIX}.q_b_project.weight"] = tensors.pop(f"{PREFIX}.q_b_proj.weight")
    save(tmp_path, tensors)
    message = f"tensor {PREFIX}.q_b_proj.weight is missing; similar names: .*"
    with pytest.raises(ValueError, match=f"{message}{PREFIX}.q_b_project.weight"):
        load(tmp_path)


def test_absent_layer_suggests_present_ones(tmp_path):
    save_single(tmp_path, checkpoint_tensors())
    with pytest.raises(
        ValueError, match=r"layers\.4\.self_attn\.\w+\.weight is missing; .*layers\.3"
    ):
        load(tmp_path, layer=4)


@SAVERS
def test_shape_mismatch(tmp_path, save):
    tensors = checkpoint_tensors()
    tensors[f"{PREFIX}.o_proj.weight"] = torch.zeros(48, 55)
    save(tmp_path, tensors)
    message = f"tensor {PREFIX}.o_proj.weight: expected shape [48, 56], got [48, 55]"
    with pytest.raises(ValueError, match=re.escape(message)):
        load(tmp_path, tp_size=2)


def test_rank_mismatch(tmp_path):
    tensors = checkpoint_tensors()
    tensors[f"{PREFIX}.q_a_layernorm.weight"] = torch.zeros(1, 24)
    save_single(tmp_path, tensors)
    with pytest.raises(ValueError, match=r"expected shape \[24\], got \[1, 24\]"):
        load(tmp_path)


def test_projection_bias_is_refused(tmp_path):
    tensors = checkpoint_tensors() | {f"{PREFIX}.q_a_proj.bias": torch.zeros(24)}
    save_single(tmp_path, tensors)
    with pytest.raises(ValueError, match="q_a_proj.bias: expected a projection without bias"):
        load(tmp_path)


def test_index_names_an_absent_shard(tmp_path):
    save_sharded(tmp_path, checkpoint_tensors())
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    message = f"{INDEX}: tensor {PREFIX}.* shard model-00002-of-00003.safetensors does not exist"
    with pytest.raises(FileNotFoundError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("absolute", [False, True])
def test_index_names_a_shard_outside(tmp_path, absolute):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    tensors = checkpoint_tensors()
    save_single(tmp_path, tensors)
    outside = str(tmp_path / SINGLE) if absolute else f"../{SINGLE}"
    write_index(directory, dict.fromkeys(tensors, outside))
    message = f"expected a shard in the directory, got {shown(outside)}"
    with pytest.raises(ValueError, match=f"tensor {PREFIX}.*{re.escape(message)}"):
        load(directory)


def test_index_names_the_wrong_shard(tmp_path):
    tensors = checkpoint_tensors()
    save_single(tmp_path, {"other": torch.zeros(1)})
    write_index(tmp_path, dict.fromkeys(tensors, SINGLE))
    with pytest.raises(ValueError, match=f"{SINGLE}: tensor .* is missing, though the index"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "expected JSON, got: Expecting property name"),
        *(
            (content, "expected a JSON object with a weight_map")
            for content in ("[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}')
        ),
    ],
)
def test_corrupt_index(tmp_path, content, text):
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(ValueError, match=f"{INDEX}: {text}"):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
@SAVERS
def test_corrupt_file(tmp_path, save, keep):
    save(tmp_path, checkpoint_tensors())
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"\.safetensors: corrupt safetensors file: "):
        load(tmp_path)


@pytest.mark.parametrize("sharded", [False, True])
def test_files_of_another_name(tmp_path, sharded):
    """As msmodelslim names them."""
    tensors = checkpoint_tensors()
    if sharded:
        save_sharded(tmp_path, tensors)
        (tmp_path / INDEX).rename(tmp_path / "quant_model_weights.safetensors.index.json")
    else:
        save_single(tmp_path, tensors)
        (tmp_path / SINGLE).rename(tmp_path / "quant_model_weight_w8a8.safetensors")
    assert torch.equal(load(tmp_path).q_b, tensors[f"{PREFIX}.q_b_proj.weight"])


def test_several_files_without_an_index(tmp_path):
    for name in ("b", "a"):
        safetensors_torch.save_file({name: torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    message = "expected one checkpoint, found a.safetensors, b.safetensors$"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_pickle_in_disguise(tmp_path):
    torch.save(checkpoint_tensors(), tmp_path / SINGLE)
    with pytest.raises(ValueError, match="corrupt safetensors file"):
        load(tmp_path)
