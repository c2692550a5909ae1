"""The indexer of the float64 reference, held against transformers and torch."""

import types

import pytest
import torch
from transformers import DeepseekV32Config, GlmMoeDsaConfig
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Indexer
from transformers.models.glm_moe_dsa.modeling_glm_moe_dsa import GlmMoeDsaIndexer

from ascend_prefetch.lab.reference import (
    indexer,
    layer_norm,
    mla_prolog,
    rope,
    rope_tables,
    sfa_prolog,
)

T, HIDDEN, Q_LORA, HEADS, DIM, ROPE = 7, 40, 24, 8, 32, 12


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def arguments():
    cos, sin = rope_tables(torch.arange(3, 3 + T), ROPE, dtype=torch.float64)
    return {
        "hidden_states": randn(T, HIDDEN, seed=1),
        "q_c": randn(T, Q_LORA, seed=2),
        "wq_b": randn(HEADS * DIM, Q_LORA, seed=3),
        "wk": randn(DIM, HIDDEN, seed=4),
        "k_norm_weight": randn(DIM, seed=5),
        "k_norm_bias": randn(DIM, seed=6),
        "weights_proj": randn(HEADS, HIDDEN, seed=7),
        "cos": cos,
        "sin": sin,
    }


def split_pairs(x):
    """The first ROPE elements from interleaved to half-split order."""
    return torch.cat([x[..., 0:ROPE:2], x[..., 1:ROPE:2], x[..., ROPE:]], dim=-1)


@pytest.mark.parametrize(
    ("config_class", "indexer_class", "interleaved"),
    [(DeepseekV32Config, DeepseekV32Indexer, False), (GlmMoeDsaConfig, GlmMoeDsaIndexer, True)],
)
def test_transformers(config_class, indexer_class, interleaved):
    """The same keys, and the same ranking of the tokens by queries, keys and weights."""
    tensors = arguments()
    config = config_class(
        hidden_size=HIDDEN, q_lora_rank=Q_LORA, qk_rope_head_dim=ROPE,
        index_n_heads=HEADS, index_head_dim=DIM, index_topk=T,
    )  # fmt: skip
    module = indexer_class(config, 0).double()
    with torch.no_grad():
        module.wq_b.weight.copy_(tensors["wq_b"])
        module.wk.weight.copy_(tensors["wk"])
        module.k_norm.weight.copy_(tensors["k_norm_weight"])
        module.k_norm.bias.copy_(tensors["k_norm_bias"])
        module.weights_proj.weight.copy_(tensors["weights_proj"])
    keys = []
    cache = types.SimpleNamespace(update_indexer=lambda k, layer: keys.append(k) or k)
    ranking = module(
        tensors["hidden_states"][None],
        tensors["q_c"][None],
        (tensors["cos"][None], tensors["sin"][None]),
        torch.zeros(1, T, T, dtype=torch.float64),
        torch.arange(T)[None],
        past_key_values=cache,
    )[0]

    output = indexer(**tensors, eps=1e-6, rope_interleaved=interleaved)
    # transformers stores interleaved pairs split, vllm-ascend as they are.
    key = split_pairs(output.k) if interleaved else output.k
    torch.testing.assert_close(key, keys[0][0], rtol=1e-6, atol=1e-6)
    scores = torch.einsum("thd,sd->ths", output.q, output.k).relu()
    scores = torch.einsum("ths,th->ts", scores, output.weights)
    assert torch.equal(scores.argsort(dim=-1, descending=True), ranking.long())


