"""Attention weights of a transformers module in the form that the ops take."""

from __future__ import annotations

from typing import Any

import torch

from ascend_prefetch.models import IndexerWeights, MlaWeights
from ascend_prefetch.versions import version_of

AttentionModule = Any
"""An nn.Module of a supported model, which nn.Module types as having tensors and modules alone."""


class AttentionWeights:
    """The weights of one attention module, packed.

    q_b, o_proj, the norms and most of the indexer are the module's own tensors; qkv_a, w_uk and
    w_uv are copies, which are made again when the module's tensors have been replaced, moved or
    written to.
    """

    def __init__(self, module: AttentionModule) -> None:
        self._module = module
        self._packed: tuple[MlaWeights, IndexerWeights | None] | None = None
        self._version: tuple = ()
        self._sources: list[torch.Tensor] = []

    def packed(self) -> tuple[MlaWeights, IndexerWeights | None]:
        """What the module's tensors hold now; no IndexerWeights for a layer without an indexer."""
        tensors = list(self._module.parameters())
        version = tuple((t.data_ptr(), version_of(t), t.dtype) for t in tensors)
        if self._packed is None or version != self._version:
            self._packed = mla_weights(self._module), indexer_weights(self._module)
            self._version = version
            # Memory that is held is not allocated again: an address stands for what was packed.
            self._sources = [tensor.detach() for tensor in tensors]
        return self._packed


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
        q_a_norm = module.q_a_layernorm.weight.detach()
        q_b = module.q_b_proj.weight.detach()
    return MlaWeights(
        qkv_a=qkv_a,
        q_a_norm=q_a_norm,
        q_b=q_b,
        w_uk=w_uk.contiguous(),
        w_uv=w_uv.transpose(1, 2).contiguous(),
        kv_a_norm=module.kv_a_layernorm.weight.detach(),
        o_proj=module.o_proj.weight.detach(),
    )


def indexer_weights(module: AttentionModule) -> IndexerWeights | None:
    """IndexerWeights of an attention module, None where it has no indexer.

    transformers keeps weights_proj in float32; the op takes the dtype of the activations, in which
    checkpoints hold it.
    """
    indexer = getattr(module, "indexer", None)
    if indexer is None:
        return None
    wk = indexer.wk.weight.detach()
    return IndexerWeights(
        wq_b=indexer.wq_b.weight.detach(),
        wk=wk,
        k_norm=indexer.k_norm.weight.detach().float(),
        k_norm_bias=indexer.k_norm.bias.detach().float(),
        weights_proj=indexer.weights_proj.weight.detach().to(wk.dtype),
    )
