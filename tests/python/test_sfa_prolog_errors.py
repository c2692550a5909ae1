"""Bad arguments of sfa_prolog, and of what mla_prolog has beside its plain form.

One error that says what is wrong, and no tensor changed. The indexer's arguments are held against
those of the layer, so the plain arguments of sfa_prolog are those of test_mla_prolog_errors.py.
"""

from dataclasses import replace

import pytest
import torch

import bad_calls
from ascend_prefetch.packing import nd_to_nz
from mla_cases import ROPE, MlaCase, MlaInputs, cache_arguments
from sfa_cases import INDEXER_WEIGHTS, SfaCase, SfaInputs

MLA, SFA = torch.ops.ascend_prefetch.mla_prolog, torch.ops.ascend_prefetch.sfa_prolog
PLAIN = MlaCase(tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3, block_size=4)
CASE = SfaCase(
    tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3, block_size=4, indexer_heads=32
)
FUSED = replace(CASE, fused=True)
NAMES = {
    torch.bfloat16: "BFloat16",
    torch.float16: "Half",
    torch.float32: "Float",
    torch.float64: "Double",
    torch.int8: "Char",
}
BF16, FP16, FP32, INT8 = torch.bfloat16, torch.float16, torch.float32, torch.int8
BOTH = pytest.mark.parametrize("op", [MLA, SFA], ids=["mla", "sfa"])


def arguments_of(case=CASE, **changes):
    """Good arguments, but for the changes: values, or functions of the good value."""
    inputs = (SfaInputs if isinstance(case, SfaCase) else MlaInputs)(case)
    arguments = {
        **inputs.arguments,
        **cache_arguments(inputs),
        "prefetch": [torch.ones(64, 1024, dtype=BF16)],
        "prefetch_bytes": 1 << 20,
    }
    for name, change in changes.items():
        arguments[name] = change(arguments[name]) if callable(change) else change
    return arguments


def refuses(error, message, arguments, op=SFA):
    bad_calls.refuses(op, error, f"argument {message}", arguments)


def zeros(*shape, dtype=BF16):
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize("case", [CASE, FUSED, replace(CASE, indexer_heads=0)])
def test_the_arguments_are_good_before_they_are_changed(case):
    SFA(**arguments_of(case))
    MLA(**arguments_of(case.without_indexer()))


H, Q, K, HI, DI = CASE.hidden, CASE.q_lora, CASE.kv_lora, CASE.indexer_heads, CASE.indexer_dim
BLOCKS = MlaInputs(PLAIN).blocks
SHAPES = {
    "indexer_cache": [BLOCKS, 4, 1, DI],
    "indexer_wq_b": [HI * DI, Q],
    "indexer_wk": [DI, H],
    "indexer_k_norm_weight": [DI],
    "indexer_k_norm_bias": [DI],
    "indexer_weights_proj": [HI, H],
}
RANKS = {"indexer_cache": "4", "indexer_k_norm_weight": "1"} | dict.fromkeys(
    INDEXER_WEIGHTS, "2 or 3"
)


# --- an indexer's arguments come together ---


@pytest.mark.parametrize("name", [n for n in SHAPES if n != "indexer_wq_b"])
def test_a_missing_argument(name):
    expected = "a tensor beside 'indexer_wq_b'"
    if name == "indexer_weights_proj":
        expected = f"a tensor beside an 'indexer_wk' of {DI} rows"
    message = f"'{name}': expected {expected}, got None"
    refuses(RuntimeError, message, arguments_of(**{name: None}))


def test_a_missing_wq_b():
    message = "'indexer_cache': expected None without 'indexer_wq_b', got a tensor"
    refuses(RuntimeError, message, arguments_of(indexer_wq_b=None))


@pytest.mark.parametrize("name", [n for n in SHAPES if n != "indexer_wq_b"])
def test_a_layer_without_an_indexer(name):
    none = dict.fromkeys(SHAPES)
    SFA(**arguments_of(**none))
    tensor = arguments_of()[name]
    message = f"'{name}': expected None without 'indexer_wq_b', got a tensor"
    refuses(RuntimeError, message, arguments_of(**{**none, name: tensor}))


