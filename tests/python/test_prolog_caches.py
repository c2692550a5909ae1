"""Caches of mla_prolog and sfa_prolog in every layout, int8 latents and int8 q_nope."""

from dataclasses import replace

import pytest
import torch

from ascend_prefetch.lab import reference
from mla_cases import (
    DTYPES,
    ROPE,
    SEED,
    WEIGHTS,
    MlaCase,
    MlaInputs,
    check_latent,
    check_output,
    check_values,
    run,
    same_bits,
)
from sfa_cases import SfaCase, SfaInputs

pytestmark = pytest.mark.usefixtures("device")

ODD = MlaCase(tokens=49, hidden=336, q_lora=192, kv_lora=320, nope=48, heads=3)
SPARSE = SfaCase(tokens=49, hidden=336, q_lora=192, kv_lora=320, nope=48, heads=3)

# (joint, caches in FRACTAL_NZ): every form without an indexer, and with one.
MLA_LAYOUTS = [
    *((False, nz) for nz in ((), ("kv_cache",), ("rope_cache",), ("kv_cache", "rope_cache"))),
    *((True, nz) for nz in ((), ("kv_cache",))),
]
SFA_LAYOUTS = [
    (joint, (*nz, *indexer)) for joint, nz in MLA_LAYOUTS for indexer in ((), ("indexer_cache",))
]
BLOCK_SIZES = [1, 16, 128, 1000, 1024]


def case_id(value):
    if isinstance(value, tuple):
        joint, nz = value
        return ("joint" if joint else "split") + "".join(f"-{name}" for name in nz)
    return str(value).removeprefix("torch.")


def inputs_of(case, seed=SEED):
    return (SfaInputs if isinstance(case, SfaCase) else MlaInputs)(case, seed)


def with_slots(inputs, slots):
    """The inputs with another slot mapping."""
    inputs.slots = slots
    inputs.arguments["slot_mapping"] = slots.to(inputs.case.slot_dtype)
    return inputs


def check(case):
    check_values(case, inputs_type=SfaInputs if isinstance(case, SfaCase) else MlaInputs)


# --- layouts ---


@pytest.mark.parametrize(
    ("dtype", "slot_dtype"),
    [(torch.bfloat16, torch.int32), (torch.float16, torch.int64)],
    ids=case_id,
)
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("layout", SFA_LAYOUTS, ids=case_id)
def test_layouts(layout, block_size, dtype, slot_dtype):
    """The values are right, and run() sees to every other element, holes between blocks included.

    With an indexer and without.
    """
    joint, nz = layout
    options = {"joint": joint, "cache_nz": nz, "block_size": block_size, "cache_gap": 48}
    options |= {"dtype": dtype, "slot_dtype": slot_dtype, "skip": 0.25}
    check(replace(SPARSE, tokens=33, **options))
    check(replace(ODD, tokens=18, **options))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("layout", MLA_LAYOUTS, ids=case_id)
def test_latents_with_a_bias(layout, dtype):
    """In every layout and for int8, with an indexer, without, and without a query latent."""
    joint, nz = layout
    biased = {"joint": joint, "cache_nz": nz, "dtype": dtype, "kv_bias": True}
    for scale in (None,) if joint else (None, 0.05):
        options = {**biased, "kv_cache_scale": scale}
        check(replace(ODD, tokens=50, bias=True, skip=0.25, **options))
        check(replace(SPARSE, tokens=5, **options))
        check(replace(ODD, tokens=17, q_lora=0, **options))


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("gap", [0, 1, 16, 1000])
@pytest.mark.parametrize("base", [ODD, SPARSE], ids=["mla", "sfa"])
def test_all_layouts_hold_the_same_bits(base, gap, dtype):
    """Rows do not depend on where they go; the plain layout is held against float64."""
    plain = replace(base, dtype=dtype, skip=0.2, block_size=7)
    check(plain)
    expected = run(inputs_of(plain))
    layouts = SFA_LAYOUTS if isinstance(base, SfaCase) else MLA_LAYOUTS
    for joint, nz in layouts:
        case = replace(plain, joint=joint, cache_nz=nz, cache_gap=gap)
        result = run(inputs_of(case))
        result.assert_same(expected)
        # The reference reads every layout by itself.
        for name, cache in zip(case.cache_rows(), result.caches, strict=True):
            rows = reference.read_paged_cache(cache.tensor, inputs_of(case).slots)
            wanted = [expected.tensors()[name]]
            if joint and name == "kv_cache":
                wanted.append(expected.tensors()["rope_cache"])
            assert same_bits(rows, torch.cat(wanted, dim=1)), (joint, nz, name)


