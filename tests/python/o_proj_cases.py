"""Inputs, runs and checks of torch.ops.ascend_prefetch.o_proj that its tests share.

Inputs are random anew in every test run: see mla_cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import torch

from ascend_prefetch.lab import reference
from ascend_prefetch.linear import W8A8Linear, linear_to_nz, quant_arguments, stored_weight
from ascend_prefetch.models import MODELS, get_model
from ascend_prefetch.packing import nd_to_nz
from mla_cases import BOUNDS, ROW_FACTOR, SEED, one_thread, poisoned_memory, same_bits
from w8a8_cases import W8A8Case, random_w8a8

WEIGHTS = ("o_proj_weight", "w_uv")
WEIGHT_SUBSETS = [subset for size in range(3) for subset in combinations(WEIGHTS, size)]
# What the norm-wise error is taken over, in several runs if need be: with fewer elements it
# scatters beyond the bound although every element is rounded as it should.
FEWEST_ELEMENTS = 512


@dataclass(frozen=True)
class OProjCase:
    """One call of the op: sizes, formats and options. Sizes count elements."""

    tokens: int
    hidden: int = 512
    heads: int = 3
    kv_lora: int = 128
    value: int = 64
    dtype: torch.dtype = torch.bfloat16
    up_project: bool = True  # with w_uv
    heads_outermost: bool = False  # attn_output is [heads, tokens, kv_lora] in memory
    nz: tuple[str, ...] = ()  # weights in FRACTAL_NZ
    bias: str = "none"  # or "activation", "float32": its dtype
    quant: W8A8Case | None = None

    @property
    def name(self) -> str:
        up = f"{self.heads}x{self.kv_lora}x{self.value}"
        return f"{self.tokens}-{up if self.up_project else self.columns}-{self.hidden}"

    @property
    def columns(self) -> int:
        """Elements per token between the two products."""
        return self.heads * self.value


def model_case(name: str, tp: int, tokens: int, **options) -> OProjCase:
    """The case of one tensor-parallel rank of a model."""
    dims = get_model(name)
    return OProjCase(
        tokens,
        hidden=dims.hidden_size,
        heads=dims.heads_per_rank(tp),
        kv_lora=dims.kv_lora_rank,
        value=dims.v_head_dim,
        **options,
    )


def model_ranks(degrees: tuple[int, ...]) -> list[tuple[str, int]]:
    """(model, tensor-parallel degree) wherever the heads can be split so, each shape once."""
    ranks = [(name, tp) for name in MODELS for tp in degrees if not MODELS[name].num_heads % tp]
    return list({model_case(*rank, tokens=1): rank for rank in ranks}.values())


class OProjInputs:
    """The tensors of a case.

    Attributes:
        nd: arguments as the reference takes them: row-major weights, or a W8A8Linear.
        arguments: keyword arguments of the op.
    """

    def __init__(self, case: OProjCase, seed: int = SEED) -> None:
        print(f"ASCEND_PREFETCH_SEED={seed} {case}")  # pytest shows it if the test fails
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, std: float = 1.0, dtype: torch.dtype = case.dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype).normal_(0.0, std, generator=generator)

        shape = (case.heads, case.kv_lora) if case.up_project else (case.columns,)
        self.case = case
        self.nd = {"attn_output": normal(case.tokens, *shape)}
        if case.heads_outermost and case.up_project:
            by_head = self.nd["attn_output"].transpose(0, 1).contiguous()
            self.nd["attn_output"] = by_head.transpose(0, 1)
        if case.quant is None:
            weight = normal(case.hidden, case.columns, std=case.columns**-0.5)
        else:
            weight = random_w8a8(generator, case.hidden, case.columns, case.quant)
        self.nd["o_proj_weight"] = weight
        if case.up_project:
            self.nd["w_uv"] = normal(case.heads, case.kv_lora, case.value, std=case.kv_lora**-0.5)
        if case.bias != "none":
            dtype = torch.float32 if case.bias == "float32" else case.dtype
            self.nd["bias"] = normal(case.hidden, dtype=dtype)
        self.pack()

    def pack(self) -> None:
        """Makes `arguments` out of `nd`."""
        layer = self.nd["o_proj_weight"]
        packed = linear_to_nz(layer) if "o_proj_weight" in self.case.nz else layer
        self.arguments = {
            **self.nd,
            "o_proj_weight": stored_weight(packed),
            **quant_arguments(layer),
        }
        if self.case.up_project and "w_uv" in self.case.nz:
            self.arguments["w_uv"] = nd_to_nz(self.nd["w_uv"])


@one_thread()
def run(inputs: OProjInputs, **prefetch) -> torch.Tensor:
    """Runs the op with its result and workspace full of NaN; the inputs may not change."""
    before = {name: tensor.clone() for name, tensor in inputs.arguments.items()}
    with poisoned_memory():
        output = torch.ops.ascend_prefetch.o_proj(**inputs.arguments, **prefetch)
    for name, tensor in before.items():
        assert same_bits(inputs.arguments[name], tensor), f"{name} changed"
    assert output.shape == (inputs.case.tokens, inputs.case.hidden)
    assert output.dtype == inputs.case.dtype
    assert output.is_contiguous()
    return output


def expected_output(inputs: OProjInputs) -> torch.Tensor:
    """The float64 result that a run is held against."""
    return reference.o_proj(**inputs.nd)


def dequantised_output(inputs: OProjInputs) -> torch.Tensor:
    """The float64 result of a W8A8 layer whose up-projected values are attn_output's elements."""
    layer = inputs.nd["o_proj_weight"]
    assert isinstance(layer, W8A8Linear)
    expected = reference.w8a8_linear(inputs.nd["attn_output"].flatten(1), layer)
    return expected + inputs.nd["bias"].double() if "bias" in inputs.nd else expected


@one_thread()
def check_values(case: OProjCase, seed: int = SEED, **prefetch) -> None:
    """Runs the case on random inputs and holds the result against the float64 reference."""
    actual, expected = [], []
    for repeat in range(math.ceil(FEWEST_ELEMENTS / (case.tokens * case.hidden))):
        inputs = OProjInputs(case, seed + repeat)
        actual.append(run(inputs, **prefetch))
        expected.append(expected_output(inputs))
    check_output(torch.cat(actual), torch.cat(expected))


def check_output(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Norm-wise error of the whole output and of each of its rows."""
    bound = BOUNDS[actual.dtype]
    error = reference.relative_error(actual, expected)
    assert error <= bound, f"relative error {error:.2e}, allowed {bound:.0e}"
    norms = torch.linalg.vector_norm(expected, dim=-1)
    worst = (torch.linalg.vector_norm(actual.double() - expected, dim=-1) / norms).max().item()
    assert worst <= ROW_FACTOR * bound, f"a row has relative error {worst:.2e}"
