"""mla_prolog for models without a query latent: q_proj takes the hidden states themselves."""

from dataclasses import replace

import pytest
import torch

from ascend_prefetch.lab import twin
from mla_cases import (
    CHIPS,
    DTYPES,
    WEIGHTS,
    MlaCase,
    MlaInputs,
    case_id,
    check_values,
    model_case,
    run,
    same_bits,
)

pytestmark = pytest.mark.usefixtures("device")

NZ = [(), ("qkv_a_weight",), ("q_b_weight",), ("w_uk",), WEIGHTS]

# Sizes where no tile, fractal or core divides evenly.
ODD = MlaCase(tokens=49, hidden=336, q_lora=0, kv_lora=320, nope=48, heads=5)


def lite(tp, tokens, **options):
    case = model_case("deepseek-v2-lite", tp, tokens, **options)
    assert (case.hidden, case.q_lora, case.heads) == (2048, 0, 16 // tp)
    return case


@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
@pytest.mark.parametrize("tokens", [1, 16, 17])
@pytest.mark.parametrize("tp", [1, 2, 4])
def test_deepseek_v2_lite(tp, tokens, nz):
    check_values(lite(tp, tokens, nz=nz))
    check_values(lite(tp, tokens, nz=nz, dtype=torch.float16, joint=True, block_size=128))


@pytest.mark.parametrize("tokens", [49, 129])
def test_deepseek_v2_lite_with_more_tokens(tokens):
    check_values(lite(4, tokens, nz=("q_b_weight",), skip=0.2))


@pytest.mark.parametrize("nz", NZ, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 2, 15, 16, 17, 47, 48, 49, 128, 129, 300])
def test_tokens(tokens, nz):
    check_values(replace(ODD, tokens=tokens, nz=nz, dtype=DTYPES[tokens % 2]))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        MlaCase(tokens=1, hidden=16, q_lora=0, kv_lora=64, nope=16, heads=1),
        MlaCase(tokens=7, hidden=16, q_lora=0, kv_lora=64, nope=16, heads=33),
        MlaCase(tokens=5, hidden=2064, q_lora=0, kv_lora=4096, nope=240, heads=7),
        MlaCase(tokens=3, hidden=65520, q_lora=0, kv_lora=64, nope=16, heads=1),
        MlaCase(tokens=130, hidden=528, q_lora=0, kv_lora=576, nope=80, heads=6),
        MlaCase(tokens=1000, hidden=64, q_lora=0, kv_lora=64, nope=16, heads=3, skip=0.1),
    ],
    ids=case_id,
)
def test_odd_dimensions(case, dtype):
    for nz in ((), WEIGHTS):
        check_values(replace(case, nz=nz, dtype=dtype))


@pytest.mark.parametrize("interleaved", [True, False], ids=["interleaved", "half-split"])
@pytest.mark.parametrize("table_dtype", [torch.float32, None], ids=["fp32", "activation"])
def test_rope(table_dtype, interleaved):
    case = replace(ODD, rope_interleaved=interleaved, table_dtype=table_dtype)
    for heads in (1, 16, 19):
        check_values(replace(case, heads=heads))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_eps_is_that_of_the_latent_norm(dtype):
    check_values(replace(ODD, eps=1e-2, hidden_scale=0.1, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_an_identity_in_front_of_q_b(dtype):
    """A query latent that is the hidden states gives the same queries.

    Its norm weight undoes what the norm divides by, for rows that all have one mean square.
    """
    case = replace(ODD, hidden=256, dtype=dtype, eps=1e-30)
    plain = MlaInputs(case)
    signs = torch.where(plain.nd["hidden_states"] < 0, -1.0, 1.0).to(dtype)
    plain.nd["hidden_states"].copy_(signs)  # the mean of the squares is 1, exactly
    latent = MlaInputs(replace(case, q_lora=256))
    for name in ("hidden_states", "q_b_weight", "w_uk", "cos", "sin"):
        latent.nd[name].copy_(plain.nd[name])
    latent.nd["qkv_a_weight"][:256] = torch.eye(256).to(dtype)
    latent.nd["q_a_norm_weight"].fill_(1)
    actual, expected = run(plain).tensors(), run(latent).tensors()
    assert same_bits(expected["q_c"], signs)
    for name in ("q_nope", "q_rope"):
        assert same_bits(actual[name], expected[name]), name


def test_q_c_is_empty():
    result = run(MlaInputs(ODD)).outputs[2]
    assert result.shape == (49, 0) and result.dtype == torch.bfloat16


# --- runs ---


@pytest.mark.twin
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
def test_chips(chip, nz):
    with twin.chip(chip):
        check_values(replace(ODD, nz=nz, tokens=41))
        check_values(lite(4, 2, nz=nz))


@pytest.mark.twin
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
@pytest.mark.parametrize("case", [ODD, lite(4, 2)], ids=case_id)
def test_bits_depend_on_nothing_but_the_inputs(case, nz):
    """Neither on the run nor on what is prefetched, which is in time for what reads it."""
    inputs = MlaInputs(replace(case, nz=nz))
    regions = [torch.ones(1 << 20, dtype=torch.uint8), torch.ones(100_001, dtype=torch.int8)]
    expected = run(inputs)
    for prefetch_bytes in (None, 0, 1 << 14, 1 << 40):
        run(inputs, prefetch_bytes=prefetch_bytes).assert_same(expected)
        with twin.tracing() as traces:
            result = run(inputs, prefetch=regions, prefetch_bytes=prefetch_bytes)
        result.assert_same(expected)
        account = twin.account_prefetch(
            traces[0], ["q_b_weight", "w_uk", "prefetch[0]", "prefetch[1]"]
        )
        assert account["unused"] == account["duplicated"] == 0
        assert account["planned"] == account["landed"] + account["pending"]
        if prefetch_bytes is not None:  # else the planner decides
            assert (account["planned"] == 0) == (prefetch_bytes == 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_int8_latents(dtype):
    for cache_nz in ((), ("kv_cache",)):
        check_values(replace(ODD, kv_cache_scale=0.03, cache_nz=cache_nz, dtype=dtype))
