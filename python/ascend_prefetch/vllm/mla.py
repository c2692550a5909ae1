"""Dense attention (AscendMLAImpl): steps of decode rows alone run the fused ops.

A step with prefill rows goes upstream as a whole: its prefill rows need fused_qkv_a as well, and
the decode rows alone would read it twice, for a gain that docs/vllm-ascend.md finds to be none at
the least favourable constants.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch

from .arguments import Prolog
from .fallback import Unsupported
from .family import Family, ReadStep, SharedStep, rows_refusal
from .seams import Seam
from .watch import Watch

_NZ_BYTES = 32  # of a row of a fractal


class DenseAttention(Family):
    """Dense attention; Family documents the methods."""

    name = "mla"
    op = attrgetter("mla_prolog.default")

    def __init__(self, seam: Seam) -> None:
        self.seam = seam
        self.layer_refusal = seam.mla_refusal
        self.keep_weights = seam.keep_mla_weights
        self.caches = lambda layer, kv_cache: kv_cache
        self.before_cache_write = seam.before_mla_cache_write
        self.cache_written = seam.mla_cache_written
        self.done = seam.mla_done

    def step_refusal(self, metadata: Any, gather: bool, hidden_states: torch.Tensor) -> str | None:
        """Refuses steps with prefill rows, and those that every kind of attention refuses."""
        if metadata.num_prefills or not metadata.num_decodes:
            return "steps with prefill rows"
        return rows_refusal(metadata.num_decode_tokens, gather, self.seam)

    def read_step(self, metadata: Any) -> ReadStep:
        """Reads the decode rows; the lengths of their requests are already on the host."""
        decode = metadata.decode
        tokens, slots = metadata.num_decode_tokens, metadata.slot_mapping
        return tokens, slots, decode.cos, decode.sin, decode.seq_lens_list

    def passing_bytes(self, layer: Any, step: SharedStep, caches: tuple) -> int:
        """Counts all rows of both caches."""
        row = sum(cache.shape[-1] * cache.element_size() for cache in caches)
        return step.cached * row

    def cache_rows(self, layer: Any) -> list[tuple[torch.dtype, int]]:
        """Latents, which fa_quant makes int8, and rope keys."""
        dtype = layer.W_UV.dtype
        latents = torch.int8 if layer.fa_quant_layer else dtype
        return [(latents, layer.kv_lora_rank), (dtype, layer.qk_rope_head_dim)]

    def cache_options(self, layer: Any, watch: Watch) -> dict[str, Any]:
        """The scale of int8 latents, whose queries are quantised as well."""
        if not layer.fa_quant_layer:
            return {}
        scale = watch.tensor(layer, "fak_descale_float")
        if scale is None or scale.shape != (1,):
            found = None if scale is None else list(scale.shape)
            raise Unsupported(f"fak_descale_float, the scale of fa_quant caches: {found}, not [1]")
        return {"kv_cache_scale": scale, "quantize_q_nope": True}

    def written(self, layer: Any, prolog: Prolog, caches: tuple, step: SharedStep) -> tuple:
        """Both caches; upstream gives caches in FRACTAL_NZ a row-major shape, which is undone."""
        latent, rope = caches[0], caches[1]
        if not (layer.enable_kv_nz or layer.fa_quant_layer):
            return step.slots, latent, rope
        blocks, size = latent.shape[:2]
        width = _NZ_BYTES // latent.element_size()
        return step.slots, latent.view(blocks, -1, size, width), rope.view(blocks, -1, size, 16)

    def attention(
        self, layer: Any, queries: tuple[torch.Tensor, ...], caches: tuple, metadata: Any
    ) -> torch.Tensor:
        """[N, T, 1, kv_lora] with layer.keep_latent, else [T, N * v]."""
        (q_nope, q_rope, _, q_scale), (latent, rope) = queries, caches[:2]
        scale = None
        if layer.fa_quant_layer:
            # Attention multiplies all of a score by the scales of its int8 part.
            scale = q_scale.unsqueeze(-1)
            q_rope = (q_rope / (scale * layer.fak_descale_float)).to(q_rope.dtype)
        return self.seam.decode(layer, q_nope, q_rope, latent, rope, metadata, scale)

    def latent(self, layer: Any, attention: torch.Tensor, tokens: int) -> torch.Tensor:
        """Transposes heads and tokens."""
        return attention.view(layer.num_heads, tokens, layer.kv_lora_rank).transpose(0, 1)

    def upstream_o_proj(self, layer: Any, attention: torch.Tensor, output: torch.Tensor) -> None:
        """Projects as many rows as upstream pads the step to."""
        width = layer.num_heads * layer.v_head_dim
        padded = attention.new_zeros(self.seam.padded_tokens(), width)
        padded[: attention.shape[0]] = attention
        output[...] = layer.o_proj(padded, is_prefill=False)[0]
