"""Values of o_proj on the twin, held against float64."""

from dataclasses import replace

import pytest
import torch

from ascend_prefetch import ops
from ascend_prefetch.lab import reference, twin
from mla_cases import (
    BOUNDS,
    CHIPS,
    DTYPES,
    case_id,
    check_bits_depend_on_inputs_alone,
    same_bits,
)
from o_proj_cases import (
    WEIGHT_SUBSETS,
    WEIGHTS,
    OProjCase,
    OProjInputs,
    check_output,
    check_values,
    expected_output,
    model_case,
    model_ranks,
    run,
)

pytestmark = pytest.mark.usefixtures("device")

# At and around the edges of fractals (16), blocks of 48 vector cores and tiles (128).
TOKENS = (1, 2, 15, 16, 17, 47, 48, 49, 128, 129, 300, 1024)

# Sizes where no tile, fractal or core divides evenly.
ODD = OProjCase(tokens=49, hidden=336, heads=5, kv_lora=208, value=48)
# The same with a result that whole vector instructions cover, as a bias needs it.
ODD_LANES = replace(ODD, hidden=320)


# --- sizes ---


@pytest.mark.parametrize("up_project", [True, False], ids=["latent", "values"])
@pytest.mark.parametrize("heads", [1, 3, 16])
@pytest.mark.parametrize("tokens", TOKENS)
def test_tokens_and_heads(tokens, heads, up_project):
    check_values(OProjCase(tokens, heads=heads, up_project=up_project))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("up_project", [True, False], ids=["latent", "values"])
@pytest.mark.parametrize(
    "case",
    [
        OProjCase(tokens=1, hidden=16, heads=1, kv_lora=16, value=16),
        OProjCase(tokens=7, hidden=16, heads=33, kv_lora=16, value=16),
        OProjCase(tokens=33, hidden=4112, heads=2, kv_lora=48, value=16),
        OProjCase(tokens=5, hidden=64, heads=7, kv_lora=4096, value=240),
        OProjCase(tokens=3, hidden=16, heads=1, kv_lora=16, value=65520),
        OProjCase(tokens=3, hidden=65520, heads=1, kv_lora=16, value=16),
        OProjCase(tokens=2, hidden=48, heads=1, kv_lora=65520, value=32),
        OProjCase(tokens=18, hidden=272, heads=17, kv_lora=448, value=272),
        OProjCase(tokens=130, hidden=528, heads=6, kv_lora=576, value=80),
        ODD,
    ],
    ids=case_id,
)
def test_odd_dimensions(case, up_project, dtype):
    for nz in ((), WEIGHTS):
        check_values(replace(case, dtype=dtype, up_project=up_project, nz=nz))


@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
@pytest.mark.parametrize("up_project", [True, False], ids=["latent", "values"])
def test_a_prefill_chunk(up_project, nz):
    tiny = OProjCase(8192, hidden=64, heads=3, kv_lora=64, value=16, up_project=up_project)
    check_values(replace(tiny, nz=nz))


@pytest.mark.large
@pytest.mark.parametrize(("name", "tp"), model_ranks((16, 10)))
@pytest.mark.parametrize("tokens", [1, 17])
def test_models(name, tp, tokens):
    check_values(model_case(name, tp, tokens))
    check_values(model_case(name, tp, tokens, up_project=False))


@pytest.mark.large
@pytest.mark.parametrize(("name", "tp"), model_ranks((64, 20)))
@pytest.mark.parametrize("tokens", [2, 16, 48, 129])
def test_small_ranks_of_models_in_nz_and_fp16(name, tp, tokens):
    check_values(model_case(name, tp, tokens, nz=WEIGHTS, dtype=torch.float16))


@pytest.mark.large
def test_deepseek_v3_on_one_rank():
    check_values(model_case("deepseek-v3", 1, 16))


@pytest.mark.large
def test_many_tokens_of_deepseek_v3():
    check_values(model_case("deepseek-v3", 64, 1024))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
@pytest.mark.parametrize("tokens", [1, 17, 130])
def test_rows_of_65536_elements(tokens, nz, dtype):
    """[T, 128, 512]: one element more than the 16-bit stride of a single load can express."""
    case = OProjCase(tokens, hidden=64, heads=128, kv_lora=512, value=16, nz=nz, dtype=dtype)
    inputs = OProjInputs(case)
    assert inputs.arguments["attn_output"].stride() == (65536, 512, 1)
    check_output(run(inputs), expected_output(inputs))


@pytest.mark.large
@pytest.mark.parametrize("kv_lora", [32, 64])
def test_the_longest_rows(kv_lora):
    heads = 131_070 // kv_lora  # 65,535 units of four bytes
    case = OProjCase(2, hidden=32, heads=heads, kv_lora=kv_lora, value=16)
    check_values(case)
    check_values(replace(case, nz=WEIGHTS))


