"""W8A8 arithmetic, and W8A8 layers of o_proj: exact sums, results within an ulp of float64.

o_proj without W_UV is nothing but the layer. test_w8a8_prolog.py has the layers of the prologs.
"""

from dataclasses import replace

import pytest
import torch

from ascend_prefetch import ops
from ascend_prefetch.lab import reference, twin
from ascend_prefetch.linear import W8A8Linear
from ascend_prefetch.packing import nd_to_nz, pack_dequant_scale
from mla_cases import (
    CHIPS,
    DTYPES,
    SEED,
    case_id,
    check_bits_depend_on_inputs_alone,
    same_bits,
)
from o_proj_cases import (
    OProjCase,
    OProjInputs,
    check_output,
    dequantised_output,
    expected_output,
    model_case,
    run,
)
from w8a8_cases import ALL_W8A8, DYNAMIC, STATIC, check_dequantised, random_w8a8

pytestmark = pytest.mark.usefixtures("device")

BOTH = [STATIC, DYNAMIC]
# At and around the edges of fractals (16), blocks of 48 vector cores and tiles (128).
TOKENS = (1, 2, 15, 16, 17, 47, 48, 49, 128, 129, 300)


# --- o_proj ---


def check_values(case, seed=SEED):
    inputs = OProjInputs(case, seed)
    output = run(inputs)
    check_dequantised("out", output, dequantised_output(inputs), inputs.nd.get("bias"))
    return output


VALUES = OProjCase(49, hidden=320, heads=3, value=64, up_project=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [(), ("o_proj_weight",)], ids=["nd", "nz"])
@pytest.mark.parametrize("quant", ALL_W8A8, ids=case_id)
def test_o_proj_formats(quant, nz, dtype):
    for tokens in (1, 49, 129):
        check_values(replace(VALUES, tokens=tokens, quant=quant, nz=nz, dtype=dtype))


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("nz", [(), ("o_proj_weight",)], ids=["nd", "nz"])
@pytest.mark.parametrize("tokens", [*TOKENS, 1024])
def test_o_proj_tokens(tokens, nz, quant):
    check_values(replace(VALUES, tokens=tokens, quant=quant, nz=nz))


@pytest.mark.large
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("nz", [(), ("o_proj_weight",)], ids=["nd", "nz"])
@pytest.mark.parametrize(
    ("columns", "hidden"),
    [
        *((64, 64), (64, 192), (192, 64), (448, 1600), (1088, 64), (2048, 128)),
        # Rows that a vector core takes in pieces: of 2048 columns in, of 4096 out.
        *((2112, 64), (4160, 4160), (64, 8256), (6208, 128), (65472, 64), (64, 65472)),
    ],
)
def test_o_proj_sizes(columns, hidden, nz, quant):
    for tokens in (3, 50):
        case = OProjCase(tokens, hidden=hidden, heads=1, value=columns, up_project=False)
        check_values(replace(case, quant=quant, nz=nz))


@pytest.mark.twin
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize(
    ("chip", "tokens", "hidden"), [("Ascend910_9391", 48, 20480), ("Ascend910_9372", 50, 8256)]
)
def test_cores_that_take_up_other_columns_midway(chip, tokens, hidden, quant):
    """As in test_o_proj.py: scales and biases of the next part of the columns."""
    case = OProjCase(tokens, hidden=hidden, heads=1, value=64, up_project=False, bias="float32")
    with twin.chip(chip):
        check_values(replace(case, quant=quant))


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("bias", ["activation", "float32"])
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 49, 300])
def test_o_proj_with_a_bias(tokens, dtype, bias, quant):
    check_values(replace(VALUES, tokens=tokens, dtype=dtype, bias=bias, quant=quant))


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [(), ("o_proj_weight", "w_uv")], ids=["nd", "nz"])
@pytest.mark.parametrize("tokens", [1, 17, 129])
def test_o_proj_behind_an_up_projection(tokens, nz, dtype, quant):
    """W_UV of ones on the diagonal yields its input; any other one rounds before quantisation."""
    case = OProjCase(tokens, hidden=256, heads=3, kv_lora=128, value=128, nz=nz, dtype=dtype)
    inputs = OProjInputs(replace(case, quant=quant, bias="float32"))
    check_output(run(inputs), expected_output(inputs))
    inputs.nd["w_uv"] = torch.eye(128, dtype=dtype).repeat(3, 1, 1)
    inputs.pack()
    check_dequantised("out", run(inputs), dequantised_output(inputs), inputs.nd["bias"])