@pytest.mark.parametrize("suffix", ["dequant_scale", "input_scale", "input_offset", "quant_bias"])
def test_a_layer_without_an_indexer_has_no_scales(suffix):
    name = f"indexer_wq_b_{suffix}"
    changes = {**dict.fromkeys(SHAPES), name: torch.ones(1)}
    message = f"'{name}': expected None without 'indexer_wq_b', got a tensor"
    refuses(RuntimeError, message, arguments_of(**changes))


def test_weights_proj_twice():
    message = "'indexer_weights_proj': expected None beside an 'indexer_wk' that holds its rows"
    arguments = arguments_of(FUSED, indexer_weights_proj=zeros(HI, H))
    refuses(RuntimeError, f"{message}, got a tensor", arguments)


def test_an_indexer_without_a_query_latent():
    message = "'indexer_wq_b': expected None for models without a query latent, got a tensor"
    arguments = arguments_of(
        q_a_norm_weight=None,
        qkv_a_weight=lambda weight: weight[Q:].contiguous(),
        q_b_weight=lambda weight: zeros(weight.shape[0], H),
    )
    refuses(RuntimeError, message, arguments)


# --- rank, shape, dtype, device, layout ---


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_are_those_of_the_documentation(name):
    assert list(arguments_of()[name].shape) == SHAPES[name]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shape", [[], [1] * 5], ids=["scalar", "five"])
def test_rank(name, shape):
    expected = f"{RANKS[name]} dimensions" if name in RANKS else f"shape {SHAPES[name]}"
    arguments = arguments_of(**{name: lambda tensor: tensor.new_zeros(shape)})
    refuses(RuntimeError, f"'{name}': expected {expected}, got {shape}", arguments)


# (argument, dimensions of it that other arguments settle), row-major and in FRACTAL_NZ.
SETTLED = [
    (False, "indexer_cache", [0, 1, 2, 3]),
    (False, "indexer_wq_b", [1]),
    (False, "indexer_wk", [0, 1]),
    (False, "indexer_k_norm_bias", [0]),
    (False, "indexer_weights_proj", [0, 1]),
    (True, "indexer_cache", [0, 1, 2]),
    (True, "indexer_wq_b", [0, 2]),
    (True, "indexer_wk", [0, 1, 2]),
    (True, "indexer_weights_proj", [0, 1, 2]),
]


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize(("nz", "name", "dimensions"), SETTLED)
def test_size(nz, name, dimensions, more):
    for case in (CASE, FUSED):
        if nz:
            case = replace(case, nz=(name,), cache_nz=(name,))
        tensor = arguments_of(case)[name]
        if tensor is None:
            assert case.fused and name == "indexer_weights_proj"
            continue
        for dimension in dimensions:
            wrong = list(tensor.shape)
            wrong[dimension] += more
            message = f"'{name}': expected shape {list(tensor.shape)}, got {wrong}"
            arguments = arguments_of(case, **{name: tensor.new_zeros(wrong)})
            refuses(RuntimeError, message, arguments)


