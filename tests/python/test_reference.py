"""The float64 reference, held against transformers' implementation of DeepSeek-V3."""

import math

import pytest
import torch
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek_v3

import transformers_mla as hf
from ascend_prefetch.lab.reference import (
    attention,
    mla_prolog,
    o_proj,
    read_paged_cache,
    relative_error,
    rms_norm,
    rope,
    rope_tables,
    value_up_projection,
    write_paged_cache,
)
from ascend_prefetch.models import ModelDimensions, get_model, load_mla_weights
from ascend_prefetch.packing import nz_to_nd

SMALL = {
    "hidden_size": 80,
    "num_attention_heads": 3,
    "q_lora_rank": 48,
    "kv_lora_rank": 40,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
}


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def run_reference(dims, weights, hidden_states, cos, sin):
    """Hidden states to o_proj's result over one causal sequence."""
    prolog = run_prolog(dims, weights, hidden_states, cos, sin)
    latent = attention(
        prolog.q_nope,
        prolog.q_rope,
        prolog.kv_c,
        prolog.k_rope,
        scale=dims.qk_head_dim**-0.5,
        causal=True,
    )
    return o_proj(latent, weights.o_proj, w_uv=weights.w_uv)


def run_prolog(dims, weights, hidden_states, cos, sin):
    return mla_prolog(
        hidden_states,
        weights.qkv_a,
        weights.q_a_norm,
        weights.q_b,
        weights.w_uk,
        weights.kv_a_norm,
        cos,
        sin,
        eps=dims.rms_norm_eps,
        rope_interleaved=dims.rope_interleaved,
        q_a_norm_bias=weights.q_a_norm_bias,
        kv_a_norm_bias=weights.kv_a_norm_bias,
    )


# --- against transformers ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_attention_heads": 1},
        {"num_attention_heads": 5, "v_head_dim": 8},
        {"q_lora_rank": None},
        {"rope_interleave": False},
        {"hidden_size": 36, "kv_lora_rank": 64},
    ],
)
def test_small_models(tmp_path, changes):
    hf.save_checkpoint(hf.one_layer_config(**{**SMALL, **changes}), tmp_path, torch.float64)
    dims = ModelDimensions.from_hf_config(tmp_path)
    weights = load_mla_weights(tmp_path, dims, layer=0, tp_rank=0, tp_size=1)
    module = hf.load_attention(tmp_path, torch.float64)
    hidden_states = randn(7, dims.hidden_size)
    cos, sin = hf.position_embeddings(module.config, 7, torch.float64)

    output = run_reference(dims, weights, hidden_states, cos, sin)
    assert output.dtype == torch.float64
    # transformers computes its norms in float32, whatever the dtype of the model.
    assert relative_error(output, hf.attention_output(module, hidden_states, cos, sin)) < 1e-6


@pytest.mark.parametrize("tp_size", [2, 3, 6])
def test_partial_sums_of_ranks(tmp_path, tp_size):
    config = hf.one_layer_config(**{**SMALL, "num_attention_heads": 6})
    hf.save_checkpoint(config, tmp_path, torch.float64, max_shard_size="20KB")
    dims = ModelDimensions.from_hf_config(tmp_path)
    module = hf.load_attention(tmp_path, torch.float64)
    hidden_states = randn(5, dims.hidden_size)
    cos, sin = hf.position_embeddings(module.config, 5, torch.float64)

    output = sum(
        run_reference(
            dims, load_mla_weights(tmp_path, dims, 0, rank, tp_size), hidden_states, cos, sin
        )
        for rank in range(tp_size)
    )
    assert relative_error(output, hf.attention_output(module, hidden_states, cos, sin)) < 1e-6


def test_deepseek_v3(deepseek_v3_checkpoint):
    dims = get_model("deepseek-v3")
    weights = load_mla_weights(deepseek_v3_checkpoint, dims, layer=0, tp_rank=0, tp_size=1)
    assert weights.o_proj.dtype == torch.bfloat16
    # The model's weights are bf16; float32 keeps them exact and rounding out of the comparison.
    module = hf.load_attention(deepseek_v3_checkpoint, torch.float32)
    hidden_states = randn(6, dims.hidden_size, dtype=torch.bfloat16)
    cos, sin = rope_tables(torch.arange(6), dims.qk_rope_head_dim)

    output = run_reference(dims, weights, hidden_states, cos, sin)
    expected = hf.attention_output(
        module, hidden_states.float(), *hf.position_embeddings(module.config, 6, torch.float32)
    )
    assert relative_error(expected, output) < 5e-6


