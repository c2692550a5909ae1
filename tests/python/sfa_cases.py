"""Inputs of torch.ops.ascend_prefetch.sfa_prolog: those of mla_cases.py with an indexer."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from ascend_prefetch.lab import reference
from ascend_prefetch.models import get_model
from ascend_prefetch.packing import nd_to_nz
from mla_cases import SEED, MlaCase, MlaInputs, model_case

INDEXER_WEIGHTS = ("indexer_wq_b", "indexer_wk", "indexer_weights_proj")


@dataclass(frozen=True)
class SfaCase(MlaCase):
    """One call of sfa_prolog."""

    indexer_heads: int = 16  # 0: a layer without an indexer
    indexer_dim: int = 128
    fused: bool = False  # wk and weights_proj in one weight
    indexer_rope_interleaved: bool = False
    indexer_norm_dtype: torch.dtype | None = torch.float32  # None: that of activations
    indexer_eps: float = 1e-6

    @property
    def name(self) -> str:
        return f"{super().name}-{self.indexer_heads}x{self.indexer_dim}"

    def cache_rows(self) -> dict[str, tuple[int, torch.dtype]]:
        rows = super().cache_rows()
        if self.indexer_heads:
            rows["indexer_cache"] = (self.indexer_dim, self.dtype)
        return rows

    def outputs(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        per_head = (self.tokens, self.indexer_heads)
        indexed = self.indexer_heads > 0
        return {
            **super().outputs(),
            "indexer_q": ((*per_head, self.indexer_dim) if indexed else (0,), self.dtype),
            "indexer_weights": (per_head if indexed else (0,), torch.float32),
        }

    def without_indexer(self) -> MlaCase:
        """The same call of mla_prolog, for which MlaInputs draws the same tensors."""
        return MlaCase(**{field.name: getattr(self, field.name) for field in fields(MlaCase)})


def sfa_model_case(name: str, tp: int, tokens: int, **options) -> SfaCase:
    """The case of one tensor-parallel rank of a model with an indexer."""
    indexer = get_model(name).indexer
    assert indexer is not None
    mla = model_case(name, tp, tokens)
    options = {
        **{field.name: getattr(mla, field.name) for field in fields(mla)},
        "indexer_heads": indexer.num_heads,
        "indexer_dim": indexer.head_dim,
        "indexer_rope_interleaved": indexer.rope_interleaved,
        **options,
    }
    return SfaCase(**options)


class SfaInputs(MlaInputs):
    """The tensors of a SfaCase; those that mla_prolog takes are MlaInputs' of the same seed."""

    op = torch.ops.ascend_prefetch.sfa_prolog

    def __init__(self, case: SfaCase, seed: int = SEED) -> None:
        super().__init__(case, seed)
        if not case.indexer_heads:
            return
        generator = torch.Generator().manual_seed(seed + 1)

        def normal(*shape: int, mean: float, std: float, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype).normal_(mean, std, generator=generator)

        def weight(rows: int, columns: int) -> torch.Tensor:
            return normal(rows, columns, mean=0.0, std=columns**-0.5, dtype=case.dtype)

        norm_dtype = case.indexer_norm_dtype or case.dtype
        wk = weight(case.indexer_dim, case.hidden)
        weights_proj = weight(case.indexer_heads, case.hidden)
        tensors = {
            "indexer_wq_b": weight(case.indexer_heads * case.indexer_dim, case.q_lora),
            "indexer_wk": torch.cat([wk, weights_proj]) if case.fused else wk,
            "indexer_k_norm_weight": normal(case.indexer_dim, mean=1.0, std=0.25, dtype=norm_dtype),
            "indexer_k_norm_bias": normal(case.indexer_dim, mean=0.0, std=1.0, dtype=norm_dtype),
            "indexer_weights_proj": None if case.fused else weights_proj,
        }
        self.nd |= tensors
        packed = {
            name: nd_to_nz(tensor)
            for name, tensor in tensors.items()
            if name in case.nz and tensor is not None
        }
        self.arguments |= {
            **tensors,
            **packed,
            "indexer_rope_interleaved": case.indexer_rope_interleaved,
            "indexer_eps": case.indexer_eps,
        }

    def expected(self) -> dict[str, torch.Tensor]:
        case = self.case
        result = reference.sfa_prolog(
            **self.nd,
            eps=case.eps,
            rope_interleaved=case.rope_interleaved,
            indexer_eps=case.indexer_eps,
            indexer_rope_interleaved=case.indexer_rope_interleaved,
        )
        expected = self.named(result.mla)
        if result.indexer is not None:
            expected["indexer_q"] = result.indexer.q
            expected["indexer_weights"] = result.indexer.weights
            expected["indexer_cache"] = result.indexer.k[self.slots >= 0]
        return expected
