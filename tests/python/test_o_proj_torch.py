"""o_proj as torch sees it: opcheck, Meta, fake tensors, export, torch.compile."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import ascend_prefetch.ops
from mla_cases import same_bits
from o_proj_cases import WEIGHTS, OProjCase, OProjInputs, run
from w8a8_cases import DYNAMIC, STATIC

CASE = OProjCase(tokens=5, hidden=128, heads=3, kv_lora=48, value=64)
OP = torch.ops.ascend_prefetch.o_proj.default


@pytest.mark.parametrize(
    ("case", "options"),
    [
        (CASE, {}),
        (replace(CASE, heads_outermost=True), {}),
        (replace(CASE, tokens=1, up_project=False, dtype=torch.float16), {"prefetch_bytes": 0}),
        (replace(CASE, tokens=17, bias="float32", nz=WEIGHTS), {}),
        (replace(CASE, bias="activation", nz=("o_proj_weight",)), {"prefetch": []}),
        (replace(CASE, quant=STATIC), {"prefetch": [torch.zeros(7, 3), torch.zeros(1 << 18)]}),
        (replace(CASE, quant=DYNAMIC, nz=WEIGHTS, up_project=False), {"prefetch_bytes": 1 << 20}),
    ],
)
def test_opcheck(case, options):
    arguments = {**OProjInputs(case).arguments, **options}
    args = (arguments.pop("attn_output"), arguments.pop("o_proj_weight"))
    results = torch.library.opcheck(OP, args, arguments)
    assert set(results) >= {
        "test_schema",
        "test_autograd_registration",
        "test_faketensor",
        "test_aot_dispatch_dynamic",
    }
    assert set(results.values()) == {"SUCCESS"}


def test_schema():
    schema = OP._schema
    positional = [argument.name for argument in schema.arguments if not argument.kwarg_only]
    assert positional == ["attn_output", "o_proj_weight"]
    assert not any(argument.alias_info for argument in schema.arguments)
    assert len(schema.returns) == 1
    defaults = {a.name: a.default_value for a in schema.arguments if a.kwarg_only}
    names = ["w_uv", "bias", "dequant_scale", "input_scale", "input_offset", "quant_bias"]
    assert defaults == dict.fromkeys(
        [*names, "prefetch", "prefetch_bytes", "prefetch_passing_bytes"]
    )


@pytest.mark.parametrize("quant", [None, STATIC])
def test_the_documented_function(quant):
    inputs = OProjInputs(replace(CASE, quant=quant, bias="float32"))
    output = ascend_prefetch.ops.o_proj(
        **inputs.arguments, prefetch=[torch.zeros(9)], prefetch_bytes=100
    )
    assert same_bits(output, run(inputs))


# --- without data ---


@pytest.mark.parametrize("quant", [None, STATIC])
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_meta(dtype, nz, quant):
    case = replace(CASE, tokens=7, nz=nz, dtype=dtype, bias="float32", quant=quant)
    arguments = {name: t.to("meta") for name, t in OProjInputs(case).arguments.items()}
    output = OP(**arguments, prefetch=[torch.zeros(9, device="meta")])
    assert output.shape == (7, 128)
    assert (output.dtype, output.device.type) == (dtype, "meta")
    assert output.is_contiguous()


def test_meta_checks_shapes():
    arguments = {name: t.to("meta") for name, t in OProjInputs(CASE).arguments.items()}
    arguments["w_uv"] = arguments["w_uv"][:-1]
    with pytest.raises(RuntimeError, match=r"'w_uv': expected shape \[3, 48, 64\], got \[2, 48"):
        OP(**arguments)


def test_fake_tensors():
    with FakeTensorMode() as mode:
        fakes = {k: mode.from_tensor(t) for k, t in OProjInputs(CASE).arguments.items()}
        output = OP(**fakes)
    assert isinstance(output, FakeTensor)
    assert (tuple(output.shape), output.dtype) == ((5, 128), torch.bfloat16)


class Projection(torch.nn.Module):
    """A caller of the op: work before it and after it."""

    def forward(self, attn_output, weights):
        output = torch.ops.ascend_prefetch.o_proj(
            attn_output * 2, **weights, prefetch=[weights["o_proj_weight"].new_zeros(64, 64)]
        )
        return output * 2, output


def module_arguments(tokens, **changes):
    arguments = OProjInputs(replace(CASE, tokens=tokens, **changes)).arguments
    return arguments.pop("attn_output"), arguments


def check_same(module, other, tokens, **changes):
    """Bit for bit the same from both; doubling is exact."""
    arguments = module_arguments(tokens, **changes)
    for output, wanted in zip(other(*arguments), module(*arguments), strict=True):
        assert same_bits(output, wanted)


def test_export_with_a_dynamic_number_of_tokens():
    """The token count stays a symbol through the op, and the program runs at others."""
    arguments = module_arguments(5)
    shapes = {
        "attn_output": {0: torch.export.Dim("tokens", min=1, max=8192)},
        "weights": dict.fromkeys(arguments[1]),
    }
    program = torch.export.export(Projection(), arguments, dynamic_shapes=shapes)
    (node,) = (node for node in program.graph.nodes if node.target == OP)
    assert isinstance(node.meta["val"].shape[0], torch.SymInt)
    assert node.meta["val"].shape[1] == 128
    for count in (5, 33):
        check_same(Projection(), program.module(), count)


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
@pytest.mark.parametrize("quant", [None, DYNAMIC], ids=["bf16", "w8a8"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compile(backend, quant):
    module = Projection()
    compiled = torch.compile(module, fullgraph=True, backend=backend, dynamic=False)
    for _ in range(2):
        check_same(module, compiled, 1, nz=("o_proj_weight",), bias="float32", quant=quant)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("quant", [None, STATIC], ids=["bf16", "w8a8"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compile_with_a_dynamic_number_of_tokens(backend, quant):
    """One graph for all token counts but 1, on which torch specialises."""
    module = Projection()
    compiled = torch.compile(module, fullgraph=True, backend=backend, dynamic=True)
    check_same(module, compiled, 5, quant=quant)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for tokens in (17, 2, 129):
            check_same(module, compiled, tokens, quant=quant)


@pytest.mark.usefixtures("fresh_compiler")
def test_errors_pass_through_compiled_code():
    def negative(attn_output, weight):
        return torch.ops.ascend_prefetch.o_proj(attn_output, weight, prefetch_bytes=-1)

    compiled = torch.compile(negative, fullgraph=True, backend="eager")
    arguments = OProjInputs(replace(CASE, up_project=False)).arguments
    with pytest.raises(Exception, match="argument 'prefetch_bytes': expected 0 or more bytes"):
        compiled(arguments["attn_output"], arguments["o_proj_weight"])