def test_a_cache_that_is_no_longer_nz():
    """A last dimension other than a fractal's is held against the row-major shape."""
    message = f"'indexer_cache': expected shape {[BLOCKS, 4, 1, DI]}, got {[BLOCKS, 8, 4, 15]}"
    refuses(RuntimeError, message, arguments_of(indexer_cache=zeros(BLOCKS, 8, 4, 15)))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"indexer_wq_b": [HI * DI + 64, Q]},
            ValueError,
            f"'indexer_wq_b': expected whole heads of {DI} features, got {HI * DI + 64}",
        ),
        (
            {"indexer_wq_b": [0, Q]},
            ValueError,
            f"'indexer_wq_b': expected whole heads of {DI} features, got 0",
        ),
        (
            {"indexer_wq_b": [24 * DI, Q]},
            ValueError,
            "'indexer_wq_b': expected a number of heads that is a multiple of 16, got 24",
        ),
        (
            {"indexer_wq_b": [512 * DI, Q]},
            ValueError,
            f"'indexer_wq_b': expected at most 65535 features, got {512 * DI}",
        ),
        (
            {"indexer_wq_b": [16 * DI, Q]},
            RuntimeError,
            f"'indexer_weights_proj': expected shape [16, {H}], got [{HI}, {H}]",
        ),
        (
            {"indexer_k_norm_weight": [DI + 64]},
            ValueError,
            f"'indexer_wq_b': expected whole heads of {DI + 64} features, got {HI * DI}",
        ),
        (
            {"indexer_k_norm_weight": [DI * 2]},
            RuntimeError,
            f"'indexer_wk': expected shape [{DI * 2}, {H}], got [{DI}, {H}]",
        ),
        *(
            (
                {"indexer_k_norm_weight": [size]},
                ValueError,
                "'indexer_k_norm_weight': expected a head size that is a multiple of 64 from 128 "
                f"to 512, got {size}",
            )
            for size in (0, 64, 127, 160, 576)
        ),
        (
            {"indexer_wq_b": [HI * DI, Q + 64]},
            RuntimeError,
            f"'indexer_wq_b': expected shape [{HI * DI}, {Q}], got [{HI * DI}, {Q + 64}]",
        ),
        (
            {"indexer_wk": [DI + 16, H]},
            RuntimeError,
            f"'indexer_wk': expected shape [{DI}, {H}], got [{DI + 16}, {H}]",
        ),
        (
            {"indexer_cache": [BLOCKS, 4, 1, 2 * DI]},
            RuntimeError,
            f"'indexer_cache': expected shape [{BLOCKS}, 4, 1, {DI}], got "
            f"[{BLOCKS}, 4, 1, {2 * DI}]",
        ),
        (  # NZ of another width
            {"indexer_cache": [BLOCKS, 16, 4, 16]},
            RuntimeError,
            f"'indexer_cache': expected shape [{BLOCKS}, 8, 4, 16], got [{BLOCKS}, 16, 4, 16]",
        ),
    ],
)
def test_sizes_that_do_not_fit_together(changes, error, message):
    changes = {
        name: zeros(*shape, dtype=arguments_of()[name].dtype) for name, shape in changes.items()
    }
    refuses(error, message, arguments_of(**changes))


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("indexer_cache", FP16, "BFloat16"),
        ("indexer_cache", FP32, "BFloat16"),
        ("indexer_cache", INT8, "BFloat16"),
        ("indexer_wq_b", FP16, "BFloat16"),
        ("indexer_wk", FP32, "BFloat16"),
        ("indexer_wk", INT8, "BFloat16"),
        ("indexer_weights_proj", FP32, "BFloat16"),
        ("indexer_weights_proj", FP16, "BFloat16"),
        ("indexer_k_norm_weight", FP16, "BFloat16 or Float"),
        ("indexer_k_norm_weight", torch.float64, "BFloat16 or Float"),
        ("indexer_k_norm_bias", BF16, "Float"),
    ],
)
def test_dtype(name, dtype, expected):
    message = f"'{name}': expected dtype {expected}, got {NAMES[dtype]}"
    refuses(RuntimeError, message, arguments_of(**{name: lambda tensor: tensor.to(dtype)}))


def test_the_norm_bias_has_the_dtype_of_the_weight():
    arguments = arguments_of(indexer_k_norm_weight=lambda tensor: tensor.to(BF16))
    message = "'indexer_k_norm_bias': expected dtype BFloat16, got Float"
    refuses(RuntimeError, message, arguments)


@pytest.mark.parametrize("name", SHAPES)
def test_device(name):
    arguments = arguments_of(**{name: lambda tensor: tensor.to("meta")})
    refuses(RuntimeError, f"'{name}': expected device cpu, got meta", arguments)


