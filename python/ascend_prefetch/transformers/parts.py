"""Checks the parts of an attention module, of which the ops use nothing but the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

_PROJECTIONS = (
    "q_proj",
    "q_a_proj",
    "q_b_proj",
    "kv_a_proj_with_mqa",
    "kv_b_proj",
    "o_proj",
    "indexer.wq_b",
    "indexer.wk",
    "indexer.weights_proj",
)
_NORMS = ("q_a_layernorm", "kv_a_layernorm")
_INDEXER = "indexer"
_INDEXER_NORM = "indexer.k_norm"


def parts_of(norm: type, indexer: type | None) -> dict[str, type]:
    """The classes of the parts that an attention module may have, by name.

    Args:
        norm: class of the norms of its latents.
        indexer: class of its indexer, None for dense attention.
    """
    parts: dict[str, type] = dict.fromkeys(_PROJECTIONS, nn.Linear)
    parts.update(dict.fromkeys(_NORMS, norm))
    if indexer is not None:
        parts.update({_INDEXER: indexer, _INDEXER_NORM: nn.LayerNorm})
    return parts


def check_parts(where: str, module: nn.Module, parts: Mapping[str, type]) -> None:
    """Refuses a module with parts that the ops would ignore: they read weights and call no part.

    Refused are an adapter around a projection, a hook, a replaced forward, a weight that is not a
    parameter (its changes would go unnoticed), a bias, and any other unknown tensor or part.

    Args:
        where: the layer.
        module: its attention.
        parts: from parts_of.

    Raises:
        TypeError: names the part.
        ValueError: there is a tensor that the ops would not read, or that does not count writes.
    """
    for name, part in module.named_modules():
        if not name:
            continue
        if name not in parts:
            raise TypeError(f"{where}: got {name}, a {type(part).__name__} that is not known")
        _check_part(f"{where}: expected {name}", part, parts[name])
        _check_parameters(where, name, part)
    for name, tensor in _tensors(module):
        known = name.endswith(".weight") or name == f"{_INDEXER_NORM}.bias"
        if not known:
            raise ValueError(f"{where}: got {name}, which the ops do not read")
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            raise TypeError(
                f"{where}: expected {name} to be a plain tensor, got {type(tensor).__name__}"
            )
        if tensor.is_inference():
            raise ValueError(
                f"{where}: {name} was made in inference mode, where nothing counts the writes to a "
                "tensor: load, move and convert the model outside of torch.inference_mode(), and "
                "call it inside"
            )


def _check_part(expected: str, part: nn.Module, kind: type) -> None:
    reason = "the ops read its weight and do not call it"
    if type(part) is not kind:
        raise TypeError(
            f"{expected} to be {kind.__name__}, got {type(part).__name__}: {reason}; merge an "
            "adapter, or unpatch the model"
        )
    if "forward" in vars(part):
        raise TypeError(
            f"{expected} with the forward of its class, got one that replaces it: {reason}"
        )
    hooks = [*part._forward_pre_hooks.values(), *part._forward_hooks.values()]
    if hooks:
        raise TypeError(f"{expected} without forward hooks, got {hooks[0]}: {reason}")


def _check_parameters(where: str, name: str, part: nn.Module) -> None:
    """Refuses tensors of a part that are plain attributes, and a weight that is not a parameter."""
    for attribute, value in vars(part).items():
        if isinstance(value, torch.Tensor):
            raise TypeError(
                f"{where}: expected {name}.{attribute} to be a parameter, got a plain attribute"
            )
    names = {_INDEXER: (), _INDEXER_NORM: ("weight", "bias")}.get(name, ("weight",))
    for tensor in names:
        if part._parameters.get(tensor) is None:
            kind = "a buffer" if tensor in part._buffers else "none"
            raise TypeError(f"{where}: expected {name}.{tensor} to be a parameter, got {kind}")


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]
