"""Every op as torch sees it: schema, opcheck, calls without data, export, compilation, gradients.

What is peculiar to prefetch, an op without results that has to run as often as it is called, is in
test_prefetch_calls.py.
"""

import contextlib
import threading
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

import ascend_prefetch.ops
from ascend_prefetch import _lab
from mla_cases import MlaInputs, same_bits
from mla_cases import run as run_prolog
from op_calls import DIFFERENTIABLE, OPS, good_call, tensor_arguments, written_arguments
from op_forms import (
    ACTIVATIONS,
    COMPILED_FORMS,
    FORMS,
    MLA,
    O_PROJ,
    ONE_TOKEN_FORMS,
    SFA,
    OpForm,
    program_of,
    results_of,
    split_call,
)
from sfa_cases import SfaInputs
from traces import launches

BACKENDS = ["eager", "aot_eager", "inductor"]
JOIN = torch.ops.ascend_prefetch.prefetch_join.default


def of_every_form(function):
    return pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)(function)


# --- schemas ---

PROLOG_TENSORS = [
    *("hidden_states", "qkv_a_weight", "q_a_norm_weight", "q_b_weight", "w_uk"),
    *("kv_a_norm_weight", "cos", "sin", "slot_mapping", "kv_cache", "rope_cache"),
]
INDEXER_TENSORS = [
    *("indexer_cache", "indexer_wq_b", "indexer_wk", "indexer_k_norm_weight"),
    *("indexer_k_norm_bias", "indexer_weights_proj"),
]
SCALES = ["dequant_scale", "input_scale", "input_offset", "quant_bias"]
PREFETCH = ["prefetch", "prefetch_bytes", "prefetch_passing_bytes"]
PROLOG_OPTIONS = {
    "q_a_norm_bias": None,
    "kv_a_norm_bias": None,
    "eps": 1e-6,
    "rope_interleaved": True,
    **dict.fromkeys(f"{layer}_{scale}" for layer in ("qkv_a", "q_b") for scale in SCALES),
    "kv_cache_scale": None,
    "quantize_q_nope": False,
    **dict.fromkeys(PREFETCH),
}
PROLOG_RESULTS = ["q_nope", "q_rope", "q_c", "q_nope_scale"]


@pytest.mark.parametrize(
    ("op", "positional", "written", "options", "results"),
    [
        (
            *("mla_prolog", PROLOG_TENSORS, ["kv_cache", "rope_cache"], PROLOG_OPTIONS),
            PROLOG_RESULTS,
        ),
        (
            *("sfa_prolog", PROLOG_TENSORS + INDEXER_TENSORS),
            ["kv_cache", "rope_cache", "indexer_cache"],
            {
                "indexer_rope_interleaved": False,
                "indexer_eps": 1e-6,
                **dict.fromkeys(f"indexer_wq_b_{scale}" for scale in SCALES),
                **PROLOG_OPTIONS,
            },
            [*PROLOG_RESULTS, "indexer_q", "indexer_weights"],
        ),
        (
            *("o_proj", ["attn_output", "o_proj_weight"], []),
            dict.fromkeys(["w_uv", "bias", *SCALES, *PREFETCH]),
            [""],
        ),
    ],
)
def test_schema(op, positional, written, options, results):
    schema = OPS[op].default._schema
    assert [a.name for a in schema.arguments if not a.kwarg_only] == positional
    assert [a.name for a in schema.arguments if a.alias_info] == written
    assert written_arguments(op) == written
    assert {a.name: a.default_value for a in schema.arguments if a.kwarg_only} == options
    assert [output.name for output in schema.returns] == results
    indexer = [a.default_value for a in schema.arguments if a.name in INDEXER_TENSORS]
    assert indexer == [None] * (6 if op == "sfa_prolog" else 0)


def test_schema_of_prefetch():
    assert str(OPS["prefetch"].default._schema) == (
        "ascend_prefetch::prefetch(Tensor[] weights, *, int[]? max_bytes=None, "
        "int[]? offsets=None, int? cores=None, Tensor? after=None, "
        'str engine="vector", bool beside=False) -> ()'
    )
    assert str(JOIN._schema) == "ascend_prefetch::prefetch_join() -> ()"


# --- the documented functions ---


@of_every_form
def test_the_documented_function(form):
    """It is the op, argument for argument."""
    expected = form.expected()
    result = getattr(ascend_prefetch.ops, form.op)(**form.arguments())
    results = result if isinstance(result, tuple) else (result,)
    for output, wanted in zip(results, expected, strict=True):
        assert same_bits(output, wanted)