@pytest.mark.parametrize("name", [name for name in SHAPES if "cache" not in name])
def test_not_contiguous(name):
    def strided(tensor):
        return torch.stack([tensor, tensor], dim=-1)[..., 0]

    arguments = arguments_of(**{name: strided})
    strides = list(arguments[name].stride())
    message = f"'{name}': expected a contiguous tensor, got strides {strides}"
    refuses(RuntimeError, message, arguments)


@pytest.mark.parametrize("name", INDEXER_WEIGHTS)
def test_transposed_weight(name):
    """The shape fits, the layout does not; in NZ too."""
    for pack in (torch.clone, nd_to_nz):
        weight = pack(arguments_of()[name]).transpose(-1, -2).contiguous().transpose(-1, -2)
        message = f"'{name}': expected a contiguous tensor, got strides {list(weight.stride())}"
        refuses(RuntimeError, message, arguments_of(**{name: weight}))


@pytest.mark.parametrize("eps", [0.0, -1e-6, float("nan"), float("inf"), 1e-50, 1e50])
def test_indexer_eps(eps):
    text = bad_calls.error_of(SFA, ValueError, arguments_of(indexer_eps=eps))
    expected, actual = text.split(", got ")
    start = "ascend_prefetch::sfa_prolog: argument 'indexer_eps': expected a positive normal fp32"
    assert expected.startswith(start)
    assert float(actual) == pytest.approx(eps, nan_ok=True)


@pytest.mark.parametrize("name", INDEXER_WEIGHTS)
def test_prefetch_of_the_weights_that_the_op_reads(name):
    arguments = arguments_of()
    arguments["prefetch"] = [torch.ones(9), arguments[name]]
    message = "'prefetch[1]': expected bytes that nothing else fetches, got memory shared with"
    refuses(ValueError, f"{message} '{name}'", arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cos": lambda t: t[:-1]}, RuntimeError, "'cos': expected shape [5, 64], got [4, 64]"),
        (
            {"slot_mapping": lambda t: t * 0},
            ValueError,
            "'slot_mapping': expected distinct slots, got 0 at index 1 again",
        ),
        ({"prefetch_bytes": -1}, ValueError, "'prefetch_bytes': expected 0 or more bytes, got -1"),
    ],
)
def test_errors_that_mla_prolog_has_too(change, error, message):
    """They name the op that was called."""
    refuses(error, message, arguments_of(**change))
    refuses(error, message, arguments_of(PLAIN, **change), op=MLA)


# --- caches ---

CACHE_CASES = {
    "split": PLAIN,
    "joint": replace(PLAIN, joint=True),
    "int8": replace(PLAIN, kv_cache_scale=0.1),
}


def cache_call(op, form, nz):
    """Good arguments with caches of a form."""
    case = CACHE_CASES[form]
    return arguments_of(replace(case, cache_nz=tuple(case.cache_rows()) if nz else ()))


@BOTH
@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
@pytest.mark.parametrize("form", CACHE_CASES)
def test_caches_are_good_before_they_are_changed(form, nz, op):
    op(**cache_call(op, form, nz))


@BOTH
@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("dimension", [0, 1, 2, 3])
@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
@pytest.mark.parametrize("form", CACHE_CASES)
def test_cache_shapes(form, nz, dimension, more, op):
    """kv_cache sets the number and size of the blocks; everything else is given."""
    arguments = cache_call(op, form, nz)
    block_dimension = 2 if nz else 1
    for name in CACHE_CASES[form].cache_rows():
        good = list(arguments[name].shape)
        wrong = list(good)
        wrong[dimension] += more
        changed, expected = name, list(good)
        if name == "kv_cache" and dimension in (0, block_dimension):
            if form == "joint":
                continue  # one cache of another size
            changed = "rope_cache"
            wrong_cache = arguments[name].new_zeros(wrong)
            wrong = list(arguments["rope_cache"].shape)
            expected = list(wrong)
            expected[dimension] += more
        else:
            wrong_cache = arguments[name].new_zeros(wrong)
        if nz and dimension == 3:
            # No longer a fractal wide: held against the row-major shape.
            width, _ = CACHE_CASES[form].cache_rows()[name]
            rows = wrong[1] if name == "kv_cache" else arguments["kv_cache"].shape[2]
            expected = [wrong[0], rows, 1, width]
        message = f"'{changed}': expected shape {expected}, got {wrong}"
        refuses(RuntimeError, message, {**arguments, name: wrong_cache}, op)


