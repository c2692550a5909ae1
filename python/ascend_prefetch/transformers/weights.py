"""Attention weights of a transformers module, in the form that the ops take."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from ascend_prefetch.models import IndexerWeights, MlaWeights
from ascend_prefetch.versions import version_of

from .parts import check_parts

AttentionModule = Any
"""An nn.Module of a supported model; Any, as nn.Module's type hides its other attributes."""

_handles = itertools.count()
_by_handle: weakref.WeakValueDictionary[int, AttentionWeights] = weakref.WeakValueDictionary()


class AttentionWeights:
    """The weights of one attention module, packed.

    q_b, o_proj, norms without a factor and most of the indexer are the module's own tensors; the
    rest are copies, which are made again when the module's tensors were replaced, moved or written
    to. A graph of torch.compile keeps the copies from its tracing, and raises an error when they
    are out of date.

    Args:
        module: the attention module.
        parts: the parts that it may have, from parts_of.
    """

    def __init__(self, module: AttentionModule, parts: Mapping[str, type]) -> None:
        self._module = module
        self._parts = parts
        self._packed: tuple[MlaWeights, IndexerWeights | None] | None = None
        self._version: tuple = ()
        self._sources: list[torch.Tensor] = []
        # A compiled graph refers to this object by the handle, and declares the token as written:
        # a call without any effect would be dropped.
        self._handle = next(_handles)
        self._token = torch.zeros(1, dtype=torch.int8)
        _by_handle[self._handle] = self

    def __reduce__(self) -> tuple:
        return type(self), (self._module, self._parts)  # a copy packs its own module's weights

    def packed(self) -> tuple[MlaWeights, IndexerWeights | None]:
        """The weights that the module holds now; no IndexerWeights for a layer without an indexer.

        Raises:
            TypeError: a part of the module has been replaced, see check_parts.
            ValueError: a tensor is of a kind that is not supported.
            RuntimeError: the weights have changed since a graph of torch.compile was traced.
        """
        if torch.compiler.is_compiling():
            _pack_while_tracing(self._handle)
            _require_unchanged(self._token, self._handle)
            assert self._packed is not None
            return self._packed
        return self._packed_now()

    def _packed_now(self) -> tuple[MlaWeights, IndexerWeights | None]:
        version = self._checked_version()
        if self._packed is None or version != self._version:
            self._packed = mla_weights(self._module), indexer_weights(self._module)
            self._version = version
            # Holding the tensors keeps their memory allocated, so equal addresses mean the tensors
            # that were packed.
            self._sources = [tensor.detach() for tensor in self._module.parameters()]
        return self._packed

    def require_unchanged(self) -> None:
        """Raises RuntimeError if the tensors are no longer those that were packed."""
        if self._checked_version() != self._version:
            raise RuntimeError(
                f"layer {self._module.layer_idx}: its weights have changed since torch.compile "
                "traced the model: call torch.compiler.reset() for it to be traced again"
            )

    def _checked_version(self) -> tuple:
        check_parts(f"layer {self._module.layer_idx}", self._module, self._parts)
        return tuple((t.data_ptr(), version_of(t), t.dtype) for t in self._module.parameters())


@torch.compiler.assume_constant_result
def _pack_while_tracing(handle: int) -> bool:
    """Packs the present weights while a graph is traced; it is not part of the graph."""
    _by_handle[handle]._packed_now()
    return True


@torch.library.custom_op("ascend_prefetch_transformers::require_unchanged", mutates_args=("token",))
def _require_unchanged(token: torch.Tensor, handle: int) -> None:
    """AttentionWeights.require_unchanged in a compiled graph, which cannot look at addresses."""
    _by_handle[handle].require_unchanged()  # the graph keeps the object alive


@_require_unchanged.register_fake
def _(token: torch.Tensor, handle: int) -> None:
    return None


def mla_weights(module: AttentionModule) -> MlaWeights:
    """MlaWeights of an attention module of any supported model."""
    nope, value = module.qk_nope_head_dim, module.v_head_dim
    kv_b = module.kv_b_proj.weight.detach().view(-1, nope + value, module.kv_lora_rank)
    w_uk, w_uv = kv_b.split([nope, value], dim=1)
    kv_a = module.kv_a_proj_with_mqa.weight.detach()
    if module.q_lora_rank is None:
        qkv_a, q_a_norm, q_b = kv_a, None, module.q_proj.weight.detach()
    else:
        qkv_a = torch.cat([module.q_a_proj.weight.detach(), kv_a])
        q_a_norm = _scaled(module.q_a_layernorm, module, "mla_scale_q_lora")
        q_b = module.q_b_proj.weight.detach()
    return MlaWeights(
        qkv_a=qkv_a,
        q_a_norm=q_a_norm,
        q_b=q_b,
        w_uk=w_uk.contiguous(),
        w_uv=w_uv.transpose(1, 2).contiguous(),
        kv_a_norm=_scaled(module.kv_a_layernorm, module, "mla_scale_kv_lora"),
        o_proj=module.o_proj.weight.detach(),
    )


def _scaled(norm: Any, module: AttentionModule, factor: str) -> torch.Tensor:
    """The weight of a norm times the factor of its latent, which LongCat's attention has.

    The product is rounded once, where the model rounds each scaled element. q_b_proj is linear, so
    that a factor of the queries is one of their latent as well.
    """
    weight: torch.Tensor = norm.weight.detach()
    if not hasattr(module, factor):
        return weight
    return (weight.double() * getattr(module, factor)).to(weight.dtype)


def indexer_weights(module: AttentionModule) -> IndexerWeights | None:
    """IndexerWeights of an attention module; None if it has no indexer.

    transformers keeps weights_proj in float32; the op takes the dtype of the activations, in which
    checkpoints hold it.
    """
    # Layers of dense attention have no such attribute; in layers that share a selection it is None.
    if not hasattr(module, "indexer") or module.indexer is None:
        return None
    indexer = module.indexer
    wk = indexer.wk.weight.detach()
    return IndexerWeights(
        wq_b=indexer.wq_b.weight.detach(),
        wk=wk,
        k_norm=indexer.k_norm.weight.detach().float(),
        k_norm_bias=indexer.k_norm.bias.detach().float(),
        weights_proj=indexer.weights_proj.weight.detach().to(wk.dtype),
    )
