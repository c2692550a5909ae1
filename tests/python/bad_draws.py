"""Good calls with one thing wrong, drawn at random: refused by name, with nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st

from ascend_prefetch.lab import twin
from ascend_prefetch.packing import pack_dequant_scale
from bad_calls import storage_of
from drawn_calls import CALLS, Call, PrefetchCall, prolog_inputs
from mla_cases import cache_arguments, one_thread, same_bits
from o_proj_cases import OProjCase, OProjInputs
from op_calls import OPS, changed, required_arguments, tensor_arguments, written_arguments


def arguments_of(call: Call | PrefetchCall) -> dict[str, Any]:
    """The arguments of a drawn call, by name."""
    if isinstance(call, PrefetchCall):
        return {
            "weights": call.weights(),
            "offsets": call.offsets,
            "max_bytes": call.max_bytes,
            "cores": call.cores,
            "engine": call.engine,
            "beside": call.beside,
        }
    if isinstance(call.case, OProjCase):
        return {**OProjInputs(call.case, call.seed).arguments, **call.prefetch()}
    inputs = prolog_inputs(call, call.case, call.seed)
    return {**inputs.arguments, **cache_arguments(inputs), **call.prefetch()}


# --- one tensor changed: some of these calls are still good ---


def longer(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor[:1]]) if tensor.dim() else tensor[None]


def shorter(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[1:] if tensor.dim() else tensor[None]


def narrower(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[..., 1:].contiguous() if tensor.dim() else tensor[None]


def of_another_rank(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[None]


def empty(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.new_empty(0)


def of_another_dtype(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.dtype != torch.float64 else tensor.float()


def spread(tensor: torch.Tensor) -> torch.Tensor:
    return torch.stack([tensor, tensor], dim=-1)[..., 0]


def transposed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.transpose(0, -1) if tensor.dim() > 1 else spread(tensor)


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


MAYBE = [
    *(longer, shorter, narrower, of_another_rank, empty),
    *(of_another_dtype, spread, transposed, on_meta),
]


# --- one tensor changed: none of these is ---


def cut_off(tensor: torch.Tensor) -> torch.Tensor:
    copy = tensor.clone(memory_format=torch.contiguous_format)
    copy.untyped_storage().resize_(max(0, copy.nbytes - 1))
    return copy


def freed(tensor: torch.Tensor) -> torch.Tensor:
    copy = tensor.clone(memory_format=torch.contiguous_format)
    copy.untyped_storage().resize_(0)
    return copy


def sparse(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros(tensor.shape).to_sparse()


NEVER = [cut_off, freed, sparse]

# --- something else ---

NUMBERS: dict[str, list[Any]] = {
    "eps": [0.0, -1.0, math.nan, math.inf, 1e-50],
    "prefetch_bytes": [-1, -(1 << 63)],
    "prefetch_passing_bytes": [[-1] * 9],
    "cores": [0, -1, 10_000],
    "max_bytes": [[0], [-1] * 8, [1] * 9],
    "offsets": [[-1], [1 << 40] * 8],
    "engine": ["", "sdma\0", "dma"],
}


@st.composite
def bad_calls(draw, op: str) -> tuple[Call | PrefetchCall, str, Callable | str, Any]:
    """A good call, the argument that is changed, and how."""
    call = draw(CALLS[op])
    tensors = tensor_arguments(op)
    numbers = [a.name for a in OPS[op].default._schema.arguments if a.name in NUMBERS]
    kind = draw(st.sampled_from(["maybe", "maybe", "never", "none", "alias", "number", "scale"]))
    if kind == "maybe":
        return call, draw(st.sampled_from(tensors)), draw(st.sampled_from(MAYBE)), None
    if kind == "none" and required_arguments(op):
        return call, draw(st.sampled_from(required_arguments(op))), "None", None
    if kind == "alias" and written_arguments(op):
        written = draw(st.sampled_from(written_arguments(op)))
        other = draw(st.sampled_from([name for name in tensors if name != "prefetch"]))
        return call, written, "alias", other
    scales = [name for name in tensors if name.endswith("scale")]
    if kind == "scale" and scales:
        value = draw(st.sampled_from([math.nan, math.inf, 0.0, -1.0]))
        return call, draw(st.sampled_from(scales)), "scale", value
    if kind == "number":
        name = draw(st.sampled_from(numbers))
        return call, name, "number", draw(st.sampled_from(NUMBERS[name]))
    return call, draw(st.sampled_from(tensors)), draw(st.sampled_from(NEVER)), None


def spoil(
    op: str, arguments: dict[str, Any], name: str, how: Callable | str, detail: Any
) -> tuple[dict[str, Any], bool] | None:
    """The arguments with the change, and whether they have to be refused; None: no such tensor."""
    if how == "number":
        return {**arguments, name: detail}, True
    value = arguments.get(name)
    if value is None or (isinstance(value, list) and not value):
        return None
    if how == "None":
        return {**arguments, name: None}, True
    if how == "scale":
        scale = value.clone()
        bad = torch.tensor(detail, dtype=torch.float32)
        scale[-1] = pack_dequant_scale(bad) if scale.dtype == torch.int64 else bad
        return {**arguments, name: scale}, True
    if how == "alias":
        other = arguments.get(detail)
        if other is None or detail == name:
            return None
        memory = torch.zeros(value.nbytes + other.nbytes + 8, dtype=torch.uint8)
        first = memory[: value.nbytes].view(value.dtype).view(value.shape)
        begin = max(0, value.nbytes - 8) // 8 * 8
        second = memory[begin : begin + other.nbytes].view(other.dtype).view(other.shape)
        return {**arguments, name: first, detail: second}, True
    if isinstance(value, list) and value[-1].numel() == 0:
        return None
    spoiled, _ = changed(arguments, name, how)
    # An empty weight of a prefetch has no bytes to lack, and `after` may be anything dense.
    return spoiled, how in NEVER and (name != "after" or how is sparse)


def stored(arguments: dict[str, Any]) -> list[torch.Tensor]:
    """All memory of the call's tensors that can be read."""
    tensors: list[torch.Tensor] = []
    for value in arguments.values():
        if isinstance(value, torch.Tensor | list):
            tensors += [value] if isinstance(value, torch.Tensor) else value
    return [
        storage_of(tensor)
        for tensor in tensors
        if isinstance(tensor, torch.Tensor)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
    ]


@one_thread()
def check_bad_call(op: str, drawn: tuple) -> None:
    """Refused with the op and an argument named, nothing launched and nothing changed; or good."""
    call, name, how, detail = drawn
    spoiled = spoil(op, arguments_of(call), name, how, detail)
    if spoiled is None:
        return
    arguments, certain = spoiled
    before = [memory.clone() for memory in stored(arguments)]
    with twin.chip(call.chip), twin.tracing() as traces:
        try:
            OPS[op](**arguments)
        except (RuntimeError, ValueError) as error:
            message = str(error)
        else:
            assert not certain, f"{op} takes {name} changed by {how}"
            return
    assert message.startswith(f"ascend_prefetch::{op}: argument '"), message
    assert "expected " in message and ", got " in message, message
    assert not traces
    for memory, bits in zip(stored(arguments), before, strict=True):
        assert same_bits(memory, bits)
