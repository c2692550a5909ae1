"""A layer's attention on the ranks of a tensor-parallel group, for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

from ascend_prefetch.lab import reference
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.models import (
    MlaWeights,
    ModelDimensions,
    load_indexer_weights,
    load_mla_weights,
)

BLOCK_SIZE = 16
# For a group to form, each process has torch to import first.
_PATIENCE = timedelta(seconds=120)


@dataclass(frozen=True)
class AttentionResult:
    """What one rank computes. N counts its heads.

    Attributes:
        prolog: results of the prolog by name; those of every head have N at dimension 1.
        caches: whole caches by name.
        latent: [T, N, kv_lora], what attention gave and o_proj takes.
        partial: [T, hidden], o_proj of the rank's heads.
        output: [T, hidden], the sum over the ranks.
    """

    prolog: dict[str, torch.Tensor]
    caches: dict[str, torch.Tensor]
    latent: torch.Tensor
    partial: torch.Tensor
    output: torch.Tensor


def hidden_states(dims: ModelDimensions, tokens: int) -> torch.Tensor:
    """[tokens, hidden], of unit variance and the same on every rank."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(tokens, dims.hidden_size, generator=generator).bfloat16()


def attention(
    directory: Path, dims: ModelDimensions, tokens: int, tp_rank: int = 0, tp_size: int = 1
) -> AttentionResult:
    """One sequence through prolog, attention and o_proj, as one rank of a group computes it.

    Without a process group there is one rank.
    """
    weights = load_mla_weights(directory, dims, 0, tp_rank, tp_size)
    cos, sin = reference.rope_tables(torch.arange(tokens), dims.qk_rope_head_dim)
    blocks = tokens // BLOCK_SIZE + 1
    # Slots from the end: row t of the sequence is wherever the slot mapping says.
    slots = blocks * BLOCK_SIZE - 1 - torch.arange(tokens)
    widths = {"kv_cache": dims.kv_lora_rank, "rope_cache": dims.qk_rope_head_dim}
    names = ["q_nope", "q_rope", "q_c", "q_nope_scale"]
    indexer = {}
    if dims.indexer is not None:
        widths["indexer_cache"] = dims.indexer.head_dim
        names += ["indexer_q", "indexer_weights"]
        indexer = _indexer_arguments(directory, dims)
    caches = {
        name: torch.full((blocks, BLOCK_SIZE, 1, width), 0.5, dtype=torch.bfloat16)
        for name, width in widths.items()
    }
    ops = torch.ops.ascend_prefetch
    results = (ops.sfa_prolog if indexer else ops.mla_prolog)(
        hidden_states=hidden_states(dims, tokens),
        cos=cos,
        sin=sin,
        slot_mapping=slots,
        **weights.prolog_arguments(),
        **caches,
        **indexer,
        eps=dims.rms_norm_eps,
        rope_interleaved=dims.rope_interleaved,
        prefetch=[stored_weight(weights.o_proj)],
    )
    prolog = dict(zip(names, results, strict=True))
    latent = reference.attention(
        prolog["q_nope"],
        prolog["q_rope"],
        caches["kv_cache"].flatten(0, 2)[slots],
        caches["rope_cache"].flatten(0, 2)[slots],
        scale=dims.qk_head_dim**-0.5,
        causal=True,
    ).bfloat16()
    partial = output_projection(latent, weights)
    output = partial.clone()
    if tp_size > 1:
        dist.all_reduce(output)
    return AttentionResult(prolog, caches, latent, partial, output)


def output_projection(latent: torch.Tensor, weights: MlaWeights) -> torch.Tensor:
    """o_proj of a rank's heads."""
    return torch.ops.ascend_prefetch.o_proj(latent, **weights.o_proj_arguments())


def run_group(tp_size: int, directory: Path, cases: dict[str, tuple[ModelDimensions, int]]) -> None:
    """Runs `attention` in `tp_size` processes.

    Args:
        tp_size: number of processes.
        directory: has a folder with a checkpoint for every case, which gets rank-<r>.pt: the
            fields of an AttentionResult.
        cases: dimensions and number of tokens by the names of the folders.
    """
    torch.multiprocessing.spawn(_rank, (tp_size, directory, cases), nprocs=tp_size)


def _rank(tp_rank: int, tp_size: int, directory: Path, cases) -> None:
    torch.set_num_threads(1)
    # A file in place of a port, which another process may hold.
    dist.init_process_group(
        "gloo",
        init_method=f"file://{directory}/group",
        rank=tp_rank,
        world_size=tp_size,
        timeout=_PATIENCE,
    )
    for name, (dims, tokens) in cases.items():
        result = attention(directory / name, dims, tokens, tp_rank, tp_size)
        torch.save(vars(result), directory / name / f"rank-{tp_rank}.pt")
    dist.destroy_process_group()


def _indexer_arguments(directory: Path, dims: ModelDimensions) -> dict:
    weights = load_indexer_weights(directory, dims, 0)
    assert weights is not None and dims.indexer is not None
    return {
        **weights.arguments(),
        "indexer_rope_interleaved": dims.indexer.rope_interleaved,
    }
