"""Dense attention (AscendMLAImpl): steps of decode rows alone run the fused ops.

A step with prefill rows goes upstream whole: its prefill rows need fused_qkv_a and q_b as well, and
splitting it would read both weights twice.
"""

from __future__ import annotations

from typing import Any

import torch

from .arguments import LayerArguments
from .fallback import say_once
from .layer import FusedLayer


class _Step:
    """See layer.Step."""

    __slots__ = ("cos", "decode", "latent_rows", "sin", "slot_mapping", "slots", "tokens")

    def __init__(self, metadata: Any, captured_kv_len: int | None) -> None:
        decode = metadata.decode
        self.decode = decode
        self.slot_mapping = metadata.slot_mapping
        self.tokens = tokens = metadata.num_decode_tokens
        self.cos = decode.cos[:tokens].view(tokens, -1)
        self.sin = decode.sin[:tokens].view(tokens, -1)
        self.slots = metadata.slot_mapping[:tokens]
        lengths = decode.seq_lens_list or ()  # on the host already
        if captured_kv_len is None:
            self.latent_rows = sum(lengths)
        else:
            self.latent_rows = len(lengths) * captured_kv_len

    def holds(self, metadata: Any) -> bool:
        """See layer.Step."""
        return (
            self.slot_mapping is metadata.slot_mapping
            and self.decode is metadata.decode
            and self.tokens == metadata.num_decode_tokens
        )


class FusedMLA(FusedLayer):
    """See FusedLayer."""

    family = "mla"
    step_class = _Step

    def _run(
        self,
        fused: LayerArguments,
        step: Any,
        layer_name: str,
        hidden_states: torch.Tensor,
        caches: tuple,
        metadata: Any,
        output: torch.Tensor,
    ) -> None:
        """mla_prolog, upstream's attention and o_proj."""
        tokens = step.tokens
        prolog: Any = fused.prolog
        latent, rope = caches[0], caches[1]
        q_nope, q_rope, _, _ = self.ops.mla_prolog.default(
            hidden_states if hidden_states.shape[0] == tokens else hidden_states[:tokens],
            *prolog.before,
            step.cos,
            step.sin,
            step.slots,
            *self._layouts(latent, rope),
            **prolog.options,
            **self._prefetch_output(step.latent_rows * self._latent_bytes(latent)),
        )
        self.seam.mla_cache_written(layer_name)
        self._keep_latent = fused.output is not None
        try:
            attention = self._forward_decode(
                q_nope, q_rope, latent, rope, latent.shape[1], metadata, None
            )
        finally:
            self._keep_latent = False
        self._write_output(attention, tokens, fused, output)

    def _takes(
        self, metadata: Any, gather: bool, hidden_states: torch.Tensor
    ) -> LayerArguments | None:
        if metadata.num_prefills or not metadata.num_decodes:
            say_once("steps with prefill rows")
            return None
        return self._ready() if self._fits(metadata.num_decode_tokens, gather) else None

    def _layouts(
        self, latent: torch.Tensor, rope: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Caches as the op tells their layout: upstream keeps FRACTAL_NZ in row-major shapes."""
        if not self.enable_kv_nz:
            return latent, rope
        blocks, size = latent.shape[:2]
        return latent.view(blocks, -1, size, 16), rope.view(blocks, -1, size, 16)

    def _latent_bytes(self, latent: torch.Tensor) -> int:
        return (self.kv_lora_rank + self.qk_rope_head_dim) * latent.element_size()

    def _write_output(
        self, attention: torch.Tensor, tokens: int, fused: LayerArguments, output: torch.Tensor
    ) -> None:
        """o_proj of the tokens; behind them, in a padded step, zeros."""
        if fused.output is None:
            width = self.num_heads * self.v_head_dim
            padded = attention.new_zeros(self.seam.padded_tokens(), width)
            padded[:tokens] = attention
            output[...] = self.o_proj(padded, is_prefill=False)[0]
            return
        # [N, T, 1, kv_lora] as attention leaves it.
        by_head = attention.view(self.num_heads, tokens, self.kv_lora_rank)
        partial = self._product(by_head.transpose(0, 1), tokens, fused)
        if output.shape[0] == tokens:
            output[...] = self._sum_over_ranks(partial)
            return
        output[:tokens] = partial
        output[tokens:] = 0
        # Padding as well: another rank of the group may run this step upstream's way.
        total = self._sum_over_ranks(output)
        if total is not output:
            output[...] = total
