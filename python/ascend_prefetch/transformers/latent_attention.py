"""Attention in the latent space and the selection of sparse attention, in torch.

B counts sequences, S query tokens of each sequence, L cached tokens and N heads. Masks are those of
transformers: [B, 1, S, L] or [1, 1, S, L], either bool with True where a token is seen, or of the
activation dtype and added to the scores. None means causal, with the queries as the last S tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def check_mask(mask: object, batch: int, tokens: int, length: int) -> None:
    """Refuses a mask that is not one of those in the module's description.

    Args:
        mask: the mask that attention was given.
        batch: B.
        tokens: S.
        length: L.

    Raises:
        TypeError: the mask has another type, shape or dtype.
    """
    if mask is None:
        return
    if not isinstance(mask, torch.Tensor) or mask.dim() != 4:
        kind = list(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise TypeError(
            f"attention_mask: expected [B, 1, S, L] as eager and sdpa attention have it, got {kind}"
        )
    if mask.shape[0] not in (1, batch) or mask.shape[1:] != (1, tokens, length):
        raise TypeError(
            f"attention_mask: expected [{batch}, 1, {tokens}, {length}] or [1, 1, {tokens}, "
            f"{length}], got {list(mask.shape)}"
        )
    if mask.dtype != torch.bool and not mask.dtype.is_floating_point:
        raise TypeError(f"attention_mask: expected bool or a float dtype, got {mask.dtype}")


def explicit_mask(mask: torch.Tensor | None, tokens: int, rows: torch.Tensor) -> torch.Tensor:
    """The given mask, or a causal one where transformers passes None.

    Args:
        mask: see the module.
        tokens: S.
        rows: [B, L, D].
    """
    if mask is not None:
        return mask
    length = rows.shape[1]
    seen = torch.ones(tokens, length, dtype=torch.bool, device=rows.device)
    return seen.tril(length - tokens)[None, None]


def select_top_k(
    query: torch.Tensor,
    head_weights: torch.Tensor,
    keys: torch.Tensor,
    mask: torch.Tensor,
    top_k: int,
) -> torch.Tensor:
    """The cached tokens that each query token attends to.

    Scores are those of the models' own indexers without the positive factors
    head_dim^-0.5 * heads^-0.5, which do not change the ranking.

    Args:
        query: [B, S, heads, D].
        head_weights: [B, S, heads] float32.
        keys: [B, L, D].
        mask: explicit.
        top_k: number of tokens to select; all if fewer are cached.

    Returns:
        [B, S, k] int32. Tokens that the mask hides are ranked last, and stay hidden in attention.
    """
    scores = F.relu(query.float() @ keys.float().transpose(1, 2).unsqueeze(1))
    scores = (head_weights.unsqueeze(2) @ scores).squeeze(2)
    mask = mask[:, 0]
    if mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    else:
        scores = scores + mask
    return scores.topk(min(top_k, scores.shape[-1]), dim=-1).indices.to(torch.int32)


def sparse_mask(mask: torch.Tensor, selected: torch.Tensor, length: int) -> torch.Tensor:
    """The mask with all but the selected tokens hidden.

    Args:
        mask: explicit.
        selected: [B, S, k].
        length: L.
    """
    shape = (*selected.shape[:2], length)
    hidden = torch.ones(shape, dtype=torch.bool, device=selected.device)
    hidden = hidden.scatter(-1, selected.long(), False).unsqueeze(1)
    if mask.dtype == torch.bool:
        return mask & ~hidden
    return mask.masked_fill(hidden, torch.finfo(mask.dtype).min)


def attend(
    query: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Softmax attention with one key for all heads, whose first elements are the value.

    Args:
        query: [B, S, N, D], absorbed queries and their rope part.
        rows: [B, L, D], latents and their rope part.
        mask: explicit.
        scale: factor of the scores.

    Returns:
        [B, S, N, D]; only the first kv_lora elements, the latent's, are meaningful.
    """
    batch, tokens, heads, width = query.shape
    # Heads are folded into query tokens, so that the rows need not be repeated for every head.
    folded = mask.unsqueeze(3).expand(batch, 1, tokens, heads, -1).flatten(2, 3)
    output = F.scaled_dot_product_attention(
        query.reshape(batch, 1, tokens * heads, width),
        rows.unsqueeze(1),
        rows.unsqueeze(1),
        attn_mask=folded,
        scale=scale,
    )
    return output.view(batch, tokens, heads, width)
