"""The ops have no derivative: forward they take parameters, and backward they say what has none."""

import contextlib

import pytest
import torch
from torch.autograd import forward_ad

from mla_cases import same_bits
from op_calls import DIFFERENTIABLE, OPS, good_call, tensor_arguments, written_arguments

ACTIVATIONS = {
    "mla_prolog": "hidden_states",
    "sfa_prolog": "hidden_states",
    "o_proj": "attn_output",
}
BACKWARD = "expected a forward pass alone, got a backward pass: the op has no derivative"


def plain_call(op):
    """A good call, and a copy in which all that can require a gradient does."""
    plain = good_call(op)
    wanting = {**plain, **{name: plain[name].clone() for name in written_arguments(op)}}
    for name in tensor_arguments(op, lists=False):
        if name not in written_arguments(op) and wanting[name].is_floating_point():
            wanting[name] = torch.nn.Parameter(wanting[name])
    wanting["prefetch"] = [torch.nn.Parameter(tensor) for tensor in wanting["prefetch"]]
    return plain, wanting


def results_of(op, arguments):
    results = OPS[op](**arguments)
    return list(results) if isinstance(results, tuple) else [results]


def check_backward(op, result):
    with pytest.raises(NotImplementedError) as raised:
        result.float().sum().backward()
    assert str(raised.value) == f"ascend_prefetch::{op}: {BACKWARD}"


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_forward_with_parameters(op):
    """Outside of no_grad: results and caches have the same bits, backward names the op."""
    plain, wanting = plain_call(op)
    expected, actual = results_of(op, plain), results_of(op, wanting)
    for wanted, result in zip(expected, actual, strict=True):
        assert same_bits(wanted, result.detach())
        assert result.requires_grad == result.is_floating_point()
    for name in written_arguments(op):
        assert same_bits(plain[name], wanting[name])
        assert not wanting[name].requires_grad
    for result in actual:
        if result.numel() > 0:
            check_backward(op, result)
    assert all(wanting[name].grad is None for name in tensor_arguments(op, lists=False))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(op, mode):
    plain, wanting = plain_call(op)
    with mode():
        for wanted, result in zip(results_of(op, plain), results_of(op, wanting), strict=True):
            assert not result.requires_grad
            assert same_bits(wanted, result)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_quantised_result(op):
    """int8 results have no gradient; the others of the call do."""
    if op == "o_proj":
        return
    _, wanting = plain_call(op)
    q_nope, q_rope, *_ = OPS[op](**wanting, quantize_q_nope=True)
    assert q_nope.dtype == torch.int8
    assert not q_nope.requires_grad
    check_backward(op, q_rope)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_what_is_prefetched_has_no_part_in_the_results(op):
    arguments = good_call(op)
    arguments["prefetch"] = [torch.nn.Parameter(tensor) for tensor in arguments["prefetch"]]
    assert not any(result.requires_grad for result in results_of(op, arguments))


def test_a_gradient_of_what_is_written():
    for op in ("mla_prolog", "sfa_prolog"):
        for name in written_arguments(op):
            arguments = good_call(op)
            if not arguments[name].is_floating_point():
                continue
            arguments[name] = arguments[name].requires_grad_()
            message = "expected a tensor that requires no gradient, since it is written in place"
            with pytest.raises(RuntimeError) as raised:
                OPS[op](**arguments)
            assert str(raised.value) == (
                f"ascend_prefetch::{op}: argument '{name}': {message}, got requires_grad=True"
            )
            with torch.no_grad():
                OPS[op](**arguments)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev])
def test_transforms(op, transform):
    """Not a gradient of 0: neither through a result, nor through a cache."""
    arguments = good_call(op)
    x = arguments.pop(ACTIVATIONS[op])

    def loss(x):
        return results_of(op, {**arguments, ACTIVATIONS[op]: x})[-1].float().sum()

    with pytest.raises(NotImplementedError, match=rf"^ascend_prefetch::{op}: .* torch.func's"):
        transform(loss)(x)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_forward_derivatives(op):
    arguments = good_call(op)
    name = ACTIVATIONS[op]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(arguments[name], torch.ones_like(arguments[name]))
        message = rf"^ascend_prefetch::{op}: argument '{name}': .*, got a dual tensor$"
        with pytest.raises(RuntimeError, match=message):
            OPS[op](**{**arguments, name: dual})


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
@pytest.mark.parametrize("grad", [True, False])
def test_compiled(op, backend, grad, tmp_path, monkeypatch):
    """A compiler traces backward along with forward; only the program that runs it raises."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    plain, wanting = plain_call(op)
    expected = [result + 1 for result in results_of(op, plain)]

    def program(arguments):
        return [result + 1 for result in results_of(op, arguments)]

    compiled = torch.compile(program, fullgraph=True, backend=backend)
    with contextlib.nullcontext() if grad else torch.no_grad():
        actual = compiled(wanting)
    for wanted, result in zip(expected, actual, strict=True):
        assert same_bits(wanted, result.detach())
        assert result.requires_grad == grad
    for name in written_arguments(op):
        assert same_bits(plain[name], wanting[name])
    if grad:
        with pytest.raises(NotImplementedError, match=rf"^ascend_prefetch::{op}: {BACKWARD}"):
            actual[0].float().sum().backward()
    torch.compiler.reset()