@BOTH
@pytest.mark.parametrize("form", CACHE_CASES)
def test_strides_of_nz_caches(form, op):
    arguments = cache_call(op, form, True)
    for name in CACHE_CASES[form].cache_rows():
        good = arguments[name]
        blocks, strips, rows, c0 = good.shape
        storage = good.new_zeros(4 * good.numel())
        dense = (strips * rows * c0, rows * c0, c0, 1)
        for strides in [
            (2 * dense[0], dense[1], c0, 2),  # elements apart
            (2 * dense[0], 2 * dense[1], 2 * c0, 1),  # rows apart
            (2 * dense[0], dense[1] + c0, c0, 1),  # strips apart
            (dense[0], c0, strips * c0, 1),  # strips innermost: row-major
            (dense[0] - c0, dense[1], c0, 1),  # blocks overlap
            (0, dense[1], c0, 1),  # one block for all
        ]:
            cache = storage.as_strided(good.shape, strides)
            expected = "dense rows within a block (only dimension 0 may be strided)"
            message = f"'{name}': expected {expected}, got strides {list(strides)}"
            refuses(RuntimeError, message, {**arguments, name: cache}, op)


def test_strides_of_the_indexer_cache():
    for nz in (False, True):
        good = arguments_of(replace(CASE, cache_nz=("indexer_cache",) if nz else ()))
        cache = torch.stack([good["indexer_cache"]] * 2, dim=-1)[..., 0]
        expected = "dense rows within a block (only dimension 0 may be strided)"
        message = f"'indexer_cache': expected {expected}, got strides {list(cache.stride())}"
        refuses(RuntimeError, message, {**good, "indexer_cache": cache})


@BOTH
@pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])
def test_block_sizes(nz, op):
    """1024 rows are the most; an NZ block is told by its third dimension."""
    for form, block_size in [("split", 1025), ("joint", 1025), ("int8", 65537)]:
        case = replace(CACHE_CASES[form], block_size=block_size)
        case = replace(case, cache_nz=tuple(case.cache_rows()) if nz else ())
        message = f"'kv_cache': expected blocks of 1 to 1024 rows, got {block_size}"
        refuses(ValueError, message, arguments_of(case), op)


@BOTH
def test_a_joint_cache_without_its_rope_columns(op):
    message = f"'kv_cache': expected shape [{BLOCKS}, 4, 1, {K + ROPE}], got [{BLOCKS}, 4, 1, {K}]"
    refuses(RuntimeError, message, arguments_of(PLAIN, rope_cache=None), op)


@BOTH
def test_a_joint_cache_beside_a_rope_cache(op):
    message = f"'kv_cache': expected shape [{BLOCKS}, 4, 1, {K}], got [{BLOCKS}, 4, 1, {K + ROPE}]"
    joint = replace(PLAIN, joint=True)
    refuses(RuntimeError, message, arguments_of(joint, rope_cache=zeros(BLOCKS, 4, 1, ROPE)), op)


@BOTH
def test_slots_of_nz_caches(op):
    arguments = cache_call(op, "joint", True)
    rows = 4 * BLOCKS
    arguments["slot_mapping"] = torch.arange(rows - 4, rows + 1)
    message = f"'slot_mapping': expected -1 or a slot below {rows}, got {rows} at index 4"
    refuses(ValueError, message, arguments, op)


# --- int8 latents ---