@pytest.mark.parametrize("interleaved", [True, False])
def test_rope_turns_the_first_elements_in_place(interleaved):
    tensors = arguments()
    output = indexer(**tensors, rope_interleaved=interleaved)
    query = (tensors["q_c"] @ tensors["wq_b"].T).view(T, HEADS, DIM)
    torch.testing.assert_close(output.q[..., ROPE:], query[..., ROPE:])
    cos, sin = tensors["cos"], tensors["sin"]
    for pair in range(ROPE // 2):
        i, j = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + ROPE // 2)
        c, s = cos[:, pair, None], sin[:, pair, None]
        first, second = query[..., i], query[..., j]
        torch.testing.assert_close(output.q[..., i], first * c - second * s)
        torch.testing.assert_close(output.q[..., j], second * c + first * s)


def test_kept_pairs_are_the_split_ones_in_another_order():
    x, (cos, sin) = randn(T, ROPE), rope_tables(torch.arange(T), ROPE, dtype=torch.float64)
    kept = rope(x, cos, sin, True, keep_interleaved=True)
    assert torch.equal(split_pairs(kept), rope(x, cos, sin, True))
    assert torch.equal(
        rope(x, cos, sin, False, keep_interleaved=True), rope(x, cos, sin, interleaved=False)
    )


def test_layer_norm():
    x, weight, bias = randn(4, 10), randn(10, seed=1), randn(10, seed=2)
    expected = torch.nn.functional.layer_norm(x, (10,), weight, bias, eps=0.3)
    torch.testing.assert_close(layer_norm(x, weight, bias, 0.3), expected)
    # float32 weights beside bfloat16 activations, as models have them.
    mixed = x.bfloat16(), weight.float(), bias.float()
    expected = layer_norm(*(tensor.double() for tensor in mixed), 0.3)
    assert torch.equal(layer_norm(*mixed, 0.3), expected)


def test_keys_are_normed_before_rope():
    tensors = arguments()
    output = indexer(**tensors, eps=1e-3)
    key = layer_norm(
        tensors["hidden_states"] @ tensors["wk"].T,
        tensors["k_norm_weight"],
        tensors["k_norm_bias"],
        1e-3,
    )
    torch.testing.assert_close(output.k[:, ROPE:], key[:, ROPE:])
    torch.testing.assert_close(
        output.k[:, :ROPE], rope(key[:, :ROPE], tensors["cos"], tensors["sin"], False)
    )
    torch.testing.assert_close(output.weights, tensors["hidden_states"] @ tensors["weights_proj"].T)


def test_one_fused_weight():
    tensors = arguments()
    expected = indexer(**tensors)
    tensors["wk"] = torch.cat([tensors["wk"], tensors.pop("weights_proj")])
    output = indexer(**tensors, weights_proj=None)
    for name in output._fields:
        torch.testing.assert_close(getattr(output, name), getattr(expected, name))


def test_prolog_is_both():
    tensors = arguments()
    mla = {
        "hidden_states": tensors["hidden_states"],
        "qkv_a_weight": randn(Q_LORA + 16 + ROPE, HIDDEN, seed=8),
        "q_a_norm_weight": randn(Q_LORA, seed=9),
        "q_b_weight": randn(2 * (10 + ROPE), Q_LORA, seed=10),
        "w_uk": randn(2, 10, 16, seed=11),
        "kv_a_norm_weight": randn(16, seed=12),
        "cos": tensors["cos"],
        "sin": tensors["sin"],
        "eps": 1e-5,
        "q_a_norm_bias": randn(Q_LORA, seed=13),
    }
    names = ("wq_b", "wk", "k_norm_weight", "k_norm_bias", "weights_proj")
    output = sfa_prolog(
        **mla,
        **{f"indexer_{name}": tensors[name] for name in names},
        indexer_eps=1e-2,
        indexer_rope_interleaved=True,
    )
    expected = mla_prolog(**mla)
    for name in expected._fields:
        assert torch.equal(getattr(output.mla, name), getattr(expected, name))
    behind = indexer(**{**tensors, "q_c": expected.q_c}, eps=1e-2, rope_interleaved=True)
    for name in behind._fields:
        assert torch.equal(getattr(output.indexer, name), getattr(behind, name))
    assert sfa_prolog(**mla).indexer is None


@pytest.mark.parametrize(
    ("argument", "shape", "message"),
    [
        ("q_c", (T, 23), r"q_c: expected shape \[7, 24\], got \[7, 23\]"),
        ("wq_b", (255, Q_LORA), r"wq_b: expected shape \[256, 24\], got \[255, 24\]"),
        ("wk", (DIM, 39), r"wk: expected shape \[32, 40\], got \[32, 39\]"),
        ("k_norm_bias", (31,), r"bias: expected shape \[32\], got \[31\]"),
        ("weights_proj", (7, HIDDEN), r"wq_b: expected shape \[224, 24\], got \[256, 24\]"),
        ("cos", (ROPE,), r"cos: expected 2 dimensions, got shape \[12\]"),
    ],
)
def test_indexer_rejects(argument, shape, message):
    tensors = {**arguments(), argument: torch.zeros(shape)}
    with pytest.raises(ValueError, match=f"^{message}$"):
        indexer(**tensors)
