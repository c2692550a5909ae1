"""Bad arguments of mla_prolog: one error that says what is wrong, and no tensor changed."""

import re

import pytest
import torch

import bad_calls
from ascend_prefetch.lab import twin
from ascend_prefetch.packing import nd_to_nz
from mla_cases import ROPE, WEIGHTS, MlaCase, MlaInputs

CASE = MlaCase(tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3, block_size=4)
SLOTS = 4 * MlaInputs(CASE).blocks
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


def make_arguments(case=CASE, **changes):
    """Good arguments, but for the changes: values, or functions of the good value."""
    inputs = MlaInputs(case)
    kv_cache, rope_cache = inputs.poisoned_caches()
    arguments = {
        **inputs.arguments,
        "kv_cache": kv_cache.tensor,
        "rope_cache": rope_cache.tensor,
        "prefetch": [torch.ones(64, 1024, dtype=BF16)],
        "prefetch_bytes": 1 << 20,
    }
    for name, change in changes.items():
        arguments[name] = change(arguments[name]) if callable(change) else change
    return arguments


def error_of(error, arguments):
    return bad_calls.error_of(torch.ops.ascend_prefetch.mla_prolog, error, arguments)


def refuses(error, message, arguments):
    bad_calls.refuses(torch.ops.ascend_prefetch.mla_prolog, error, message, arguments)


def test_the_arguments_are_good_before_they_are_changed():
    torch.ops.ascend_prefetch.mla_prolog(**make_arguments())


# --- rank, shape, dtype, device, layout ---

Q, K, N, D, H, T = CASE.q_lora, CASE.kv_lora, CASE.heads, CASE.nope, CASE.hidden, CASE.tokens
BLOCKS = MlaInputs(CASE).blocks
SHAPES = {
    "hidden_states": [T, H],
    "qkv_a_weight": [Q + K + ROPE, H],
    "q_a_norm_weight": [Q],
    "q_b_weight": [N * (D + ROPE), Q],
    "w_uk": [N, D, K],
    "kv_a_norm_weight": [K],
    "cos": [T, ROPE],
    "sin": [T, ROPE],
    "slot_mapping": [T],
    "kv_cache": [BLOCKS, 4, 1, K],
    "rope_cache": [BLOCKS, 4, 1, ROPE],
}
BIASES = {
    "q_a_norm_bias": torch.zeros(Q, dtype=BF16),
    "kv_a_norm_bias": torch.zeros(K, dtype=BF16),
}
RANKS = {
    "hidden_states": "2",
    "q_a_norm_weight": "1",
    "kv_a_norm_weight": "1",
    "kv_cache": "4",
    "rope_cache": "4",
    "qkv_a_weight": "2 or 3",
    "q_b_weight": "2 or 3",
    "w_uk": "3 or 4",
}
# Where the op does not take sizes from the tensor itself.
SIZED_BY_OTHERS = [
    "qkv_a_weight", "q_b_weight", "cos", "sin", "slot_mapping", "rope_cache",
]  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_are_those_of_the_documentation(name):
    assert list(make_arguments()[name].shape) == SHAPES[name]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("change", ["scalar", "five"])
