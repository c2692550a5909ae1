"""Forms of every op's call, small ones, and a program around each: what torch's tools are given.

A form is a case of mla_cases, sfa_cases or o_proj_cases with the options that go beside it, or the
arguments of a prefetch. test_torch_integration.py holds every tool against every form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

import mla_cases
import o_proj_cases
from mla_cases import MlaCase, MlaInputs, cache_arguments
from o_proj_cases import OProjCase, OProjInputs
from op_calls import OPS
from sfa_cases import INDEXER_WEIGHTS, SfaCase, SfaInputs
from w8a8_cases import DYNAMIC, STATIC

_SIZES = {"tokens": 5, "hidden": 64, "q_lora": 128, "kv_lora": 192, "nope": 32, "heads": 3}
MLA = MlaCase(**_SIZES, skip=0.2)
SFA = SfaCase(**_SIZES, skip=0.2)
O_PROJ = OProjCase(tokens=5, hidden=128, heads=3, kv_lora=48, value=64)

# Arguments whose dimension 0 counts tokens.
PER_TOKEN = ("hidden_states", "cos", "sin", "slot_mapping", "attn_output")
ACTIVATIONS = {
    "mla_prolog": "hidden_states",
    "sfa_prolog": "hidden_states",
    "o_proj": "attn_output",
}


@dataclass(frozen=True)
class OpForm:
    """A call of mla_prolog, sfa_prolog or o_proj.

    Attributes:
        case: sizes, formats and options.
        options: makes what is prefetched beside it; another list for every call.
    """

    case: MlaCase | OProjCase
    options: Callable[[], dict[str, Any]] = field(default=dict, compare=False)

    @property
    def op(self) -> str:
        if isinstance(self.case, OProjCase):
            return "o_proj"
        return "sfa_prolog" if isinstance(self.case, SfaCase) else "mla_prolog"

    def inputs(self) -> MlaInputs | OProjInputs:
        if isinstance(self.case, OProjCase):
            return OProjInputs(self.case)
        return SfaInputs(self.case) if isinstance(self.case, SfaCase) else MlaInputs(self.case)

    def arguments(self) -> dict[str, Any]:
        """All arguments by name; caches are new and hold ones, for comparisons by value."""
        inputs = self.inputs()
        arguments = {**inputs.arguments, **self.options()}
        if isinstance(inputs, MlaInputs):
            caches = cache_arguments(inputs)
            arguments |= {name: cache.fill_(1) for name, cache in caches.items()}
        return arguments

    def expected(self) -> tuple[torch.Tensor, ...]:
        """The results of the op, of a call in which nothing but caches may change."""
        inputs = self.inputs()
        if isinstance(inputs, OProjInputs):
            return (o_proj_cases.run(inputs, **self.options()),)
        return mla_cases.run(inputs, **self.options()).outputs

    def outputs(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of every result."""
        if isinstance(self.case, OProjCase):
            return [((self.case.tokens, self.case.hidden), self.case.dtype)]
        return list(self.case.outputs().values())

    def changed(self, **changes: Any) -> OpForm:
        """The same form of another case."""
        return OpForm(replace(self.case, **changes), self.options)

    def of_tokens(self, tokens: int) -> OpForm:
        """A form for `tokens` tokens that all have a slot, in caches of the same size for all."""
        if isinstance(self.case, OProjCase):
            return self.changed(tokens=tokens)
        return self.changed(tokens=tokens, skip=0.0, block_size=1000)


