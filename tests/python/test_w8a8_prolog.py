"""W8A8 layers of mla_prolog and sfa_prolog: results within an ulp of their float64 values.

Where an op does more behind a layer than to dequantise it, the tests make that an identity: rope by
an angle of zero, a W_UK of ones on the diagonal. The result is the layer's own then.
test_w8a8.py has the arithmetic, which all ops share.
"""

from dataclasses import replace
from itertools import product

import pytest
import torch

from ascend_prefetch.lab import reference, twin
from ascend_prefetch.packing import nd_to_nz, pack_dequant_scale
from mla_cases import (
    CHIPS,
    DTYPES,
    ROPE,
    SEED,
    MlaCase,
    MlaInputs,
    case_id,
    check_bits_depend_on_inputs_alone,
    check_latent,
    check_output,
    run,
)
from sfa_cases import SfaCase, SfaInputs, sfa_model_case
from w8a8_cases import (
    ALL_W8A8,
    DYNAMIC,
    PREFIXES,
    STATIC,
    W8A8Case,
    check_dequantised,
    expected_behind,
    norm_bias,
    quantise_layers,
    set_layer,
)

pytestmark = pytest.mark.usefixtures("device")

BOTH = [STATIC, DYNAMIC]
LAYERS = tuple(PREFIXES)
# At and around the edges of fractals (16), blocks of 48 vector cores and tiles (128).
TOKENS = (1, 2, 15, 16, 17, 47, 48, 49, 128, 129, 300)


def identity(inputs):
    """Rope by an angle of zero, and a W_UK of ones on the diagonal where its shape allows."""
    inputs.nd["cos"].fill_(1.0)
    inputs.nd["sin"].zero_()
    heads, nope, kv_lora = inputs.nd["w_uk"].shape
    if nope == kv_lora:
        inputs.nd["w_uk"].copy_(torch.eye(nope))
        if "w_uk" in inputs.case.nz:
            inputs.arguments["w_uk"] = nd_to_nz(inputs.nd["w_uk"])


def check_prolog(case, quants, seed=SEED):
    """Results of quantised layers within an ulp where nothing but an identity is behind them."""
    inputs = (SfaInputs if isinstance(case, SfaCase) else MlaInputs)(case, seed)
    quantise_layers(inputs, quants, seed + 2)
    identity(inputs)
    print(f"{quants}")
    return check_result(inputs, run(inputs), quants)


def check_result(inputs, result, quants):
    case = inputs.case
    actual, expected = result.tensors(), expected_behind(inputs, result)
    exact = set()
    if "qkv_a_weight" in quants:
        exact |= {"rope_cache"} | ({"q_c"} if case.q_lora else set())
        exact |= {"kv_cache"} if case.kv_cache_scale is None else set()
    if "q_b_weight" in quants:
        exact |= {"q_rope"} | ({"q_nope"} if case.nope == case.kv_lora else set())
    if "indexer_wq_b" in quants:
        exact |= {"indexer_q"}
    for name in actual:
        if name in exact:
            addend = norm_bias(inputs, name)
            check_dequantised(name, actual[name], expected[name], addend)
        elif actual[name].dtype == torch.int8:
            check_latent(actual[name], expected[name], case.kv_cache_scale)
        elif actual[name].numel():
            check_output(name, actual[name], expected[name])
    assert exact <= actual.keys()
    return result


# nope and kv_lora are equal: q_nope is the dequantised query.
MLA = MlaCase(49, hidden=320, q_lora=192, kv_lora=128, nope=128, heads=3)
SFA = SfaCase(49, hidden=320, q_lora=192, kv_lora=128, nope=128, heads=3, skip=0.1)
QUANT_SUBSETS = [
    {name: quant for name, quant in zip(LAYERS, choice, strict=True) if quant is not None}
    for choice in product([None, STATIC, DYNAMIC], repeat=3)
    if any(choice)
]


