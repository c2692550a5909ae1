"""What o_proj prefetches, accounted from the traces of the twin."""

from dataclasses import replace

import pytest
import torch

from ascend_prefetch import planning
from ascend_prefetch.lab import twin
from o_proj_cases import WEIGHTS, OProjCase, model_case, model_ranks
from prefetch_launch import CHUNK, check_regions_are_taken_in_order
from w8a8_cases import DYNAMIC, STATIC

CHIPS = ["Ascend910B3", "Ascend910_9391"]
NOTHING = {"planned": 0, "landed": 0, "pending": 0, "unused": 0, "duplicated": 0}
OWN = "o_proj_weight"
LAYOUTS = pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
QUANTS = pytest.mark.parametrize(
    "quant", [None, STATIC, DYNAMIC], ids=["bf16", "static", "dynamic"]
)


def zero_arguments(case):
    """Arguments of the op, all zero: a trace does not depend on values."""

    def zeros(*shape, dtype=case.dtype):
        return torch.zeros(shape, dtype=dtype)

    def matrix(rows, columns, nz, dtype):
        if not nz:
            return (rows, columns)
        c0 = 32 if dtype == torch.int8 else 16
        return (columns // c0, rows, c0)

    arguments = {}
    if case.up_project:
        arguments["attn_output"] = zeros(case.tokens, case.heads, case.kv_lora)
        shape = matrix(case.kv_lora, case.value, "w_uv" in case.nz, case.dtype)
        arguments["w_uv"] = zeros(case.heads, *shape)
    else:
        arguments["attn_output"] = zeros(case.tokens, case.columns)
    if case.quant is None:
        shape = matrix(case.hidden, case.columns, OWN in case.nz, case.dtype)
        return {**arguments, OWN: zeros(*shape)}
    shape = matrix(case.columns, case.hidden, OWN in case.nz, torch.int8)
    arguments[OWN] = zeros(*shape, dtype=torch.int8)
    arguments["dequant_scale"] = torch.ones(case.hidden)
    if case.quant.static:
        arguments["input_scale"] = torch.ones(1)
    return arguments


def trace_of(case, **options):
    """The trace of one launch."""
    with twin.tracing() as traces:
        torch.ops.ascend_prefetch.o_proj(**zero_arguments(case), **options)
    (trace,) = traces
    return trace


def account(trace, *names):
    """The account of the tensors together, which has to balance."""
    result = twin.account_prefetch(trace, names)
    assert result["planned"] == result["landed"] + result["pending"] + result["unused"]
    assert all(result[key] >= 0 for key in result)
    return result


def next_weight():
    """The next layer's qkv_a of DeepSeek-V3."""
    return torch.zeros(2112, 7168, dtype=torch.bfloat16)


@pytest.mark.parametrize("chip", CHIPS)
@LAYOUTS
@QUANTS
@pytest.mark.parametrize(("name", "tp"), model_ranks((8, 16)))
def test_models(name, tp, quant, nz, chip):
    """What the planner decides is loaded, once, and nothing else; here nobody reads the region."""
    region = next_weight()
    for tokens in (1, 16, 64):
        case = model_case(name, tp, tokens, nz=nz, quant=quant)
        with twin.chip(chip), planning.logging_plans() as plans:
            trace = trace_of(case, prefetch=[region])
        (plan,) = plans
        following = account(trace, "prefetch[0]")
        assert account(trace, OWN) == NOTHING
        assert following["pending"] == sum(decision.bytes for decision in plan.decisions)
        assert following == {
            **NOTHING,
            "planned": following["pending"],
            "pending": following["pending"],
        }


@LAYOUTS
@pytest.mark.parametrize("quant", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_sums_of_int8_layers_leave_time(quant, nz):
    """Vector cores finish them when the last weight has long arrived."""
    for up_project in (True, False):
        case = model_case("deepseek-v3", 16, 16, nz=nz, quant=quant, up_project=up_project)
        trace = trace_of(case, prefetch=[next_weight()])
        assert 300_000 < account(trace, "prefetch[0]")["pending"] < 4_000_000


def test_nothing_that_experts_would_evict():
    case = model_case("deepseek-v3", 16, 16, quant=DYNAMIC)
    for passing, some in ((0, True), (100_000_000, True), (428_000_000, False)):
        trace = trace_of(case, prefetch=[next_weight()], prefetch_passing_bytes=[passing])
        assert (account(trace, "prefetch[0]")["planned"] > 0) == some


@pytest.mark.parametrize("chip", CHIPS)
@LAYOUTS
@QUANTS
@pytest.mark.parametrize(
    "case",
    [
        model_case("deepseek-v3", 16, 16),
        model_case("glm-4-moe-lite", 10, 1),
        OProjCase(tokens=49, hidden=320, heads=4, kv_lora=208, value=48),
    ],
    ids=["deepseek-v3", "glm-4-moe-lite", "odd"],
)
def test_budget(case, quant, nz, chip):
    case = replace(case, nz=nz, quant=quant)
    region = torch.zeros(16 << 20, dtype=torch.uint8)
    budgets = [0, 1, CHUNK - 1, CHUNK, 25 * CHUNK - 1, 25 * CHUNK, 1_000_000, 10_000_000]
    with twin.chip(chip):
        for budget in budgets:
            result = account(
                trace_of(case, prefetch=[region], prefetch_bytes=budget), OWN, "prefetch[0]"
            )
            chunks = budget // CHUNK * CHUNK  # the region alone could take them all
            assert result["planned"] == chunks
            assert result["unused"] == result["duplicated"] == 0
        unlimited = trace_of(case, prefetch=[region], prefetch_bytes=(1 << 63) - 1)
        assert account(unlimited, "prefetch[0]")["planned"] == region.nbytes


@LAYOUTS
def test_nothing_is_prefetched_without_a_budget(nz):
    case = model_case("deepseek-v3", 16, 1, nz=nz)
    trace = trace_of(case, prefetch=[next_weight()], prefetch_bytes=0)
    assert account(trace, OWN, "prefetch[0]") == NOTHING


@pytest.mark.parametrize("prefetch_bytes", [None, *range(0, 2_000_001, 125_000), 1 << 40])
def test_regions_are_taken_in_order(prefetch_bytes):
    """A region gets bytes only when the one before it is whole, up to its last 32-byte block."""
    case = model_case("glm-4-moe-lite", 10, 3)

    def account_of(regions):
        trace = trace_of(case, prefetch=regions, prefetch_bytes=prefetch_bytes)
        return lambda name: account(trace, name)

    check_regions_are_taken_in_order(account_of, prefetch_bytes)


@pytest.mark.parametrize("quant", [None, STATIC], ids=["bf16", "static"])
def test_two_runs_trace_the_same_loads(quant):
    case = model_case("glm-4-moe-lite", 10, 3, quant=quant)
    region = torch.zeros(1 << 20, dtype=torch.uint8)
    accounts = [account(trace_of(case, prefetch=[region]), OWN, "prefetch[0]") for _ in range(2)]
    assert accounts[0] == accounts[1]
