"""Bad arguments of o_proj: one error that says what is wrong, and no tensor changed."""

from dataclasses import replace

import pytest
import torch

from mla_cases import same_bits
from o_proj_cases import WEIGHTS, OProjCase, OProjInputs

CASE = OProjCase(tokens=5, hidden=128, heads=3, kv_lora=48, value=64, bias="activation")
VALUES = replace(CASE, up_project=False)
T, H, N, K, V = CASE.tokens, CASE.hidden, CASE.heads, CASE.kv_lora, CASE.value
C = N * V
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
SHAPES = {
    "attn_output": [T, N, K],
    "o_proj_weight": [H, C],
    "w_uv": [N, K, V],
    "bias": [H],
}
NZ_SHAPES = {"o_proj_weight": [C // 16, H, 16], "w_uv": [N, V // 16, K, 16]}


def make_arguments(case=CASE, **changes):
    """Good arguments, but for the changes: values, or functions of the good value."""
    arguments = {
        **OProjInputs(case).arguments,
        "prefetch": [torch.ones(64, 1024, dtype=BF16)],
        "prefetch_bytes": 1 << 20,
    }
    for name, change in changes.items():
        arguments[name] = change(arguments[name]) if callable(change) else change
    return arguments


def storage_of(tensor):
    """All of the memory that a tensor is a view of."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


def error_of(error, arguments):
    """The text of the error that the op raises, having changed nothing."""
    tensors = [value for value in arguments.values() if isinstance(value, torch.Tensor)]
    tensors = [t for t in tensors + arguments.get("prefetch", []) if t.device.type == "cpu"]
    before = [storage_of(tensor).clone() for tensor in tensors]
    with pytest.raises(error) as raised:
        torch.ops.ascend_prefetch.o_proj(**arguments)
    assert type(raised.value) is error
    for tensor, bits in zip(tensors, before, strict=True):
        assert same_bits(storage_of(tensor), bits)
    return str(raised.value)


def refuses(error, message, arguments):
    assert error_of(error, arguments) == f"ascend_prefetch::o_proj: argument {message}"


def zeros(*shape, dtype=BF16):
    return torch.zeros(shape, dtype=dtype)


def test_the_arguments_are_good_before_they_are_changed():
    for case in (CASE, VALUES):
        torch.ops.ascend_prefetch.o_proj(**make_arguments(case))
        torch.ops.ascend_prefetch.o_proj(**make_arguments(replace(case, nz=WEIGHTS)))


def test_the_shapes_are_those_of_the_documentation():
    for name, shape in SHAPES.items():
        assert list(make_arguments()[name].shape) == shape
    for name, shape in NZ_SHAPES.items():
        assert list(make_arguments(replace(CASE, nz=WEIGHTS))[name].shape) == shape
    assert list(make_arguments(VALUES)["attn_output"].shape) == [T, C]


# --- rank, shape, dtype, device, layout ---


@pytest.mark.parametrize(
    ("case", "name", "expected"),
    [
        (CASE, "attn_output", "3 dimensions"),
        (VALUES, "attn_output", "2 dimensions"),
        (CASE, "o_proj_weight", "2 or 3 dimensions"),
        (CASE, "w_uv", "3 or 4 dimensions"),
        (CASE, "bias", f"shape [{H}]"),
    ],
)
@pytest.mark.parametrize("shape", [[], [1] * 5])
def test_rank(case, name, expected, shape):
    arguments = make_arguments(case, **{name: zeros(*shape)})
    refuses(RuntimeError, f"'{name}': expected {expected}, got {shape}", arguments)


def test_latent_and_values_are_told_apart_by_w_uv():
    arguments = make_arguments(w_uv=None)
    refuses(RuntimeError, f"'attn_output': expected 2 dimensions, got [{T}, {N}, {K}]", arguments)
    arguments = make_arguments(VALUES, w_uv=zeros(N, K, V))
    refuses(RuntimeError, f"'attn_output': expected 3 dimensions, got [{T}, {C}]", arguments)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("attn_output", [T, N + 1, K], f"'w_uv': expected shape [4, {K}, {V}], got [3, {K}, {V}]"),
        ("attn_output", [T, N, 64], f"'w_uv': expected shape [3, 64, {V}], got [3, {K}, {V}]"),
        ("w_uv", [N - 1, K, V], f"'w_uv': expected shape [3, {K}, {V}], got [2, {K}, {V}]"),
        ("w_uv", [N, K + 16, V], f"'w_uv': expected shape [3, {K}, {V}], got [3, 64, {V}]"),
        ("w_uv", [N, K, 80], f"'o_proj_weight': expected shape [{H}, 240], got [{H}, {C}]"),
        # A weight in the orientation of int8 weights.
        ("o_proj_weight", [C, H], f"'o_proj_weight': expected shape [{C}, {C}], got [{C}, {H}]"),
        (
            "o_proj_weight",
            [H, C + 1],
            f"'o_proj_weight': expected shape [{H}, {C}], got [{H}, {C + 1}]",
        ),
        ("o_proj_weight", [H, 0], f"'o_proj_weight': expected shape [{H}, {C}], got [{H}, 0]"),
        ("o_proj_weight", [192, C], f"'bias': expected shape [192], got [{H}]"),
        ("bias", [H - 1], f"'bias': expected shape [{H}], got [{H - 1}]"),
        ("bias", [0], f"'bias': expected shape [{H}], got [0]"),
        ("bias", [1, H], f"'bias': expected shape [{H}], got [1, {H}]"),
    ],
)
def test_sizes_that_do_not_fit_together(name, shape, message):
    refuses(RuntimeError, message, make_arguments(**{name: zeros(*shape)}))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("o_proj_weight", [13, H, 16], f"'o_proj_weight': expected shape [12, {H}, 16]"),
        ("o_proj_weight", [12, H, 17], f"'o_proj_weight': expected shape [12, {H}, 16]"),
        ("o_proj_weight", [12, 256, 16], "'bias': expected shape [256]"),
        ("w_uv", [N + 1, 4, K, 16], f"'w_uv': expected shape [{N}, 4, {K}, 16]"),
        ("w_uv", [N, 5, K, 16], f"'o_proj_weight': expected shape [15, {H}, 16]"),
        ("w_uv", [N, 4, K + 1, 16], f"'w_uv': expected shape [{N}, 4, {K}, 16]"),
        ("w_uv", [N, 4, K, 15], f"'w_uv': expected shape [{N}, 4, {K}, 16]"),
    ],
)
def test_shape_of_an_nz_weight(name, shape, message):
    arguments = make_arguments(replace(CASE, nz=WEIGHTS))
    arguments[name] = zeros(*shape)
    actual = list(arguments[message.split("'")[1]].shape)
    refuses(RuntimeError, f"{message}, got {actual}", arguments)


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("attn_output", FP32, "BFloat16 or Half"),
        ("attn_output", torch.int8, "BFloat16 or Half"),
        ("o_proj_weight", FP16, "BFloat16"),
        ("o_proj_weight", FP32, "BFloat16"),
        ("w_uv", FP16, "BFloat16"),
        ("w_uv", torch.int8, "BFloat16"),
        ("bias", FP16, "BFloat16 or Float"),
        ("bias", torch.float64, "BFloat16 or Float"),
        ("bias", torch.int32, "BFloat16 or Float"),
    ],
)
def test_dtype(name, dtype, expected):
    names = {FP16: "Half", FP32: "Float", torch.float64: "Double"}
    names |= {torch.int8: "Char", torch.int32: "Int"}
    arguments = make_arguments(**{name: lambda tensor: tensor.to(dtype)})
    refuses(RuntimeError, f"'{name}': expected dtype {expected}, got {names[dtype]}", arguments)


@pytest.mark.parametrize("name", [*SHAPES, "prefetch[0]"])
def test_device(name):
    arguments = make_arguments()
    if name == "prefetch[0]":
        arguments["prefetch"] = [arguments["prefetch"][0].to("meta")]
    else:
        arguments[name] = arguments[name].to("meta")
    message = f"'{name}': expected device cpu, got meta"
    if name == "attn_output":  # the device that all others are held against
        message = "'w_uv': expected device meta, got cpu"
    refuses(RuntimeError, message, arguments)


@pytest.mark.parametrize("case", [CASE, VALUES], ids=["latent", "values"])
@pytest.mark.parametrize("name", SHAPES)
def test_not_contiguous(name, case):
    def strided(tensor):
        return torch.stack([tensor, tensor], dim=-1)[..., 0]

    if name not in OProjInputs(case).arguments:
        return
    arguments = make_arguments(case, **{name: strided})
    strides = list(arguments[name].stride())
    other = ", or the transpose of a contiguous [N, T, kv_lora]"
    or_other = other if name == "attn_output" and case.up_project else ""
    message = f"'{name}': expected a contiguous tensor{or_other}, got strides {strides}"
    refuses(RuntimeError, message, arguments)


def test_rows_apart():
    """The heads of one rank are no contiguous part of those of all ranks."""
    arguments = make_arguments(attn_output=lambda tensor: torch.cat([tensor, tensor], dim=1)[:, :N])
    strides = [2 * N * K, K, 1]
    message = (
        "'attn_output': expected a contiguous tensor, or the transpose of a contiguous "
        f"[N, T, kv_lora], got strides {strides}"
    )
    refuses(RuntimeError, message, arguments)


@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_transposed_weight(name, nz):
    """The shape fits, the layout does not."""
    arguments = make_arguments(replace(CASE, nz=nz))
    weight = arguments[name].transpose(-1, -2).contiguous().transpose(-1, -2)
    message = f"'{name}': expected a contiguous tensor, got strides {list(weight.stride())}"
    refuses(RuntimeError, message, {**arguments, name: weight})


def test_prefetch_not_contiguous():
    message = "'prefetch[1]': expected a contiguous tensor, got strides [1, 8]"
    regions = [torch.zeros(8), torch.zeros(8, 8).t()]
    refuses(RuntimeError, message, make_arguments(prefetch=regions))


@pytest.mark.parametrize("nz", [(), WEIGHTS])
def test_heads_that_lie_apart(nz):
    """The first tokens of a larger batch, transposed: rows are dense, heads are not."""
    case = replace(CASE, nz=nz, bias="none")
    padded = torch.randn(N, 9, K).to(BF16)[:, :T].transpose(0, 1)
    message = (
        "'attn_output': expected a contiguous tensor, or the transpose of a contiguous "
        f"[N, T, kv_lora], got strides [{K}, {9 * K}, 1]"
    )
    refuses(RuntimeError, message, make_arguments(case, attn_output=padded))


# --- values ---


def test_prefetch_of_bytes_that_something_else_fetches():
    weight = torch.zeros(4096, dtype=torch.uint8)
    expected = "expected bytes that nothing else fetches, got memory shared with"
    arguments = make_arguments(prefetch=[weight, weight[1024:]])
    refuses(ValueError, f"'prefetch[1]': {expected} 'prefetch[0]'", arguments)
    for name in WEIGHTS:
        arguments = make_arguments()
        arguments["prefetch"] = [arguments[name][1:]]
        refuses(ValueError, f"'prefetch[0]': {expected} '{name}'", arguments)


def limits_case(tokens=5, heads=3, kv_lora=48, value=64, hidden=128, up_project=True, nz=False):
    """Zeros of consistent shapes, also where OProjCase cannot be built."""

    def matrix(rows, columns):
        return (columns // 16, rows, 16) if nz else (rows, columns)

    weight = zeros(*matrix(hidden, heads * value))
    if not up_project:
        return {"attn_output": zeros(tokens, heads * value), "o_proj_weight": weight}
    w_uv = zeros(heads, *matrix(kv_lora, value))
    attn_output = zeros(tokens, heads, kv_lora)
    return {"attn_output": attn_output, "o_proj_weight": weight, "w_uv": w_uv}


ROWS = "rows of a positive multiple of 16 up to 131070 elements"


@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": 0}, "'attn_output': expected 1 to 8192 tokens, got 0"),
        ({"tokens": 8193}, "'attn_output': expected 1 to 8192 tokens, got 8193"),
        ({"tokens": 0, "up_project": False}, "'attn_output': expected 1 to 8192 tokens, got 0"),
        ({"heads": 0}, "'attn_output': expected at least one head, got 0"),
        ({"heads": 0, "up_project": False}, f"'attn_output': expected {ROWS}, got 0"),
        (
            {"kv_lora": 40},
            "'attn_output': expected a latent size that is a positive multiple of 16, got 40",
        ),
        (
            {"kv_lora": 0},
            "'attn_output': expected a latent size that is a positive multiple of 16, got 0",
        ),
        ({"value": 0}, "'w_uv': expected a value size that is a positive multiple of 16, got 0"),
        (
            {"heads": 2731, "kv_lora": 48, "value": 16},
            f"'attn_output': expected {ROWS}, got 131088",
        ),
        (
            {"hidden": 0},
            "'o_proj_weight': expected a hidden size that is a positive multiple of 16, got 0",
        ),
        (
            {"hidden": 120},
            "'o_proj_weight': expected a hidden size that is a positive multiple of 16, got 120",
        ),
        (
            {"hidden": 65552, "heads": 1, "value": 16},
            "'o_proj_weight': expected at most 65535 in and out features, got [16, 65552]",
        ),
        (
            {"hidden": 16, "heads": 4097, "value": 16, "kv_lora": 16},
            "'o_proj_weight': expected at most 65535 in and out features, got [65552, 16]",
        ),
        (
            {"hidden": 16, "heads": 1, "value": 65552, "up_project": False},
            "'o_proj_weight': expected at most 65535 in and out features, got [65552, 16]",
        ),
        (
            {"hidden": 16, "heads": 1, "kv_lora": 65552, "value": 16},
            "'w_uv': expected at most 65535 rows and columns, got [65552, 16]",
        ),
        (
            {"hidden": 16, "heads": 1, "kv_lora": 16, "value": 65552},
            "'w_uv': expected at most 65535 rows and columns, got [16, 65552]",
        ),
    ],
)
def test_sizes_beyond_the_limits(changes, message, nz):
    refuses(ValueError, message, limits_case(nz=nz, **changes))


def test_values_that_are_no_multiple_of_16():
    refuses(
        ValueError,
        f"'attn_output': expected {ROWS}, got 24",
        limits_case(value=24, heads=1, up_project=False),
    )
    message = "'w_uv': expected a value size that is a positive multiple of 16, got 24"
    refuses(ValueError, message, limits_case(value=24))


def test_limits_themselves_are_allowed():
    for changes in (
        {"tokens": 8192, "heads": 1, "hidden": 16},
        {"hidden": 65520, "heads": 1, "value": 16},
        {"hidden": 16, "heads": 1, "value": 65520, "up_project": False},
    ):
        for nz in (False, True):
            torch.ops.ascend_prefetch.o_proj(**limits_case(nz=nz, **changes))


@pytest.mark.parametrize("hidden", [16, 80])
def test_a_bias_needs_whole_vector_instructions(hidden):
    arguments = limits_case(hidden=hidden)
    message = f"'bias': expected a hidden size that is a multiple of 64 with a bias, got {hidden}"
    refuses(ValueError, message, {**arguments, "bias": zeros(hidden)})
    torch.ops.ascend_prefetch.o_proj(**arguments)


def test_meta_has_the_same_limits():
    for tokens in (0, 8193):
        arguments = {name: t.to("meta") for name, t in limits_case(tokens=tokens).items()}
        with pytest.raises(ValueError, match=f"1 to 8192 tokens, got {tokens}$"):
            torch.ops.ascend_prefetch.o_proj(**arguments)
