"""No tensor of an attention module is dropped: it is read, changes nothing, or is refused."""

import dataclasses
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from ascend_prefetch.lab import reference
from ascend_prefetch.models import load_indexer_weights, load_mla_weights
from attention_checkpoint import SMALL, save_attention
from mla_cases import SEED

DENSE = dataclasses.replace(SMALL, indexer=None)
PREFIX = "model.layers.0.self_attn"


def save(directory, extra, quant="none", dims=SMALL, module=""):
    """A checkpoint with `extra` tensors, by their names in the module."""
    save_attention(directory, dims, quant, SEED)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    if module:
        tensors = {
            name.replace(PREFIX, f"{PREFIX}.{module}"): tensor for name, tensor in tensors.items()
        }
    save_file(tensors | {f"{PREFIX}.{name}": tensor for name, tensor in extra.items()}, path)


def load(directory, dims=SMALL, **options):
    return load_mla_weights(directory, dims, 0, 0, 1, **options)


def refuses(loader, name, reason):
    message = (
        f"tensor {PREFIX}.{name}: {reason}; to leave it out all the same, name it in `ignored`: "
        f"{name!r}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loader()


BIAS = "expected a projection without bias"
GATE = "a gate: no op has one"
NORM = "of a norm that no op has"
SCALES = "belongs to a quantised weight, and the weight beside it is not one"


@pytest.mark.parametrize("quant", ["none", "w8a8", "w8a8_dynamic"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((f"{projection}.bias", BIAS) for projection in (
            "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"
        )),
        ("q_proj.bias", BIAS),
        ("g_proj.weight", GATE),
        ("gate_proj.weight", GATE),
        ("attn_gate.weight", GATE),
        ("q_norm.weight", NORM),
        ("k_rope_only_layernorm.weight", NORM),
        ("kv_b_proj.weight_scale", SCALES),
        ("kv_b_proj.weight_scale_inv", SCALES),
        ("q_b_proj.lora_A.default.weight", "an adapter: expected it merged into the weights"),
        ("sinks", "attention sinks, which the softmax has to add"),
        ("mystery", "nothing here reads it, and it may change what attention computes"),
    ],
)  # fmt: skip
def test_refused(tmp_path, quant, name, reason):
    save(tmp_path, {name: torch.ones(2)}, quant)
    refuses(lambda: load(tmp_path), name, reason)
    for known_as in (name, f"{PREFIX}.{name}"):
        assert load(tmp_path, ignored=[known_as]).w_uk.shape == (2, 64, 64)
    # Nor is it the indexer's business.
    assert load_indexer_weights(tmp_path, SMALL, 0) is not None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("indexer.wq_b.bias", BIAS),
        ("indexer.wk.bias", BIAS),
        ("indexer.weights_proj.bias", BIAS),
        ("indexer.q_norm.weight", NORM),
        ("indexer.wk.weight_scale_inv", SCALES),
        ("indexer.q_rot", "a rotation of the indexer's queries and keys: no op has one"),
        ("indexer.k_rot", "a rotation of the indexer's queries and keys: no op has one"),
    ],
)
@pytest.mark.parametrize("quant", ["none", "w8a8", "w8a8_dynamic"])
def test_refused_of_an_indexer(tmp_path, quant, name, reason):
    save(tmp_path, {name: torch.ones(2)}, quant)
    refuses(lambda: load_indexer_weights(tmp_path, SMALL, 0), name, reason)
    for known_as in (name, f"{PREFIX}.{name}"):
        assert load_indexer_weights(tmp_path, SMALL, 0, ignored=[known_as]) is not None
    assert load(tmp_path) is not None


def test_an_indexer_that_the_dimensions_do_not_have(tmp_path):
    save(tmp_path, {})
    message = r"indexer\.k_norm\.bias \(and 4 more\): expected a layer without an indexer, as the"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, DENSE)