@pytest.mark.parametrize("interleaved", [True, False])
def test_rope_of_queries_and_keys(interleaved):
    cos, sin = rope_tables(torch.tensor([0, 3, 1000]), 12, dtype=torch.float64)
    query, key = randn(3, 5, 12), randn(3, 12, seed=1)
    name = "apply_rotary_pos_emb_interleave" if interleaved else "apply_rotary_pos_emb"
    expected_query, expected_key = getattr(deepseek_v3, name)(
        query.transpose(0, 1)[None], key[None, None], cos[None], sin[None]
    )
    torch.testing.assert_close(
        rope(query, cos, sin, interleaved), expected_query[0].transpose(0, 1)
    )
    torch.testing.assert_close(rope(key, cos, sin, interleaved), expected_key[0, 0])


def test_rope_tables_of_transformers():
    expected = hf.position_embeddings(hf.one_layer_config(**SMALL), 50, torch.float32)
    tables = rope_tables(torch.arange(50), SMALL["qk_rope_head_dim"])
    for table, expected_table in zip(tables, expected, strict=True):
        assert table.dtype == torch.float32
        # transformers computes its angles in float32.
        torch.testing.assert_close(table, expected_table, rtol=0, atol=5e-6)


# --- by hand ---


def test_rms_norm():
    x, weight, bias = randn(4, 10), randn(10, seed=1), randn(10, seed=2)
    expected = torch.nn.functional.rms_norm(x, (10,), weight, eps=0.3)
    torch.testing.assert_close(rms_norm(x, weight, 0.3), expected)
    torch.testing.assert_close(rms_norm(x, weight, 0.3, bias), expected + bias)
    assert rms_norm(x.bfloat16(), weight.bfloat16(), 0.3).dtype == torch.float64


def test_rope_by_hand():
    angles = torch.tensor([[0.5, 2.0, 0.5, 2.0]], dtype=torch.float64)
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    c, s, c2, s2 = math.cos(0.5), math.sin(0.5), math.cos(2.0), math.sin(2.0)
    # The pairs are (1, 2) and (3, 4) if interleaved, (1, 3) and (2, 4) if not.
    interleaved = [[c - 2 * s, 3 * c2 - 4 * s2, 2 * c + s, 4 * c2 + 3 * s2]]
    half_split = [[c - 3 * s, 2 * c2 - 4 * s2, 3 * c + s, 4 * c2 + 2 * s2]]
    for flag, expected in ((True, interleaved), (False, half_split)):
        rotated = rope(x, angles.cos(), angles.sin(), flag)
        torch.testing.assert_close(rotated, torch.tensor(expected, dtype=torch.float64))


def test_rope_uses_both_halves_of_the_tables():
    cos = torch.tensor([[1.0, 2.0]])
    sin = torch.tensor([[3.0, 4.0]])
    rotated = rope(torch.tensor([[10.0, 100.0]]), cos, sin, True)
    assert rotated.tolist() == [[10.0 - 300.0, 200.0 + 40.0]]


