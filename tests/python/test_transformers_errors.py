"""What ascend_prefetch.transformers refuses, in one line, and its cache layer by itself."""

import importlib
import re
import sys

import pytest
import torch
import transformers
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    DynamicCache,
    EncoderDecoderCache,
    LlamaConfig,
    LlamaModel,
    StaticCache,
)
from transformers.cache_utils import DynamicIndexedLayer
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek_v3

import small_models as small
from ascend_prefetch.models.model_types import INEXPRESSIBLE
from ascend_prefetch.transformers import PagedLatentLayer, patch, unpatch
from ascend_prefetch.transformers.cache import BLOCK_SIZE, paged_layer

IDS = torch.ones(1, 4, dtype=torch.int64)


def small_v3(**changes):
    return small.small_model("deepseek_v3", 0, **{"num_hidden_layers": 1, **changes})


def refused(error, match, model, function=patch):
    with pytest.raises(error, match=match) as raised:
        function(model)
    assert "\n" not in str(raised.value)
    assert all("forward" not in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("function", [patch, unpatch])
def test_other_models(function):
    with torch.device("meta"):
        model = LlamaModel(LlamaConfig(num_hidden_layers=1))
    names = "expected one of DeepseekV2, DeepseekV3, DeepseekV32, .*, KimiLinear, got LlamaModel$"
    refused(TypeError, names, model, function)
    refused(TypeError, "got Linear", torch.nn.Linear(2, 2), function)


@pytest.mark.parametrize(
    "name",
    ["axk2", "bailing_hybrid", "dots3_note", "glm5_next", "hy_v4", "hy_v4_vl", "mistral_large4"],
)
@pytest.mark.parametrize("function", [patch, unpatch])
def test_models_that_the_ops_cannot_express(name, function):
    """By name, with the reason; of a model with several parts that of its language model."""
    if name not in CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    config = AutoConfig.for_model(name)
    reason = INEXPRESSIBLE[config.get_text_config().model_type]
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    match = f"got {type(model).__name__}: not what the ops compute: {re.escape(reason)}$"
    refused(TypeError, match, model, function)


def test_a_rope_part_of_32():
    """MiniCPM3 as it is published."""
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("minicpm3", num_hidden_layers=1))
    model = model.to(torch.bfloat16)
    refused(ValueError, "layer 0: expected qk_rope_head_dim 64, got 32", model)


@torch.no_grad()
def test_tables_of_another_kind():
    """DeepseekV2's are complex numbers, those of the others cosines and sines."""
    hidden, table = torch.zeros(1, 4, 256).bfloat16(), torch.zeros(1, 4, 64).bfloat16()
    attention = patch(small_v3()).model.layers[0].self_attn
    with pytest.raises(TypeError, match=r"expected position_embeddings \(cos, sin\), got none"):
        attention(hidden)
    attention = patch(small.small_model("deepseek_v2", 0)).model.layers[0].self_attn
    for given, name in (((table, table), "tuple"), (table, "a tensor of torch.bfloat16")):
        with pytest.raises(TypeError, match=f"layer 0: expected .* of complex numbers, got {name}"):
            attention(hidden, position_embeddings=given)
    attention = patch(small.small_model("kimi_linear", 0)).model.layers[1].self_attn
    with pytest.raises(TypeError, match="layer 1: expected no position_embeddings, as its model"):
        attention(hidden, (table, table))
    attention = patch(small.small_model("mistral4", 0)).model.layers[0].self_attn
    with pytest.raises(TypeError, match="layer 0: expected position_ids, by which its model"):
        attention(hidden, (table, table))


def test_queries_that_are_scaled_by_nothing():
    model = small.small_model("mistral4", 0)
    model.config.rope_parameters["llama_4_scaling_beta"] = None
    refused(
        ValueError, "expected a number as rope_parameters' llama_4_scaling_beta, .* got None", model
    )


def test_a_class_that_a_release_lacks(monkeypatch):
    model = small_v3()
    monkeypatch.delattr(deepseek_v3, "DeepseekV3RMSNorm")
    refused(TypeError, "expected a class DeepseekV3RMSNorm, which transformers", model)