def quants_id(quants):
    return "+".join(
        f"{PREFIXES[name][:-1]}:{case_id(q).split('+')[0]}" for name, q in quants.items()
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
@pytest.mark.parametrize("quant", ALL_W8A8, ids=case_id)
def test_prolog_formats(quant, nz, dtype):
    layers = (*LAYERS, "w_uk") if nz else ()
    for tokens in (1, 49):
        case = replace(SFA, tokens=tokens, dtype=dtype, nz=layers)
        check_prolog(case, dict.fromkeys(LAYERS, quant))


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("case", [MLA, SFA], ids=["mla_prolog", "sfa_prolog"])
@pytest.mark.parametrize("tokens", TOKENS)
def test_prolog_tokens(tokens, case, quant):
    layers = LAYERS if case is SFA else LAYERS[:2]
    check_prolog(replace(case, tokens=tokens), dict.fromkeys(layers, quant))


@pytest.mark.parametrize("quants", QUANT_SUBSETS, ids=quants_id)
def test_mixed_layers(quants):
    """Each layer is quantised by itself; the others stay as they are."""
    for nz in (LAYERS[:1], LAYERS[1:]):
        check_prolog(replace(SFA, nz=nz, tokens=17), quants)
    if "indexer_wq_b" not in quants:
        check_prolog(replace(SFA, indexer_heads=0, tokens=17), quants)
        check_prolog(replace(MLA, nz=LAYERS[1:2]), quants)


@pytest.mark.large
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        MlaCase(1, hidden=64, q_lora=64, kv_lora=64, nope=64, heads=1),
        MlaCase(33, hidden=64, q_lora=64, kv_lora=64, nope=64, heads=33),
        MlaCase(7, hidden=4160, q_lora=2112, kv_lora=192, nope=192, heads=2),
        MlaCase(3, hidden=64, q_lora=4096, kv_lora=512, nope=512, heads=1),
        MlaCase(50, hidden=65472, q_lora=64, kv_lora=64, nope=64, heads=1),
        MlaCase(18, hidden=192, q_lora=832, kv_lora=4096, nope=64, heads=2),
        MlaCase(130, hidden=576, q_lora=320, kv_lora=576, nope=448, heads=19),
    ],
    ids=case_id,
)
def test_prolog_sizes(case, dtype, quant):
    nz = (*LAYERS[:2], "w_uk") if dtype == torch.float16 else ()
    check_prolog(replace(case, dtype=dtype, nz=nz), dict.fromkeys(LAYERS[:2], quant))


@pytest.mark.large
@pytest.mark.parametrize("quants", [{"q_b_weight": q} for q in BOTH] + [
    dict.fromkeys(LAYERS[:2], STATIC),
    {"qkv_a_weight": DYNAMIC, "q_b_weight": STATIC},
    {"qkv_a_weight": STATIC, "q_b_weight": DYNAMIC},
    {"qkv_a_weight": DYNAMIC},
], ids=quants_id)  # fmt: skip
def test_models_without_a_query_latent(quants):
    """Both layers take the hidden states, each with a quantisation of its own."""
    for tokens, nz in ((1, ()), (49, LAYERS[:2]), (130, ())):
        check_prolog(replace(MLA, tokens=tokens, q_lora=0, nz=nz), quants)


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_options_beside_quantisation(dtype, quant):
    quants = dict.fromkeys(LAYERS, quant)
    case = replace(SFA, dtype=dtype, block_size=7, skip=0.3)
    check_prolog(replace(case, bias=True, slot_dtype=torch.int32, table_dtype=None), quants)
    check_prolog(replace(case, joint=True, rope_interleaved=False, cache_gap=16), quants)
    check_prolog(replace(case, kv_cache_scale=0.05, cache_nz=("rope_cache",)), quants)
    biased = replace(case, kv_bias=True)
    check_prolog(replace(biased, bias=True), quants)
    check_prolog(replace(biased, joint=True, cache_nz=("kv_cache",)), quants)
    check_prolog(replace(biased, kv_cache_scale=0.05, cache_nz=("kv_cache",)), quants)
    check_prolog(replace(case, indexer_rope_interleaved=True, fused=True, eps=1e-2), quants)
    check_prolog(replace(case, indexer_dim=256, cache_nz=("kv_cache",)), quants)


