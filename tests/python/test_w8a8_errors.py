"""Bad arguments of W8A8 layers: one error that says what is wrong, and no tensor changed."""

from dataclasses import dataclass, replace

import pytest
import torch

from ascend_prefetch.linear import W8A8Linear
from ascend_prefetch.packing import nd_to_nz
from mla_cases import MlaCase, MlaInputs, cache_arguments, same_bits
from o_proj_cases import OProjCase, OProjInputs
from sfa_cases import SfaCase, SfaInputs
from w8a8_cases import PREFIXES, STATIC, quantise_layers

MLA = MlaCase(5, hidden=64, q_lora=128, kv_lora=192, nope=64, heads=3, block_size=4)
SFA = SfaCase(5, hidden=64, q_lora=128, kv_lora=192, nope=64, heads=3, block_size=4)
O_PROJ = OProjCase(5, hidden=128, heads=3, kv_lora=48, value=64, quant=STATIC)


@dataclass(frozen=True)
class Layer:
    """A linear layer of an op, and its features in and out in the cases above."""

    op: str
    weight: str
    prefix: str
    size: int
    out: int


LAYERS = [
    Layer("o_proj", "o_proj_weight", "", 192, 128),
    *(
        layer
        for op in ("mla_prolog", "sfa_prolog")
        for layer in (
            Layer(op, "qkv_a_weight", "qkv_a_", 64, 384),
            Layer(op, "q_b_weight", "q_b_", 128, 384),
        )
    ),
    Layer("sfa_prolog", "indexer_wq_b", "indexer_wq_b_", 128, 2048),
]


def make_arguments(op):
    """Good arguments with every layer static, offset and bias included."""
    if op == "o_proj":
        return OProjInputs(O_PROJ).arguments
    inputs = MlaInputs(MLA) if op == "mla_prolog" else SfaInputs(SFA)
    quantise_layers(inputs, dict.fromkeys(inputs.nd.keys() & PREFIXES.keys(), STATIC), 0)
    return {**inputs.arguments, **cache_arguments(inputs)}


