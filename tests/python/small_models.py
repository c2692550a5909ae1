"""Small models of transformers with the head dimensions of the real ones, for the tests."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path

import torch
import transformers
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    DeepseekV3ForCausalLM,
    DynamicCache,
    PretrainedConfig,
    PreTrainedModel,
)

from transformers_mla import randomise

_BESIDES = {
    "intermediate_size": 160,
    "moe_intermediate_size": 96,
    "vocab_size": 32,
    "first_k_dense_replace": 1,
    # Every expert is chosen: which one is no question of rounding.
    "n_routed_experts": 2,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_COMMON = {
    **_BESIDES,
    "hidden_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "q_lora_rank": 192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
# One layer, of the first attention in the model.
_FULL_WIDTH = {
    **_BESIDES,
    "num_hidden_layers": 1,
    "num_layers": 1,
    "mlp_layer_types": ["dense"],
    "ffn_hidden_size": 160,
    "expert_ffn_hidden_size": 96,
    "zero_expert_num": 0,
}
# Fewer than there are tokens: selection hides some.
TOP_K = 16
_INDEXER = {"index_n_heads": 16, "index_topk": TOP_K}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
}
_MODELS: dict[str, tuple[str, dict]] = {
    "deepseek_v3": ("DeepseekV3ForCausalLM", {"num_mtp_layers": 0}),
    "deepseek_v32": ("DeepseekV32ForCausalLM", _INDEXER),
    "glm_moe_dsa": (
        "GlmMoeDsaForCausalLM",
        {**_INDEXER, "indexer_types": ["full", "shared", "full"]},
    ),
    "deepseek_v2": ("DeepseekV2ForCausalLM", {"topk_method": "greedy"}),
    "glm4_moe_lite": ("Glm4MoeLiteForCausalLM", {"num_mtp_layers": 0}),
    "youtu": ("YoutuForCausalLM", {}),
    "axk1": ("AXK1ForCausalLM", {}),
    "longcat_flash": (
        "LongcatFlashForCausalLM",
        {
            "num_layers": 2,
            "num_hidden_layers": 4,
            "ffn_hidden_size": 160,
            "expert_ffn_hidden_size": 96,
            "moe_topk": 2,
            "zero_expert_num": 0,
            "head_dim": 64,
        },
    ),
    "mistral4": (
        "Mistral4ForCausalLM",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 128.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.1,
                "original_max_position_embeddings": 4,
            }
        },
    ),
    # The published size of its rope part is 32, which no op takes.
    "minicpm3": ("MiniCPM3ForCausalLM", {"qk_rope_head_dim": 64, "v_head_dim": 128}),
    "kimi_linear": (
        "KimiLinearForCausalLM",
        {
            "q_lora_rank": None,
            "layer_types": ["linear_attention", "full_attention", "full_attention"],
            "linear_num_heads": 2,
            "linear_head_dim": 16,
        },
    ),
    # DeepseekV3 by its classes, with another configuration.
    "sarvam_mla": ("DeepseekV3ForCausalLM", {"q_lora_rank": None}),
    # Language models with vision.
    "kimi_k25": ("Kimi_K25ForConditionalGeneration", {"text": "deepseek_v3", "vision": _VISION}),
    "mistral3": ("Mistral3ForConditionalGeneration", {"text": "mistral4", "vision": _VISION}),
}
# What a layer of the published size needs besides.
_OF_FULL_WIDTH = {
    "longcat_flash": {"num_hidden_layers": 2},
    "minicpm3": _MODELS["minicpm3"][1],
    "kimi_linear": {"layer_types": ["full_attention"]},
    "glm_moe_dsa": {"indexer_types": ["full"]},
}
# Those that generate at length in the tests.
FAMILIES = ("deepseek_v3", "deepseek_v32", "glm_moe_dsa")
SPARSE = FAMILIES[1:]
# Those that this release of transformers has.
EVERY = tuple(
    name for name in _MODELS if name in CONFIG_MAPPING and hasattr(transformers, _MODELS[name][0])
)


MISSING = tuple(name for name in _MODELS if name not in EVERY)


def configuration(family: str, full_width: bool = False, **changes) -> PretrainedConfig:
    """A configuration of a family.

    Args:
        family: one of EVERY.
        full_width: with the default sizes of its attention.
        changes: of the configuration, or of the language model's.
    """
    options = dict(_MODELS[family][1])
    if "text" in options:
        text = configuration(options["text"], full_width, **changes).to_dict()
        return AutoConfig.for_model(family, text_config=text, vision_config=options["vision"])
    if full_width:
        options = {**_FULL_WIDTH, **_OF_FULL_WIDTH.get(family, {})}
    else:
        options = {**_COMMON, **options}
    # A configuration keeps what it is given, dictionaries as they are.
    return AutoConfig.for_model(family, **copy.deepcopy({**options, **changes}))


def small_model(family: str, seed: int, **changes) -> PreTrainedModel:
    """A bfloat16 model with random weights, the same for the same arguments.

    Args:
        family: one of EVERY.
        seed: seed of the weights.
        changes: of the configuration.
    """
    return _random_model(family, configuration(family, **changes), seed)


def full_width_model(family: str, seed: int, **changes) -> PreTrainedModel:
    """One layer with attention of the default sizes of the configuration, as small_model."""
    return _random_model(family, configuration(family, True, **changes), seed)


def _random_model(family: str, config, seed: int) -> PreTrainedModel:
    model = getattr(transformers, _MODELS[family][0])(config)
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
