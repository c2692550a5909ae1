"""mla_prolog as torch sees it: opcheck, Meta, fake tensors, export, torch.compile."""

import threading
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import ascend_prefetch.ops
from ascend_prefetch import _lab
from ascend_prefetch.lab.reference import relative_error
from compiled_prolog import check_compiled
from mla_cases import WEIGHTS, MlaCase, MlaInputs, call_of, finite_call_of, run, same_bits

CASE = MlaCase(tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3, skip=0.2)
TENSORS = [
    *("hidden_states", "qkv_a_weight", "q_a_norm_weight", "q_b_weight", "w_uk"),
    *("kv_a_norm_weight", "cos", "sin", "slot_mapping", "kv_cache", "rope_cache"),
]
QUANT = [
    f"{linear}_{name}"
    for linear in ("qkv_a", "q_b")
    for name in ("dequant_scale", "input_scale", "input_offset", "quant_bias")
]
# Whose dimension 0 counts tokens.
PER_TOKEN = ["hidden_states", "cos", "sin", "slot_mapping"]

OP = torch.ops.ascend_prefetch.mla_prolog.default


@pytest.mark.parametrize(
    ("case", "options"),
    [
        (CASE, {}),
        (replace(CASE, tokens=1, nz=WEIGHTS, dtype=torch.float16), {"prefetch_bytes": 0}),
        (replace(CASE, tokens=17, bias=True, table_dtype=None, nz=("q_b_weight",)), {}),
        (replace(CASE, kv_bias=True), {}),
        (replace(CASE, slot_dtype=torch.int32, cache_gap=16, rope_interleaved=False), {}),
        (CASE, {"prefetch": [torch.zeros(7, 3), torch.zeros(1 << 18)], "prefetch_bytes": 1 << 20}),
        (CASE, {"prefetch": []}),
        (replace(CASE, joint=True), {}),
        (replace(CASE, joint=True, cache_nz=("kv_cache",), block_size=5), {}),
        (replace(CASE, cache_nz=("kv_cache", "rope_cache"), cache_gap=48), {}),
        (replace(CASE, kv_bias=True, kv_cache_scale=0.1, cache_nz=("kv_cache",)), {}),
        (replace(CASE, quantize_q_nope=True, dtype=torch.float16), {}),
        (replace(CASE, q_lora=0, nz=WEIGHTS, kv_cache_scale=0.1, quantize_q_nope=True), {}),
    ],
    ids=str,
)
def test_opcheck(case, options):
    args, kwargs = finite_call_of(MlaInputs(case), **options)
    results = torch.library.opcheck(OP, args, kwargs)
    assert set(results) >= {
        "test_schema",
        "test_autograd_registration",
        "test_faketensor",
        "test_aot_dispatch_dynamic",
    }
    assert set(results.values()) == {"SUCCESS"}


def test_schema():
    schema = OP._schema
    assert [argument.name for argument in schema.arguments if not argument.kwarg_only] == TENSORS
    mutated = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    assert mutated == ["kv_cache", "rope_cache"]
    assert [output.name for output in schema.returns] == ["q_nope", "q_rope", "q_c", "q_nope_scale"]
    defaults = {a.name: a.default_value for a in schema.arguments if a.kwarg_only}
    assert defaults == {
        "q_a_norm_bias": None,
        "kv_a_norm_bias": None,
        "eps": 1e-6,
        "rope_interleaved": True,
        **dict.fromkeys(QUANT),
        "kv_cache_scale": None,
        "quantize_q_nope": False,
        "prefetch": None,
        "prefetch_bytes": None,
        "prefetch_passing_bytes": None,
    }


def test_defaults_and_the_documented_function():
    """Left out, the options have their documented values; ops.mla_prolog is the same op."""
    inputs = MlaInputs(CASE)
    expected = run(inputs, prefetch=None, prefetch_bytes=None).outputs
    args, _ = call_of(inputs)
    for function in (torch.ops.ascend_prefetch.mla_prolog, ascend_prefetch.ops.mla_prolog):
        for output, wanted in zip(function(*args), expected, strict=True):
            assert same_bits(output, wanted)
    other = {"eps": 0.5, "rope_interleaved": False, "q_a_norm_bias": torch.ones_like(args[2])}
    by_function = ascend_prefetch.ops.mla_prolog(*args, **other)
    by_op = torch.ops.ascend_prefetch.mla_prolog(*args, **other)
    for output, wanted, default in zip(by_function, by_op, expected, strict=True):
        assert same_bits(output, wanted)
        assert output.shape == (0,) or not same_bits(output, default)
    inputs = MlaInputs(replace(CASE, kv_cache_scale=0.1, quantize_q_nope=True))
    args, kwargs = call_of(inputs)
    for output, wanted in zip(
        ascend_prefetch.ops.mla_prolog(*args, **kwargs), run(inputs).outputs, strict=True
    ):
        assert same_bits(output, wanted)


# --- without data ---