@BOTH
def test_a_joint_int8_cache(op):
    message = "'rope_cache': expected a cache of its own where the latent cache is int8, got None"
    cache = zeros(BLOCKS, 4, 1, K + ROPE, dtype=INT8)
    int8 = CACHE_CASES["int8"]
    refuses(RuntimeError, message, arguments_of(int8, rope_cache=None, kv_cache=cache), op)


@BOTH
def test_an_int8_cache_without_a_scale(op):
    for case in (PLAIN, replace(PLAIN, joint=True)):
        arguments = arguments_of(case, kv_cache=lambda cache: cache.to(INT8))
        message = "'kv_cache_scale': expected a tensor beside an int8 'kv_cache', got None"
        refuses(RuntimeError, message, arguments, op)


@BOTH
def test_a_scale_without_an_int8_cache(op):
    message = "'kv_cache_scale': expected None unless 'kv_cache' is int8, got a tensor"
    refuses(RuntimeError, message, arguments_of(PLAIN, kv_cache_scale=torch.ones(1)), op)


@BOTH
@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (torch.ones(()), "expected shape [1], got []"),
        (torch.ones(2), "expected shape [1], got [2]"),
        (torch.ones(1, 1), "expected shape [1], got [1, 1]"),
        (torch.ones(K), f"expected shape [1], got [{K}]"),
        (torch.ones(1, dtype=BF16), "expected dtype Float, got BFloat16"),
        (torch.ones(1, dtype=torch.float64), "expected dtype Float, got Double"),
        (torch.ones(1, device="meta"), "expected device cpu, got meta"),
    ],
    ids=str,
)
def test_kv_cache_scale(scale, message, op):
    arguments = arguments_of(CACHE_CASES["int8"], kv_cache_scale=scale)
    refuses(RuntimeError, f"'kv_cache_scale': {message}", arguments, op)


@BOTH
def test_an_int8_rope_cache(op):
    for case in (PLAIN, CACHE_CASES["int8"]):
        arguments = arguments_of(case, rope_cache=lambda cache: cache.to(INT8))
        message = "'rope_cache': expected dtype BFloat16, got Char"
        refuses(RuntimeError, message, arguments, op)


# --- models without a query latent ---

LITE = replace(PLAIN, q_lora=0)


@BOTH
def test_a_norm_bias_without_a_norm(op):
    message = "'q_a_norm_bias': expected None without 'q_a_norm_weight', got a tensor"
    refuses(RuntimeError, message, arguments_of(LITE, q_a_norm_bias=zeros(Q)), op)


@BOTH
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"qkv_a_weight": [Q + K + ROPE, H]},
            f"'qkv_a_weight': expected shape [{K + ROPE}, {H}], got [{Q + K + ROPE}, {H}]",
        ),
        (
            {"q_b_weight": [3 * 96, Q]},
            f"'q_b_weight': expected shape [288, {H}], got [288, {Q}]",
        ),
        (
            {"q_b_weight": [Q // 16, 288, 16]},
            f"'q_b_weight': expected shape [{H // 16}, 288, 16], got [{Q // 16}, 288, 16]",
        ),
        (
            {"q_a_norm_weight": [Q]},
            f"'qkv_a_weight': expected shape [{Q + K + ROPE}, {H}], got [{K + ROPE}, {H}]",
        ),
    ],
)
def test_sizes_without_a_query_latent(changes, message, op):
    changes = {name: zeros(*shape) for name, shape in changes.items()}
    refuses(RuntimeError, message, arguments_of(LITE, **changes), op)


# --- Meta checks the same ---


def test_meta():
    def to_meta(value):
        if isinstance(value, list):
            return [tensor.to("meta") for tensor in value]
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    for name, message in [
        ("indexer_cache", "'indexer_cache': expected a tensor beside 'indexer_wq_b', got None"),
        (
            "indexer_weights_proj",
            f"'indexer_weights_proj': expected a tensor beside an 'indexer_wk' of {DI} rows, "
            "got None",
        ),
    ]:
        arguments = {key: to_meta(value) for key, value in arguments_of(**{name: None}).items()}
        refuses(RuntimeError, message, arguments)