def test_rank(name, change):
    shape = [] if change == "scalar" else [1] * 5
    expected = f"{RANKS[name]} dimensions" if name in RANKS else f"shape {SHAPES[name]}"
    refuses(
        RuntimeError,
        f"argument '{name}': expected {expected}, got {shape}",
        make_arguments(**{name: lambda tensor: tensor.new_zeros(shape)}),
    )


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in WEIGHTS])
def test_one_dimension_more(name):
    expected = f"{RANKS[name]} dimensions" if name in RANKS else f"shape {SHAPES[name]}"
    message = f"argument '{name}': expected {expected}, got {[1, *SHAPES[name]]}"
    refuses(RuntimeError, message, make_arguments(**{name: lambda tensor: tensor[None]}))


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("size", ["none", "one less", "one more"])
@pytest.mark.parametrize("name", SIZED_BY_OTHERS)
def test_size(name, size, dimension):
    expected = SHAPES[name]
    if dimension >= len(expected):
        dimension = 0
    shape = list(expected)
    shape[dimension] = {"none": 0, "one less": shape[dimension] - 1}.get(size, shape[dimension] + 1)
    refuses(
        RuntimeError,
        f"argument '{name}': expected shape {expected}, got {shape}",
        make_arguments(**{name: lambda tensor: tensor.new_zeros(shape)}),
    )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        # Sizes that the op takes from this tensor: the next one no longer fits.
        ("hidden_states", [T + 1, H], f"'cos': expected shape [{T + 1}, 64], got [{T}, 64]"),
        (
            "hidden_states",
            [T, H + 16],
            f"'qkv_a_weight': expected shape [{Q + K + 64}, {H + 16}], got [{Q + K + 64}, {H}]",
        ),
        (
            "q_a_norm_weight",
            [Q + 64],
            f"'qkv_a_weight': expected shape [{Q + 64 + K + 64}, {H}], got [{Q + K + 64}, {H}]",
        ),
        (
            "kv_a_norm_weight",
            [K - 64],
            f"'qkv_a_weight': expected shape [{Q + K}, {H}], got [{Q + K + 64}, {H}]",
        ),
        (
            "w_uk",
            [N + 1, D, K],
            f"'q_b_weight': expected shape [{(N + 1) * 96}, {Q}], got [{N * 96}, {Q}]",
        ),
        (
            "w_uk",
            [N, D + 16, K],
            f"'q_b_weight': expected shape [{N * 112}, {Q}], got [{N * 96}, {Q}]",
        ),
        ("w_uk", [N, D, K - 16], f"'w_uk': expected shape [{N}, {D}, {K}], got [{N}, {D}, 176]"),
        (
            "kv_cache",
            [BLOCKS + 1, 4, 1, K],
            f"'rope_cache': expected shape [{BLOCKS + 1}, 4, 1, 64], got [{BLOCKS}, 4, 1, 64]",
        ),
        (
            "kv_cache",
            [BLOCKS, 4, 2, K],
            f"'kv_cache': expected shape [{BLOCKS}, 4, 1, {K}], got [{BLOCKS}, 4, 2, {K}]",
        ),
        (
            "kv_cache",
            [BLOCKS, 4, 1, K + 1],
            f"'kv_cache': expected shape [{BLOCKS}, 4, 1, {K}], got [{BLOCKS}, 4, 1, {K + 1}]",
        ),
        (
            "rope_cache",
            [BLOCKS, 4, 1, 32],
            f"'rope_cache': expected shape [{BLOCKS}, 4, 1, 64], got [{BLOCKS}, 4, 1, 32]",
        ),
        ("cos", [T, 32], f"'cos': expected shape [{T}, 64], got [{T}, 32]"),
        ("q_a_norm_bias", [Q - 1], f"'q_a_norm_bias': expected shape [{Q}], got [{Q - 1}]"),
        ("q_a_norm_bias", [1, Q], f"'q_a_norm_bias': expected shape [{Q}], got [1, {Q}]"),
        ("kv_a_norm_bias", [K - 1], f"'kv_a_norm_bias': expected shape [{K}], got [{K - 1}]"),
        ("kv_a_norm_bias", [1, K], f"'kv_a_norm_bias': expected shape [{K}], got [1, {K}]"),
        ("kv_a_norm_bias", [0], f"'kv_a_norm_bias': expected shape [{K}], got [0]"),
    ],
)
def test_sizes_that_do_not_fit_together(name, shape, message):
    arguments = make_arguments()
    dtype = BF16 if arguments[name] is None else arguments[name].dtype
    arguments[name] = torch.zeros(shape, dtype=dtype)
    refuses(RuntimeError, f"argument {message}", arguments)


@pytest.mark.parametrize("name", WEIGHTS)
def test_shape_of_an_nz_weight(name):
    shape = list(nd_to_nz(make_arguments()[name]).shape)
    for dimension in range(-3, 0):
        wrong = list(shape)
        wrong[dimension] += 1
        if name == "w_uk" and dimension == -2:
            continue  # nope is taken from here
        refuses(
            RuntimeError,
            f"argument '{name}': expected shape {shape}, got {wrong}",
            make_arguments(**{name: torch.zeros(wrong, dtype=BF16)}),
        )