def test_rope_tables_by_hand():
    cos, sin = rope_tables(torch.tensor([0, 2]), 4, theta=100.0, dtype=torch.float64)
    angles = torch.tensor([[0, 0, 0, 0], [2, 0.2, 2, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(cos, angles.cos())
    torch.testing.assert_close(sin, angles.sin())


def test_prolog_stores_normed_latents_and_adds_the_biases():
    tokens, hidden, q_lora, kv_lora, heads, nope, rope_dim = 3, 20, 8, 6, 2, 5, 4
    hidden_states = randn(tokens, hidden)
    qkv_a = randn(q_lora + kv_lora + rope_dim, hidden, seed=1)
    q_b = randn(heads * (nope + rope_dim), q_lora, seed=2)
    w_uk = randn(heads, nope, kv_lora, seed=3)
    q_norm, kv_norm = randn(q_lora, seed=4), randn(kv_lora, seed=5)
    q_bias, kv_bias = randn(q_lora, seed=6), randn(kv_lora, seed=7)
    cos, sin = rope_tables(torch.arange(tokens), rope_dim, dtype=torch.float64)

    arguments = (hidden_states, qkv_a, q_norm, q_b, w_uk, kv_norm, cos, sin)
    biases = {"q_a_norm_bias": q_bias, "kv_a_norm_bias": kv_bias}
    output = mla_prolog(*arguments, eps=0.1, **biases)
    qkv = hidden_states @ qkv_a.T
    q_c = rms_norm(qkv[:, :8], q_norm, 0.1) + q_bias
    torch.testing.assert_close(output.q_c, q_c)
    torch.testing.assert_close(output.kv_c, rms_norm(qkv[:, 8:14], kv_norm, 0.1) + kv_bias)
    torch.testing.assert_close(output.k_rope, rope(qkv[:, 14:], cos, sin, True))
    query = (q_c @ q_b.T).view(tokens, heads, nope + rope_dim)
    for head in range(heads):
        torch.testing.assert_close(output.q_nope[:, head], query[:, head, :nope] @ w_uk[head])
    torch.testing.assert_close(output.q_rope, rope(query[..., nope:], cos, sin, True))


def test_attention_is_softmax_attention():
    query, key, value_dim = randn(4, 3, 10), randn(9, 10, seed=1), 6
    latent = attention(
        query[..., :value_dim], query[..., value_dim:], key[:, :value_dim], key[:, value_dim:],
        scale=0.4, causal=False,
    )  # fmt: skip
    expected = torch.nn.functional.scaled_dot_product_attention(
        query.transpose(0, 1), key.expand(3, -1, -1), key[:, :value_dim].expand(3, -1, -1),
        scale=0.4,
    )  # fmt: skip
    torch.testing.assert_close(latent, expected.transpose(0, 1))


def test_causal_attention_is_decoding_token_by_token():
    q_nope, q_rope = randn(5, 2, 6), randn(5, 2, 4, seed=1)
    kv_c, k_rope = randn(8, 6, seed=2), randn(8, 4, seed=3)
    together = attention(q_nope, q_rope, kv_c, k_rope, 0.3, causal=True)
    for token in range(5):
        seen = slice(0, 8 - 5 + token + 1)
        one = slice(token, token + 1)
        alone = attention(q_nope[one], q_rope[one], kv_c[seen], k_rope[seen], 0.3, causal=False)
        torch.testing.assert_close(together[one], alone)


def test_o_proj():
    latent, w_uv, weight, bias = (
        randn(4, 2, 5), randn(2, 5, 3, seed=1), randn(9, 6, seed=2), randn(9, seed=3)
    )  # fmt: skip
    values = torch.cat([latent[:, head] @ w_uv[head] for head in range(2)], dim=1)
    torch.testing.assert_close(value_up_projection(latent, w_uv), values)
    torch.testing.assert_close(o_proj(latent, weight, w_uv=w_uv), values @ weight.T)
    torch.testing.assert_close(o_proj(values, weight, bias=bias), values @ weight.T + bias)


def test_paged_cache():
    cache = torch.full((3, 4, 1, 2), -7.0)
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
    write_paged_cache(cache, rows, torch.tensor([9, -1, 0], dtype=torch.int32))
    expected = torch.full((3, 4, 1, 2), -7.0)
    expected[2, 1, 0] = torch.tensor([1.0, 2.0])
    expected[0, 0, 0] = torch.tensor([5.0, 6.0])
    assert torch.equal(cache, expected)


def test_paged_cache_with_holes_between_blocks():
    storage = torch.full((3, 10), -7.0, dtype=torch.bfloat16)
    cache = storage.as_strided((3, 4, 1, 2), (10, 2, 2, 1))
    write_paged_cache(cache, torch.full((12, 2), 1.0 / 3.0), torch.arange(12))
    assert (storage[:, :8] == torch.tensor(1.0 / 3.0, dtype=torch.bfloat16)).all()
    assert (storage[:, 8:] == -7.0).all()


@pytest.mark.parametrize("slot", [-2, 12])
def test_paged_cache_is_untouched_after_an_error(slot):
    cache = torch.zeros(3, 4, 1, 2)
    message = f"^slot_mapping: expected slots from -1 to 11, got {slot}$"
    with pytest.raises(ValueError, match=message):
        write_paged_cache(cache, torch.ones(2, 2), torch.tensor([1, slot]))
    assert not cache.any()


def test_paged_cache_layouts():
    """Row-major, joint and FRACTAL_NZ caches hold the same rows; int8 has wider strips."""
    slots = torch.tensor([9, -1, 0, 14])
    for dtype, width in ((torch.bfloat16, 16), (torch.int8, 32)):
        rows = torch.arange(4 * 96).remainder(100).view(4, 96).to(dtype)
        dense = torch.zeros(3, 5, 1, 96, dtype=dtype)
        nz = torch.zeros(3, 96 // width, 5, width, dtype=dtype)
        for cache in (dense, nz):
            write_paged_cache(cache, rows, slots)
            assert torch.equal(read_paged_cache(cache, slots), rows[slots >= 0])
        for block in range(3):
            assert torch.equal(nz_to_nd(nz[block]), dense[block, :, 0])
        assert dense.count_nonzero() == rows[slots >= 0].count_nonzero()
    with pytest.raises(ValueError, match="^rows: expected torch.int8 for an int8 cache, got .*32$"):
        write_paged_cache(dense, rows.float(), slots)
    with pytest.raises(ValueError, match=r"^cache: expected shape \[3, 5, 1, 96\], got "):
        read_paged_cache(torch.zeros(3, 5, 2, 96), slots)


T, H, Q, K, N, D, R = 3, 20, 8, 6, 2, 5, 4
SHAPES = {
    "hidden_states": (T, H),
    "qkv_a_weight": (Q + K + R, H),
    "q_a_norm_weight": (Q,),
    "q_b_weight": (N * (D + R), Q),
    "w_uk": (N, D, K),
    "kv_a_norm_weight": (K,),
    "cos": (T, R),
    "sin": (T, R),
}


@pytest.mark.parametrize(
    ("argument", "shape", "message"),
    [
        ("hidden_states", (H,), r"hidden_states: expected 2 dimensions, got shape \[20\]"),
        ("qkv_a_weight", (H, 18), r"qkv_a_weight: expected shape \[18, 20\], got \[20, 18\]"),
        ("q_a_norm_weight", (1, Q), r"weight: expected shape \[8\], got \[1, 8\]"),
        ("q_b_weight", (18, 9), r"q_b_weight: expected shape \[18, 8\], got \[18, 9\]"),
        ("w_uk", (N * D, K), r"w_uk: expected 3 dimensions, got shape \[10, 6\]"),
        ("kv_a_norm_weight", (5,), r"weight: expected shape \[6\], got \[5\]"),
        ("cos", (R,), r"cos: expected 2 dimensions, got shape \[4\]"),
        ("sin", (T, R + 2), r"sin: expected shape \[3, 4\], got \[3, 6\]"),
    ],
)
def test_prolog_rejects(argument, shape, message):
    arguments = {name: torch.zeros(s) for name, s in SHAPES.items()}
    arguments[argument] = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"^{message}$"):
        mla_prolog(**arguments, eps=1e-6)


@pytest.mark.parametrize(("name", "size"), [("q_a_norm_bias", Q), ("kv_a_norm_bias", K)])
def test_prolog_rejects_biases(name, size):
    arguments = {name: torch.zeros(s) for name, s in SHAPES.items()}
    arguments[name] = torch.zeros(1, size)
    message = rf"bias: expected shape \[{size}\], got \[1, {size}\]"
    with pytest.raises(ValueError, match=f"^{message}$"):
        mla_prolog(**arguments, eps=1e-6)


def test_other_shape_errors():
    with pytest.raises(ValueError, match="^dim: expected a positive even number, got 3$"):
        rope_tables(torch.arange(2), 3)
    with pytest.raises(ValueError, match=r"^positions: expected shape \[T\], got \[1, 2\]$"):
        rope_tables(torch.zeros(1, 2), 4)
    with pytest.raises(ValueError, match=r"^x: expected .* even rope, got shape \[2, 3\]$"):
        rope(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3), True)
    with pytest.raises(ValueError, match=r"^actual: expected shape \[3\], got \[1, 3\]$"):
        relative_error(torch.zeros(1, 3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"^rows: expected shape \[2, 8\], got \[3, 8\]$"):
        write_paged_cache(torch.zeros(1, 16, 1, 8), torch.zeros(3, 8), torch.zeros(2).long())
    with pytest.raises(ValueError, match="^kv_c_rows: expected at least 4 rows .*, got 3$"):
        attention(randn(4, 1, 2), randn(4, 1, 2), randn(3, 2), randn(3, 2), 1.0, causal=True)
    with pytest.raises(ValueError, match=r"^o_proj_weight: expected shape \[9, 6\], got \[9, 7\]$"):
        o_proj(torch.zeros(4, 2, 5), torch.zeros(9, 7), w_uv=torch.zeros(2, 5, 3))
    with pytest.raises(
        ValueError, match=r"^attn_output: expected 2 dimensions, got .*\[4, 2, 5\]$"
    ):
        o_proj(torch.zeros(4, 2, 5), torch.zeros(9, 10))
    with pytest.raises(ValueError, match=r"^bias: expected shape \[9\], got \[8\]$"):
        o_proj(torch.zeros(4, 6), torch.zeros(9, 6), bias=torch.zeros(8))
