"""sfa_prolog as torch sees it: opcheck, Meta, fake tensors, export, torch.compile."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import ascend_prefetch.ops
from compiled_prolog import PER_TOKEN, check_compiled, program_of
from mla_cases import WEIGHTS, call_of, finite_call_of, run, same_bits
from sfa_cases import INDEXER_WEIGHTS, SfaCase, SfaInputs

CASE = SfaCase(tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3, skip=0.2)
ALL = (*WEIGHTS, *INDEXER_WEIGHTS)
FORMS = [
    {},
    {"tokens": 1, "nz": ALL, "dtype": torch.float16},
    {"tokens": 17, "fused": True, "nz": ("indexer_wk",), "bias": True, "table_dtype": None},
    {"indexer_rope_interleaved": True, "indexer_norm_dtype": None, "indexer_eps": 1e-5},
    {"joint": True, "cache_nz": ("kv_cache", "indexer_cache"), "cache_gap": 48},
    {"kv_cache_scale": 0.1, "quantize_q_nope": True, "slot_dtype": torch.int32, "kv_bias": True},
    {"indexer_heads": 0},
    {"indexer_heads": 0, "joint": True, "q_lora": 0, "kv_bias": True},
]
TENSORS = [
    *("hidden_states", "qkv_a_weight", "q_a_norm_weight", "q_b_weight", "w_uk"),
    *("kv_a_norm_weight", "cos", "sin", "slot_mapping", "kv_cache", "rope_cache"),
    *("indexer_cache", "indexer_wq_b", "indexer_wk", "indexer_k_norm_weight"),
    *("indexer_k_norm_bias", "indexer_weights_proj"),
]

OP = torch.ops.ascend_prefetch.sfa_prolog.default


def form_id(changes):
    return "-".join(changes) or "plain"


def to_meta(value):
    if isinstance(value, list):
        return [to_meta(item) for item in value]
    return value.to("meta") if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("changes", FORMS, ids=form_id)
def test_opcheck(changes):
    prefetch = {"prefetch": [torch.zeros(7, 3)], "prefetch_bytes": 1 << 20} if changes else {}
    args, kwargs = finite_call_of(SfaInputs(replace(CASE, **changes)), **prefetch)
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
    assert mutated == ["kv_cache", "rope_cache", "indexer_cache"]
    results = ["q_nope", "q_rope", "q_c", "q_nope_scale", "indexer_q", "indexer_weights"]
    assert [output.name for output in schema.returns] == results
    options = {a.name: a.default_value for a in schema.arguments if a.kwarg_only}
    mla = torch.ops.ascend_prefetch.mla_prolog.default._schema
    of_mla = {a.name: a.default_value for a in mla.arguments if a.kwarg_only}
    scales = ("dequant_scale", "input_scale", "input_offset", "quant_bias")
    assert options == {
        "indexer_rope_interleaved": False,
        "indexer_eps": 1e-6,
        **{f"indexer_wq_b_{name}": None for name in scales},
        **of_mla,
    }
    positional = [a.default_value for a in schema.arguments if a.name in TENSORS[11:]]
    assert positional == [None] * 6


@pytest.mark.parametrize("changes", FORMS, ids=form_id)
def test_the_documented_function(changes):
    """ops.sfa_prolog is the same op, argument for argument."""
    inputs = SfaInputs(replace(CASE, **changes))
    expected = run(inputs).outputs
    args, kwargs = call_of(inputs)
    for output, wanted in zip(
        ascend_prefetch.ops.sfa_prolog(*args, **kwargs), expected, strict=True
    ):
        assert same_bits(output, wanted)


def test_defaults():
    """Left out, the options have their documented values, and each of them matters."""
    inputs = SfaInputs(CASE)
    args, _ = call_of(inputs)
    expected = run(inputs).outputs
    for output, wanted in zip(ascend_prefetch.ops.sfa_prolog(*args), expected, strict=True):
        assert same_bits(output, wanted)
    written = args[TENSORS.index("indexer_cache")].clone()
    for option in ({"indexer_rope_interleaved": True}, {"indexer_eps": 0.5}):
        args, _ = call_of(inputs)
        ascend_prefetch.ops.sfa_prolog(*args, **option)
        assert not same_bits(args[TENSORS.index("indexer_cache")], written)


# --- without data ---


def check_outputs_without_data(outputs, case, device):
    for output, (shape, dtype) in zip(outputs, case.outputs().values(), strict=True):
        assert tuple(output.shape) == shape
        assert output.dtype == dtype
        assert output.device.type == device
        assert output.is_contiguous()


@pytest.mark.parametrize("changes", FORMS, ids=form_id)
def test_meta(changes):
    case = replace(CASE, **changes)
    args, kwargs = call_of(SfaInputs(case), prefetch=[torch.zeros(9)])
    kwargs = {name: to_meta(value) for name, value in kwargs.items()}
    check_outputs_without_data(OP(*map(to_meta, args), **kwargs), case, "meta")


@pytest.mark.parametrize("changes", FORMS, ids=form_id)
def test_fake_tensors(changes):
    case = replace(CASE, **changes)
    args, kwargs = call_of(SfaInputs(case))
    with FakeTensorMode() as mode:

        def fake(value):
            return mode.from_tensor(value) if isinstance(value, torch.Tensor) else value

        kwargs = {name: fake(value) for name, value in kwargs.items()}
        outputs = OP(*map(fake, args), **kwargs)
    assert all(isinstance(output, FakeTensor) for output in outputs)
    check_outputs_without_data(outputs, case, "cpu")


def test_export_with_a_dynamic_number_of_tokens():
    """The token count stays a symbol through the op, and the program runs at others."""

    def inputs_of(tokens):
        return SfaInputs(replace(CASE, tokens=tokens, skip=0.0, block_size=1000))

    program, arguments = program_of(inputs_of(5))
    tokens = torch.export.Dim("tokens", min=1, max=8192)
    fixed = ({name: None for name in part} for part in arguments[1:])
    shapes = ({name: {0: tokens} for name in PER_TOKEN}, *fixed)
    exported = torch.export.export(program, arguments, dynamic_shapes=shapes)
    (node,) = (node for node in exported.graph.nodes if node.target == OP)
    for output in node.meta["val"]:
        assert isinstance(output, FakeTensor)
        if output.shape != (0,):
            assert isinstance(output.shape[0], torch.SymInt)
            assert not any(isinstance(size, torch.SymInt) for size in output.shape[1:])
    for count in (5, 33):
        expected = run(inputs_of(count))
        _, arguments = program_of(inputs_of(count))
        arguments[0]["hidden_states"].div_(2)  # the program doubles it
        outputs, _ = exported.module()(*arguments)
        for output, wanted in zip(outputs, expected.outputs, strict=True):
            assert same_bits(output, wanted)


# --- torch.compile ---


@pytest.fixture
def fresh_compiler(tmp_path, monkeypatch):
    """No code compiled by another test or in an earlier run."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"joint": True, "fused": True, "cache_nz": ("kv_cache", "indexer_cache"), "nz": ALL},
        {"kv_cache_scale": 0.1, "quantize_q_nope": True, "indexer_heads": 0},
    ],
    ids=form_id,
)
def test_compile_with_a_dynamic_number_of_tokens(changes, backend):
    check_compiled(replace(CASE, **changes), backend, SfaInputs)


@pytest.mark.usefixtures("fresh_compiler")
def test_errors_pass_through_compiled_code():
    program, arguments = program_of(SfaInputs(CASE))
    arguments[0]["slot_mapping"][2] = -2
    compiled = torch.compile(program, fullgraph=True, backend="aot_eager")
    message = "sfa_prolog: argument 'slot_mapping': expected -1 or a slot below .*, got -2 at index"
    with pytest.raises(ValueError, match=message):
        compiled(*arguments)
