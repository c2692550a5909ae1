"""Calls of the ops with everything drawn together: sizes, formats, caches, slots, quantisation.

Each call is held against the float64 references, or its W8A8 layers against exact integers; the
inputs and every cache row without a slot have to keep their bits, and the trace has to account for
every prefetched byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import torch
from hypothesis import strategies as st

from ascend_prefetch.lab import reference, twin
from mla_cases import (
    CHIPS,
    FEWEST_PAIRS,
    ROPE,
    WEIGHTS,
    MlaCase,
    MlaInputs,
    check_latent,
    check_output,
    one_thread,
    run,
    same_bits,
)
from o_proj_cases import (
    FEWEST_ELEMENTS,
    WEIGHT_SUBSETS,
    OProjCase,
    OProjInputs,
    dequantised_output,
    expected_output,
)
from o_proj_cases import check_output as check_o_proj_output
from o_proj_cases import run as run_o_proj
from prefetch_launch import Launch, blocks_of, random_bytes
from sfa_cases import INDEXER_WEIGHTS, SfaCase, SfaInputs
from w8a8_cases import (
    ALL_W8A8,
    W8A8Case,
    check_dequantised,
    expected_behind,
    norm_bias,
    quantise_layers,
)

# At and around the edges of fractals, of blocks of vector cores and of tiles.
EDGES = [1, 2, 15, 16, 17, 20, 24, 25, 31, 33, 40, 47, 48, 49, 63, 64, 65, 96, 127, 128, 129, 150]


@dataclass(frozen=True)
class Call:
    """A case of one op, and what every op takes beside it."""

    case: MlaCase | SfaCase | OProjCase
    quants: dict[str, W8A8Case]  # of the layers of a prolog
    seed: int  # of the values
    chip: str = CHIPS[0]
    regions: tuple[int, ...] = ()  # bytes of each weight to prefetch
    prefetch_bytes: int | None = None

    def prefetch(self) -> dict:
        """The arguments that say what to prefetch."""
        weights = [torch.zeros(size, dtype=torch.uint8) for size in self.regions]
        return {"prefetch": weights, "prefetch_bytes": self.prefetch_bytes}


@dataclass(frozen=True)
class PrefetchCall:
    """A call of prefetch. Sizes, offsets and limits count bytes."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]  # of the weights in memory
    adjacent: bool  # in one memory
    offsets: tuple[int, ...] | None
    max_bytes: tuple[int, ...] | None
    cores: int | None
    engine: str
    beside: bool
    chip: str

    def weights(self) -> list[torch.Tensor]:
        if not self.adjacent:
            return [random_bytes(size) for size in self.sizes]
        views = random_bytes(sum(self.sizes)).split([self.sizes[i] for i in self.order])
        return [views[self.order.index(i)] for i in range(len(self.sizes))]


# --- what is drawn ---


def multiples(unit: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most).map(lambda count: unit * count)