@pytest.mark.large
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("name", ["deepseek-v3", "glm-5", "glm-4-moe-lite", "deepseek-v2-lite"])
def test_o_proj_of_models(name, quant):
    tp = 20 if name == "glm-4-moe-lite" else 16
    for nz in ((), ("o_proj_weight", "w_uv")):
        check_values(model_case(name, tp, 16, quant=quant, nz=nz, up_project=False))
        inputs = OProjInputs(model_case(name, tp, 3, quant=quant, nz=nz))
        check_output(run(inputs), expected_output(inputs))


@pytest.mark.large
def test_o_proj_of_all_heads():
    """Rows of 16,384 values and of 65,536 latent elements."""
    check_values(OProjCase(17, hidden=128, heads=128, value=128, up_project=False, quant=STATIC))
    case = OProjCase(5, hidden=64, heads=128, kv_lora=512, value=16, quant=DYNAMIC)
    inputs = OProjInputs(case)
    assert inputs.arguments["attn_output"].stride() == (65536, 512, 1)
    check_output(run(inputs), expected_output(inputs))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_partial_sums_of_ranks(tp, dtype):
    """Static ranks share the input scale: their results add up; quant_bias is on one of them."""
    inputs = OProjInputs(replace(VALUES, heads=8, quant=STATIC, dtype=dtype))
    layer, columns = inputs.nd["o_proj_weight"], inputs.case.columns // tp
    total = torch.zeros(inputs.case.tokens, inputs.case.hidden, dtype=torch.float64)
    for rank in range(tp):
        own = slice(rank * columns, (rank + 1) * columns)
        total += ops.o_proj(
            inputs.nd["attn_output"][:, own].contiguous(),
            layer.weight[own].contiguous(),
            dequant_scale=layer.dequant_scale,
            input_scale=layer.input_scale,
            input_offset=layer.input_offset,
            quant_bias=layer.quant_bias if rank == 0 else None,
        ).double()
    check_output(total.to(dtype), dequantised_output(inputs))


# --- the quantised activations, to the bit ---


def quantised_by_o_proj(x, **scales):
    """What the op makes of its activations: a weight of ones on the diagonal yields them."""
    size = x.shape[1]
    weight = torch.eye(size, dtype=torch.int8)
    return ops.o_proj(x, weight, dequant_scale=torch.ones(size), **scales)


