"""Values of sfa_prolog on the twin, held against float64."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ascend_prefetch.lab import twin
from mla_cases import (
    CHIPS,
    DTYPES,
    WEIGHTS,
    MlaInputs,
    case_id,
    check_bits_depend_on_inputs_alone,
    check_output,
    check_values,
    run,
    same_bits,
)
from sfa_cases import INDEXER_WEIGHTS, SfaCase, SfaInputs, sfa_model_case

pytestmark = pytest.mark.usefixtures("device")

ALL = (*WEIGHTS, *INDEXER_WEIGHTS)
INDEXER_SUBSETS = [subset for n in range(4) for subset in combinations(INDEXER_WEIGHTS, n)]

# Sizes where no tile or core divides evenly.
ODD = SfaCase(49, hidden=336, q_lora=192, kv_lora=320, nope=48, heads=5, indexer_heads=48)


def check(case, **options):
    check_values(case, inputs_type=SfaInputs, **options)


# --- sizes ---


@pytest.mark.parametrize("fused", [False, True], ids=["separate", "fused"])
@pytest.mark.parametrize("tokens", [1, 2, 15, 16, 17, 47, 48, 49, 128, 129, 300])
def test_tokens(tokens, fused):
    check(replace(ODD, tokens=tokens, fused=fused, indexer_heads=16))
    check(replace(ODD, tokens=tokens, fused=fused, nz=ALL, indexer_heads=32, skip=0.2))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        SfaCase(1, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=1),
        SfaCase(7, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=33, indexer_dim=512),
        SfaCase(33, hidden=48, q_lora=4096, kv_lora=64, nope=16, heads=2, indexer_dim=192),
        SfaCase(5, hidden=2064, q_lora=64, kv_lora=4096, nope=240, heads=7, indexer_dim=256),
        SfaCase(3, hidden=65520, q_lora=64, kv_lora=64, nope=16, heads=1, fused=True),
        SfaCase(18, hidden=272, q_lora=832, kv_lora=448, nope=272, heads=17, indexer_heads=80),
        SfaCase(130, hidden=528, q_lora=320, kv_lora=576, nope=80, heads=6, indexer_dim=448),
        ODD,
    ],
    ids=case_id,
)
def test_odd_dimensions(case, dtype):
    check(replace(case, dtype=dtype))
    check(replace(case, dtype=dtype, nz=INDEXER_WEIGHTS, fused=not case.fused))


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("tokens", [1000, 8192])
def test_many_tokens(tokens, dtype):
    tiny = SfaCase(tokens, hidden=64, q_lora=64, kv_lora=64, nope=16, heads=1, skip=0.1)
    check(replace(tiny, dtype=dtype, block_size=128, indexer_rope_interleaved=True))


@pytest.mark.large
@pytest.mark.parametrize(("name", "tp"), [("deepseek-v3.2", 16), ("glm-5", 16), ("glm-5", 8)])
@pytest.mark.parametrize("tokens", [1, 5])
def test_models(name, tp, tokens):
    check(sfa_model_case(name, tp, tokens, fused=tokens == 1))


@pytest.mark.large
@pytest.mark.parametrize("name", ["deepseek-v3.2", "glm-5"])
def test_models_in_nz_and_fp16(name):
    check(
        sfa_model_case(
            name,
            16,
            18,
            nz=ALL,
            cache_nz=("kv_cache", "indexer_cache"),
            fused=True,
            dtype=torch.float16,
            table_dtype=None,
            block_size=128,
        )
    )


# --- formats and options ---


@pytest.mark.parametrize("fused", [False, True], ids=["separate", "fused"])
@pytest.mark.parametrize("nz", INDEXER_SUBSETS, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 49, 129])
def test_weight_layouts(tokens, nz, fused):
    """Every mixture, beside a row-major and a packed qkv_a; fused weights have one layout."""
    dtype = DTYPES[tokens % 4 == 1 and fused]
    case = replace(ODD, tokens=tokens, fused=fused, dtype=dtype, indexer_heads=16)
    check(replace(case, nz=nz))
    check(replace(case, nz=(*nz, "qkv_a_weight", "w_uk")))


@pytest.mark.parametrize("tokens", [1, 49])
def test_a_fused_weight_gives_the_bits_of_its_parts(tokens):
    for nz in ((), ("indexer_wk", "indexer_weights_proj")):
        case = replace(ODD, tokens=tokens, nz=nz)
        run(SfaInputs(replace(case, fused=True))).assert_same(run(SfaInputs(case)))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("table_dtype", [torch.float32, None], ids=["fp32", "activation"])
@pytest.mark.parametrize("indexer", [True, False], ids=["indexer-interleaved", "indexer-half"])
@pytest.mark.parametrize("interleaved", [True, False], ids=["interleaved", "half-split"])
def test_rope(interleaved, indexer, table_dtype, dtype):
    """The order of the attention's pairs and of the indexer's are independent."""
    case = replace(ODD, rope_interleaved=interleaved, indexer_rope_interleaved=indexer)
    case = replace(case, table_dtype=table_dtype, dtype=dtype)
    for heads in (16, 80):
        check(replace(case, indexer_heads=heads))


@pytest.mark.parametrize("interleaved", [True, False])
def test_rope_of_the_indexer_keeps_the_order_of_its_pairs(interleaved):
    """Without rotation the products come back in their own order, unlike the attention's."""
    case = replace(ODD, indexer_rope_interleaved=interleaved)
    inputs = SfaInputs(case)
    inputs.arguments["cos"].fill_(1)
    inputs.arguments["sin"].fill_(0)
    actual = run(inputs).tensors()
    q_c, hidden = actual["q_c"].double(), inputs.nd["hidden_states"].double()
    query = (q_c @ inputs.nd["indexer_wq_b"].double().T).view(case.tokens, -1, case.indexer_dim)
    check_output("indexer_q", actual["indexer_q"], query)
    key = torch.nn.functional.layer_norm(
        hidden @ inputs.nd["indexer_wk"].double().T,
        (case.indexer_dim,),
        inputs.nd["indexer_k_norm_weight"].double(),
        inputs.nd["indexer_k_norm_bias"].double(),
        case.indexer_eps,
    )
    check_output("indexer_cache", actual["indexer_cache"], key)


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("norm_dtype", [torch.float32, None], ids=["fp32", "activation"])
@pytest.mark.parametrize("tokens", [1, 100])
def test_layer_norm_parameters(tokens, norm_dtype, dtype):
    check(replace(ODD, tokens=tokens, indexer_norm_dtype=norm_dtype, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(("eps", "indexer_eps"), [(1e-6, 1e-5), (1e-5, 1e-6), (1e-2, 1e-2)])
def test_eps(eps, indexer_eps, dtype):
    """At this scale of the activations each eps counts, and the two are not mixed up."""
    scale = max(eps, indexer_eps) ** 0.5
    check(replace(ODD, eps=eps, indexer_eps=indexer_eps, hidden_scale=scale, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_a_large_common_part_of_the_keys(dtype):
    """LayerNorm takes the mean off before it squares: keys of 100 +- 1 keep their digits."""
    inputs = SfaInputs(replace(ODD, dtype=dtype))
    inputs.nd["hidden_states"][:, 0] = 1
    inputs.nd["indexer_wk"][:, 0] = 100
    actual, expected = run(inputs).tensors(), inputs.expected()
    check_output("indexer_cache", actual["indexer_cache"], expected["indexer_cache"])


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 100])
def test_q_a_norm_bias_reaches_the_indexer(tokens, dtype):
    check(replace(ODD, tokens=tokens, bias=True, dtype=dtype))


# --- against mla_prolog ---


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("indexer_heads", [0, 32], ids=["without-indexer", "with-indexer"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tokens": 1, "nz": WEIGHTS, "bias": True},
        {"joint": True, "cache_nz": ("kv_cache",), "skip": 0.3},
        {"kv_cache_scale": 0.05, "quantize_q_nope": True},
        {"tokens": 129, "cache_nz": ("rope_cache",), "cache_gap": 16},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_the_results_of_mla_prolog(changes, indexer_heads, dtype):
    """Bit for bit, with an indexer or without."""
    case = replace(ODD, dtype=dtype, indexer_heads=indexer_heads, **changes)
    actual = run(SfaInputs(case)).tensors()
    expected = run(MlaInputs(case.without_indexer())).tensors()
    for name in expected:
        assert same_bits(actual[name], expected[name]), name
    added = {"indexer_q", "indexer_weights", "indexer_cache"} if indexer_heads else set()
    assert actual.keys() - expected.keys() == added


def test_without_a_query_latent():
    case = replace(ODD, q_lora=0, indexer_heads=0)
    actual, expected = run(SfaInputs(case)), run(MlaInputs(case.without_indexer()))
    for name, tensor in expected.tensors().items():
        assert same_bits(actual.tensors()[name], tensor), name


# --- runs ---


@pytest.mark.twin
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nz", [(), ALL], ids=case_id)
def test_chips(chip, nz):
    with twin.chip(chip):
        check(replace(ODD, nz=nz, tokens=41, fused=True))
        check(replace(ODD, nz=nz, tokens=2, indexer_rope_interleaved=True))


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        ODD,
        replace(ODD, tokens=17, nz=ALL, fused=True, indexer_rope_interleaved=True),
        sfa_model_case("glm-5", 16, 2),
    ],
    ids=case_id,
)
def test_bits_depend_on_nothing_but_the_inputs(case, dtype):
    """Neither on the run nor on what is prefetched."""
    inputs = SfaInputs(replace(case, dtype=dtype))
    check_bits_depend_on_inputs_alone(lambda **options: run(inputs, **options).tensors())


# --- everything together ---


@st.composite
def cases(draw):
    joint = draw(st.booleans())
    return SfaCase(
        tokens=draw(st.integers(1, 150)),
        hidden=16 * draw(st.integers(1, 40)),
        q_lora=64 * draw(st.integers(1, 8)),
        kv_lora=64 * draw(st.integers(1, 8)),
        nope=16 * draw(st.integers(1, 14)),
        heads=draw(st.integers(1, 24)),
        dtype=draw(st.sampled_from(DTYPES)),
        nz=tuple(name for name in ALL if draw(st.booleans())),
        rope_interleaved=draw(st.booleans()),
        table_dtype=draw(st.sampled_from([torch.float32, None])),
        eps=draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        bias=draw(st.booleans()),
        slot_dtype=draw(st.sampled_from([torch.int32, torch.int64])),
        skip=draw(st.sampled_from([0.0, 0.3, 1.0])),
        block_size=draw(st.integers(1, 200)),
        cache_gap=draw(st.sampled_from([0, 0, 1, 16, 999])),
        cache_nz=tuple(
            name for name in ("kv_cache", "rope_cache", "indexer_cache") if draw(st.booleans())
        ),
        joint=joint,
        kv_cache_scale=None if joint else draw(st.sampled_from([None, 0.03, 0.2])),
        indexer_heads=16 * draw(st.integers(0, 5)),
        indexer_dim=64 * draw(st.integers(2, 5)),
        fused=draw(st.booleans()),
        indexer_rope_interleaved=draw(st.booleans()),
        indexer_norm_dtype=draw(st.sampled_from([torch.float32, None])),
        indexer_eps=draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
    )


@pytest.mark.twin
@pytest.mark.large
@settings(max_examples=60, deadline=None)
@given(
    case=cases(),
    seed=st.integers(0, 2**32 - 1),
    chip=st.sampled_from(CHIPS),
    regions=st.lists(st.integers(0, 1 << 20), max_size=8),
    prefetch_bytes=st.one_of(st.none(), st.just(0), st.integers(0, 8 << 20)),
)
def test_any_call(case, seed, chip, regions, prefetch_bytes):
    prefetch = [torch.zeros(size, dtype=torch.uint8) for size in regions]
    names = ["q_b_weight", "w_uk", *(f"prefetch[{i}]" for i in range(len(regions)))]
    with twin.chip(chip), twin.tracing() as traces:
        check(case, seed=seed, prefetch=prefetch, prefetch_bytes=prefetch_bytes)
    assert traces
    for trace in traces:
        account = twin.account_prefetch(trace, names)
        assert account["unused"] == account["duplicated"] == 0
        assert account["planned"] == account["landed"] + account["pending"]
        if prefetch_bytes is not None:
            assert account["planned"] <= prefetch_bytes


def test_the_checks_notice_what_they_are_for():
    """A wrong element of any result fails the checks."""
    inputs = SfaInputs(replace(ODD, tokens=8))
    result, expected = run(inputs).tensors(), inputs.expected()
    assert result.keys() == expected.keys()
    for name in ("indexer_q", "indexer_weights", "indexer_cache"):
        check_output(name, result[name], expected[name])
        actual = result[name].clone()
        actual.view(-1)[5] += 1.0  # elements have a variance of about 1
        with pytest.raises(AssertionError, match=f"{name}: "):
            check_output(name, actual, expected[name])
