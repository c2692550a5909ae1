"""Values of mla_prolog on the twin, held against float64."""

from dataclasses import replace
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ascend_prefetch.lab import twin
from mla_cases import (
    CHIPS,
    DTYPES,
    ROPE,
    SEED,
    WEIGHTS,
    MlaCase,
    MlaInputs,
    case_id,
    check_bits_depend_on_inputs_alone,
    check_output,
    check_values,
    model_case,
    model_ranks,
    run,
    same_bits,
)

pytestmark = pytest.mark.usefixtures("device")

WEIGHT_SUBSETS = [subset for size in range(4) for subset in combinations(WEIGHTS, size)]

# Sizes where no tile, fractal or core divides evenly.
ODD = MlaCase(tokens=49, hidden=336, q_lora=192, kv_lora=320, nope=48, heads=5)


# --- sizes ---


@pytest.mark.parametrize("heads", [3, 5, 10, 20])
@pytest.mark.parametrize("tokens", [1, 2, 15, 16, 17, 31, 47, 48, 49, 100, 127, 128, 129, 200])
def test_tokens_and_heads(tokens, heads):
    check_values(MlaCase(tokens, heads=heads))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        MlaCase(tokens=1, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=1),
        MlaCase(tokens=7, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=33),
        MlaCase(tokens=33, hidden=48, q_lora=4096, kv_lora=64, nope=16, heads=2),
        MlaCase(tokens=5, hidden=2064, q_lora=64, kv_lora=4096, nope=240, heads=7),
        MlaCase(tokens=3, hidden=65520, q_lora=64, kv_lora=64, nope=16, heads=1),
        MlaCase(tokens=18, hidden=272, q_lora=832, kv_lora=448, nope=272, heads=17),
        MlaCase(tokens=130, hidden=528, q_lora=320, kv_lora=576, nope=80, heads=6),
        ODD,
    ],
    ids=case_id,
)
def test_odd_dimensions(case, dtype):
    check_values(replace(case, dtype=dtype))


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
@pytest.mark.parametrize("tokens", [1000, 8192])
def test_many_tokens(tokens, nz, dtype):
    tiny = MlaCase(tokens, hidden=64, q_lora=64, kv_lora=64, nope=16, heads=3, skip=0.1)
    check_values(replace(tiny, nz=nz, dtype=dtype, block_size=128))


@pytest.mark.large
@pytest.mark.parametrize(("name", "tp"), model_ranks((16, 8, 4)))
@pytest.mark.parametrize("tokens", [1, 5])
def test_models(name, tp, tokens):
    check_values(model_case(name, tp, tokens))


@pytest.mark.large
@pytest.mark.parametrize(("name", "tp"), model_ranks((16, 4)))
def test_models_in_nz_and_fp16(name, tp):
    check_values(model_case(name, tp, 18, nz=WEIGHTS, dtype=torch.float16, table_dtype=None))


@pytest.mark.large
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
def test_deepseek_v3_on_one_rank(nz):
    check_values(model_case("deepseek-v3", 1, 16, nz=nz, block_size=128))