@pytest.mark.twin
@pytest.mark.parametrize("tokens", [65, 112])
def test_a_tile_that_takes_an_odd_number_of_kilobytes_of_l0c(tokens):
    """144 columns a core: o_proj takes both slots of sums, and v-up starts in the second one."""
    case = OProjCase(tokens, hidden=24 * 144, heads=16, kv_lora=64, value=64)
    with twin.chip("Ascend910_9391"), twin.sanitizing("full"):
        check_values(case)


# --- formats and options ---


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", WEIGHT_SUBSETS, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 49, 129])
def test_weight_layouts(tokens, nz, dtype):
    check_values(replace(ODD, tokens=tokens, nz=nz, dtype=dtype))
    if "w_uv" not in nz:
        check_values(replace(ODD, tokens=tokens, nz=nz, dtype=dtype, up_project=False))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [(), ("w_uv",)], ids=case_id)
@pytest.mark.parametrize("tokens", [1, 2, 49, 129])
def test_heads_outermost(tokens, nz, dtype):
    """Attention that leaves [N, T, kv_lora] needs no copy: the same bits."""
    case = replace(ODD, tokens=tokens, nz=nz, dtype=dtype)
    check_values(replace(case, heads_outermost=True))
    assert same_bits(run(OProjInputs(replace(case, heads_outermost=True))), run(OProjInputs(case)))