def test_another_rope_dimension():
    """The rope dimension is 64: a model with another one does not fit the first weight."""
    rope = 32
    refuses(
        RuntimeError,
        f"argument 'qkv_a_weight': expected shape [{Q + K + 64}, {H}], got [{Q + K + rope}, {H}]",
        make_arguments(
            qkv_a_weight=lambda tensor: tensor[: Q + K + rope],
            q_b_weight=lambda tensor: tensor[: N * (D + rope)],
            cos=lambda tensor: tensor[:, :rope].contiguous(),
            sin=lambda tensor: tensor[:, :rope].contiguous(),
            rope_cache=lambda tensor: tensor[..., :rope].contiguous(),
        ),
    )


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("hidden_states", FP32, "BFloat16 or Half"),
        ("qkv_a_weight", FP16, "BFloat16"),
        ("qkv_a_weight", FP32, "BFloat16"),
        ("q_a_norm_weight", FP32, "BFloat16"),
        ("q_b_weight", torch.int8, "BFloat16"),
        ("w_uk", FP16, "BFloat16"),
        ("kv_a_norm_weight", FP16, "BFloat16"),
        ("q_a_norm_bias", FP32, "BFloat16"),
        ("kv_a_norm_bias", FP32, "BFloat16"),
        ("kv_a_norm_bias", FP16, "BFloat16"),
        ("cos", FP16, "BFloat16 or Float"),
        ("cos", torch.float64, "BFloat16 or Float"),
        ("sin", BF16, "Float"),
        ("slot_mapping", torch.int16, "Int or Long"),
        ("slot_mapping", FP32, "Int or Long"),
        ("kv_cache", FP16, "BFloat16"),
        ("rope_cache", FP32, "BFloat16"),
    ],
)
def test_dtype(name, dtype, expected):
    arguments = make_arguments(**BIASES)
    arguments[name] = torch.zeros_like(arguments[name], dtype=dtype)
    actual = {FP16: "Half", FP32: "Float", BF16: "BFloat16", torch.float64: "Double"}
    actual |= {torch.int8: "Char", torch.int16: "Short"}
    message = f"argument '{name}': expected dtype {expected}, got {actual[dtype]}"
    refuses(RuntimeError, message, arguments)


def test_sin_has_the_dtype_of_cos():
    message = "argument 'sin': expected dtype BFloat16, got Float"
    refuses(RuntimeError, message, make_arguments(cos=lambda tensor: tensor.to(BF16)))


@pytest.mark.parametrize("name", [*SHAPES, *BIASES, "prefetch[0]"])
def test_device(name):
    arguments = make_arguments(**BIASES)
    if name == "prefetch[0]":
        arguments["prefetch"] = [arguments["prefetch"][0].to("meta")]
    else:
        arguments[name] = arguments[name].to("meta")
    message = f"argument '{name}': expected device cpu, got meta"
    if name == "hidden_states":  # the device that all others are held against
        message = "argument 'qkv_a_weight': expected device meta, got cpu"
    refuses(RuntimeError, message, arguments)


@pytest.mark.parametrize("name", [*(name for name in SHAPES if "cache" not in name), *BIASES])
def test_not_contiguous(name):
    def strided(tensor):
        return torch.stack([tensor, tensor], dim=-1)[..., 0]

    arguments = make_arguments(**BIASES)
    arguments[name] = strided(arguments[name])
    strides = list(arguments[name].stride())
    message = f"argument '{name}': expected a contiguous tensor, got strides {strides}"
    refuses(RuntimeError, message, arguments)


@pytest.mark.parametrize("name", WEIGHTS)
def test_transposed_weight(name):
    """The shape fits, the layout does not; in NZ too."""
    for pack in (torch.clone, nd_to_nz):
        weight = pack(make_arguments()[name]).transpose(-1, -2).contiguous().transpose(-1, -2)
        message = f"expected a contiguous tensor, got strides {list(weight.stride())}"
        arguments = make_arguments(**{name: weight})
        refuses(RuntimeError, f"argument '{name}': {message}", arguments)


def test_prefetch_not_contiguous():
    message = "argument 'prefetch[1]': expected a contiguous tensor, got strides [1, 8]"
    regions = [torch.zeros(8), torch.zeros(8, 8).t()]
    refuses(RuntimeError, message, make_arguments(prefetch=regions))