@pytest.mark.parametrize("layout", SFA_LAYOUTS, ids=case_id)
@pytest.mark.parametrize("tokens", [1, 129, 300])
def test_skipped_tokens_touch_no_cache(layout, tokens):
    joint, nz = layout
    options = {"tokens": tokens, "joint": joint, "cache_nz": nz, "block_size": 16}
    for base in (ODD, SPARSE):
        run(inputs_of(replace(base, hidden=64, skip=1.0, **options)))
        check(replace(base, hidden=64, skip=0.5, **options))


@pytest.mark.parametrize("slot_dtype", [torch.int32, torch.int64], ids=case_id)
@pytest.mark.parametrize("layout", SFA_LAYOUTS, ids=case_id)
def test_first_and_last_slot(layout, slot_dtype):
    joint, nz = layout
    case = replace(SPARSE, tokens=3, slot_dtype=slot_dtype, block_size=7)
    inputs = inputs_of(replace(case, joint=joint, cache_nz=nz, cache_gap=16))
    with_slots(inputs, torch.tensor([inputs.blocks * 7 - 1, -1, 0]))
    actual, expected = run(inputs).tensors(), inputs.expected()
    for name in ("kv_cache", "rope_cache", "indexer_cache"):
        check_output(name, actual[name], expected[name])


@pytest.mark.parametrize("layout", SFA_LAYOUTS, ids=case_id)
def test_one_full_block(layout):
    """Every row of a cache of a single block is written: the end of NZ's last strip too."""
    joint, nz = layout
    case = replace(SPARSE, tokens=48, block_size=48, blocks=1, joint=joint, cache_nz=nz)
    inputs = inputs_of(case)
    result, expected = run(inputs), inputs.expected()
    for name, tensor in result.tensors().items():
        check_output(name, tensor, expected[name])
    for cache in result.caches:
        assert cache.storage.isfinite().all()


@pytest.mark.parametrize("nz", [(), ("kv_cache",)], ids=["row-major", "nz"])
def test_a_joint_cache_as_a_view_of_a_larger_one(nz):
    """Joint rows of layers that share their blocks, as hybrid cache managers lay them out."""
    case = replace(ODD, joint=True, cache_nz=nz, skip=0.2)
    inputs = inputs_of(case)
    expected = run(inputs)
    (cache,) = inputs.poisoned_caches()
    storage = torch.cat([cache.storage, cache.storage], dim=1)
    before = storage.clone()
    for half in storage.chunk(2, dim=1):
        view = half.unflatten(1, cache.tensor.shape[1:])
        assert not view.is_contiguous()
        inputs.op(**inputs.arguments, kv_cache=view)
        assert same_bits(half, expected.kv_cache.storage)
    assert not same_bits(storage, before)


def test_a_row_major_cache_of_a_block_size_like_a_fractal():
    """Only the last dimension tells the layouts apart, whatever the others are."""
    for nz in ((), ("kv_cache", "rope_cache", "indexer_cache")):
        case = replace(SPARSE, kv_lora=64, indexer_dim=128, block_size=16, cache_nz=nz)
        check(replace(case, tokens=20))
        check(replace(case, tokens=20, block_size=32, kv_cache_scale=0.05))
        check(replace(case, tokens=20, block_size=1))


