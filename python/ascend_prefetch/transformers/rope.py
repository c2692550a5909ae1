"""What a family's attention reads of the positions: rope's tables, and factors of queries."""

from __future__ import annotations

from typing import Any

import torch

from .families import Family


def rope_tables(
    where: str, family: Family, position_embeddings: Any, hidden_states: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rope's tables as the ops take them, cosines and sines.

    Args:
        where: the layer.
        family: the family of its model.
        position_embeddings: cosines and sines, each [B, S, 64] or [1, S, 64], as
            cat(frequencies, frequencies); or complex numbers with these as their parts,
            [B, S, 32] or [1, S, 32], for DeepseekV2; or None for a family that rotates nothing.
        hidden_states: [B, S, hidden].

    Returns:
        Two contiguous [B * S, 64].

    Raises:
        TypeError: the tables are not of the family's kind.
    """
    batch, tokens, _ = hidden_states.shape
    if not family.rotations:
        if position_embeddings is not None:
            raise TypeError(f"{where}: expected no position_embeddings, as its model rotates none")
        ones = hidden_states.new_ones(batch * tokens, 64)
        return ones, torch.zeros_like(ones)
    tables = position_embeddings
    if family.complex_tables:
        if not isinstance(tables, torch.Tensor) or not tables.is_complex():
            raise TypeError(
                f"{where}: expected position_embeddings of complex numbers, got "
                f"{_kind(position_embeddings)}"
            )
        tables = [torch.cat([part, part], dim=-1) for part in (tables.real, tables.imag)]
    elif not isinstance(tables, (tuple, list)) or len(tables) != 2:
        raise TypeError(
            f"{where}: expected position_embeddings (cos, sin), got {_kind(position_embeddings)}"
        )
    # contiguous(), as rows of one token that are expanded to a batch are a view of stride 0.
    cos, sin = (table.expand(batch, -1, -1).flatten(0, 1).contiguous() for table in tables)
    return cos, sin


def query_factors(
    where: str, position_ids: torch.Tensor | None, config: Any, dtype: torch.dtype
) -> torch.Tensor:
    """[B, S, 1, 1] or [1, S, 1, 1], the factors of queries at their positions, as QueryScaling.

    Args:
        where: the layer.
        position_ids: [B, S] or [1, S].
        config: the model's configuration.
        dtype: of the result; the model rounds its factors to that of the queries.

    Raises:
        TypeError: there are no positions.
    """
    if position_ids is None:
        raise TypeError(f"{where}: expected position_ids, by which its model scales queries")
    rope = config.rope_parameters
    periods = torch.floor(position_ids / rope["original_max_position_embeddings"])
    factors = 1 + rope["llama_4_scaling_beta"] * torch.log(1 + periods)
    return factors[:, :, None, None].to(dtype)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype}"
    return "none" if value is None else f"{type(value).__name__}"