def split_call(op: str, arguments: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Positional and keyword arguments, as the schema has them."""
    arguments = dict(arguments)
    names = [a.name for a in OPS[op].default._schema.arguments if not a.kwarg_only]
    return tuple(arguments.pop(name, None) for name in names), arguments


def results_of(op: str, arguments: dict[str, Any]) -> list[torch.Tensor]:
    """The results of a call, a list for an op with one result too."""
    results = OPS[op](**arguments)
    return list(results) if isinstance(results, tuple) else [results]


def _forms(case: MlaCase | OProjCase, options: Any, **rows: dict[str, Any]) -> dict[str, OpForm]:
    return {
        name: OpForm(replace(case, **changes), options.get(name, dict))
        for name, changes in rows.items()
    }


def _warmed(*shapes: tuple[int, ...], **options: Any) -> dict[str, Any]:
    return {"prefetch": [torch.zeros(shape) for shape in shapes], **options}


_MLA_NZ, _SFA_NZ = mla_cases.WEIGHTS, (*mla_cases.WEIGHTS, *INDEXER_WEIGHTS)
_SMALL_PREFETCH = partial(_warmed, (7, 3), prefetch_bytes=1 << 20)

MLA_FORMS = _forms(
    MLA,
    {
        "nz-fp16-one-token": partial(dict, prefetch_bytes=0),
        "prefetch": partial(_warmed, (7, 3), (1 << 18,), prefetch_bytes=1 << 20),
        "prefetch-nothing": _warmed,
    },
    **{
        "plain": {},
        "nz-fp16-one-token": {"tokens": 1, "nz": _MLA_NZ, "dtype": torch.float16},
        "bias": {"tokens": 17, "bias": True, "table_dtype": None, "nz": ("q_b_weight",)},
        "bias-nz": {"bias": True, "nz": _MLA_NZ},
        "kv-bias": {"kv_bias": True},
        "int32-slots": {"slot_dtype": torch.int32, "cache_gap": 16, "rope_interleaved": False},
        "prefetch": {},
        "prefetch-nothing": {},
        "joint": {"joint": True},
        "joint-nz": {"joint": True, "cache_nz": ("kv_cache",), "block_size": 5},
        "nz-caches": {"cache_nz": ("kv_cache", "rope_cache"), "cache_gap": 48},
        "int8-cache": {"kv_bias": True, "kv_cache_scale": 0.1, "cache_nz": ("kv_cache",)},
        "int8-nz-caches": {"kv_cache_scale": 0.1, "cache_nz": ("kv_cache", "rope_cache")},
        "int8-q": {"quantize_q_nope": True, "dtype": torch.float16},
        "int8-cache-and-q": {"kv_cache_scale": 0.1, "quantize_q_nope": True},
        "no-q-lora": {"q_lora": 0, "nz": _MLA_NZ, "kv_cache_scale": 0.1, "quantize_q_nope": True},
        "no-q-lora-plain": {"q_lora": 0, "nz": _MLA_NZ},
    },
)

_SFA_ROWS = {
    "plain": {},
    "nz-fp16-one-token": {"tokens": 1, "nz": _SFA_NZ, "dtype": torch.float16},
    "fused": {
        **{"tokens": 17, "fused": True, "nz": ("indexer_wk",), "bias": True},
        "table_dtype": None,
    },
    "indexer-rope": {
        **{"indexer_rope_interleaved": True, "indexer_norm_dtype": None},
        "indexer_eps": 1e-5,
    },
    "joint": {"joint": True, "cache_nz": ("kv_cache", "indexer_cache"), "cache_gap": 48},
    "int8": {
        **{"kv_cache_scale": 0.1, "quantize_q_nope": True, "slot_dtype": torch.int32},
        "kv_bias": True,
    },
    "no-indexer": {"indexer_heads": 0},
    "no-indexer-no-q-lora": {"indexer_heads": 0, "joint": True, "q_lora": 0, "kv_bias": True},
}
SFA_FORMS = _forms(
    SFA, {name: _SMALL_PREFETCH for name in _SFA_ROWS if name != "plain"}, **_SFA_ROWS
)

O_PROJ_FORMS = _forms(
    O_PROJ,
    {
        "fp16-one-token": partial(dict, prefetch_bytes=0),
        "bias-nz-weight": _warmed,
        "static": partial(_warmed, (7, 3), (1 << 18,)),
        "dynamic": partial(dict, prefetch_bytes=1 << 20),
        "static-bias": partial(_warmed, (9,), prefetch_bytes=100),
        "bias": partial(_warmed, (9,), prefetch_bytes=100),
    },
    **{
        "plain": {},
        "heads-outermost": {"heads_outermost": True},
        "fp16-one-token": {"tokens": 1, "up_project": False, "dtype": torch.float16},
        "bias": {"bias": "float32"},
        "bias-nz": {"tokens": 17, "bias": "float32", "nz": o_proj_cases.WEIGHTS},
        "bias-nz-weight": {"bias": "activation", "nz": ("o_proj_weight",)},
        "static": {"quant": STATIC},
        "static-bias": {"quant": STATIC, "bias": "float32"},
        "static-bias-nz": {"quant": STATIC, "bias": "float32", "nz": o_proj_cases.WEIGHTS},
        "dynamic": {"quant": DYNAMIC, "nz": o_proj_cases.WEIGHTS, "up_project": False},
    },
)

FORMS = {
    f"{op}-{name}": form
    for op, forms in {
        "mla_prolog": MLA_FORMS,
        "sfa_prolog": SFA_FORMS,
        "o_proj": O_PROJ_FORMS,
    }.items()
    for name, form in forms.items()
}

# What torch.compile and torch.export are given, for a varying number of tokens.
COMPILED_FORMS = {
    "mla_prolog": OpForm(MLA),
    "mla_prolog-joint-nz": OpForm(replace(MLA, joint=True, cache_nz=("kv_cache",))),
    "mla_prolog-int8": OpForm(
        replace(MLA, kv_cache_scale=0.1, quantize_q_nope=True, cache_nz=("rope_cache",))
    ),
    "mla_prolog-no-q-lora": OpForm(replace(MLA, q_lora=0, joint=True, nz=_MLA_NZ)),
    "sfa_prolog": OpForm(SFA),
    "sfa_prolog-joint-nz": OpForm(
        replace(SFA, joint=True, fused=True, cache_nz=("kv_cache", "indexer_cache"), nz=_SFA_NZ)
    ),
    "sfa_prolog-int8": OpForm(
        replace(SFA, kv_cache_scale=0.1, quantize_q_nope=True, indexer_heads=0)
    ),
    "o_proj": OpForm(O_PROJ),
    "o_proj-static": OpForm(replace(O_PROJ, quant=STATIC)),
}

# The same for one token alone.
ONE_TOKEN_FORMS = {
    "mla_prolog": OpForm(replace(MLA, tokens=1, nz=("q_b_weight",))),
    "sfa_prolog": OpForm(replace(SFA, tokens=1, nz=("indexer_wk",))),
    "o_proj": OpForm(replace(O_PROJ, tokens=1, nz=("o_proj_weight",), bias="float32")),
    "o_proj-dynamic": OpForm(
        replace(O_PROJ, tokens=1, nz=("o_proj_weight",), bias="float32", quant=DYNAMIC)
    ),
}


class Program(torch.nn.Module):
    """A caller of an op: work before it, work after it, a weight that it prefetches.

    Where the op writes caches the program reads them after it.
    """

    def __init__(self, op: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.op, self.options = op, options

    def forward(self, per_token: dict, weights: dict, caches: dict, prefetch: list):
        activations = ACTIVATIONS[self.op]
        per_token = {**per_token, activations: per_token[activations] * 2}
        arguments = {**per_token, **weights, **caches, **self.options, "prefetch": prefetch}
        results = results_of(self.op, arguments)
        copies = {name: cache.flatten(1).clone() for name, cache in caches.items()}
        return results, [result * 2 for result in results], copies


def program_of(form: OpForm) -> tuple[Program, tuple[dict, dict, dict, list]]:
    """The program that calls the op in this form, and the arguments of a call of its own."""
    arguments = form.arguments()
    prefetch = arguments.pop("prefetch", [torch.ones(64, 64)])
    tensors = {k: v for k, v in arguments.items() if isinstance(v, torch.Tensor)}
    others = {k: v for k, v in arguments.items() if not isinstance(v, torch.Tensor)}
    rows = form.case.cache_rows() if isinstance(form.case, MlaCase) else ()
    caches = {name: tensors.pop(name) for name in rows}
    per_token = {name: tensors.pop(name) for name in PER_TOKEN if name in tensors}
    return Program(form.op, others), (per_token, tensors, caches, prefetch)