def subsets(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    sizes = range(len(names) + 1)
    return st.sampled_from([subset for size in sizes for subset in combinations(names, size)])


TOKENS = st.one_of(st.sampled_from(EDGES), st.integers(1, 150))
DTYPES = st.sampled_from([torch.bfloat16, torch.float16])
QUANTS = st.one_of(st.none(), st.sampled_from(ALL_W8A8))


@st.composite
def prolog_cases(draw, sfa: bool) -> tuple[MlaCase, dict[str, W8A8Case]]:
    indexed = sfa and draw(st.integers(0, 3)) > 0
    q_lora = draw(multiples(64, 6)) if indexed or draw(st.integers(0, 3)) else 0
    layers = ("qkv_a_weight", "q_b_weight", *(("indexer_wq_b",) if indexed else ()))
    quants = {name: quant for name in layers if (quant := draw(QUANTS)) is not None}
    # int8 layers have features in multiples of 64.
    wide_hidden = "qkv_a_weight" in quants or ("q_b_weight" in quants and not q_lora)
    joint = draw(st.integers(0, 3)) == 0
    int8_cache = not joint and draw(st.integers(0, 3)) == 0
    caches = ("kv_cache", *(() if joint else ("rope_cache",)))
    options = {
        "tokens": draw(TOKENS),
        "hidden": draw(multiples(64, 10) if wide_hidden else multiples(16, 40)),
        "q_lora": q_lora,
        "kv_lora": draw(multiples(64, 6)),
        "nope": draw(multiples(64, 3) if "q_b_weight" in quants else multiples(16, 13)),
        "heads": draw(st.integers(1, 20)),
        "dtype": draw(DTYPES),
        "nz": draw(subsets((*WEIGHTS, *(INDEXER_WEIGHTS if indexed else ())))),
        "rope_interleaved": draw(st.booleans()),
        "table_dtype": draw(st.sampled_from([torch.float32, None])),
        "eps": draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        "hidden_scale": draw(st.sampled_from([1.0, 1.0, 0.05, 20.0])),
        "bias": q_lora > 0 and draw(st.booleans()),
        "kv_bias": draw(st.booleans()),
        "slot_dtype": draw(st.sampled_from([torch.int32, torch.int64])),
        "skip": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "block_size": draw(st.one_of(st.integers(1, 200), st.sampled_from([16, 128, 1024]))),
        "cache_gap": draw(st.sampled_from([0, 0, 1, 16, 999])),
        "cache_nz": draw(subsets((*caches, *(("indexer_cache",) if indexed else ())))),
        "joint": joint,
        "kv_cache_scale": draw(st.sampled_from([0.03, 0.1])) if int8_cache else None,
        "quantize_q_nope": draw(st.booleans()),
    }
    if not sfa:
        return MlaCase(**options), quants
    options |= {
        "indexer_heads": 16 * draw(st.integers(1, 3)) if indexed else 0,
        "indexer_dim": draw(st.sampled_from([128, 128, 192, 512])),
        "fused": draw(st.booleans()),
        "indexer_rope_interleaved": draw(st.booleans()),
        "indexer_norm_dtype": draw(st.sampled_from([torch.float32, None])),
        "indexer_eps": draw(st.sampled_from([1e-6, 1e-2])),
    }
    return SfaCase(**options), quants


@st.composite
def o_proj_cases(draw) -> tuple[OProjCase, dict[str, W8A8Case]]:
    quant = draw(QUANTS)
    bias = draw(st.sampled_from(["none", "activation", "float32"]))
    heads = draw(st.integers(1, 20))
    value = draw(multiples(16, 16))
    if quant is not None:
        heads += -heads % (64 // min(64, value & -value))  # heads * value a multiple of 64
    case = OProjCase(
        tokens=draw(TOKENS),
        hidden=draw(multiples(16, 40) if quant is None and bias == "none" else multiples(64, 12)),
        heads=heads,
        kv_lora=draw(multiples(16, 24)),
        value=value,
        dtype=draw(DTYPES),
        up_project=draw(st.booleans()),
        heads_outermost=draw(st.booleans()),
        nz=draw(st.sampled_from(WEIGHT_SUBSETS)),
        bias=bias,
        quant=quant,
    )
    return case, {}


@st.composite
def calls(draw, cases: st.SearchStrategy) -> Call:
    case, quants = draw(cases)
    return Call(
        case,
        quants,
        seed=draw(st.integers(0, 2**32 - 1)),
        chip=draw(st.sampled_from(CHIPS)),
        regions=tuple(draw(st.lists(st.integers(0, 1 << 20), max_size=8))),
        prefetch_bytes=draw(st.one_of(st.none(), st.just(0), st.integers(0, 8 << 20))),
    )


@st.composite
def prefetch_calls(draw) -> PrefetchCall:
    """Weights of a memory each, or side by side in one, in any order; parts of them."""
    sizes = draw(st.lists(st.integers(1, 1 << 17), min_size=1, max_size=8))
    offsets = [draw(st.integers(0, size - 1)) for size in sizes]
    most = [draw(st.one_of(st.just(1 << 40), st.integers(1, size))) for size in sizes]
    chip = draw(st.sampled_from(twin.chips()))
    engine = draw(st.sampled_from(["vector", "cube"]))
    all_cores = chip["aic_count" if engine == "cube" else "aiv_count"]
    return PrefetchCall(
        sizes=tuple(sizes),
        order=tuple(draw(st.permutations(range(len(sizes))))),
        adjacent=draw(st.booleans()),
        offsets=draw(st.sampled_from([None, tuple(offsets)])),
        max_bytes=draw(st.sampled_from([None, tuple(most)])),
        cores=draw(st.one_of(st.none(), st.integers(1, all_cores))),
        engine=engine,
        beside=draw(st.booleans()),
        chip=chip["name"],
    )


CALLS = {
    "mla_prolog": calls(prolog_cases(sfa=False)),
    "sfa_prolog": calls(prolog_cases(sfa=True)),
    "o_proj": calls(o_proj_cases()),
    "prefetch": prefetch_calls(),
}


# --- how it is checked ---


def check_o_proj(call: Call) -> None:
    """o_proj; with W_UV an int8 layer sees values that are no result: norm-wise."""
    case, actual, expected = call.case, [], []
    for repeat in range(-(-FEWEST_ELEMENTS // (case.tokens * case.hidden))):
        inputs = OProjInputs(case, call.seed + repeat)
        actual.append(run_o_proj(inputs, **call.prefetch()))
        expected.append(expected_output(inputs))
        if case.quant is not None and not case.up_project:
            check_dequantised("out", actual[-1], dequantised_output(inputs), inputs.nd.get("bias"))
    check_o_proj_output(torch.cat(actual), torch.cat(expected))


def prolog_inputs(call: Call, case: MlaCase, value_seed: int) -> MlaInputs:
    inputs = (SfaInputs if isinstance(case, SfaCase) else MlaInputs)(case, value_seed)
    quantise_layers(inputs, call.quants, value_seed + 2)
    return inputs


def check_prolog(call: Call) -> None:
    actual: dict[str, list[torch.Tensor]] = {}
    expected: dict[str, list[torch.Tensor]] = {}
    for repeat in range(-(-FEWEST_PAIRS // (call.case.tokens * call.case.heads))):
        tensors, wanted = one_prolog(call, call.seed + repeat)
        for name in wanted:
            actual.setdefault(name, []).append(tensors[name])
            expected.setdefault(name, []).append(wanted[name])
    for name in actual:
        values, wanted = torch.cat(actual[name]), torch.cat(expected[name])
        if values.dtype == torch.int8:
            check_latent(values, wanted, call.case.kv_cache_scale)
        else:
            check_output(name, values, wanted)


def one_prolog(call: Call, value_seed: int) -> tuple[dict, dict]:
    """Results with q_nope in the activation dtype, and their float64 values."""
    inputs = prolog_inputs(call, call.case, value_seed)
    result = run(inputs, **call.prefetch())
    tensors = result.tensors()
    if call.case.quantize_q_nope:
        quantised = tensors
        plain = prolog_inputs(call, replace(call.case, quantize_q_nope=False), value_seed)
        tensors = run(plain, **{**call.prefetch(), "prefetch_bytes": 0}).tensors()
        check_quantised_q_nope(quantised, tensors)
    wanted = expected_behind(inputs, result)
    assert tensors.keys() == wanted.keys()
    check_exact_layers(call, inputs, tensors, wanted)
    return tensors, wanted


def check_quantised_q_nope(
    quantised: dict[str, torch.Tensor], plain: dict[str, torch.Tensor]
) -> None:
    """The plain q_nope, quantised row by row; nothing else differs."""
    values, scales = reference.quantise_dynamic(plain["q_nope"])
    assert torch.equal(quantised["q_nope"], values)
    assert ((quantised["q_nope_scale"] - scales).abs() <= 1e-6 * scales).all()
    for name in plain.keys() - {"q_nope"}:
        assert same_bits(quantised[name], plain[name]), name


def check_exact_layers(
    call: Call, inputs: MlaInputs, actual: dict[str, torch.Tensor], expected: dict
) -> None:
    """Where an int8 layer's result is rounded once it is within an ulp."""
    if "qkv_a_weight" in call.quants:
        once = ["q_c"] if call.case.q_lora else []
        once += ["kv_cache"] if call.case.kv_cache_scale is None else []
        for name in once:
            check_dequantised(name, actual[name], expected[name], norm_bias(inputs, name))
    if "indexer_wq_b" in call.quants:
        name, part = "indexer_q", slice(ROPE, None)  # rope leaves these alone
        check_dequantised(name, actual[name][..., part], expected[name][..., part])


def prefetched_names(call: Call) -> list[str]:
    """The tensors that vector cores may load ahead, as the launch names them."""
    names = [f"prefetch[{i}]" for i in range(len(call.regions))]
    if isinstance(call.case, OProjCase):
        return ["o_proj_weight", *names]
    if isinstance(call.case, SfaCase) and call.case.indexer_heads:
        names += ["indexer_wq_b", "indexer_wk"]
        names += [] if call.case.fused else ["indexer_weights_proj"]
    return ["q_b_weight", "w_uk", *names]


def check_prefetch(call: PrefetchCall) -> None:
    """The blocks of the bytes asked for are loaded once each, and nothing else."""
    weights = call.weights()
    options = {"offsets": call.offsets, "max_bytes": call.max_bytes, "cores": call.cores}
    launch = Launch(weights, call.engine, beside=call.beside, **options)
    for i, weight in enumerate(weights):
        offset = call.offsets[i] if call.offsets else 0
        most = call.max_bytes[i] if call.max_bytes else None
        assert launch.loaded(i) == blocks_of(weight, offset, most)


@one_thread()
def check_call(call: Call | PrefetchCall) -> None:
    """Results against the references, prefetched bytes against the account of the trace."""
    if isinstance(call, PrefetchCall):
        with twin.chip(call.chip):
            check_prefetch(call)
        return
    check = check_o_proj if isinstance(call.case, OProjCase) else check_prolog
    with twin.chip(call.chip), twin.tracing() as traces:
        check(call)
    for trace in traces:
        account = twin.account_prefetch(trace, prefetched_names(call))
        assert account["unused"] == account["duplicated"] == 0
        assert account["planned"] == account["landed"] + account["pending"]
        if call.prefetch_bytes is not None:
            assert account["planned"] <= call.prefetch_bytes
