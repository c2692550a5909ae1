"""W8A8 arithmetic of the reference, held against arithmetic one element at a time."""

import dataclasses
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ascend_prefetch.lab.reference import (
    dequantise,
    int8_matmul,
    mla_prolog,
    o_proj,
    quantise_dynamic,
    quantise_latent,
    quantise_static,
    relative_error,
    sfa_prolog,
    w8a8_linear,
)
from ascend_prefetch.linear import W8A8Linear
from ascend_prefetch.packing import pack_dequant_scale

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
INT8 = st.integers(-128, 127)


def fp32(value):
    """The float64 `value` rounded to float32; one such rounding per operation is exact."""
    return struct.unpack("f", struct.pack("f", value))[0]


def saturated(value):
    """Half to even, as Python rounds."""
    return max(-128, min(127, round(value)))


def tensor(values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_layer(out, size, static, seed=0):
    """int8 weights and scales that keep activations of unit variance at about that."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-128, 128, (size, out), generator=generator, dtype=torch.int8)
    scale = torch.rand(out, generator=generator) * 0.02 / size**0.5 + 0.001
    if not static:
        return W8A8Linear(weight, scale)
    return W8A8Linear(
        weight,
        scale * 0.03,
        input_scale=tensor([0.03]),
        input_offset=tensor([-5.0]),
        quant_bias=torch.randint(-9999, 9999, (out,), generator=generator, dtype=torch.int32),
    )


# --- activations ---


@given(
    values=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=20),
    scale=st.floats(2**-10, 2, width=32),
    offset=st.one_of(st.none(), INT8),
    dtype=st.sampled_from(DTYPES),
)
def test_static(values, scale, offset, dtype):
    x = tensor(values, dtype)
    offsets = None if offset is None else tensor([float(offset)])
    quantised = quantise_static(x, tensor([scale]), offsets)
    assert quantised.dtype == torch.int8
    reciprocal = fp32(1 / scale)
    expected = [saturated(fp32(fp32(v * reciprocal) + (offset or 0))) for v in x.tolist()]
    assert quantised.tolist() == expected


def test_static_rounds_half_to_even_and_saturates():
    x = tensor([0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 128.0, 1e30, -128.5, -129.5, -1e30])
    expected = [0, 2, 2, 0, -2, 127, 127, 127, -128, -128, -128]
    assert quantise_static(x, tensor([1.0])).tolist() == expected
    assert quantise_static(x[:3], tensor([1.0]), tensor([-4.0])).tolist() == [-4, -2, -2]


@given(
    rows=st.lists(
        st.lists(st.floats(-1e4, 1e4, width=16), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    dtype=st.sampled_from(DTYPES),
)
def test_dynamic(rows, dtype):
    x = tensor(rows, dtype)
    quantised, scales = quantise_dynamic(x)
    assert quantised.dtype == torch.int8
    assert scales.dtype == torch.float32
    for row, values, scale in zip(x.tolist(), quantised.tolist(), scales.tolist(), strict=True):
        largest = max(map(abs, row))
        if largest == 0:
            assert (values, scale) == ([0, 0, 0], 0.0)
            continue
        multiplier = fp32(127 / largest)
        assert values == [saturated(fp32(v * multiplier)) for v in row]
        assert max(map(abs, values)) == 127
        assert scale == fp32(largest / 127)


def test_dynamic_rows_may_have_any_rank():
    x = randn(3, 5, 64, dtype=torch.bfloat16)
    values, scales = quantise_dynamic(x)
    assert values.shape == (3, 5, 64)
    assert scales.shape == (3, 5)
    for token in range(3):
        for head in range(5):
            row_values, row_scale = quantise_dynamic(x[token, head])
            assert torch.equal(values[token, head], row_values)
            assert scales[token, head] == row_scale
    assert [t.shape for t in quantise_dynamic(x[:0])] == [(0, 5, 64), (0, 5)]


def test_dynamic_rows_of_almost_nothing_are_zero():
    """Where 127 / absmax has no float32, as for a row of zeros."""
    x = tensor([[0.0, 0.0], [1e-38, -1e-38], [1e-36, -5e-37]], torch.bfloat16)
    values, scales = quantise_dynamic(x)
    assert values.tolist() == [[0, 0], [0, 0], [127, -64]]
    assert scales[:2].tolist() == [0.0, 0.0]
    assert scales[2].item() == pytest.approx(1e-36 / 127, rel=1e-2)


def test_latent():
    latent = tensor([[0.0, 0.24, 0.26, -0.26, 100.0, -100.0]], torch.float64)
    assert quantise_latent(latent, tensor([0.5])).tolist() == [[0, 0, 1, -1, 127, -128]]


# --- products ---


@given(
    tokens=st.integers(0, 4),
    size=st.integers(1, 40),
    out=st.integers(1, 9),
    seed=st.integers(0, 99),
    bias=st.booleans(),
)
def test_int8_products(tokens, size, out, seed, bias):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-128, 128, (tokens, size), generator=generator, dtype=torch.int8)
    weight = torch.randint(-128, 128, (size, out), generator=generator, dtype=torch.int8)
    biases = torch.randint(-(2**30), 2**30, (out,), generator=generator, dtype=torch.int32)
    sums = int8_matmul(x, weight, biases if bias else None)
    assert sums.dtype == torch.int64
    for t in range(tokens):
        for o in range(out):
            expected = sum(a * b for a, b in zip(x[t].tolist(), weight[:, o].tolist(), strict=True))
            assert sums[t, o].item() == expected + (biases[o].item() if bias else 0)


def test_the_largest_product_is_exact():
    size = 65536
    x = torch.full((1, size), -128, dtype=torch.int8)
    weight = torch.full((size, 2), -128, dtype=torch.int8)
    weight[7, 1] = -127
    assert int8_matmul(x, weight).tolist() == [[2**30, 2**30 - 128]]
    with pytest.raises(ValueError, match="^x: expected sums that int32 can hold$"):
        int8_matmul(x, weight, torch.tensor([2**30, 2**30], dtype=torch.int32))


def test_dequantise():
    sums = torch.tensor([[2**31 - 1, -3], [5, 7]])
    scale = tensor([0.1, 3.0])
    expected = [[(2**31 - 1) * fp32(0.1), -9.0], [5 * fp32(0.1), 21.0]]
    assert dequantise(sums, scale).tolist() == expected
    assert dequantise(sums, pack_dequant_scale(scale)).tolist() == expected
    by_token = dequantise(sums, scale, tensor([0.25, 4.0]))
    assert by_token.tolist() == [[v / 4 for v in expected[0]], [v * 4 for v in expected[1]]]


@pytest.mark.parametrize("static", [True, False])
def test_linear_is_near_the_float_layer_it_stands_for(static):
    layer = random_layer(48, 512, static)
    if static:  # an offset cancels against the bias, as a checkpoint has it
        correction = layer.input_offset * layer.weight.long().sum(0)
        layer = dataclasses.replace(layer, quant_bias=-correction.int())
    x = randn(9, 512, dtype=torch.bfloat16)
    assert layer.float_weight().shape == (48, 512)
    error = relative_error(w8a8_linear(x, layer), x.double() @ layer.float_weight().double().T)
    assert 1e-3 < error < 2e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(8, 4)}, "weight: expected torch.int8, got torch.float32"),
        ({"weight": torch.zeros(9, 4).char()}, r"x: expected shape \[2, 9\], got \[2, 8\]"),
        ({"dequant_scale": torch.ones(5)}, r"dequant_scale: expected shape \[4\], got \[5\]"),
        ({"dequant_scale": torch.ones(4).half()}, "scale: expected float32 or int64, got .*16"),
        ({"input_scale": torch.ones(4)}, r"input_scale: expected shape \[1\], got \[4\]"),
        ({"input_scale": torch.ones(1).half()}, "input_scale: expected torch.float32, got .*16"),
        ({"input_offset": torch.ones(1).char()}, "input_offset: expected torch.float32, got .*8"),
        ({"quant_bias": torch.ones(4)}, "quant_bias: expected torch.int32, got torch.float32"),
        ({"quant_bias": torch.ones(3).int()}, r"quant_bias: expected shape \[4\], got \[3\]"),
    ],
)
def test_linear_rejects(change, message):
    layer = random_layer(4, 8, static=True)
    with pytest.raises(ValueError, match=f"^{message}$"):
        w8a8_linear(randn(2, 8), dataclasses.replace(layer, **change))


# --- whole ops ---

T, HIDDEN, Q_LORA, KV_LORA, HEADS, NOPE, ROPE, VALUE = 5, 64, 32, 48, 3, 16, 8, 24


def prolog_arguments(static, dtype=torch.bfloat16):
    return {
        "hidden_states": randn(T, HIDDEN, dtype=dtype),
        "qkv_a_weight": random_layer(Q_LORA + KV_LORA + ROPE, HIDDEN, static, seed=1),
        "q_a_norm_weight": randn(Q_LORA, seed=2, dtype=dtype),
        "q_b_weight": random_layer(HEADS * (NOPE + ROPE), Q_LORA, static, seed=3),
        "w_uk": randn(HEADS, NOPE, KV_LORA, seed=4, dtype=dtype),
        "kv_a_norm_weight": randn(KV_LORA, seed=5, dtype=dtype),
        "cos": randn(T, ROPE, seed=6),
        "sin": randn(T, ROPE, seed=7),
        "eps": 1e-6,
    }


def with_float_layers(arguments, x_by_layer):
    """The same call with 16-bit layers that give what the W8A8 layers give for these inputs.

    A float64 weight that maps x to its W8A8 result exactly, by least squares.
    """
    result = dict(arguments)
    for name, x in x_by_layer.items():
        y = w8a8_linear(x, arguments[name])
        result[name] = torch.linalg.lstsq(x.double(), y).solution.T
    return result


@pytest.mark.parametrize("static", [True, False])
def test_prolog_feeds_the_rounded_latent(static):
    arguments = prolog_arguments(static)
    output = mla_prolog(**arguments)
    latent = output.q_c.bfloat16()
    inputs = {"qkv_a_weight": arguments["hidden_states"], "q_b_weight": latent}
    floats = with_float_layers(arguments, inputs)
    # A 16-bit layer would take the unrounded latent; given q_c it takes that.
    expected = mla_prolog(**floats, q_c=latent)
    for name in output._fields:
        torch.testing.assert_close(getattr(output, name), getattr(expected, name))


@pytest.mark.parametrize("static", [True, False])
def test_prolog_follows_a_given_latent(static):
    arguments = prolog_arguments(static)
    own = mla_prolog(**arguments)
    assert torch.equal(mla_prolog(**arguments, q_c=own.q_c.bfloat16()).q_nope, own.q_nope)
    other = mla_prolog(**arguments, q_c=2 * own.q_c.bfloat16())
    assert torch.equal(other.q_c, own.q_c)
    assert not torch.equal(other.q_rope, own.q_rope)


def test_prolog_without_a_query_latent_quantises_the_hidden_states_twice():
    arguments = prolog_arguments(static=True)
    arguments["q_a_norm_weight"] = None
    arguments["qkv_a_weight"] = random_layer(KV_LORA + ROPE, HIDDEN, True, seed=1)
    arguments["q_b_weight"] = random_layer(HEADS * (NOPE + ROPE), HIDDEN, True, seed=3)
    output = mla_prolog(**arguments)
    assert output.q_c.shape == (T, 0)
    inputs = dict.fromkeys(("qkv_a_weight", "q_b_weight"), arguments["hidden_states"])
    expected = mla_prolog(**with_float_layers(arguments, inputs))
    torch.testing.assert_close(output.q_nope, expected.q_nope)
    torch.testing.assert_close(output.kv_c, expected.kv_c)


def test_indexer_queries_take_the_same_latent():
    arguments = prolog_arguments(static=False)
    indexer = {
        "indexer_wq_b": random_layer(4 * 32, Q_LORA, True, seed=8),
        "indexer_wk": randn(32, HIDDEN, seed=9),
        "indexer_k_norm_weight": randn(32, seed=10),
        "indexer_k_norm_bias": randn(32, seed=11),
        "indexer_weights_proj": randn(4, HIDDEN, seed=12),
    }
    latent = mla_prolog(**arguments).q_c.bfloat16()
    expected = w8a8_linear(latent, indexer["indexer_wq_b"]).view(T, 4, 32)[..., ROPE:]
    for q_c in (None, latent):
        output = sfa_prolog(**arguments, **indexer, q_c=q_c)
        torch.testing.assert_close(output.indexer.q[..., ROPE:], expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("static", [True, False])
def test_o_proj_quantises_rounded_values(static, dtype):
    layer = random_layer(40, HEADS * VALUE, static)
    latent = randn(T, HEADS, KV_LORA, dtype=dtype)
    w_uv = randn(HEADS, KV_LORA, VALUE, seed=1, dtype=dtype) / 8
    values = torch.einsum("tnk,nkv->tnv", latent.double(), w_uv.double()).flatten(1).to(dtype)
    expected = w8a8_linear(values, layer)
    bias = randn(40, seed=2)
    assert torch.equal(o_proj(latent, layer, w_uv=w_uv), expected)
    assert torch.equal(o_proj(values, layer), expected)
    assert torch.equal(o_proj(values, layer, bias=bias), expected + bias)