@pytest.mark.parametrize("name", ["kv_cache", "rope_cache"])
def test_cache_strides(name):
    def refused(cache):
        strides = list(cache.stride())
        expected = "dense rows within a block (only dimension 0 may be strided)"
        message = f"argument '{name}': expected {expected}, got strides {strides}"
        refuses(RuntimeError, message, make_arguments(**{name: cache}))

    shape = make_arguments()[name].shape
    blocks, block_size, _, width = shape
    storage = torch.zeros(4 * shape.numel(), dtype=BF16)
    dense = (block_size * width, width, width, 1)
    for strides in [
        (dense[0], width, width, 2),  # elements apart
        (2 * dense[0], 2 * width, width, 1),  # rows apart
        (width, blocks * width, width, 1),  # blocks innermost
        (dense[0] - width, width, width, 1),  # blocks overlap
        (0, width, width, 1),  # one block for all
        (dense[0], 0, width, 1),  # one row for all
    ]:
        refused(storage.as_strided(shape, strides))


# --- values ---


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("slot", [SLOTS, SLOTS + 1, -2, 2**31 - 1, -(2**31), 2**32, -(2**63)])
def test_slot_out_of_range(slot, dtype):
    if dtype == torch.int32 and not -(2**31) <= slot < 2**31:
        dtype = torch.int64
    for index in (0, 4):
        slots = torch.arange(T, dtype=dtype)
        slots[index] = slot
        expected = f"-1 or a slot below {SLOTS}"
        message = f"argument 'slot_mapping': expected {expected}, got {slot} at index {index}"
        refuses(ValueError, message, make_arguments(slot_mapping=slots))


def empty_caches(blocks, block_size):
    return {
        "kv_cache": torch.zeros(blocks, block_size, 1, K, dtype=BF16),
        "rope_cache": torch.zeros(blocks, block_size, 1, ROPE, dtype=BF16),
    }


def test_a_cache_without_blocks_takes_padding_rows_only():
    message = "argument 'slot_mapping': expected -1 or a slot below 0, got 7 at index 0"
    slots = torch.full((T,), 7)
    refuses(ValueError, message, make_arguments(slot_mapping=slots, **empty_caches(0, 4)))
    padding = make_arguments(slot_mapping=torch.full((T,), -1), **empty_caches(0, 4))
    outputs = torch.ops.ascend_prefetch.mla_prolog(**padding)
    assert all(output.isfinite().all() for output in outputs)


@pytest.mark.parametrize("block_size", [0, 1025, 65536])
def test_cache_block_size(block_size):
    message = f"argument 'kv_cache': expected blocks of 1 to 1024 rows, got {block_size}"
    refuses(ValueError, message, make_arguments(**empty_caches(3, block_size)))


@pytest.mark.parametrize(
    "eps",
    [
        *(0.0, -1e-6, -1e-9, float("nan"), float("inf"), float("-inf")),
        *(1e-50, 1e50),  # zero and infinity in the kernel's float32
    ],
)
def test_eps(eps):
    text = error_of(ValueError, make_arguments(eps=eps))
    expected, actual = text.split(", got ")
    assert expected.startswith("ascend_prefetch::mla_prolog: argument 'eps': expected a positive")
    assert float(actual) == pytest.approx(eps, nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": 0}, "'hidden_states': expected 1 to 8192 tokens, got 0"),
        ({"tokens": 8193}, "'hidden_states': expected 1 to 8192 tokens, got 8193"),
        ({"heads": 0}, "'w_uk': expected at least one head, got 0"),
        ({"q_lora": 0}, "'q_a_norm_weight': expected a multiple of 64 up to 4096 elements, got 0"),
        (
            {"q_lora": 96},
            "'q_a_norm_weight': expected a multiple of 64 up to 4096 elements, got 96",
        ),
        (
            {"q_lora": 4160},
            "'q_a_norm_weight': expected a multiple of 64 up to 4096 elements, got 4160",
        ),
        (
            {"kv_lora": 96},
            "'kv_a_norm_weight': expected a multiple of 64 up to 4096 elements, got 96",
        ),
        (
            {"kv_lora": 4160},
            "'kv_a_norm_weight': expected a multiple of 64 up to 4096 elements, got 4160",
        ),
    ],
)
def test_sizes_beyond_the_limits(changes, message):
    refuses(ValueError, f"argument {message}", limits_case(**changes))


@pytest.mark.parametrize("tokens", [0, 8193])
def test_meta_has_the_same_limits(tokens):
    case = {
        name: value.to("meta") if isinstance(value, torch.Tensor) else value
        for name, value in limits_case(tokens=tokens).items()
    }
    with pytest.raises(ValueError, match=f"1 to 8192 tokens, got {tokens}$"):
        torch.ops.ascend_prefetch.mla_prolog(**case)