# --- int8 latent caches ---


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize(
    "nz",
    [(), ("kv_cache",), ("rope_cache",), ("kv_cache", "rope_cache")],
    ids=lambda nz: "-".join(nz) or "row-major",
)
def test_int8_latents(nz, block_size, dtype):
    """float64, exact off ties; saturated where the scale is small."""
    for base in (ODD, SPARSE):
        case = replace(base, cache_nz=nz, block_size=block_size, dtype=dtype, skip=0.2)
        for scale in (0.004, 0.03, 0.5):
            check(replace(case, kv_cache_scale=scale, tokens=30))
        check(replace(case, kv_cache_scale=0.02, cache_gap=32))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("kv_lora", [64, 448, 512, 4096])
@pytest.mark.parametrize("tokens", [1, 17, 129])
def test_int8_latent_sizes(tokens, kv_lora, dtype):
    case = MlaCase(tokens, hidden=112, q_lora=64, kv_lora=kv_lora, nope=16, heads=2, dtype=dtype)
    for nz in ((), ("kv_cache",)):
        check(replace(case, kv_cache_scale=0.05, cache_nz=nz))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_int8_latents_change_no_other_result(dtype):
    for base in (ODD, SPARSE):
        plain = replace(base, dtype=dtype, skip=0.2, block_size=5)
        actual = run(inputs_of(replace(plain, kv_cache_scale=0.02))).tensors()
        # The caches are drawn last: other inputs are the same.
        expected = run(inputs_of(plain)).tensors()
        for name in expected.keys() - {"kv_cache"}:
            assert same_bits(actual[name], expected[name]), name
        # int8 comes from the unrounded latent, which the plain cache holds to half a unit.
        latent, unit = expected["kv_cache"].double(), torch.finfo(dtype).eps / 2
        distance = (actual["kv_cache"].double() * 0.02 - latent).abs()
        inside = latent.abs() < 127 * 0.02
        assert (distance[inside] <= 0.01 + latent.abs()[inside] * unit + 1e-6).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_int8_latents_saturate(dtype):
    """Beyond both ends, and where the quotient leaves the range of int32 and of float32."""
    for scale in (1e-3, 1e-12, 1e-37):
        inputs = inputs_of(replace(ODD, dtype=dtype, kv_cache_scale=scale))
        inputs.nd["kv_a_norm_weight"][::3] *= 60
        actual = run(inputs).tensors()["kv_cache"]
        check_latent(actual, inputs.expected()["kv_cache"], scale)
        assert (actual == -128).any() and (actual == 127).any()


def test_int8_latents_round_half_to_even():
    """Latents made to lie on ties: k_a = +-1 everywhere, a norm weight that counts half steps."""
    case = MlaCase(tokens=4, hidden=16, q_lora=64, kv_lora=128, nope=16, heads=1, eps=1e-30)
    inputs = inputs_of(replace(case, kv_cache_scale=0.5))
    nd = inputs.nd
    nd["hidden_states"].zero_()[:, 0] = 1
    nd["qkv_a_weight"][:, 0] = torch.where(torch.arange(256) % 2 == 0, 1.0, -1.0).to(case.dtype)
    nd["kv_a_norm_weight"].copy_((torch.arange(128) - 64) / 4)  # exact in bf16
    latent = nd["kv_a_norm_weight"].double() * nd["qkv_a_weight"][64:192, 0].double()
    actual = run(inputs).tensors()["kv_cache"]
    expected = (latent / 0.5).round().to(torch.int8)
    assert torch.equal(actual, expected.expand(4, -1))
    assert ((latent / 0.5) % 1 == 0.5).any()


# --- int8 q_nope ---


def check_quantised(case):
    """The op's own plain q_nope, quantised by the reference, and nothing else changed."""
    check(case)
    inputs = inputs_of(case)
    check_quantised_inputs(inputs, run(inputs))