def every_finite(dtype):
    """[256, 256] all finite values of a 16-bit dtype, zeros in place of the others."""
    values = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)
    return torch.where(values.isfinite(), values, 0.0).view(256, 256)


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("offset", [None, 0.0, -7.0, 12.625, 127.5, -200.0])
@pytest.mark.parametrize("scale", [1.0, 0.0373, 3.1, 2.0**-20, 1e4, 1e-37, 3e38])
def test_static_quantisation_of_every_value(scale, offset, dtype):
    """Ties, saturation, products beyond fp32 and subnormals."""
    x = every_finite(dtype)
    input_scale = torch.tensor([scale])
    input_offset = None if offset is None else torch.tensor([offset])
    actual = quantised_by_o_proj(x, input_scale=input_scale, input_offset=input_offset)
    expected = reference.quantise_static(x, input_scale, input_offset)
    assert torch.equal(actual, expected.to(dtype))  # up to 128: exact in both
    if scale == 1.0:
        assert {-128, 127} <= set(expected.unique().tolist())


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_ties_go_to_the_even_neighbour(dtype):
    ties = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 126.5, 127.5, -127.5, -128.5])
    rounded = torch.tensor([-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 4.0, 126.0, 127.0, -128.0, -128.0])
    x = torch.zeros(1, 64, dtype=dtype)
    x[0, :11] = ties
    actual = quantised_by_o_proj(x, input_scale=torch.ones(1))
    assert torch.equal(actual[0, :11], rounded.to(dtype))
    # A dynamic row of absmax 127 has the factor 1.
    x[0, :11], x[0, 11] = ties.clamp(-126.5, 126.5), 127.0
    actual = quantised_by_o_proj(x)
    assert torch.equal(actual[0, :11].float(), x[0, :11].float().round())


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 50])
@pytest.mark.parametrize("size", [64, 2048, 2112, 6208, 65472])
def test_dynamic_quantisation(size, tokens, dtype):
    """Every token by its own largest magnitude, wherever in the row it is, of either sign."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(tokens, size, generator=generator)
    x *= torch.rand(tokens, 1, generator=generator) * 10
    largest = torch.randint(0, size, (tokens,), generator=generator)
    x[torch.arange(tokens), largest] *= -100
    x = x.to(dtype)
    layer = random_w8a8(generator, 64, size, DYNAMIC)
    arguments = {"dequant_scale": layer.dequant_scale, "quant_bias": layer.quant_bias}
    output = ops.o_proj(x, layer.weight, **arguments)
    check_dequantised("out", output, reference.w8a8_linear(x, layer))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_dynamic_rows_of_every_magnitude(dtype):
    """From the smallest subnormal to the largest number of the dtype; the result is x again."""
    info = torch.finfo(dtype)
    magnitudes = 2.0 ** torch.arange(-149, 128, dtype=torch.float64)
    magnitudes = torch.cat([magnitudes, torch.tensor([info.max, info.smallest_normal])])
    # Around the least row whose factor 127 / absmax is finite.
    magnitudes = torch.cat([magnitudes, torch.linspace(3.5e-37, 1.2e-36, 50).double()])
    magnitudes = magnitudes[magnitudes <= info.max]
    x = (torch.linspace(-1, 1, 64) * magnitudes.unsqueeze(1)).to(dtype)
    layer = W8A8Linear(torch.eye(64, dtype=torch.int8), torch.ones(64))
    output = quantised_by_o_proj(x)
    check_dequantised("out", output, reference.w8a8_linear(x, layer))
    usable = x.abs().amax(1).float() > 3.8e-37
    assert usable.sum() > 15
    x, output = x[usable].double(), output[usable].double()
    # Half a step of int8 and half a unit of the dtype.
    step = x.abs().amax(1, keepdim=True) / 127
    allowed = 0.501 * step + info.eps / 2 * x.abs() + info.smallest_normal * info.eps / 2
    assert ((output - x).abs() <= allowed).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
def test_rows_of_zeros(nz, dtype):
    """Zeros, whatever the neighbours and the quant_bias are; a static layer gives its bias."""
    generator = torch.Generator().manual_seed(SEED)
    layer = random_w8a8(generator, 128, 192, DYNAMIC)
    x = torch.randn(50, 192, generator=generator).to(dtype)
    zeros = torch.tensor([0, 1, 7, 48, 49])
    x[zeros] = 0
    x[7] = -0.0
    weight = nd_to_nz(layer.weight) if nz else layer.weight
    arguments = {"dequant_scale": layer.dequant_scale, "quant_bias": layer.quant_bias}
    output = ops.o_proj(x, weight, **arguments)
    assert (output[zeros] == 0).all()
    check_dequantised("out", output, reference.w8a8_linear(x, layer))
    static = ops.o_proj(x, weight, **arguments, input_scale=torch.ones(1))
    expected = layer.quant_bias.double() * layer.dequant_scale.double()
    check_dequantised("out", static[zeros], expected.expand(5, -1))


# --- the int32 sums, to the bit ---


@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("size", [64, 1088, 4160, 65472])
@pytest.mark.parametrize("tokens", [1, 17])
def test_sums_are_exact(tokens, size, dtype, nz):
    """A bias that cancels each sum but for a few units shows them all."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randint(-128, 128, (tokens, size), generator=generator, dtype=torch.int8)
    weight = torch.randint(-128, 128, (size, 64), generator=generator, dtype=torch.int8)
    sums = reference.int8_matmul(x, weight)
    left = torch.randint(-100, 101, (tokens, 64), generator=generator)
    for token in range(0, tokens, 4):
        output = ops.o_proj(
            x.to(dtype),  # whole numbers up to 128 are exact in both
            nd_to_nz(weight) if nz else weight,
            dequant_scale=torch.ones(64),
            input_scale=torch.ones(1),
            quant_bias=(left[token] - sums[token]).to(torch.int32),
        )
        assert torch.equal(output[token].long(), left[token])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
def test_sums_at_the_limits_of_int32(nz, sign):
    """The largest products there are, with biases that take them to both ends of int32."""
    size, sum_ = 65472, sign * 65472 * 128 * 127
    weight = torch.full((size, 64), 127 * sign, dtype=torch.int8)
    x = torch.full((3, size), 128.0).to(torch.bfloat16)
    x[1] = -x[1]
    x[2] = 0
    most, least = (1 << 31) - 1, -(1 << 31)
    saturated = sum_ // 128 * 127  # 128 saturates to 127
    # The least and the largest bias with which no sum of the three rows leaves int32.
    low, high = min(saturated, -sum_, 0), max(saturated, -sum_, 0)
    bias = torch.full((64,), 5, dtype=torch.int64)
    bias[:5] = torch.tensor([least - low, least - low + 1, 0, most - high - 1, most - high])
    assert bias.min() >= least and bias.max() <= most
    output = ops.o_proj(
        x,
        nd_to_nz(weight) if nz else weight,
        dequant_scale=torch.full((64,), 2.0**-24),
        input_scale=torch.ones(1),
        quant_bias=bias.to(torch.int32),
    )
    sums = torch.tensor([[saturated], [-sum_], [0]]) + bias
    assert sums.min() == least and sums.max() == most
    check_dequantised("out", output, sums.double() * 2.0**-24)


