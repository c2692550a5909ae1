"""MLA of a real model implementation, transformers' DeepseekV3Attention, for the tests."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RotaryEmbedding,
)


def one_layer_config(**attention) -> DeepseekV3Config:
    """One decoder layer with plain rope; everything but attention is tiny.

    Without arguments attention has the dimensions of DeepSeek-V3, the defaults of the class.
    """
    return DeepseekV3Config(
        num_hidden_layers=1,
        first_k_dense_replace=1,
        intermediate_size=16,
        vocab_size=16,
        num_mtp_layers=0,
        attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        num_key_value_heads=attention.get("num_attention_heads"),
        **attention,
    )


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Fan-in-scaled projections and norm weights around 1, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            mean, std = (1.0, 0.1) if parameter.dim() == 1 else (0.0, parameter.shape[1] ** -0.5)
            parameter.normal_(mean, std, generator=generator)


def save_checkpoint(
    config: DeepseekV3Config, directory: Path, dtype: torch.dtype, seed: int = 0, **save
) -> None:
    """Writes a randomly initialised model the way transformers does: safetensors and config."""
    # Created without storage, the model skips transformers' own, slow initialisation.
    with torch.device("meta"):
        model = DeepseekV3ForCausalLM(config)
    model = model.to(dtype).to_empty(device="cpu")
    randomise(model, seed)
    model.save_pretrained(directory, **save)


def load_model(directory: Path, dtype: torch.dtype) -> DeepseekV3ForCausalLM:
    """A saved model, loaded by transformers itself."""
    return DeepseekV3ForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", local_files_only=True
    )


def load_attention(directory: Path, dtype: torch.dtype) -> DeepseekV3Attention:
    """Layer 0's attention of a saved model."""
    return load_model(directory, dtype).model.layers[0].self_attn


def position_embeddings(
    config: DeepseekV3Config, tokens: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin, [tokens, rope] each, of positions 0 .. tokens - 1."""
    rotary = DeepseekV3RotaryEmbedding(config)
    cos, sin = rotary(torch.empty(0, dtype=dtype), torch.arange(tokens).unsqueeze(0))
    return cos[0], sin[0]


@torch.no_grad()
def attention_output(
    attention: DeepseekV3Attention,
    hidden_states: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> torch.Tensor:
    """[T, hidden] after o_proj, of one causal sequence hidden_states [T, hidden]."""
    tokens = hidden_states.shape[0]
    mask = hidden_states.new_full((tokens, tokens), float("-inf")).triu(1)
    output, _ = attention(hidden_states[None], (cos[None], sin[None]), mask[None, None])
    return output[0]