def test_a_slot_that_two_tokens_name():
    slots = torch.arange(T)
    slots[3] = slots[1]
    message = f"argument 'slot_mapping': expected distinct slots, got {slots[1]} at index 3 again"
    refuses(ValueError, message, make_arguments(slot_mapping=slots))


def test_prefetch_of_bytes_that_something_else_fetches():
    weight = torch.zeros(4096, dtype=torch.uint8)
    arguments = make_arguments(prefetch=[weight, weight[1024:]])
    message = "argument 'prefetch[1]': expected bytes that nothing else fetches, got memory shared"
    refuses(ValueError, f"{message} with 'prefetch[0]'", arguments)
    arguments = make_arguments()
    arguments["prefetch"] = [arguments["q_b_weight"]]
    message = message.replace("prefetch[1]", "prefetch[0]")
    refuses(ValueError, f"{message} with 'q_b_weight'", arguments)


def test_strides_of_dimensions_of_size_1_do_not_matter():
    arguments = make_arguments()
    rows = arguments["kv_cache"].shape[0] * arguments["kv_cache"].shape[1]
    for name in ("kv_cache", "rope_cache"):
        width = arguments[name].shape[3]
        cache = torch.zeros(1, rows, 1, width, dtype=BF16)
        arguments[name] = cache.as_strided(cache.shape, (1, width, 1, 1))
    torch.ops.ascend_prefetch.mla_prolog(**arguments)


@pytest.mark.parametrize(
    ("changes", "argument", "expected", "actual"),
    [
        ({"nope": 24}, "w_uk", "multiple of 16", 24),
        ({"nope": 0}, "w_uk", "multiple of 16", 0),
        ({"hidden": 40}, "hidden_states", "multiple of 16", 40),
        ({"hidden": 0}, "hidden_states", "multiple of 16", 0),
        ({"hidden": 65552}, "hidden_states", "65535", 65552),
        ({"heads": 700}, "q_b_weight", "65535", 67200),
    ],
)
def test_sizes_that_the_hardware_cannot_tile(changes, argument, expected, actual):
    """Named after the argument they come from, with the limit and the size."""
    text = error_of(ValueError, limits_case(**changes))
    assert text.startswith(f"ascend_prefetch::mla_prolog: argument '{argument}': expected ")
    assert expected in text
    assert text.endswith(f", got {actual}")


def limits_case(tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3):
    """Zeros of consistent shapes, also where MlaCase cannot be built."""

    def zeros(*shape, dtype=BF16):
        return torch.zeros(shape, dtype=dtype)

    return {
        "hidden_states": zeros(tokens, hidden),
        "qkv_a_weight": zeros(q_lora + kv_lora + ROPE, hidden),
        "q_a_norm_weight": zeros(q_lora),
        "q_b_weight": zeros(heads * (nope + ROPE), q_lora),
        "w_uk": zeros(heads, nope, kv_lora),
        "kv_a_norm_weight": zeros(kv_lora),
        "cos": zeros(tokens, ROPE, dtype=FP32),
        "sin": zeros(tokens, ROPE, dtype=FP32),
        "slot_mapping": torch.arange(tokens),
        "kv_cache": zeros(tokens // 4 + 1, 4, 1, kv_lora),
        "rope_cache": zeros(tokens // 4 + 1, 4, 1, ROPE),
        "prefetch": [],
    }


def test_limits_themselves_are_allowed():
    for changes in ({"q_lora": 4096, "kv_lora": 4096, "tokens": 1}, {"tokens": 8192, "heads": 1}):
        torch.ops.ascend_prefetch.mla_prolog(**limits_case(**changes))


# --- the twin ---


def test_unknown_chip():
    before = twin.chips()
    names = ", ".join(chip["name"] for chip in before)
    message = f"unknown chip 'Ascend310P3'; known chips: {names}"
    assert "Ascend910B3" in names and "Ascend910_9391" in names
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        with twin.chip("Ascend310P3"):
            pass
    torch.ops.ascend_prefetch.mla_prolog(**make_arguments())


def test_an_error_does_not_end_tracing():
    with twin.tracing() as traces:
        with pytest.raises(ValueError, match="prefetch_bytes"):
            torch.ops.ascend_prefetch.mla_prolog(**make_arguments(prefetch_bytes=-1))
        torch.ops.ascend_prefetch.mla_prolog(**make_arguments())
    assert len(traces) == 1