def check_quantised_inputs(inputs, plain):
    quantised = inputs_of(replace(inputs.case, quantize_q_nope=True))
    for name, value in inputs.nd.items():
        if value is not None:
            quantised.nd[name].copy_(value)
            if name not in inputs.case.nz:
                quantised.arguments[name].copy_(value)
    expected = plain.tensors()
    actual = run(quantised).tensors()
    values, scales = reference.quantise_dynamic(expected.pop("q_nope"))
    assert torch.equal(actual.pop("q_nope"), values)
    scale = actual.pop("q_nope_scale")
    assert torch.equal(scale == 0, scales == 0)
    assert ((scale - scales).abs() <= 1e-6 * scales).all()
    assert actual.keys() == expected.keys()
    for name in actual:
        assert same_bits(actual[name], expected[name]), name
    return values, scales


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("heads", [1, 3, 20])
@pytest.mark.parametrize("tokens", [1, 2, 15, 17, 49, 129])
def test_quantised_q_nope(tokens, heads, dtype):
    check_quantised(replace(ODD, tokens=tokens, heads=heads, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize(
    "case",
    [
        MlaCase(tokens=1, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=1),
        MlaCase(tokens=5, hidden=64, q_lora=64, kv_lora=4096, nope=16, heads=3),
        MlaCase(tokens=33, hidden=272, q_lora=0, kv_lora=448, nope=272, heads=17),
        MlaCase(tokens=18, hidden=528, q_lora=320, kv_lora=576, nope=80, heads=6, nz=WEIGHTS),
        replace(ODD, joint=True, cache_nz=("kv_cache",), skip=0.2),
        replace(ODD, kv_cache_scale=0.03, skip=0.2),
        replace(SPARSE, kv_cache_scale=0.03, indexer_rope_interleaved=True, fused=True),
    ],
    ids=lambda case: f"{type(case).__name__}-{case.tokens}-{case.kv_lora}-{case.heads}",
)
def test_quantised_q_nope_of_other_forms(case, dtype):
    check_quantised(replace(case, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
def test_zero_rows_of_q_nope(dtype):
    """Zeros with the scale 0: a head without weights, a token without hidden states."""
    inputs = inputs_of(replace(ODD, dtype=dtype))
    inputs.nd["w_uk"][1] = 0
    inputs.nd["hidden_states"][7] = 0
    values, scales = check_quantised_inputs(inputs, run(inputs))
    assert not values[:, 1].any() and not values[7].any()
    assert not scales[:, 1].any() and not scales[7].any()
    assert scales[:7, 0].all()


@pytest.mark.parametrize("dtype", DTYPES, ids=case_id)
@pytest.mark.parametrize("factor", [1e-4, 1e4], ids=["small", "large"])
def test_range_of_q_nope(factor, dtype):
    """Rows far from 1, in fp16 down to subnormal ones."""
    inputs = inputs_of(replace(ODD, tokens=20, dtype=dtype))
    inputs.nd["w_uk"].mul_(factor)
    check_quantised_inputs(inputs, run(inputs))


def test_documented_shapes():
    """What the tests above write to has the shapes that the documentation gives."""
    case = replace(SPARSE, tokens=3, block_size=7)
    caches = [cache.tensor.shape for cache in inputs_of(case).poisoned_caches()]
    assert [list(shape[1:]) for shape in caches] == [[7, 1, 320], [7, 1, ROPE], [7, 1, 128]]
    nz = replace(case, cache_nz=("kv_cache", "rope_cache", "indexer_cache"))
    caches = [cache.tensor.shape for cache in inputs_of(nz).poisoned_caches()]
    assert [list(shape[1:]) for shape in caches] == [[20, 7, 16], [4, 7, 16], [8, 7, 16]]
    (cache, *_) = inputs_of(replace(nz, kv_cache_scale=0.1)).poisoned_caches()
    assert list(cache.tensor.shape[1:]) == [10, 7, 32]
    (cache, _) = inputs_of(replace(nz, joint=True)).poisoned_caches()
    assert list(cache.tensor.shape[1:]) == [24, 7, 16]
