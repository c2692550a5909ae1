"""prefetch, an op without results, runs as often as a program calls it, compiled or not."""

import warnings
from functools import partial

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx

from ascend_prefetch import ops
from ascend_prefetch.lab import twin
from mla_cases import MlaCase, MlaInputs, same_bits
from traces import Trace, launches

OP = torch.ops.ascend_prefetch.prefetch.default
JOIN = torch.ops.ascend_prefetch.prefetch_join.default
BACKENDS = ["eager", "aot_eager", "inductor"]
SIZE = 32


def parameters(count=3):
    return [torch.nn.Parameter(torch.randn(SIZE, SIZE)) for _ in range(count)]


# --- as often as the program does ---


def between_products(x, weights, **options):
    x = x @ weights[0]
    OP([weights[1]], **options)
    return x @ weights[1]


def after_a_product(x, weights):
    x = (x @ weights[0]).relu()
    OP([weights[1]], after=x)
    return x @ weights[1]


def of_a_loop(x, weights):
    for layer in range(2):
        OP([weights[layer + 1]], max_bytes=[256])
        x = (x @ weights[layer]).relu()
    return x @ weights[2]


def twice_the_same(x, weights):
    OP([weights[1]], cores=2)
    OP([weights[1]], cores=2)
    x = x @ weights[0]
    OP([weights[1]], cores=2)
    return x


def twice_the_same_after(x, weights):
    x = x @ weights[0]
    OP([weights[1]], after=x)
    OP([weights[1]], after=x)
    return x


def branch(x, weights, taken):
    x = x @ weights[0]
    if taken:
        OP([weights[1]], after=x)
    return x * 2


def nothing_else(x, weights):
    OP([weights[0]], after=x)


def nothing_else_is_needed(x, weights):
    """No result depends on what the prefetch waits for."""
    OP([weights[1]], after=x @ weights[0])
    return x + 1


def in_the_end(x, weights):
    x = x @ weights[0]
    ops.prefetch(weights[1:], after=x)
    return x


PROGRAMS = {
    between_products: 1,
    after_a_product: 1,
    of_a_loop: 2,
    twice_the_same: 3,
    twice_the_same_after: 2,
    partial(branch, taken=True): 1,
    partial(branch, taken=False): 0,
    nothing_else: 1,
    nothing_else_is_needed: 1,
    in_the_end: 1,
}


def name_of(program):
    if isinstance(program, partial):
        return f"{program.func.__name__}-{'' if program.keywords['taken'] else 'not-'}taken"
    return program.__name__


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("backend", [None, *BACKENDS])
@pytest.mark.parametrize(("program", "count"), PROGRAMS.items(), ids=map(name_of, PROGRAMS))
def test_calls(program, count, backend, grad):
    weights, x = parameters(), torch.randn(4, SIZE)
    bits = [weight.detach().clone() for weight in weights]
    with grad():
        expected = program(x, weights)
        run = program
        if backend is not None:
            run = torch.compile(program, fullgraph=True, backend=backend)
        for _ in range(3):
            result = []
            assert launches(lambda: result.append(run(x, weights))) == ["prefetch"] * count  # noqa: B023
            if expected is not None:
                torch.testing.assert_close(result[0], expected)
    for weight, before in zip(weights, bits, strict=True):
        assert weight._version == 0
        assert same_bits(weight.detach(), before)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", [None, *BACKENDS])