def test_a_subclass_is_another_model():
    model = small_v3()
    model.model.__class__ = type("MyModel", (type(model.model),), {})
    refused(TypeError, "got DeepseekV3ForCausalLM", model)


def test_dtype():
    message = "layer 0: expected bfloat16 or float16 weights, got o_proj.weight of torch.float32: "
    refused(ValueError, message, small_v3().float())


def test_dtypes_of_parts():
    model = small.small_model("deepseek_v32", 0, num_hidden_layers=1)
    attention = model.model.layers[0].self_attn
    names = [name for name, _ in attention.named_parameters() if name != "o_proj.weight"]
    assert len(names) > 9
    for name in names:
        part = attention.get_submodule(name.rpartition(".")[0])
        converted = "weights_proj" in name or "k_norm" in name
        before = {each.dtype for each in part.parameters()}
        part.to(torch.float16)
        refused(
            ValueError, f"layer 0: expected {name.rpartition('.')[0]}.* got torch.float16", model
        )
        part.to(torch.float32)
        if converted:
            unpatch(patch(model))
        else:
            refused(ValueError, f"layer 0: expected {name} of torch.bf.* got torch.float32", model)
        (dtype,) = before
        part.to(dtype)
    patch(model)


def test_bias():
    refused(ValueError, "expected attention_bias False, got True", small_v3(attention_bias=True))


def test_attention_implementation():
    model = small_v3()
    model.config._attn_implementation = "flex_attention"
    refused(TypeError, "expected attention implementation eager or sdpa, got flex", model)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"qk_rope_head_dim": 32}, "layer 0: expected qk_rope_head_dim 64, got 32"),
        ({"kv_lora_rank": 72}, "layer 0: the ops refuse it: .*a multiple of 64"),
        ({"v_head_dim": 24}, "layer 0: the ops refuse it: .*a positive multiple of 16"),
    ],
)
def test_sizes(changes, match):
    refused(ValueError, match, small_v3(**changes))


def test_layers_that_others_have_changed():
    model = small_v3(num_hidden_layers=2)
    last = model.model.layers[1].self_attn
    last.q_b_proj = torch.nn.Sequential(last.q_b_proj)
    refused(TypeError, "layer 1: expected q_b_proj to be Linear, got Sequential", model)
    model = small_v3()
    model.model.layers[0].self_attn.gate_proj = torch.nn.Linear(2, 2)
    refused(TypeError, "layer 0: got gate_proj, a Linear that is not known", model)
    model = small_v3()
    model.model.layers[0].self_attn.num_key_value_groups = 2
    refused(ValueError, "layer 0: expected as many num_key_value_heads as", model)
    model = small_v3()
    model.model.layers[0].self_attn.kv_a_layernorm.variance_epsilon = 1e-5
    refused(ValueError, "layer 0: expected norms with one epsilon, got", model)
    model = small_v3()
    attention = model.model.layers[0].self_attn
    attention.forward = attention.forward  # what accelerate's hooks do
    with pytest.raises(TypeError, match="expected the forward of its class"):
        patch(model)


def test_gradients():
    model = patch(small_v3())
    with pytest.raises(RuntimeError, match="computes no gradients: call it under torch.no_grad"):
        model(input_ids=IDS)
    # Of the layer's own weights alone.
    model.requires_grad_(False)
    model(input_ids=IDS)
    model.model.layers[0].self_attn.o_proj.weight.requires_grad_(True)
    with pytest.raises(RuntimeError, match="computes no gradients: call it under torch.no_grad"):
        model(input_ids=IDS)


@torch.no_grad()
def test_dropout():
    model = patch(small_v3(attention_dropout=0.5))
    model(input_ids=IDS)
    with pytest.raises(RuntimeError, match="layer 0: expected no dropout of attention, got 0.5"):
        model.train()(input_ids=IDS)


