"""What no op takes, for every argument of every op: one error that names it, nothing changed."""

import math

import pytest
import torch

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.packing import pack_dequant_scale
from bad_calls import refuses
from mla_cases import same_bits
from op_calls import (
    DIFFERENTIABLE,
    OPS,
    changed,
    each_argument,
    good_call,
    required_arguments,
    tensor_arguments,
    written_arguments,
)

# --- None ---


@pytest.mark.parametrize(("op", "name"), each_argument(required_arguments))
def test_none(op, name):
    arguments = good_call(op) | {name: None}
    refuses(OPS[op], RuntimeError, f"argument '{name}': expected a tensor, got None", arguments)


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_nothing_but_none(op):
    names = required_arguments(op)
    arguments = dict.fromkeys(names)
    if op != "o_proj":
        arguments |= {"q_a_norm_weight": None, "rope_cache": None}
    refuses(OPS[op], RuntimeError, f"argument '{names[0]}': expected a tensor, got None", arguments)


# torch prints the error of a list itself, and names the argument.
@pytest.mark.parametrize("op", OPS)
def test_none_in_a_list(op):
    name = "weights" if op == "prefetch" else "prefetch"
    with pytest.raises(RuntimeError, match=rf"ascend_prefetch::{op}\(\) .* argument '{name}'"):
        OPS[op](**good_call(op) | {name: [None]})


# --- what to prefetch ---


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("prefetch_bytes", [-1, -(2**63)])
def test_negative_budget(op, prefetch_bytes):
    message = f"argument 'prefetch_bytes': expected 0 or more bytes, got {prefetch_bytes}"
    refuses(OPS[op], ValueError, message, good_call(op) | {"prefetch_bytes": prefetch_bytes})


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_too_many_prefetch_tensors(op):
    message = "argument 'prefetch': expected at most 8 tensors, got 9"
    refuses(OPS[op], ValueError, message, good_call(op) | {"prefetch": [torch.zeros(64)] * 9})


# --- tensors that are not dense ---


def sparse(tensor):
    return torch.zeros(tensor.shape).to_sparse()


def quantized(tensor):
    return torch.empty_quantized([3], torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8))


def nested(tensor):
    return torch.nested.nested_tensor([torch.ones(3), torch.ones(2)])


def jagged(tensor):
    return torch.nested.nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged)


def mkldnn(tensor):
    return torch.ones(3, 3).to_mkldnn()


KINDS = {
    sparse: "Sparse on cpu",
    quantized: "a quantized tensor (QInt8) on cpu",
    nested: "a nested tensor on cpu",
    jagged: "a nested tensor on cpu",
    mkldnn: "Mkldnn on cpu",
}


@pytest.mark.filterwarnings("ignore")  # torch's, about what it means to give up
@pytest.mark.parametrize(("op", "name"), each_argument(tensor_arguments))
@pytest.mark.parametrize("kind", KINDS)
def test_not_dense(op, name, kind):
    if kind is mkldnn and not torch.backends.mkldnn.is_available():
        pytest.skip("no such layout here")
    arguments, argument = changed(good_call(op), name, kind)
    with pytest.raises(RuntimeError) as raised:
        OPS[op](**arguments)
    message = f"expected a dense tensor on cpu, npu or meta, got {KINDS[kind]}"
    assert str(raised.value) == f"ascend_prefetch::{op}: argument '{argument}': {message}"


# --- values that torch has put off computing ---


def read_arguments(op):
    return [name for name in tensor_arguments(op, lists=False) if name not in written_arguments(op)]


def negative(tensor):
    """The same values, as a view that negates what is in memory."""
    return torch._neg_view(-tensor)


def pending_arguments(op):
    return [*written_arguments(op), "weights" if op == "prefetch" else "prefetch"]


PENDING = "expected a tensor whose bytes are its values (see Tensor.resolve_neg)"


@pytest.mark.parametrize(("op", "name"), each_argument(pending_arguments))
def test_a_negative_view_of_what_has_to_have_its_bytes(op, name):
    arguments, argument = changed(good_call(op), name, torch._neg_view)
    message = f"argument '{argument}': {PENDING}, got a negative view"
    with pytest.raises(RuntimeError) as raised:
        OPS[op](**arguments)
    assert str(raised.value) == f"ascend_prefetch::{op}: {message}"


def test_a_conjugate_weight_to_prefetch():
    weight = torch.ones(4, 4, dtype=torch.complex64).conj()
    with pytest.raises(RuntimeError, match=r"'prefetch\[0\]': .*, got a conjugate view$"):
        OPS["o_proj"](**good_call("o_proj") | {"prefetch": [weight]})