@pytest.mark.large
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize("name", ["deepseek-v3.2", "glm-5"])
def test_models(name, quant):
    """The layers' own results, and then everything with rope and a real W_UK."""
    quants = dict.fromkeys(LAYERS, quant)
    check_prolog(sfa_model_case(name, 64, 3), quants)
    check_norm_wise(sfa_model_case(name, 64, 3, nz=(*LAYERS, "w_uk")), quants)


def check_norm_wise(case, quants, seed=SEED):
    inputs = (SfaInputs if isinstance(case, SfaCase) else MlaInputs)(case, seed)
    quantise_layers(inputs, quants, seed + 2)
    result = run(inputs)
    actual, expected = result.tensors(), expected_behind(inputs, result)
    for name in actual:
        check_output(name, actual[name], expected[name])
    if "indexer_wq_b" in quants:  # rope leaves these alone
        name, part = "indexer_q", slice(ROPE, None)
        check_dequantised(name, actual[name][..., part], expected[name][..., part])


@pytest.mark.parametrize("quants", QUANT_SUBSETS, ids=quants_id)
def test_with_rope_and_absorption(quants):
    check_norm_wise(replace(SFA, nope=64, indexer_rope_interleaved=True), quants)


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_quantised_q_nope_of_quantised_layers(quant):
    """int8 q_nope is the plain one, quantised."""
    results = []
    for quantise in (False, True):
        inputs = MlaInputs(replace(MLA, quantize_q_nope=quantise))
        quantise_layers(inputs, dict.fromkeys(LAYERS[:2], quant), SEED)
        results.append(run(inputs).tensors())
    values, scales = reference.quantise_dynamic(results[0]["q_nope"])
    assert torch.equal(results[1]["q_nope"], values)
    assert ((results[1]["q_nope_scale"] - scales).abs() <= 1e-6 * scales).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_packed_scales_of_prologs(quant, layer, dtype):
    inputs = SfaInputs(replace(SFA, dtype=dtype))
    quantise_layers(inputs, dict.fromkeys(LAYERS, quant), SEED)
    expected = run(inputs)
    name = PREFIXES[layer] + "dequant_scale"
    inputs.arguments[name] = pack_dequant_scale(inputs.arguments[name]) | 1 << 46
    run(inputs).assert_same(expected)