def test_biases_at_the_limits_of_int32():
    """quant_bias itself, without sums that would take it further."""
    limits = torch.tensor([(1 << 31) - 1, -(1 << 31), 1 << 30, 0] * 16)
    for x in (torch.zeros(3, 64), torch.eye(64)[:3] * -1):
        weight = torch.zeros(64, 64, dtype=torch.int8)
        weight[0, :2] = torch.tensor([1, -1])
        output = ops.o_proj(
            x.to(torch.bfloat16),
            weight,
            dequant_scale=torch.full((64,), 2.0**-31),
            input_scale=torch.ones(1),
            quant_bias=limits.to(torch.int32),
        )
        sums = x.long() @ weight.long() + limits
        assert sums.min() >= -(1 << 31)
        check_dequantised("out", output, sums.double() * 2.0**-31)


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_24_bits_are_rounded_to_nearest(sign):
    """2^30 and half a step of bf16, and a bit more than half a step of fp32, which is 128 there."""
    steps = torch.tensor([64, 65, 127, 128, 129, 191, 0, -1] * 8)
    sums = sign * ((1 << 30) + (1 << 22) + steps)
    output = ops.o_proj(
        torch.zeros(1, 64, dtype=torch.bfloat16),
        torch.zeros(64, 64, dtype=torch.int8),
        dequant_scale=torch.full((64,), 2.0**-30),
        input_scale=torch.ones(1),
        quant_bias=sums.to(torch.int32),
    )
    up = torch.tensor([False, True, True, True, True, True, False, False] * 8)
    assert torch.equal(output[0].float(), sign * torch.where(up, 1 + 2.0**-7, 1.0))


# --- scales ---


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("hidden", [64, 1088, 8256])
def test_packed_scales_give_the_same_bits(hidden, quant, dtype):
    """Both forms of the scales, with both dtypes; the high half says nothing."""
    inputs = OProjInputs(replace(VALUES, hidden=hidden, quant=quant, dtype=dtype))
    expected = run(inputs)
    packed = pack_dequant_scale(inputs.arguments["dequant_scale"])
    for high in (0, 1 << 46, 0x7FFFFFFF << 32, -(1 << 63)):
        inputs.arguments["dequant_scale"] = packed | high
        assert same_bits(run(inputs), expected)


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 3e8, 1e20])
def test_extreme_column_scales(scale, quant):
    """Results over the range of bf16; a negative scale turns the sign of its column."""
    inputs = OProjInputs(replace(VALUES, quant=quant))
    inputs.nd["o_proj_weight"].dequant_scale.mul_(scale)
    inputs.pack()
    check_dequantised("out", run(inputs), dequantised_output(inputs))


def test_scales_of_their_own_columns():
    """Each column has a scale 2^k of its own, which the ulps of the result are exact in."""
    exponents = torch.arange(320) % 61 - 30
    inputs = OProjInputs(replace(VALUES, quant=STATIC))
    inputs.nd["o_proj_weight"].dequant_scale.copy_(2.0**exponents)
    inputs.pack()
    check_dequantised("out", run(inputs), dequantised_output(inputs))


# --- runs ---


@pytest.mark.twin
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_chips(chip, quant):
    with twin.chip(chip):
        check_values(replace(VALUES, quant=quant, bias="float32"))


@pytest.mark.large
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_bits_depend_on_nothing_but_the_inputs(quant):
    """Neither on the run nor on what is prefetched."""
    inputs = OProjInputs(replace(VALUES, up_project=True, quant=quant))
    check_bits_depend_on_inputs_alone(lambda **options: {"out": run(inputs, **options)})


def test_the_checks_notice_what_they_are_for():
    """Two ulps, a sum that is wrong by one, and a scale of another column."""
    inputs = OProjInputs(replace(VALUES, quant=STATIC))
    output, expected = run(inputs), dequantised_output(inputs)
    changed = output.clone()
    changed.view(torch.int16)[3, 5] += 2
    with pytest.raises(AssertionError, match="out: 1 of 15680 elements are up to [12]"):
        check_dequantised("out", changed, expected)
    layer = inputs.nd["o_proj_weight"]
    inputs.nd["o_proj_weight"] = replace(layer, dequant_scale=layer.dequant_scale.roll(1))
    with pytest.raises(AssertionError, match="out: .* of 15680 elements"):
        check_dequantised("out", output, dequantised_output(inputs))