@pytest.mark.parametrize(("op", "name"), each_argument(lambda op: tensor_arguments(op)))
def test_zeros_without_memory(op, name):
    def zeros(tensor):
        return torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype)

    arguments, argument = changed(good_call(op), name, zeros)
    with pytest.raises(RuntimeError) as raised:
        OPS[op](**arguments)
    message = f"argument '{argument}': {PENDING}, got zeros without memory"
    assert str(raised.value) == f"ascend_prefetch::{op}: {message}"


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_negative_views_that_are_only_read(op):
    """Such as the imaginary part of conjugate rotations: the values count."""
    plain, negated = good_call(op), good_call(op)
    for name in read_arguments(op):
        negated[name] = negative(negated[name])
        assert negated[name].is_neg()
    expected, actual = OPS[op](**plain), OPS[op](**negated)
    if op == "o_proj":
        expected, actual = [expected], [actual]
    caches = [[call[name] for name in written_arguments(op)] for call in (plain, negated)]
    for wanted, output in zip([*expected, *caches[0]], [*actual, *caches[1]], strict=True):
        assert same_bits(output, wanted)


# --- scales ---

BAD_SCALES = [math.nan, math.inf, 0.0, -0.0, -0.25, -math.inf]


def scale_arguments(op):
    return [name for name in tensor_arguments(op) if name.endswith("scale")]


def of(values, index, value):
    values = values.clone()
    values[index] = value
    return values


@pytest.mark.parametrize(("op", "name"), each_argument(scale_arguments))
@pytest.mark.parametrize("value", BAD_SCALES)
@pytest.mark.parametrize("packed", [False, True])
def test_scales(op, name, value, packed):
    arguments = good_call(op)
    scale = arguments[name]
    if packed and "dequant" not in name:
        return
    index = len(scale) - 1
    scale = of(scale, index, value)
    # Whatever is in the high half means nothing.
    arguments[name] = pack_dequant_scale(scale) | (5 << 32) if packed else scale
    message = f"expected positive finite scales, got {value:g} at index {index}"
    refuses(OPS[op], ValueError, f"argument '{name}': {message}", arguments)


def offset_arguments(op):
    return [name for name in tensor_arguments(op) if name.endswith("input_offset")]


@pytest.mark.parametrize(("op", "name"), each_argument(offset_arguments))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_zero_points(op, name, value):
    arguments = good_call(op)
    arguments[name] = torch.tensor([value])
    message = f"argument '{name}': expected a finite zero point, got {value:g}"
    refuses(OPS[op], ValueError, message, arguments)


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_the_smallest_and_largest_values_that_are_taken(op):
    arguments = good_call(op)
    for name in scale_arguments(op):
        arguments[name] = torch.full_like(arguments[name], 1e-45)
    for name in offset_arguments(op):
        arguments[name] = torch.tensor([-128.0])
    OPS[op](**arguments)


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_a_dry_run_reads_no_scales(op):
    """Its tensors hold no data."""
    arguments = good_call(op)
    for name in (*scale_arguments(op), *offset_arguments(op)):
        arguments[name] = torch.full_like(arguments[name], math.nan)
    with twin.dry():
        OPS[op](**arguments)


# --- text ---


@pytest.mark.parametrize(
    ("function", "argument", "error"),
    [
        (lambda text: OPS["prefetch"]([torch.ones(5)], engine=text), "engine", ValueError),
        (_lab.set_twin_chip, "chip", ValueError),
        (_lab.set_sanitize_mode, "off, memory or full", ValueError),
    ],
    ids=["engine", "chip", "mode"],
)
def test_control_characters(function, argument, error):
    """A NUL does not end the message."""
    with pytest.raises(error) as raised:
        function("sdma\0\n\x7f!")
    assert r"'sdma\x00\x0a\x7f!'" in str(raised.value)
    assert argument in str(raised.value)


# --- torch.vmap ---


@pytest.mark.parametrize("op", OPS)
def test_vmap(op):
    arguments = good_call(op)
    name = "weights" if op == "prefetch" else required_arguments(op)[0]
    value = arguments.pop(name)
    value = value[0] if isinstance(value, list) else value

    def call(x):
        return OPS[op](**arguments, **{name: [x] if op == "prefetch" else x})

    with pytest.raises(NotImplementedError) as raised:
        torch.vmap(call)(torch.stack([value, value]))
    assert str(raised.value) == (
        f"ascend_prefetch::{op}: expected a call for all tokens at once, got one under torch.vmap, "
        "for which the op has no batching rule"
    )