@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_tokens_of_zeros_in_prologs(quant):
    """A dynamic qkv_a gives zeros, which every norm and layer behind it takes."""
    inputs = SfaInputs(SFA)
    inputs.nd["hidden_states"][[0, 20, 48]] = 0
    quantise_layers(inputs, dict.fromkeys(LAYERS, replace(quant, bias=False)), SEED)
    identity(inputs)
    result = run(inputs)
    actual, expected = result.tensors(), expected_behind(inputs, result)
    for name in ("q_nope", "q_rope", "q_c", "indexer_q"):
        check_dequantised(name, actual[name], expected[name])
    if not quant.static:
        assert (actual["q_c"][[0, 20, 48]] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_saturation_of_hidden_states_and_latent(dtype):
    """Static scales far too small: most activations are at the ends of int8."""
    inputs = SfaInputs(replace(SFA, dtype=dtype))
    quantise_layers(inputs, dict.fromkeys(LAYERS, STATIC), SEED)
    for name in LAYERS:
        inputs.nd[name].input_scale.mul_(0.02)
        inputs.nd[name].dequant_scale.mul_(0.25)
    x = inputs.nd["hidden_states"]
    layer = inputs.nd["qkv_a_weight"]
    values = reference.quantise_static(x, layer.input_scale, layer.input_offset)
    assert ((values == 127) | (values == -128)).double().mean() > 0.8
    identity(inputs)
    check_result(inputs, run(inputs), dict.fromkeys(LAYERS, STATIC))


@pytest.mark.parametrize("layer", LAYERS)
def test_sums_of_prologs_are_exact(layer):
    """A quant_bias that cancels the sums of a token but for a few units shows them."""
    inputs = SfaInputs(replace(SFA, tokens=17, skip=0.0))
    quantise_layers(inputs, {layer: W8A8Case()}, SEED)
    identity(inputs)
    q_c = run(inputs).tensors()["q_c"]
    x = inputs.nd["hidden_states"] if layer == "qkv_a_weight" else q_c
    linear = inputs.nd[layer]
    sums = reference.int8_matmul(reference.quantise_static(x, linear.input_scale), linear.weight)
    left = torch.randint(-100, 101, sums.shape[1:], generator=torch.Generator().manual_seed(SEED))
    bias = (left - sums[5]).to(torch.int32)
    ones = torch.ones(sums.shape[1])
    set_layer(inputs, layer, replace(linear, quant_bias=bias, dequant_scale=ones))
    actual = run(inputs).tensors()
    if layer == "indexer_wq_b":
        assert torch.equal(actual["indexer_q"][5].flatten().long(), left)
    elif layer == "q_b_weight":
        left = left.view(3, 192)
        assert torch.equal(actual["q_nope"][5].long(), left[:, :128])
        pairs = left[:, 128:].unflatten(1, (32, 2)).transpose(1, 2).flatten(1)
        assert torch.equal(actual["q_rope"][5].long(), pairs)
    else:
        pairs = left[320:].unflatten(0, (32, 2)).T.flatten()
        assert torch.equal(actual["rope_cache"][5].long(), pairs)


# --- runs ---


@pytest.mark.twin
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_chips(chip, quant):
    with twin.chip(chip):
        check_prolog(replace(SFA, nz=LAYERS), dict.fromkeys(LAYERS, quant))


@pytest.mark.twin
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
@pytest.mark.parametrize(
    ("chip", "heads", "indexer_heads"), [("Ascend910_9391", 40, 80), ("Ascend910_9372", 24, 48)]
)
def test_cores_that_take_up_other_heads_midway(chip, heads, indexer_heads, quant):
    """Five groups of heads for 48 vector cores, or three for 40, all equally wide: a group ends
    within what one core does, which needs the scales of the next group then."""
    case = replace(SFA, hidden=64, q_lora=64, heads=heads, indexer_heads=indexer_heads)
    with twin.chip(chip):
        check_prolog(case, dict.fromkeys(LAYERS, quant))


@pytest.mark.large
@pytest.mark.parametrize("quant", BOTH, ids=case_id)
def test_bits_depend_on_nothing_but_the_inputs(quant):
    """Neither on the run nor on what is prefetched."""
    inputs = SfaInputs(SFA)
    quantise_layers(inputs, dict.fromkeys(LAYERS, quant), SEED)
    check_bits_depend_on_inputs_alone(lambda **options: run(inputs, **options).tensors())


@pytest.mark.parametrize("quantised", [*LAYERS, "kv_cache", "q_nope"])
def test_landing_pads_fit_beside_what_is_quantised(quantised):
    """Any one of them takes quantiser and dequantiser into UB, which rows of 4096 fill."""
    case = SfaCase(2, hidden=64, q_lora=4096, kv_lora=4096, heads=1, quantize_q_nope=False)
    options = {"kv_cache": {"kv_cache_scale": 0.05}, "q_nope": {"quantize_q_nope": True}}
    inputs = SfaInputs(replace(case, **options.get(quantised, {})))
    quantise_layers(inputs, {quantised: DYNAMIC} if quantised in LAYERS else {}, SEED)
    result = run(inputs, prefetch_bytes=0)
    regions = [torch.zeros(8 << 20, dtype=torch.uint8)]
    run(inputs, prefetch=regions, prefetch_bytes=4 << 20).assert_same(result)


@pytest.mark.parametrize("heads", [1, 13, 25])
@pytest.mark.parametrize("tokens", [1, 129])
def test_prefetching_waits_for_no_weight_that_waits_for_it(tokens, heads):
    """A core's share of W_UK may begin anywhere in a head, which makes more tiles of it.

    Vector cores await the end of the weight stream before q_b's sums only if L1 then holds all of
    W_UK: its product needs what they make of the sums.
    """
    inputs = MlaInputs(MlaCase(tokens, hidden=64, q_lora=0, kv_lora=320, nope=64, heads=heads))
    quantise_layers(inputs, {"q_b_weight": STATIC}, SEED)
    result = run(inputs, prefetch_bytes=0)
    regions = [torch.zeros(8 << 20, dtype=torch.uint8)]
    for prefetch_bytes in (None, 4 << 20):
        run(inputs, prefetch=regions, prefetch_bytes=prefetch_bytes).assert_same(result)
