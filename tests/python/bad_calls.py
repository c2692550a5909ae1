"""Calls of the ops that have to be refused."""

from __future__ import annotations

import pytest
import torch

from mla_cases import same_bits


def tensors_of(arguments: dict) -> list[torch.Tensor]:
    """All CPU tensors among the arguments of a call."""
    tensors = [value for value in arguments.values() if isinstance(value, torch.Tensor)]
    tensors += arguments.get("prefetch") or []
    return [tensor for tensor in tensors if tensor.device.type == "cpu"]


def storage_of(tensor: torch.Tensor) -> torch.Tensor:
    """All of the memory that a tensor is a view of."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


def error_of(op, error: type[Exception], arguments: dict) -> str:
    """The text of the error that the op raises, having changed nothing, not even between rows."""
    before = [storage_of(tensor).clone() for tensor in tensors_of(arguments)]
    with pytest.raises(error) as raised:
        op(**arguments)
    assert type(raised.value) is error
    for tensor, bits in zip(tensors_of(arguments), before, strict=True):
        assert same_bits(storage_of(tensor), bits)
    return str(raised.value)


def refuses(op, error: type[Exception], message: str, arguments: dict) -> None:
    """The op raises exactly this message behind its name."""
    assert error_of(op, error, arguments) == f"{op._qualified_op_name}: {message}"