# --- formats and options ---


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("nz", WEIGHT_SUBSETS, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 49, 129])
def test_weight_layouts(tokens, nz, dtype):
    check_values(replace(ODD, tokens=tokens, nz=nz, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("table_dtype", [torch.float32, None], ids=["fp32", "activation"])
@pytest.mark.parametrize("interleaved", [True, False], ids=["interleaved", "half-split"])
@pytest.mark.parametrize("heads", [1, 16, 19])
def test_rope(heads, interleaved, table_dtype, dtype):
    case = replace(ODD, heads=heads, dtype=dtype, table_dtype=table_dtype)
    check_values(replace(case, rope_interleaved=interleaved))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("eps", [1e-6, 1e-5, 1e-2])
def test_eps(eps, dtype):
    """At this scale of the activations eps is as large as the mean of the squares."""
    check_values(replace(ODD, eps=eps, hidden_scale=eps**0.5, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("biases", [("bias",), ("kv_bias",), ("bias", "kv_bias")], ids=case_id)
@pytest.mark.parametrize("tokens", [1, 100])
def test_norm_biases(tokens, biases, dtype):
    check_values(replace(ODD, tokens=tokens, dtype=dtype, **dict.fromkeys(biases, True)))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_a_norm_s_bias_stays_out_of_the_other_norm(dtype):
    """One buffer holds the bias of both norms, one after the other."""
    inputs = MlaInputs(replace(ODD, bias=True, kv_bias=True, dtype=dtype))
    biases = {name: inputs.arguments[name] for name in ("q_a_norm_bias", "kv_a_norm_bias")}
    results = {}
    for present in product((False, True), repeat=2):
        for name, is_present in zip(biases, present, strict=True):
            inputs.arguments[name] = biases[name] if is_present else None
        results[present] = run(inputs).tensors()
    for present in results:
        for norm, name in enumerate(("q_c", "kv_cache")):
            for other in results:
                same = present[norm] == other[norm]
                assert same_bits(results[present][name], results[other][name]) == same


# --- caches ---


@pytest.mark.parametrize("slot_dtype", [torch.int32, torch.int64], ids=case_id)
@pytest.mark.parametrize("skip", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("block_size", [1, 16, 128, 1000])
@pytest.mark.parametrize("tokens", [1, 47, 129])
def test_slots(tokens, block_size, skip, slot_dtype):
    case = replace(ODD, tokens=tokens, hidden=64, kv_lora=128, heads=2, block_size=block_size)
    check_values(replace(case, skip=skip, slot_dtype=slot_dtype))


@pytest.mark.parametrize("slot_dtype", [torch.int32, torch.int64], ids=case_id)
def test_first_and_last_slot(slot_dtype):
    inputs = MlaInputs(replace(ODD, tokens=3, slot_dtype=slot_dtype, block_size=7))
    inputs.slots[:] = torch.tensor([inputs.blocks * 7 - 1, -1, 0])
    inputs.arguments["slot_mapping"] = inputs.slots.to(slot_dtype)
    actual, expected = run(inputs).tensors(), inputs.expected()
    for name in ("kv_cache", "rope_cache"):
        check_output(name, actual[name], expected[name])


@pytest.mark.large
@pytest.mark.parametrize("large", ["kv_cache", "rope_cache"])
def test_a_cache_block_beyond_32_bit_offsets(large, tmp_path):
    """The second block starts 2^32 elements after the first, in a file that is one large hole."""
    case = MlaCase(1, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=2)
    inputs = MlaInputs(case)
    width, block_elements, stride = 64, case.block_size * 64, (1 << 32) + 16
    storage = torch.from_file(
        str(tmp_path / "cache"), shared=True, size=stride + block_elements, dtype=case.dtype
    )
    shape = (2, case.block_size, 1, width)
    caches = {name: torch.zeros(shape, dtype=case.dtype) for name in ("kv_cache", "rope_cache")}
    caches[large] = storage.as_strided(shape, (stride, width, width, 1))
    slot = case.block_size + 3
    arguments = {**inputs.arguments, "slot_mapping": torch.tensor([slot])}
    torch.ops.ascend_prefetch.mla_prolog(**arguments, **caches)
    inputs.slots[0] = slot
    expected = inputs.expected()
    for name, cache in caches.items():
        check_output(name, cache[1, 3], expected[name])
        assert not cache[0].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("gap", [1, 16, 1000])
def test_strided_caches(gap, dtype):
    """Blocks with holes between them get the bits of a dense cache; run() guards the holes."""
    dense = replace(ODD, dtype=dtype, skip=0.2)
    strided = replace(dense, cache_gap=gap)
    assert MlaInputs(strided).poisoned_caches()[0].tensor.is_contiguous() is False
    check_values(strided)
    first, second = MlaInputs(dense), MlaInputs(strided)
    second.arguments, second.slots = first.arguments, first.slots
    run(second).assert_same(run(first))


def test_caches_that_share_their_blocks():
    """Block by block, the latent rows and then the rope rows in one allocation."""
    inputs = MlaInputs(replace(ODD, skip=0.2))
    expected = run(inputs)
    kv, rope = inputs.poisoned_caches()
    storage = torch.cat([kv.storage, rope.storage], dim=1)
    poison = storage.clone()
    kv_cache = storage[:, : kv.storage.shape[1]].view_as(kv.tensor)
    rope_cache = storage[:, kv.storage.shape[1] :].view_as(rope.tensor)
    assert not kv_cache.is_contiguous()
    torch.ops.ascend_prefetch.mla_prolog(
        **inputs.arguments, kv_cache=kv_cache, rope_cache=rope_cache
    )
    both = torch.cat([expected.kv_cache.storage, expected.rope_cache.storage], dim=1)
    assert same_bits(storage, both)
    assert not same_bits(storage, poison)


def test_tensors_that_start_inside_their_storage():
    """Data that starts at an odd multiple of its element size, as slices of larger tensors do."""
    inputs = MlaInputs(replace(ODD, nz=("q_b_weight",), bias=True, kv_bias=True))
    expected = run(inputs)

    def shifted(tensor):
        storage = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
        return storage[1:].view_as(tensor).copy_(tensor)

    arguments = {
        name: shifted(value) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.arguments.items()
    }
    kv_cache, rope_cache = inputs.poisoned_caches()
    kv, rope = shifted(kv_cache.tensor), shifted(rope_cache.tensor)
    outputs = torch.ops.ascend_prefetch.mla_prolog(**arguments, kv_cache=kv, rope_cache=rope)
    for output, wanted in zip(outputs, expected.outputs, strict=True):
        assert same_bits(output, wanted)
    assert same_bits(kv, expected.kv_cache.tensor)
    assert same_bits(rope, expected.rope_cache.tensor)


# --- runs ---


@pytest.mark.twin
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=case_id)
def test_chips(chip, nz):
    with twin.chip(chip):
        check_values(replace(ODD, nz=nz, tokens=41))
        check_values(model_case("glm-4-moe-lite", 4, 2, nz=nz))


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case", [ODD, model_case("deepseek-v3", 16, 2), model_case("glm-5", 16, 17, nz=WEIGHTS)]
)
def test_bits_depend_on_nothing_but_the_inputs(case, dtype):
    """Neither on the run nor on what is prefetched."""
    inputs = MlaInputs(replace(case, dtype=dtype))
    check_bits_depend_on_inputs_alone(lambda **options: run(inputs, **options).tensors())


# --- everything together ---


@st.composite
def cases(draw):
    dtype = draw(st.sampled_from(DTYPES))
    return MlaCase(
        tokens=draw(st.integers(1, 150)),
        hidden=16 * draw(st.integers(1, 40)),
        q_lora=64 * draw(st.integers(1, 8)),
        kv_lora=64 * draw(st.integers(1, 8)),
        nope=16 * draw(st.integers(1, 14)),
        heads=draw(st.integers(1, 24)),
        dtype=dtype,
        nz=draw(st.sampled_from(WEIGHT_SUBSETS)),
        rope_interleaved=draw(st.booleans()),
        table_dtype=draw(st.sampled_from([torch.float32, None])),
        eps=draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        bias=draw(st.booleans()),
        kv_bias=draw(st.booleans()),
        slot_dtype=draw(st.sampled_from([torch.int32, torch.int64])),
        skip=draw(st.sampled_from([0.0, 0.3, 1.0])),
        block_size=draw(st.integers(1, 200)),
        cache_gap=draw(st.sampled_from([0, 0, 1, 16, 999])),
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
        check_values(case, seed, prefetch=prefetch, prefetch_bytes=prefetch_bytes)
    assert traces
    for trace in traces:
        account = twin.account_prefetch(trace, names)
        assert account["unused"] == account["duplicated"] == 0
        assert account["planned"] == account["landed"] + account["pending"]
        if prefetch_bytes is not None:
            assert account["planned"] <= prefetch_bytes


def test_the_checks_notice_what_they_are_for():
    """A wrong element, an unwritten element and a changed cache row all fail the checks."""
    inputs = MlaInputs(replace(ODD, tokens=8), SEED)
    result, expected = run(inputs).tensors(), inputs.expected()
    for name in result:
        check_output(name, result[name], expected[name])
        for change in (float("nan"), 1.0):  # elements have a variance of about 1
            actual = result[name].clone()
            actual.view(-1)[5] += change
            with pytest.raises(AssertionError, match=f"{name}: "):
                check_output(name, actual, expected[name])
    changed, poison = inputs.poisoned_caches()[1], inputs.poisoned_caches()[1]
    changed.assert_only_slots_changed(poison)
    untouched = sorted(set(range(inputs.blocks * 16)) - set(inputs.slots.tolist()))[0]
    changed.tensor.view(-1, ROPE)[untouched, 3] = -changed.tensor.view(-1, ROPE)[untouched, 3]
    with pytest.raises(AssertionError):
        changed.assert_only_slots_changed(poison)