def test_long_rows_with_heads_outermost():
    """As many heads as make rows that are too long side by side."""
    check_values(OProjCase(3, hidden=64, heads=300, kv_lora=512, value=16, heads_outermost=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("bias", ["activation", "float32"])
@pytest.mark.parametrize("up_project", [True, False], ids=["latent", "values"])
@pytest.mark.parametrize("tokens", [1, 16, 49, 129, 300])
def test_bias(tokens, up_project, bias, dtype):
    case = replace(ODD_LANES, tokens=tokens, up_project=up_project, bias=bias, dtype=dtype)
    check_values(case)
    check_values(replace(case, nz=WEIGHTS, hidden=64))


@pytest.mark.parametrize("bias", ["activation", "float32"])
@pytest.mark.parametrize("hidden", [64, 4096, 4160, 7168, 8256])
def test_bias_of_wide_results(hidden, bias):
    """Results wider than what a vector core handles at once, with few tokens and with many."""
    for tokens in (1, 5, 50):
        check_values(OProjCase(tokens, hidden=hidden, heads=1, kv_lora=16, value=16, bias=bias))


@pytest.mark.twin
@pytest.mark.parametrize("bias", ["activation", "float32"])
@pytest.mark.parametrize(
    ("chip", "tokens", "hidden"), [("Ascend910_9391", 48, 20480), ("Ascend910_9372", 50, 8256)]
)
def test_cores_that_take_up_other_columns_midway(chip, tokens, hidden, bias):
    """Five parts of the columns for 48 vector cores, or three for 40: a part ends within what one
    core does, which needs the bias of the next part then."""
    with twin.chip(chip):
        check_values(OProjCase(tokens, hidden=hidden, heads=1, kv_lora=16, value=16, bias=bias))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_a_float32_bias_is_not_rounded(dtype):
    """Values that only float32 tells apart decide which way the result rounds."""
    bias = 1 + torch.finfo(dtype).eps / 2 + torch.tensor([2.0**-20, -(2.0**-20)]).repeat(32)
    zeros = torch.zeros(3, 64, dtype=dtype)
    output = ops.o_proj(zeros, torch.zeros(64, 64, dtype=dtype), bias=bias)
    assert same_bits(output, bias.to(dtype).expand(3, 64))
    assert output[0, 0] != output[0, 1]


def test_the_bias_is_added_before_rounding():
    """The sum of products and the bias is rounded once."""
    inputs = OProjInputs(replace(ODD_LANES, up_project=False, bias="float32"))
    inputs.arguments["bias"].mul_(1000)  # most of the sums would be lost if rounded first
    check_output(run(inputs), expected_output(inputs))
    ulps = reference.ulp_distance(run(inputs), expected_output(inputs))
    large = expected_output(inputs).abs() > 100  # no cancellation
    assert ulps[large].max() <= 0.51


def test_float32_sums():
    """Products that bf16 sums would lose: 2^12 ones beside one 2^12."""
    weight = torch.ones(16, 4112, dtype=torch.bfloat16)
    values = torch.ones(1, 4112, dtype=torch.bfloat16)
    values[0, 0] = 4096
    values[0, 4097:] = 0
    output = ops.o_proj(values, weight)
    assert (output == 8192).all()


# --- tensor parallelism ---


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("tp", [1, 2, 4, 8, 16])
def test_partial_sums_of_ranks(tp, dtype):
    """The ranks' results add up to the whole; the bias is on one of them."""
    case = OProjCase(17, hidden=1024, heads=16, value=128, bias="float32", dtype=dtype)
    inputs = OProjInputs(case)
    whole = inputs.nd
    heads, columns = case.heads // tp, case.columns // tp
    total = torch.zeros(case.tokens, case.hidden, dtype=torch.float64)
    for rank in range(tp):
        own = slice(rank * heads, (rank + 1) * heads)
        partial = ops.o_proj(
            whole["attn_output"][:, own].contiguous(),
            whole["o_proj_weight"][:, rank * columns : (rank + 1) * columns].contiguous(),
            w_uv=whole["w_uv"][own],
            bias=whole["bias"] if rank == 0 else None,
        )
        total += partial.double()
    error = reference.relative_error(total, expected_output(inputs))
    assert error <= BOUNDS[dtype]


# --- tensors ---


def test_tensors_that_start_inside_their_storage():
    """Data that starts at an odd multiple of its element size, as slices of larger tensors do."""
    for nz in ((), WEIGHTS):
        inputs = OProjInputs(replace(ODD_LANES, bias="activation", nz=nz))
        expected = run(inputs)

        def shifted(tensor):
            storage = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
            return storage[1:].view_as(tensor).copy_(tensor)

        arguments = {name: shifted(tensor) for name, tensor in inputs.arguments.items()}
        output = torch.ops.ascend_prefetch.o_proj(**arguments)
        assert same_bits(output, expected)


def test_slices_of_tokens_and_heads():
    """Contiguous slices of larger tensors are read where they are."""
    inputs = OProjInputs(ODD)
    expected = run(inputs)
    arguments = inputs.arguments
    padded = torch.cat([torch.full_like(arguments["attn_output"][:3], torch.nan)] * 2)
    attn_output = torch.cat([padded, arguments["attn_output"], padded])[6:-6]
    w_uv = torch.cat([arguments["w_uv"].new_full((2, 208, 48), torch.nan), arguments["w_uv"]])[2:]
    output = ops.o_proj(attn_output, arguments["o_proj_weight"], w_uv=w_uv)
    assert same_bits(output, expected)


def test_strides_of_dimensions_of_size_1_do_not_matter():
    inputs = OProjInputs(replace(ODD, tokens=1))
    expected = run(inputs)
    attn_output = inputs.arguments["attn_output"]
    attn_output = attn_output.as_strided(attn_output.shape, (7, *attn_output.stride()[1:]))
    output = ops.o_proj(attn_output, **{k: inputs.arguments[k] for k in WEIGHTS})
    assert same_bits(output, expected)


def test_a_row_depends_on_its_token_alone():
    """NaN in one token, or in what another holds, stays where it is."""
    for up_project in (True, False):
        inputs = OProjInputs(replace(ODD, up_project=up_project))
        expected = run(inputs)
        inputs.arguments["attn_output"][20] = torch.nan
        output = run(inputs)
        assert output[20].isnan().all()
        others = torch.arange(ODD.tokens) != 20
        assert same_bits(output[others], expected[others])


# --- runs ---


@pytest.mark.twin
@pytest.mark.large
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
def test_chips(chip, nz):
    with twin.chip(chip):
        check_values(replace(ODD, nz=nz, tokens=41))
        check_values(replace(ODD_LANES, nz=nz, tokens=41, bias="float32", up_project=False))
        check_values(model_case("glm-4-moe-lite", 10, 2, nz=nz))


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        ODD,
        replace(ODD_LANES, bias="float32"),
        replace(ODD, up_project=False),
        model_case("deepseek-v3", 16, 2),
        model_case("glm-5", 16, 17, nz=WEIGHTS),
    ],
    ids=case_id,
)
def test_bits_depend_on_nothing_but_the_inputs(case, dtype):
    """Neither on the run nor on what is prefetched."""
    inputs = OProjInputs(replace(case, dtype=dtype))
    check_bits_depend_on_inputs_alone(lambda **options: {"out": run(inputs, **options)})


def test_the_checks_notice_what_they_are_for():
    """A wrong element and an unwritten one fail the check."""
    inputs = OProjInputs(replace(ODD, tokens=8))
    output, expected = run(inputs), expected_output(inputs)
    check_output(output, expected)
    for change in (float("nan"), 1.0):  # elements have a variance of about 1
        actual = output.clone()
        actual.view(-1)[5] += change
        with pytest.raises(AssertionError, match="relative error"):
            check_output(actual, expected)