@pytest.mark.parametrize("program", [between_products, after_a_product, of_a_loop, twice_the_same])
def test_backward(program, backend):
    """The forward pass prefetches, the backward pass does not; gradients are those without it."""
    weights, x = parameters(), torch.randn(4, SIZE, requires_grad=True)
    run = program
    if backend is not None:
        run = torch.compile(program, fullgraph=True, backend=backend)
    expected = torch.autograd.grad(program(x, weights).sum(), [x, weights[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = []
        assert launches(lambda: out.append(run(x, weights))) == ["prefetch"] * PROGRAMS[program]
    actual = []
    assert launches(lambda: actual.extend(torch.autograd.grad(out[0].sum(), [x, weights[0]]))) == []
    torch.testing.assert_close(actual, list(expected))


def test_no_gradient_reaches_the_op():
    weight, after = parameters(1)[0], torch.ones(3, requires_grad=True) * 2
    OP([weight], after=after)
    assert after._version == weight._version == 0
    after.sum().backward()
    assert weight.grad is None


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", BACKENDS)
def test_dynamic_shapes(backend):
    """One graph for all batches; the shape of `after` is a symbol in it."""
    weights = parameters()
    run = torch.compile(after_a_product, fullgraph=True, backend=backend)

    def call(batch):
        x = torch.randn(batch, SIZE)
        torch._dynamo.mark_dynamic(x, 0)
        result = []
        with torch.no_grad():
            assert launches(lambda: result.append(run(x, weights))) == ["prefetch"]
            torch.testing.assert_close(result[0], after_a_product(x, weights))

    call(5)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in (2, 17, 100):
            call(batch)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_dynamic_shape(backend):
    def program(weight, x):
        OP([weight], offsets=[4], after=x)
        return x + 1

    run = torch.compile(program, fullgraph=True, backend=backend, dynamic=True)
    assert launches(run, torch.ones(6, 7), torch.ones(3)) == ["prefetch"]
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert launches(run, torch.ones(60, 70), torch.ones(5)) == ["prefetch"]


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_that_change(backend):
    """Sizes and cores are read when the graph is compiled: another value is another graph."""

    def program(x, weight, size):
        OP([weight], max_bytes=[size], cores=size)
        return x + 1

    run = torch.compile(program, fullgraph=True, backend=backend)
    for size in (1, 7, 48):
        assert launches(run, torch.ones(3), torch.ones(SIZE), size) == ["prefetch"]


# --- graphs ---


def test_export():
    class Program(torch.nn.Module):
        def forward(self, x, weights):
            return twice_the_same(x, weights)

    arguments = torch.randn(4, SIZE), [weight.detach() for weight in parameters()]
    program = torch.export.export(Program(), arguments)
    assert launches(program.module(), *arguments) == ["prefetch"] * 3
    assert launches(program.run_decompositions().module(), *arguments) == ["prefetch"] * 3


@pytest.mark.parametrize("trace", [make_fx, partial(make_fx, tracing_mode="symbolic")])
def test_passes_that_drop_what_is_unused(trace):
    """Graphs without tokens keep the call, too."""
    arguments = torch.randn(4, SIZE), [weight.detach() for weight in parameters()]
    module = trace(after_a_product)(*arguments)
    module.graph.eliminate_dead_code()
    module.recompile()
    assert [node.target for node in module.graph.nodes].count(OP) == 1
    assert launches(module, *arguments) == ["prefetch"]


def fused_ops(arguments, weights, attn_output):
    """Prefetches between two fused ops, each behind the result that opens its window."""
    q_nope, _, q_c, _ = ops.mla_prolog(**arguments)
    ops.prefetch([weights[0]], after=q_nope)
    out = ops.o_proj(attn_output + q_c.sum(), weights[0])
    ops.prefetch([weights[1]], after=out)
    return out @ weights[1], q_nope.float() * 2


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_order_among_the_fused_ops(backend):
    case = MlaCase(tokens=2, hidden=64, q_lora=64, kv_lora=64, nope=32, heads=2)
    inputs = MlaInputs(case)
    arguments = dict(inputs.arguments)
    for name, cache in zip(["kv_cache", "rope_cache"], inputs.poisoned_caches(), strict=True):
        arguments[name] = cache.tensor
    weights = [torch.ones(64, 128, dtype=case.dtype), torch.ones(64, 64, dtype=case.dtype)]
    attn_output = torch.ones(2, 128, dtype=case.dtype)
    run = fused_ops
    if backend is not None:
        run = torch.compile(fused_ops, fullgraph=True, backend=backend)
    expected = ["mla_prolog_bf16", "prefetch", "o_proj_bf16", "prefetch"]
    for _ in range(2):
        assert launches(run, arguments, weights, attn_output) == expected


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", BACKENDS)
def test_order_without_after(backend):
    """Prefetches keep their order among themselves, whatever they depend on."""
    weights = [torch.ones(64) for _ in range(4)]

    def program(x):
        for cores, weight in enumerate(weights, 1):
            OP([weight], cores=cores)
            x = x.sin() + 1
        return x

    with twin.tracing() as traces:
        torch.compile(program, fullgraph=True, backend=backend)(torch.ones(8))
    assert [Trace(trace).core_count for trace in traces] == [1, 2, 3, 4]


# --- the copy engine ---


def joined(x, weights):
    """SDMA prefetches beside products, joined in between and in the end."""
    OP([weights[0]], engine="sdma")
    x = x @ weights[0]
    JOIN()
    OP([weights[1]], after=x, engine="sdma")
    OP([weights[2]], after=x, cores=2)
    JOIN()
    return x @ weights[1]


def calls_in(graph):
    """The effects of a graph in their order, below their tokens where it has them."""
    calls = []
    for node in graph.nodes:
        if node.op == "call_function":
            calls += [op for op in (node.target, *node.args[:2]) if op in (OP, JOIN)]
    return calls


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("backend", [None, "inductor"])
def test_copy_engine(backend, grad):
    """On CPU it loads nothing; the result is that of the program without it."""
    weights, x = parameters(), torch.randn(4, SIZE)
    run = joined if backend is None else torch.compile(joined, fullgraph=True, backend=backend)
    with grad():
        result = []
        assert launches(lambda: result.append(run(x, weights))) == ["prefetch"]
        torch.testing.assert_close(result[0], x @ weights[0] @ weights[1])


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad])
def test_joins_keep_their_place(grad):
    """Behind the prefetches before them and before those behind them, none dropped or merged."""
    seen = []

    def compiler(module, _inputs):
        module.graph.eliminate_dead_code()
        seen.append(calls_in(module.graph))
        return make_boxed_func(module.forward)

    weights, x = parameters(), torch.randn(4, SIZE)
    with grad():
        torch.compile(joined, fullgraph=True, backend=aot_autograd(fw_compiler=compiler))(
            x, weights
        )
    assert seen[0] == [OP, JOIN, OP, OP, JOIN]


def test_joins_in_other_graphs():
    arguments = torch.randn(4, SIZE), [weight.detach() for weight in parameters()]

    class Program(torch.nn.Module):
        def forward(self, x, weights):
            return joined(x, weights)

    expected = [OP, JOIN, OP, OP, JOIN]
    assert calls_in(torch.export.export(Program(), arguments).graph) == expected
    module = make_fx(joined)(*arguments)
    module.graph.eliminate_dead_code()
    assert calls_in(module.graph) == expected
