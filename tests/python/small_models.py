"""Small models of transformers with the head dimensions of the real ones, for the tests."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    DeepseekV32Config,
    DeepseekV32ForCausalLM,
    DynamicCache,
    GlmMoeDsaConfig,
    GlmMoeDsaForCausalLM,
    PreTrainedModel,
)

from transformers_mla import randomise

_COMMON = {
    "hidden_size": 256,
    "intermediate_size": 160,
    "moe_intermediate_size": 96,
    "vocab_size": 32,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "q_lora_rank": 192,
    # Every expert is chosen: which one is no question of rounding.
    "n_routed_experts": 2,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "bos_token_id": None,
    "eos_token_id": None,
}
# Fewer than there are tokens: selection hides some.
TOP_K = 16
_INDEXER = {"index_n_heads": 16, "index_topk": TOP_K}
_MODELS = {
    "deepseek_v3": (DeepseekV3ForCausalLM, DeepseekV3Config, {"num_mtp_layers": 0}),
    "deepseek_v32": (DeepseekV32ForCausalLM, DeepseekV32Config, _INDEXER),
    "glm_moe_dsa": (
        GlmMoeDsaForCausalLM,
        GlmMoeDsaConfig,
        {**_INDEXER, "indexer_types": ["full", "shared", "full"]},
    ),
}
FAMILIES = tuple(_MODELS)
SPARSE = FAMILIES[1:]


def small_model(family: str, seed: int, **changes) -> PreTrainedModel:
    """A bfloat16 model with random weights, the same for the same arguments.

    Args:
        family: one of FAMILIES.
        seed: seed of the weights.
        changes: of the configuration.
    """
    model_class, config_class, options = _MODELS[family]
    model = model_class(config_class(**{**_COMMON, **options, **changes}))
    # transformers' initialisation leaves attention next to no say in the logits.
    randomise(model, seed)
    for parameter in model.parameters():  # not the buffers: from_pretrained leaves rope's alone
        parameter.data = parameter.data.bfloat16()
    return model.eval()


def save_small_model(family: str, directory: Path, seed: int, **changes) -> None:
    """Writes small_model the way transformers does."""
    small_model(family, seed, **changes).save_pretrained(directory)


def load_model(directory: Path, dtype: torch.dtype = torch.bfloat16, **options) -> PreTrainedModel:
    """A saved model, loaded by transformers itself."""
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, local_files_only=True, **options
    )
    return model.eval()


def padded_prompts(tokens: int = 12, padding: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """Two prompts; the second is shorter and padded on the left."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(1, _COMMON["vocab_size"], (2, tokens), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    input_ids[1, :padding] = attention_mask[1, :padding] = 0
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def caching(cache: object) -> dict:
    """Arguments of a model's forward and generate, the cache by the name of this release."""
    taken = inspect.signature(DeepseekV3ForCausalLM.forward).parameters
    return {"cache" if "cache" in taken else "past_key_values": cache, "use_cache": True}


def step_by_step(model: PreTrainedModel, input_ids: torch.Tensor, steps: list[int]) -> torch.Tensor:
    """Logits [B, T, vocabulary] of a loop written by hand: no positions, no mask, one cache.

    Args:
        model: of this module.
        input_ids: [B, T].
        steps: tokens of one call after the other, T in all.
    """
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        logits = [model(tokens, **caching(cache)).logits for tokens in input_ids.split(steps, 1)]
    return torch.cat(logits, dim=1).float()


def greedy(model: PreTrainedModel, inputs: dict, new_tokens: int = 8, **options):
    """Tokens [B, T + new] and the logits [B, new, vocabulary] that chose the new ones."""
    result = model.generate(
        **inputs,
        max_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )
    return result.sequences, torch.stack(result.logits, dim=1).float()