@pytest.mark.parametrize(
    "name",
    [
        "rotary_emb.inv_freq",
        "fa_q.scale",
        "fa_v.offset",
        "attn.k_scale",
        "k_proj.kv_cache_scale",
        "kv_scale",
    ],
)
def test_what_changes_nothing_is_left_out(tmp_path, name):
    save(tmp_path, {})
    without = load(tmp_path)
    save(tmp_path, {name: torch.ones(2)})
    for field, value in dataclasses.asdict(load(tmp_path)).items():
        other = getattr(without, field)
        assert value is None and other is None or torch.equal(value, other)


def test_other_layers_may_have_anything(tmp_path):
    save(tmp_path, {})
    path = tmp_path / "model.safetensors"
    others = {"model.layers.01.self_attn.mystery": torch.ones(1), f"{PREFIX}x.bias": torch.ones(1)}
    save_file(load_file(path) | others, path)
    assert load(tmp_path) is not None


def test_quantised_for_prefill_too(tmp_path):
    """W8A8_MIX has the scales of both; its decode half is what is read."""
    save(tmp_path, {}, "w8a8")
    alone = load(tmp_path)
    extra = {}
    for name, size in (("q_a_proj", 64), ("kv_a_proj_with_mqa", 128), ("q_b_proj", 256)):
        extra[f"{name}.weight_scale"] = torch.ones(size, 1)
        extra[f"{name}.weight_offset"] = torch.zeros(size, 1)
    save(tmp_path, extra, "w8a8")
    mixed = load(tmp_path)
    assert torch.equal(mixed.qkv_a.dequant_scale, alone.qkv_a.dequant_scale)
    assert torch.equal(mixed.q_b.weight, alone.q_b.weight)
    extra["q_b_proj.weight_offset"][3] = 1
    save(tmp_path, extra, "w8a8")
    with pytest.raises(ValueError, match="q_b_proj.weight_offset: expected zeros, as weights are"):
        load(tmp_path)


def test_a_rank_without_quant_bias_leaves_it_to_the_first(tmp_path):
    save(tmp_path, {}, "w8a8")
    assert load_mla_weights(tmp_path, SMALL, 0, 1, 2).o_proj.quant_bias is None


def test_beside_the_attentions_of_a_layer(tmp_path):
    """LongCat's names: what belongs to the other attention is its own, what to none is refused."""
    dims = dataclasses.replace(DENSE, attentions_per_layer=2)
    save(tmp_path, {"1.q_a_proj.bias": torch.ones(2)}, dims=dims, module="0")
    assert load(tmp_path, dims) is not None
    for name in ("gate.weight", "2.o_proj.weight", "10.o_proj.weight"):
        save(tmp_path, {name: torch.ones(2)}, dims=dims, module="0")
        with pytest.raises(ValueError, match=rf"^tensor {PREFIX}\.{name}: "):
            load(tmp_path, dims)
        for known_as in (name, f"{PREFIX}.{name}"):
            assert load(tmp_path, dims, ignored=[known_as]) is not None
    save(tmp_path, {"0.q_a_proj.bias": torch.ones(2)}, dims=dims, module="0")
    with pytest.raises(ValueError, match=rf"^tensor {PREFIX}\.0\.q_a_proj\.bias: {BIAS}"):
        load(tmp_path, dims)


@pytest.mark.parametrize("loader", [load, lambda *args, **options: load_indexer_weights(
    *args, SMALL, 0, **options)])  # fmt: skip
