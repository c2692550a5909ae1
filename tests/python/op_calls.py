"""A good call of every op with every tensor argument that the op has, for tests of all of them."""

from __future__ import annotations

from typing import Any

import torch

from mla_cases import SEED, MlaInputs, cache_arguments
from o_proj_cases import OProjCase, OProjInputs
from sfa_cases import SfaCase, SfaInputs
from w8a8_cases import STATIC, quantise_layers

OPS = {
    name: getattr(torch.ops.ascend_prefetch, name)
    for name in ("mla_prolog", "sfa_prolog", "o_proj", "prefetch")
}
DIFFERENTIABLE = [name for name in OPS if name != "prefetch"]

_PROLOG = SfaCase(
    tokens=5,
    hidden=64,
    q_lora=128,
    kv_lora=192,
    nope=64,
    heads=3,
    bias=True,
    kv_bias=True,
    block_size=4,
    kv_cache_scale=0.1,
)
_O_PROJ = OProjCase(tokens=5, hidden=128, heads=3, kv_lora=48, value=64, bias="activation")
_QUANTISED = ("qkv_a_weight", "q_b_weight", "indexer_wq_b")


def good_call(name: str) -> dict[str, Any]:
    """Arguments by name, with memory of their own; int8 layers, so that every scale is there."""
    if name == "prefetch":
        weights = [torch.ones(64, 8), torch.ones(100, dtype=torch.int8)]
        return {"weights": weights, "after": torch.ones(2, 3)}
    prefetch = {"prefetch": [torch.ones(64, 8), torch.ones(100)], "prefetch_bytes": 1 << 20}
    if name == "o_proj":
        case = OProjCase(**{**vars(_O_PROJ), "quant": STATIC})
        return {**OProjInputs(case).arguments, **prefetch}
    inputs: MlaInputs = SfaInputs(_PROLOG)
    names = _QUANTISED
    if name == "mla_prolog":
        inputs = MlaInputs(_PROLOG.without_indexer())
        names = _QUANTISED[:2]
    quantise_layers(inputs, dict.fromkeys(names, STATIC), SEED)
    return {**inputs.arguments, **cache_arguments(inputs), **prefetch}


def tensor_arguments(name: str, lists: bool = True) -> list[str]:
    """Names of the op's arguments that are tensors, or lists of them."""
    types = ("Tensor", "Optional[Tensor]", *(("List[Tensor]", "Optional[List[Tensor]]") * lists))
    return [a.name for a in OPS[name].default._schema.arguments if str(a.type) in types]


def written_arguments(name: str) -> list[str]:
    """Names of those that the op writes in place."""
    arguments = OPS[name].default._schema.arguments
    return [a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write]


def required_arguments(name: str) -> list[str]:
    """Names of those that may not be None."""
    return [a.name for a in OPS[name].default._schema.arguments if str(a.type) == "Tensor"]


def each_argument(names: Any, ops: Any = tuple(OPS)) -> list[tuple[str, str]]:
    """(op, argument) of every argument that `names` finds."""
    return [(op, argument) for op in ops for argument in names(op)]


def changed(arguments: dict[str, Any], name: str, change: Any) -> tuple[dict[str, Any], str]:
    """The call with one tensor changed, the last one where the argument is a list; and its name."""
    value = arguments[name]
    if isinstance(value, torch.Tensor):
        return {**arguments, name: change(value)}, name
    last = len(value) - 1
    return {**arguments, name: [*value[:last], change(value[last])]}, f"{name}[{last}]"