def check_outputs_without_data(outputs, case, device):
    for output, (shape, dtype) in zip(outputs, case.outputs().values(), strict=True):
        assert tuple(output.shape) == shape
        assert output.dtype == dtype
        assert output.device.type == device
        assert output.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "changes",
    [
        {"bias": True},
        {"bias": True, "nz": WEIGHTS},
        {"kv_bias": True},
        {"joint": True},
        {"joint": True, "cache_nz": ("kv_cache",)},
        {"kv_cache_scale": 0.1, "cache_nz": ("kv_cache", "rope_cache")},
        {"quantize_q_nope": True},
        {"q_lora": 0, "nz": WEIGHTS},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_meta(changes, dtype):
    def to_meta(value):
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    case = replace(CASE, tokens=7, dtype=dtype, **changes)
    args, kwargs = call_of(MlaInputs(case), prefetch=[torch.zeros(9).to("meta")])
    kwargs = {name: to_meta(value) for name, value in kwargs.items()}
    check_outputs_without_data(OP(*map(to_meta, args), **kwargs), case, "meta")


def test_meta_checks_shapes():
    args, kwargs = call_of(MlaInputs(CASE))
    args = [tensor.to("meta") for tensor in args]
    args[6] = args[6][:-1]
    with pytest.raises(RuntimeError, match=r"'cos': expected shape \[5, 64\], got \[4, 64\]$"):
        OP(*args, **kwargs)


def test_fake_tensors():
    args, kwargs = call_of(MlaInputs(CASE))
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(tensor) for tensor in args]
        outputs = OP(*fakes, **kwargs)
    assert all(isinstance(output, FakeTensor) for output in outputs)
    check_outputs_without_data(outputs, CASE, "cpu")


class Prolog(torch.nn.Module):
    """A caller of the op: work before it, and work after it that reads the caches."""

    def forward(self, hidden_states, weights, cos, sin, slot_mapping, kv_cache, rope_cache):
        q_nope, q_rope, q_c, _ = torch.ops.ascend_prefetch.mla_prolog(
            hidden_states * 2,
            *weights[:5],
            cos,
            sin,
            slot_mapping,
            kv_cache,
            rope_cache,
            prefetch=weights[5:],
        )
        scores = q_nope.float() @ kv_cache.flatten(0, 2).float().T
        scores = scores + q_rope.float() @ rope_cache.flatten(0, 2).float().T
        return scores, q_nope, q_rope, q_c


def module_arguments(tokens, **changes):
    case = replace(CASE, tokens=tokens, skip=0.0, block_size=1024, **changes)
    args, _ = finite_call_of(MlaInputs(case))
    return (args[0], [*args[1:6], torch.ones(64, 64)], *args[6:])


def test_export_with_a_dynamic_number_of_tokens():
    """The token count stays a symbol through the op, and the program runs at others."""
    tokens = torch.export.Dim("tokens", min=1, max=8192)
    shapes = {name: {0: tokens} for name in PER_TOKEN}
    shapes |= {"weights": [None] * 6, "kv_cache": None, "rope_cache": None}
    program = torch.export.export(Prolog(), module_arguments(5), dynamic_shapes=shapes)
    (node,) = (node for node in program.graph.nodes if node.target == OP)
    for output in node.meta["val"][:3]:
        assert isinstance(output, FakeTensor)
        assert isinstance(output.shape[0], torch.SymInt)
        assert not any(isinstance(size, torch.SymInt) for size in output.shape[1:])
    for count in (5, 33):
        check_same(Prolog(), program.module(), count)


def check_same(eager, other, tokens, **changes):
    """Bit for bit the same outputs of the op and caches from both, and close scores."""
    first, second = module_arguments(tokens, **changes), module_arguments(tokens, **changes)
    expected, actual = eager(*first), other(*second)
    for output, wanted in zip(actual[1:], expected[1:], strict=True):
        assert same_bits(output, wanted)
    for cache, wanted in zip(second[-2:], first[-2:], strict=True):
        assert same_bits(cache, wanted)
    assert (first[-1] != 0.5).any()  # the op wrote it
    assert relative_error(actual[0], expected[0]) < 1e-5  # a sum in fp32 in another order


# --- torch.compile ---


@pytest.fixture(scope="module")
def inductor_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture
def fresh_compiler(inductor_directory, monkeypatch):
    """No code compiled by another test or in an earlier run."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(inductor_directory))
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compile(backend):
    module = Prolog()
    compiled = torch.compile(module, fullgraph=True, backend=backend, dynamic=False)
    for _ in range(2):
        check_same(module, compiled, 1, nz=("q_b_weight",))


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compile_with_a_dynamic_number_of_tokens(backend):
    """One graph for all token counts but 1, on which torch specialises."""
    module = Prolog()
    compiled = torch.compile(module, fullgraph=True, backend=backend, dynamic=True)
    check_same(module, compiled, 5)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for tokens in (17, 2, 129):
            check_same(module, compiled, tokens)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize(
    "changes",
    [
        {"joint": True, "cache_nz": ("kv_cache",)},
        {"kv_cache_scale": 0.1, "quantize_q_nope": True, "cache_nz": ("rope_cache",)},
        {"q_lora": 0, "joint": True, "nz": WEIGHTS},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_compile_other_forms(changes, backend):
    check_compiled(replace(CASE, **changes), backend)


@pytest.mark.usefixtures("fresh_compiler")
def test_errors_pass_through_compiled_code():
    compiled = torch.compile(Prolog(), fullgraph=True, backend="aot_eager")
    arguments = module_arguments(5)
    arguments[4][2] = -2
    message = "argument 'slot_mapping': expected -1 or a slot below .*, got -2 at index 2"
    with pytest.raises(ValueError, match=message):
        compiled(*arguments)


def test_another_thread_may_change_the_chip():
    """A call plans and launches for one chip, whichever was set when it began."""
    case = replace(CASE, tokens=96)
    inputs = MlaInputs(case)
    expected = run(inputs)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            _lab.set_twin_chip("Ascend910B3")
            _lab.set_twin_chip("Ascend910_9391")

    before = _lab.twin_chip()
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(12):
            run(inputs).assert_same(expected)
    finally:
        stop.set()
        thread.join()
        _lab.set_twin_chip(before)