@pytest.mark.parametrize(
    ("inputs_type", "case"), [(MlaInputs, MLA), (SfaInputs, SFA)], ids=["mla_prolog", "sfa_prolog"]
)
def test_defaults(inputs_type, case):
    """Left out, the options have their documented values, and each of them matters."""
    form = OpForm(case)
    expected = run_prolog(inputs_type(case), prefetch=None, prefetch_bytes=None).outputs
    positional, _ = split_call(form.op, form.arguments())
    for function in (OPS[form.op], getattr(ascend_prefetch.ops, form.op)):
        for output, wanted in zip(function(*positional), expected, strict=True):
            assert same_bits(output, wanted)
    other = {"eps": 0.5, "rope_interleaved": False, "q_a_norm_bias": torch.ones_like(positional[2])}
    for output, default in list(zip(OPS[form.op](*positional, **other), expected, strict=True))[:3]:
        assert not same_bits(output, default)


def test_defaults_of_the_indexer():
    form = OpForm(SFA)

    def cache_of(**options):
        arguments = form.arguments()
        positional, _ = split_call(form.op, arguments)
        ascend_prefetch.ops.sfa_prolog(*positional, **options)
        return arguments["indexer_cache"]

    written = cache_of()
    for option in ({"indexer_rope_interleaved": True}, {"indexer_eps": 0.5}):
        assert not same_bits(cache_of(**option), written)


# --- opcheck ---

OPCHECKS = {
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
}


def check_op(op, arguments, options):
    results = torch.library.opcheck(op, arguments, options)
    assert set(results) == OPCHECKS
    assert set(results.values()) == {"SUCCESS"}


@of_every_form
def test_opcheck(form):
    check_op(OPS[form.op].default, *split_call(form.op, form.arguments()))


@pytest.mark.parametrize(
    ("weights", "options"),
    [
        ([torch.ones(64, 8)], {}),
        ([torch.ones(64, 8), torch.zeros(3, dtype=torch.bool)], {"cores": 3}),
        (
            [torch.ones(100, dtype=torch.int8), torch.ones(5)],
            {"max_bytes": [33, 1], "offsets": [50, 19], "after": torch.ones(2, 3)},
        ),
        (
            [torch.nn.Parameter(torch.randn(32, 32)) for _ in range(2)],
            {"after": torch.ones(2, 3, requires_grad=True)},
        ),
        ([torch.ones(64, 8)], {"engine": "sdma", "max_bytes": [64]}),
    ],
)
def test_opcheck_of_prefetch(weights, options):
    check_op(OPS["prefetch"].default, (weights,), options)


def test_opcheck_of_the_join():
    check_op(JOIN, (), {})


# --- without data ---


def check_outputs_without_data(outputs, form, device):
    for output, (shape, dtype) in zip(outputs, form.outputs(), strict=True):
        assert tuple(output.shape) == shape
        assert output.dtype == dtype
        assert output.device.type == device
        assert output.is_contiguous()


def to_meta(arguments):
    return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments)


@of_every_form
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_meta(form, dtype):
    form = form.changed(dtype=dtype, tokens=7)
    arguments = {**form.arguments(), "prefetch": [torch.zeros(9)]}
    check_outputs_without_data(results_of(form.op, to_meta(arguments)), form, "meta")


@pytest.mark.parametrize(
    ("case", "name", "message"),
    [
        (MLA, "cos", r"'cos': expected shape \[5, 64\], got \[4, 64\]$"),
        (SFA, "indexer_wk", r"'indexer_wk': expected shape \[128, 64\], got \[127, 64\]"),
        (O_PROJ, "w_uv", r"'w_uv': expected shape \[3, 48, 64\], got \[2, 48"),
    ],
)
def test_meta_checks_shapes(case, name, message):
    form = OpForm(case)
    arguments = to_meta(form.arguments())
    arguments[name] = arguments[name][:-1]
    with pytest.raises(RuntimeError, match=message):
        OPS[form.op](**arguments)


@of_every_form
def test_fake_tensors(form):
    arguments = form.arguments()
    with FakeTensorMode() as mode:
        fakes = pytree.tree_map_only(torch.Tensor, mode.from_tensor, arguments)
        outputs = results_of(form.op, fakes)
    assert all(isinstance(output, FakeTensor) for output in outputs)
    check_outputs_without_data(outputs, form, "cpu")


def test_prefetch_without_data():
    op = OPS["prefetch"]
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(9))
        assert launches(op, [fake], after=fake) == []
        assert ascend_prefetch.ops.prefetch([fake], engine="sdma") is None
        assert ascend_prefetch.ops.prefetch_join() is None
    meta = torch.ones(9, device="meta")
    assert launches(op, [meta], after=meta) == []
    assert launches(op, [meta], engine="sdma") == []


# --- export and compilation, in which writes to caches become functional and back again ---