def storage_of(tensor):
    """All of the memory that a tensor is a view of."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


def refuses(error, layer, message, changes=None, arguments=None):
    """The op raises just this error and changes no tensor.

    Args:
        error: the type.
        layer: says which op; its prefix goes in place of "{p}" in the message.
        message: from the name of the argument on.
        changes: arguments by their names without the prefix; "weight" is the weight.
        arguments: the good arguments.
    """
    arguments = dict(arguments or make_arguments(layer.op))
    for name, value in (changes or {}).items():
        name = layer.weight if name == "weight" else layer.prefix + name
        arguments[name] = value(arguments[name]) if callable(value) else value
    tensors = [t for t in arguments.values() if isinstance(t, torch.Tensor)]
    tensors = [t for t in tensors if t.device.type == "cpu"]
    before = [storage_of(tensor).clone() for tensor in tensors]
    with pytest.raises(error) as raised:
        getattr(torch.ops.ascend_prefetch, layer.op)(**arguments)
    assert type(raised.value) is error
    name = message.replace("{p}", layer.prefix).replace("{w}", layer.weight)
    assert str(raised.value) == f"ascend_prefetch::{layer.op}: argument {name}"
    for tensor, bits in zip(tensors, before, strict=True):
        assert same_bits(storage_of(tensor), bits)


EVERY_LAYER = pytest.mark.parametrize(
    "layer", LAYERS, ids=[f"{layer.op}-{layer.weight}" for layer in LAYERS]
)
NZ = pytest.mark.parametrize("nz", [False, True], ids=["nd", "nz"])


@EVERY_LAYER
def test_the_arguments_are_good_before_they_are_changed(layer):
    arguments = make_arguments(layer.op)
    getattr(torch.ops.ascend_prefetch, layer.op)(**arguments)
    assert arguments[layer.weight].shape == (layer.size, layer.out)
    assert arguments[layer.weight].dtype == torch.int8


# --- partners ---


@EVERY_LAYER
@NZ
def test_an_int8_weight_without_scales(layer, nz):
    changes = dict.fromkeys(["dequant_scale", "input_scale", "input_offset", "quant_bias"])
    changes["weight"] = nd_to_nz if nz else torch.clone
    message = "'{w}': expected dtype BFloat16, got Char"
    refuses(RuntimeError, layer, message, changes)


@EVERY_LAYER
@pytest.mark.parametrize("kept", ["input_scale", "input_offset", "quant_bias"])
def test_scales_without_the_dequant_scale(layer, kept):
    changes = dict.fromkeys({"dequant_scale", "input_scale", "input_offset", "quant_bias"} - {kept})
    message = f"'{{p}}{kept}': expected None without '{{p}}dequant_scale', got a tensor"
    refuses(RuntimeError, layer, message, changes)
    # Nor beside a 16-bit weight.
    weight = torch.zeros(layer.out, layer.size, dtype=torch.bfloat16)
    refuses(RuntimeError, layer, message, {**changes, "weight": weight})


@EVERY_LAYER
def test_an_offset_without_an_input_scale(layer):
    message = (
        "'{p}input_offset': expected None without '{p}input_scale' (dynamic quantisation), "
        "got a tensor"
    )
    refuses(RuntimeError, layer, message, {"input_scale": None})


@EVERY_LAYER
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.uint8])
def test_a_dequant_scale_beside_another_weight(layer, dtype):
    names = {torch.bfloat16: "BFloat16", torch.float32: "Float", torch.uint8: "Byte"}
    message = f"'{{w}}': expected dtype Char, got {names[dtype]}"
    refuses(RuntimeError, layer, message, {"weight": lambda weight: weight.to(dtype)})


@pytest.mark.parametrize("name", ["dequant_scale", "input_scale", "input_offset", "quant_bias"])
def test_scales_of_an_indexer_that_is_not_there(name):
    arguments = make_arguments("sfa_prolog")
    absent = {n: None for n in arguments if n.startswith("indexer_") and "eps" not in n}
    absent.pop("indexer_rope_interleaved")
    kept = f"indexer_wq_b_{name}"
    arguments |= {**absent, kept: arguments[kept]}
    message = f"'{kept}': expected None without 'indexer_wq_b', got a tensor"
    refuses(RuntimeError, LAYERS[-1], message, arguments=arguments)


# --- weights ---


@EVERY_LAYER
def test_shape_of_the_weight(layer):
    good = f"expected shape [{layer.size}, {layer.out}]"
    # What the op does not take from the weight itself: the other way round, one head more.
    shapes = [(layer.size + 64, layer.out), (64 * 7, layer.out)]
    if layer.weight in ("qkv_a_weight", "q_b_weight"):
        shapes += [(layer.size, layer.out - 64), (layer.out, layer.size)]
    for shape in shapes:
        weight = torch.zeros(shape, dtype=torch.int8)
        message = f"'{{w}}': {good}, got {list(shape)}"
        refuses(RuntimeError, layer, message, {"weight": weight})


@EVERY_LAYER
def test_shape_of_the_nz_weight(layer):
    good = [layer.out // 32, layer.size, 32]
    for shape in (
        [layer.out // 32, layer.size + 64, 32],
        [layer.out // 32, layer.size, 16],  # strips of 16-bit elements
        [layer.out // 32, layer.size + 1, 32],
    ):
        weight = torch.zeros(shape, dtype=torch.int8)
        message = f"'{{w}}': expected shape {good}, got {shape}"
        refuses(RuntimeError, layer, message, {"weight": weight})


@EVERY_LAYER
@pytest.mark.parametrize("shape", [[], [64], [1, 1, 64, 64]])
def test_rank_of_the_weight(layer, shape):
    message = f"'{{w}}': expected 2 or 3 dimensions, got {shape}"
    refuses(RuntimeError, layer, message, {"weight": torch.zeros(shape, dtype=torch.int8)})


@EVERY_LAYER
@NZ
def test_a_transposed_weight(layer, nz):
    def transposed(weight):
        weight = nd_to_nz(weight) if nz else weight
        return weight.transpose(-1, -2).contiguous().transpose(-1, -2)

    strides = list(transposed(make_arguments(layer.op)[layer.weight]).stride())
    message = f"'{{w}}': expected a contiguous tensor, got strides {strides}"
    refuses(RuntimeError, layer, message, {"weight": transposed})


def zero_layer(size, out):
    scale = torch.ones(out)
    return W8A8Linear(torch.zeros(size, out, dtype=torch.int8), scale)


@NZ
@pytest.mark.parametrize(("size", "out"), [(96, 128), (128, 96), (32, 64), (48, 64), (64, 32)])
def test_o_proj_features_that_are_no_multiples_of_64(size, out, nz):
    layer = zero_layer(size, out)
    arguments = {
        "attn_output": torch.zeros(3, size, dtype=torch.bfloat16),
        "o_proj_weight": nd_to_nz(layer.weight) if nz else layer.weight,
        "dequant_scale": layer.dequant_scale,
    }
    message = "'{w}': expected int8 with in and out features in multiples of 64, "
    refuses(ValueError, LAYERS[0], f"{message}got [{size}, {out}]", arguments=arguments)


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog"])
@pytest.mark.parametrize("hidden", [16, 96, 272])
def test_hidden_sizes_that_are_no_multiples_of_64(op, hidden):
    """Such models can run, but not with an int8 qkv_a."""
    case, kind = (MLA, MlaInputs) if op == "mla_prolog" else (SFA, SfaInputs)
    inputs = kind(replace(case, hidden=hidden))
    arguments = {**inputs.arguments, **cache_arguments(inputs)}
    getattr(torch.ops.ascend_prefetch, op)(**arguments)
    quantise_layers(inputs, {"qkv_a_weight": STATIC}, 0)
    arguments = {**inputs.arguments, **cache_arguments(inputs)}
    layer = next(layer for layer in LAYERS if (layer.op, layer.prefix) == (op, "qkv_a_"))
    message = "'{w}': expected int8 with in and out features in multiples of 64, "
    refuses(ValueError, layer, f"{message}got [{hidden}, 384]", arguments=arguments)


@pytest.mark.parametrize("nope", [16, 48, 96])
def test_nope_sizes_that_are_no_multiples_of_64(nope):
    """Of three heads or of four, whose rows together may be a multiple."""
    for heads in (3, 4):
        inputs = MlaInputs(replace(MLA, nope=nope, heads=heads))
        quantise_layers(inputs, {"q_b_weight": STATIC}, 0)
        arguments = {**inputs.arguments, **cache_arguments(inputs)}
        layer = LAYERS[2]
        rows = heads * (nope + 64)
        message = (
            f"'{{w}}': expected int8 with in and out features in multiples of 64, got [128, {rows}]"
        )
        if rows % 64 == 0:
            message = "'w_uk': expected a nope size that is a multiple of 64 up to 4096 elements "
            message += f"where q_b is int8, got {nope}"
        refuses(ValueError, layer, message, arguments=arguments)


# --- scales ---


GOOD = {
    "dequant_scale": ("Float or Long", lambda layer: [layer.out]),
    "input_scale": ("Float", lambda layer: [1]),
    "input_offset": ("Float", lambda layer: [1]),
    "quant_bias": ("Int", lambda layer: [layer.out]),
}
EVERY_SCALE = pytest.mark.parametrize("name", GOOD)


@EVERY_LAYER
@EVERY_SCALE
def test_dtype_of_a_scale(layer, name):
    names = {torch.float32: "Float", torch.bfloat16: "BFloat16", torch.float64: "Double"}
    names |= {torch.int32: "Int", torch.int64: "Long", torch.int8: "Char"}
    expected = GOOD[name][0]
    for dtype, text in names.items():
        if text in expected.split(" or "):
            continue
        message = f"'{{p}}{name}': expected dtype {expected}, got {text}"
        refuses(RuntimeError, layer, message, {name: lambda scale, dtype=dtype: scale.to(dtype)})


@EVERY_LAYER
@EVERY_SCALE
def test_shape_of_a_scale(layer, name):
    shape = GOOD[name][1](layer)
    dtype = make_arguments(layer.op)[layer.prefix + name].dtype
    wrong = [[], [0], [shape[0] + 1], [1, *shape], [*shape, 1], [2 * shape[0]]]
    for actual in wrong if shape == [1] else [*wrong, [1]]:
        message = f"'{{p}}{name}': expected shape {shape}, got {actual}"
        refuses(RuntimeError, layer, message, {name: torch.ones(actual, dtype=dtype)})


@EVERY_LAYER
@EVERY_SCALE
def test_device_of_a_scale(layer, name):
    message = f"'{{p}}{name}': expected device cpu, got meta"
    refuses(RuntimeError, layer, message, {name: lambda scale: scale.to("meta")})


@EVERY_LAYER
@pytest.mark.parametrize("name", ["dequant_scale", "quant_bias"])
def test_a_strided_scale(layer, name):
    message = f"'{{p}}{name}': expected a contiguous tensor, got strides [2]"
    refuses(RuntimeError, layer, message, {name: lambda t: torch.stack([t, t], dim=1)[:, 0]})


@EVERY_LAYER
def test_device_of_the_weight(layer):
    message = "'{w}': expected device cpu, got meta"
    refuses(RuntimeError, layer, message, {"weight": lambda weight: weight.to("meta")})