@torch.no_grad()
def test_other_caches():
    model = small_v3()
    static = StaticCache(config=model.config, max_cache_len=8)
    filled = DynamicCache(config=model.config)
    model(input_ids=IDS, **small.caching(filled))
    patch(model)
    with pytest.raises(TypeError, match="expected a DynamicCache, .* got StaticCache"):
        model(input_ids=IDS, **small.caching(static))
    both = EncoderDecoderCache(DynamicCache(), DynamicCache())
    with pytest.raises(TypeError, match="expected a DynamicCache, .* got EncoderDecoderCache$"):
        paged_layer(both, 0)
    offloading = DynamicCache(config=model.config)
    offloading.offloading = True  # the argument of that name makes a stream, which wants a device
    with pytest.raises(TypeError, match="expected a DynamicCache, .* DynamicCache with offloading"):
        paged_layer(offloading, 0)
    with pytest.raises(TypeError, match="expected an empty cache .* DynamicLayer with 4 tokens"):
        model(input_ids=IDS, **small.caching(filled))
    ours = DynamicCache(config=model.config)
    model(input_ids=IDS, **small.caching(ours))
    with pytest.raises(ValueError, match="expected a batch of 1 as before, got 2"):
        model(input_ids=IDS.expand(2, -1), **small.caching(ours))
    unpatch(model)
    with pytest.raises(TypeError, match="filled by a patched model"):
        model(input_ids=IDS, **small.caching(ours))


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (torch.ones(1, 4), r"expected \[B, 1, S, L\] as eager .* got \[1, 4\]"),
        (torch.ones(1, 1, 4, 7), r"expected \[1, 1, 4, 8\] or .* got \[1, 1, 4, 7\]"),
        (torch.ones(1, 2, 4, 8), r"expected \[1, 1, 4, 8\] or .* got \[1, 2, 4, 8\]"),
        (torch.ones(1, 1, 4, 8).long(), "expected bool or a float dtype, got torch.int64"),
    ],
    ids=["rank", "length", "heads", "dtype"],
)
@torch.no_grad()
def test_masks(mask, match):
    """Refused before the cache is written."""
    model = patch(small_v3())
    attention = model.model.layers[0].self_attn
    hidden, table = torch.zeros(1, 4, 256).bfloat16(), torch.zeros(1, 4, 64).bfloat16()
    cache = DynamicCache(config=model.config)
    attention(hidden, (table, table), None, cache=cache)
    with pytest.raises(TypeError, match=match):
        attention(hidden, (table, table), mask, cache=cache)
    assert cache.get_seq_length() == 4


@pytest.mark.parametrize(("batch", "tokens"), [(0, 4), (1, 0), (0, 0)])
@torch.no_grad()
def test_no_tokens(batch, tokens):
    """Refused before the cache is touched."""
    attention = patch(small_v3()).model.layers[0].self_attn
    hidden, table = (
        torch.zeros(batch, tokens, 256).bfloat16(),
        torch.zeros(1, tokens, 64).bfloat16(),
    )
    cache = DynamicCache()
    with pytest.raises(ValueError, match=f"one token, got a batch of {batch} with {tokens} tokens"):
        attention(hidden, (table, table), None, cache=cache)
    assert not cache.layers


@torch.no_grad()
def test_autocast_and_dtype_of_activations():
    attention = patch(small_v3()).model.layers[0].self_attn
    hidden, table = torch.randn(1, 4, 256).bfloat16(), torch.zeros(1, 4, 64).bfloat16()
    cache = DynamicCache()
    match = "layer 0: expected torch.autocast to torch.bfloat16, .* got one to torch.float16"
    with torch.autocast("cpu", torch.float16), pytest.raises(TypeError, match=match):
        attention(hidden, (table, table), None, cache=cache)
    match = "layer 0: expected hidden_states of torch.bfloat16, .* got torch.float32"
    with pytest.raises(TypeError, match=match):
        attention(hidden.float(), (table, table), None, cache=cache)
    assert not cache.layers
    expected = attention(hidden, (table, table), None)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention(hidden, (table, table), None, cache=cache)[0], expected)
    with torch.autocast("cpu", torch.float16, enabled=False):
        attention(hidden, (table, table), None, cache=cache)
    assert cache.get_seq_length() == 8