def test_ignored_names(tmp_path, loader):
    save(tmp_path, {"q_proj.bias": torch.ones(2), "indexer.wk.bias": torch.ones(2)})
    both = ("q_proj.bias", f"{PREFIX}.indexer.wk.bias")
    assert loader(tmp_path, ignored=both) is not None
    for wrong in ("q_proj.bias", b"q_proj.bias", None, 5, iter(both)):
        with pytest.raises(ValueError, match="^ignored: expected a list of tensors' names, got "):
            loader(tmp_path, ignored=wrong)
    with pytest.raises(ValueError, match="^ignored: expected tensors' names, got 5$"):
        loader(tmp_path, ignored=[*both, 5])
    for wrong in ("q_proj.biass", "bias", "", f"{PREFIX}.q_prj.bias", "model.norm.weight"):
        with pytest.raises(ValueError, match=f"^ignored: .*got {wrong!r}, which no layer has$"):
            loader(tmp_path, ignored=[*both, wrong])
    # One list does for all layers, and what another layer has is refused of this one all the same.
    path = tmp_path / "model.safetensors"
    others = {"model.layers.7.self_attn.o_proj.bias": torch.ones(2)}
    save_file(load_file(path) | others, path)
    for name in ("o_proj.bias", *others):
        assert loader(tmp_path, ignored=[*both, name]) is not None
    with pytest.raises(ValueError, match=r"_proj\.bias|wk\.bias"):
        loader(tmp_path, ignored=list(others))


@pytest.mark.parametrize("wrong", [True, 1.0, "1", None])
def test_layers_and_ranks_are_whole_numbers(tmp_path, wrong):
    save(tmp_path, {})
    for name in ("layer", "tp_rank", "tp_size"):
        message = f"^{name}: expected a whole number, got {wrong!r}$"
        with pytest.raises(ValueError, match=message):
            load_mla_weights(
                tmp_path, SMALL, **({"layer": 0, "tp_rank": 0, "tp_size": 1} | {name: wrong})
            )
    with pytest.raises(ValueError, match=f"^layer: expected a whole number, got {wrong!r}$"):
        load_indexer_weights(tmp_path, SMALL, wrong)


def test_names_of_a_damaged_file(tmp_path):
    """One line, whatever the file calls its tensors."""
    save(tmp_path, {"a\nb": torch.ones(1), "z" * 1000: torch.ones(1)})
    with pytest.raises(ValueError) as error:
        load(tmp_path)
    assert "\n" not in str(error.value) and r"a\nb" in str(error.value)
    with pytest.raises(ValueError) as error:
        load(tmp_path, ignored=["a\nb"])
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("quant", ["none", "w8a8", "w8a8_dynamic"])
def test_biases_of_the_latent_norms_are_applied(tmp_path, quant):
    """Held against float64: what the op leaves in the cache and returns as the query latent."""
    generator = torch.Generator().manual_seed(SEED + 1)
    biases = {
        name: torch.empty(64, dtype=torch.bfloat16).normal_(generator=generator)
        for name in ("q_a_layernorm.bias", "kv_a_layernorm.bias")
    }
    save(tmp_path, biases, quant)
    weights = load(tmp_path)
    x = torch.empty(3, 64, dtype=torch.bfloat16).normal_(generator=generator)
    cos, sin = reference.rope_tables(torch.arange(3), 64)
    caches = [torch.full((1, 8, 1, 64), float("nan"), dtype=torch.bfloat16) for _ in range(2)]
    _, _, q_c, _ = torch.ops.ascend_prefetch.mla_prolog(
        **weights.prolog_arguments(),
        hidden_states=x,
        cos=cos.float(),
        sin=sin.float(),
        slot_mapping=torch.arange(3),
        kv_cache=caches[0],
        rope_cache=caches[1],
    )
    if quant == "none":
        product = x.double() @ weights.qkv_a.double().T
    else:
        product = reference.w8a8_linear(x, weights.qkv_a).double()
    for got, latent, norm, name in (
        (q_c, product[:, :64], weights.q_a_norm, "q_a_layernorm.bias"),
        (caches[0].view(-1, 64)[:3], product[:, 64:128], weights.kv_a_norm, "kv_a_layernorm.bias"),
    ):
        normed = latent * torch.rsqrt(latent.square().mean(-1, keepdim=True) + 1e-6)
        expected = normed * norm.double() + biases[name].double()
        assert reference.relative_error(got, expected) < 4e-3