def check_same(form, program, other):
    """Bit for bit the same results and caches, and caches that are read after the op wrote them."""
    (_, first), (_, second) = program_of(form), program_of(form)
    expected, actual = program(*first), other(*second)
    for results, wanted in zip(actual[:2], expected[:2], strict=True):
        for output, tensor in zip(results, wanted, strict=True):
            assert same_bits(output, tensor)
    assert second[2].keys() == actual[2].keys() == first[2].keys()
    for name, cache in second[2].items():
        assert (cache != 1).any(), f"{name}: the op did not write it"
        assert same_bits(cache, first[2][name])
        assert same_bits(actual[2][name], cache.flatten(1)), f"{name}: read before the op"


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_export_with_a_dynamic_number_of_tokens(op):
    """The token count stays a symbol through the op, and the program runs at others."""
    form = COMPILED_FORMS[op].of_tokens(5)
    program, arguments = program_of(form)
    tokens = torch.export.Dim("tokens", min=1, max=8192)
    shapes = [{name: {0: tokens} for name in arguments[0]}]
    shapes += [dict.fromkeys(part) for part in arguments[1:3]]
    exported = torch.export.export(program, arguments, dynamic_shapes=(*shapes, [None]))
    (node,) = (node for node in exported.graph.nodes if node.target == OPS[op].default)
    results = node.meta["val"] if isinstance(node.meta["val"], tuple) else [node.meta["val"]]
    assert len(results) == len(form.outputs())
    for output, (shape, _) in zip(results, form.outputs(), strict=True):
        assert isinstance(output, FakeTensor)
        if shape != (0,):
            assert isinstance(output.shape[0], torch.SymInt)
            assert tuple(output.shape[1:]) == shape[1:]
            assert not any(isinstance(size, torch.SymInt) for size in output.shape[1:])
    for count in (5, 33):
        check_same(form.of_tokens(count), program, exported.module())


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("form", ONE_TOKEN_FORMS.values(), ids=ONE_TOKEN_FORMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_compile(backend, form):
    form = form.of_tokens(1)
    program, _ = program_of(form)
    compiled = torch.compile(program, fullgraph=True, backend=backend, dynamic=False)
    for _ in range(2):
        check_same(form, program, compiled)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("form", COMPILED_FORMS.values(), ids=COMPILED_FORMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_compile_with_a_dynamic_number_of_tokens(backend, form):
    """One graph for all token counts but 1, on which torch specialises."""
    program, _ = program_of(form.of_tokens(5))
    compiled = torch.compile(program, fullgraph=True, backend=backend, dynamic=True)
    check_same(form.of_tokens(5), program, compiled)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for tokens in (17, 2, 129):
            check_same(form.of_tokens(tokens), program, compiled)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("case", [MLA, SFA], ids=["mla_prolog", "sfa_prolog"])
def test_errors_pass_through_compiled_code(case):
    form = OpForm(case)
    program, arguments = program_of(form)
    arguments[0]["slot_mapping"][2] = -2
    compiled = torch.compile(program, fullgraph=True, backend="aot_eager")
    message = (
        f"{form.op}: argument 'slot_mapping': expected -1 or a slot below .*, got -2 at index 2"
    )
    with pytest.raises(ValueError, match=message):
        compiled(*arguments)


@pytest.mark.usefixtures("fresh_compiler")
def test_errors_pass_through_compiled_code_of_o_proj():
    """A number is checked while the graph is made."""

    def negative(attn_output, weight):
        return torch.ops.ascend_prefetch.o_proj(attn_output, weight, prefetch_bytes=-1)

    compiled = torch.compile(negative, fullgraph=True, backend="eager")
    arguments = OpForm(replace(O_PROJ, up_project=False)).arguments()
    with pytest.raises(Exception, match="argument 'prefetch_bytes': expected 0 or more bytes"):
        compiled(arguments["attn_output"], arguments["o_proj_weight"])


# --- threads ---


@pytest.mark.parametrize("case", [MLA, SFA, O_PROJ], ids=["mla_prolog", "sfa_prolog", "o_proj"])
def test_another_thread_may_change_the_chip(case):
    """A call plans and launches for one chip, whichever was set when it began."""
    form = OpForm(replace(case, tokens=96))
    expected, arguments = form.expected(), form.arguments()
    written = {name: arguments[name].clone() for name in written_arguments(form.op)}
    stop = threading.Event()

    def change():
        while not stop.is_set():
            _lab.set_twin_chip("Ascend910B3")
            _lab.set_twin_chip("Ascend910_9391")

    OPS[form.op](**{**arguments, **written})
    before = _lab.twin_chip()
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(12):
            caches = {name: torch.ones_like(arguments[name]) for name in written}
            results = results_of(form.op, {**arguments, **caches})
            for result, wanted in zip(results, expected, strict=True):
                assert same_bits(result, wanted)
            for name, cache in caches.items():
                assert same_bits(cache, written[name])
    finally:
        stop.set()
        thread.join()
        _lab.set_twin_chip(before)


# --- gradients: forward the ops take parameters, backward they say that they have no derivative ---

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


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("grad", [True, False])
def test_gradients_of_compiled_programs(op, backend, grad):
    """A compiler traces backward along with forward; only the program that runs it raises."""
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