@pytest.mark.parametrize("missing", ["transformers", "transformers.models.deepseek_v32"])
def test_without_transformers(missing, monkeypatch):
    """None of it, or a release that is too old."""
    for name in list(sys.modules):
        if name.startswith(("ascend_prefetch.transformers", f"{missing}.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError) as raised:
        importlib.import_module("ascend_prefetch.transformers")
    assert str(raised.value) == (
        "ascend_prefetch.transformers needs transformers >= 5.23: "
        "pip install 'ascend-prefetch[transformers]'"
    )


def write(layer, value, tokens, batch=2):
    """Appends rows of one value per sequence and token: value + 100 * sequence + token."""
    caches, slots = layer.reserve(batch, tokens, {"rows": 4, "keys": 2}, torch.empty(0))
    values = value + 100 * torch.arange(batch).unsqueeze(1) + torch.arange(tokens)
    for cache in caches.values():
        cache.flatten(0, 2)[slots] = (
            values.flatten().float().unsqueeze(1).expand(-1, cache.shape[3])
        )
    layer.extend(tokens)


def held(layer, name="rows"):
    rows = layer.rows(name)
    assert torch.equal(rows, rows[..., :1].expand_as(rows))
    return rows[..., 0].tolist()


def test_rows_of_a_layer():
    """Rows stay where they are while blocks are added, and sequences come and go."""
    layer = PagedLatentLayer()
    assert (layer.get_seq_length(), layer.get_mask_sizes(3)) == (0, (3, 0))
    write(layer, 0, 3)
    assert held(layer) == held(layer, "keys") == [[0, 1, 2], [100, 101, 102]]
    assert layer.get_mask_sizes(2) == (5, 0)
    write(layer, 3, 2 * BLOCK_SIZE)
    length = 3 + 2 * BLOCK_SIZE
    assert held(layer) == [list(range(length)), list(range(100, 100 + length))]
    layer.crop(3 - length)
    write(layer, 7, 1)
    assert held(layer) == [[0, 1, 2, 7], [100, 101, 102, 107]]
    layer.reorder_cache(torch.tensor([1, 1]))
    assert held(layer, "keys") == [[100, 101, 102, 107]] * 2
    layer.batch_repeat_interleave(2)
    write(layer, 0, 1, batch=4)
    assert [row[-1] for row in held(layer)] == [0, 100, 200, 300]
    layer.batch_select_indices(torch.tensor([3, 0]))
    assert held(layer) == [[100, 101, 102, 107, 300], [100, 101, 102, 107, 0]]
    layer.reset()
    assert layer.get_seq_length() == 0
    write(layer, 5, 1, batch=1)
    assert held(layer) == [[5]]


def dynamic_layer(tokens):
    layer = DynamicIndexedLayer()
    layer.update(torch.zeros(2, 1, tokens, 4), torch.zeros(2, 1, tokens, 4))
    layer.update_indexer(torch.zeros(2, tokens, 4))
    return layer


@pytest.mark.parametrize("tokens", range(-7, 8))
def test_crop(tokens):
    """As transformers' own layer: beyond what there is, and with an argument that it refuses."""
    ours, theirs = PagedLatentLayer(), dynamic_layer(5)
    write(ours, 0, 5)
    outcomes = []
    for layer in (ours, theirs):
        try:
            outcomes.append(layer.crop(tokens))
        except ValueError as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1] == (ValueError if tokens > 0 else None)
    assert ours.get_seq_length() == theirs.get_seq_length()
    assert PagedLatentLayer().crop(-1) is None
    write(ours, 7, 1)
    assert held(ours)[1][-1] == 107


def test_layers_of_a_cache():
    cache = DynamicCache()
    layer = paged_layer(cache, 1)
    assert [type(each) for each in cache.layers] == [PagedLatentLayer] * 2
    assert paged_layer(cache, 1) is layer
    assert paged_layer(None, 0) is not paged_layer(None, 0)
    with pytest.raises(TypeError, match="paged caches stay on their device"):
        layer.offload()
    with pytest.raises(TypeError, match="paged caches stay on their device"):
        layer.prefetch()
    with pytest.raises(TypeError, match="filled by a patched model"):
        cache.update_indexer(torch.zeros(1, 1, 4), 1)
