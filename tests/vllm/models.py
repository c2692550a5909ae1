"""Small models with the head dimensions of the real ones, and checkpoints for them.

Dimensions that decide paths through the kernels are the real ones (kv_lora, rope, nope, v, the
indexer's heads); the number of heads, hidden and q_lora are cut down, for one case they are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

QUANTISATIONS = {"bf16": None, "W8A8 static": "W8A8", "W8A8 dynamic": "W8A8_DYNAMIC"}


@dataclass(frozen=True)
class Model:
    """What a model's configuration is made from.

    Attributes:
        name: of the model in tables.
        model_type: transformers' name of its architecture.
        dimensions: of its configuration.
    """

    name: str
    model_type: str
    dimensions: dict = field(hash=False)

    def configuration(self):
        from transformers import AutoConfig

        config = AutoConfig.for_model(self.model_type, **self.dimensions)
        if not hasattr(config, "architectures") or not config.architectures:
            config.architectures = ["DeepseekV3ForCausalLM"]
        return config

    @property
    def sparse(self) -> bool:
        return "index_topk" in self.dimensions


_BASE = dict(
    num_hidden_layers=3,
    first_k_dense_replace=3,
    max_position_embeddings=4096,
    intermediate_size=256,
    moe_intermediate_size=64,
    rms_norm_eps=1e-6,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)
_MLA = dict(kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)
_SMALL = dict(hidden_size=512, q_lora_rank=256, num_attention_heads=4, num_key_value_heads=4)
_INDEXER = dict(index_topk=2048, index_head_dim=128, index_n_heads=16)

DEEPSEEK_V3 = Model("MLA", "deepseek_v3", {**_BASE, **_MLA, **_SMALL})
DEEPSEEK_V3_LARGE = Model(
    "MLA, larger",
    "deepseek_v3",
    {
        **_BASE,
        **_MLA,
        **dict(hidden_size=2048, q_lora_rank=1536),
        **dict(num_attention_heads=16, num_key_value_heads=16),
    },
)
DEEPSEEK_V2_LITE = Model(
    "MLA without q_lora", "deepseek_v3", {**_BASE, **_MLA, **_SMALL, "q_lora_rank": None}
)
DEEPSEEK_V32 = Model("SFA", "deepseek_v32", {**_BASE, **_MLA, **_SMALL, **_INDEXER})
GLM_5 = Model(
    "SFA, GLM-5",
    "glm_moe_dsa",
    {
        **_BASE,
        **_SMALL,
        **_INDEXER,
        **dict(kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=192, v_head_dim=256),
        "rms_norm_eps": 1e-5,
        "indexer_rope_interleave": True,
    },
)

# Routed experts of which a token chooses two, and a shared one, in every layer.
_MOE = dict(
    first_k_dense_replace=0,
    moe_layer_freq=1,
    n_routed_experts=8,
    num_experts_per_tok=2,
    n_shared_experts=1,
    n_group=4,
    topk_group=2,
    topk_method="noaux_tc",
    scoring_func="sigmoid",
    norm_topk_prob=True,
    routed_scaling_factor=2.5,
)
DEEPSEEK_V3_MOE = Model("MLA, experts", "deepseek_v3", {**DEEPSEEK_V3.dimensions, **_MOE})
DEEPSEEK_V32_MOE = Model("SFA, experts", "deepseek_v32", {**DEEPSEEK_V32.dimensions, **_MOE})

INPUT_OFFSET = 3  # not zero, so that an offset that is forgotten shows


def shapes(model: Model) -> dict[str, tuple[int, int]]:
    """[out, in] of every linear layer of the attention, by its name in a checkpoint."""
    c = model.configuration()
    heads, hidden = c.num_attention_heads, c.hidden_size
    q_in = c.q_lora_rank or hidden
    q_out = heads * (c.qk_nope_head_dim + c.qk_rope_head_dim)
    linears = {
        "kv_a_proj_with_mqa": (c.kv_lora_rank + c.qk_rope_head_dim, hidden),
        "kv_b_proj": (heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank),
        "o_proj": (hidden, heads * c.v_head_dim),
        "q_b_proj" if c.q_lora_rank else "q_proj": (q_out, q_in),
    }
    if c.q_lora_rank:
        linears["q_a_proj"] = (c.q_lora_rank, hidden)
    if model.sparse:
        linears["indexer.wq_b"] = (c.index_n_heads * c.index_head_dim, q_in)
        linears["indexer.wk"] = (c.index_head_dim, hidden)
        linears["indexer.weights_proj"] = (c.index_n_heads, hidden)
    return linears


_FLOAT = ("kv_b_proj", "indexer.wk", "indexer.weights_proj")  # never quantised


def quant_description(
    model: Model, quantisation: str, layers: int, int8_latents: bool = False
) -> dict[str, str] | None:
    """quant_model_description.json of the model; None for bf16.

    Args:
        model: the model.
        quantisation: a key of QUANTISATIONS.
        layers: how many it has.
        int8_latents: whether their caches are int8 (msmodelslim's fa_quant).
    """
    kind = QUANTISATIONS[quantisation]
    if kind is None:
        return None
    description = {
        f"model.layers.{layer}.self_attn.{name}.weight": "FLOAT" if name in _FLOAT else kind
        for layer in range(layers)
        for name in shapes(model)
    }
    if has_norm_bias(quantisation):
        description["model.layers.0.self_attn.q_a_layernorm.bias"] = "FLOAT"
    if int8_latents:
        description["fa_quant_type"] = "FAKQuant"
        for layer in range(layers):
            for name in _FA_QUANT:
                description[f"model.layers.{layer}.self_attn.{name}.scale"] = "FAKQuant"
    return description


def int8_keys(description: dict[str, str], layers: int) -> None:
    """Adds what checkpoints for int8 keys of the indexer ("C8") say of their layers."""
    for layer in range(layers):
        name = f"model.layers.{layer}.self_attn.indexer.quant_type"
        description[name] = "INT8_DYNAMIC"


def has_norm_bias(quantisation: str) -> bool:
    """Static quantisation comes with biases of the norms, if outliers were suppressed before it."""
    return QUANTISATIONS[quantisation] == "W8A8"


_FA_QUANT = ("fa_q", "fa_k", "fa_v")


def checkpoint(
    model: Model, quantisation: str, seed: int, int8_latents: bool = False
) -> dict[str, torch.Tensor]:
    """Tensors of one layer's attention, by their names below self_attn; see quant_description."""
    draw = torch.Generator().manual_seed(seed)
    c = model.configuration()
    kind = QUANTISATIONS[quantisation]
    tensors: dict[str, torch.Tensor] = {}
    for name, (rows, columns) in shapes(model).items():
        weight = torch.randn(rows, columns, generator=draw) / columns**0.5
        if kind is None or name in _FLOAT:
            tensors[f"{name}.weight"] = weight.bfloat16()
        else:
            factor = 1 + 0.25 * (seed >= 10)
            tensors.update(quantised(name, weight, kind, factor))
    norms = {"kv_a_layernorm": c.kv_lora_rank}
    if c.q_lora_rank:
        norms["q_a_layernorm"] = c.q_lora_rank
    for name, size in norms.items():
        tensors[f"{name}.weight"] = (1 + 0.1 * torch.randn(size, generator=draw)).bfloat16()
        if has_norm_bias(quantisation):
            # Upstream's cache op knows no bias.
            known = 0.1 if name == "q_a_layernorm" else 0.0
            tensors[f"{name}.bias"] = (known * torch.randn(size, generator=draw)).bfloat16()
    if int8_latents:
        for name in _FA_QUANT:
            rows = c.num_attention_heads if name == "fa_q" else 1
            # Latents are of unit size.
            tensors[f"{name}.scale"] = torch.full((rows, 1), 0.03).bfloat16()
            tensors[f"{name}.offset"] = torch.zeros(rows, 1, dtype=torch.int8)
    if model.sparse:
        size = c.index_head_dim
        tensors["indexer.k_norm.weight"] = 1 + 0.1 * torch.randn(size, generator=draw)
        tensors["indexer.k_norm.bias"] = 0.1 * torch.randn(size, generator=draw)
    return tensors


def quantised(
    name: str, weight: torch.Tensor, kind: str, factor: float = 1
) -> dict[str, torch.Tensor]:
    """A quantised weight; static scales of inputs are `factor` times the usual ones."""
    scale = weight.abs().amax(-1, keepdim=True) / 127
    scale = scale.bfloat16().float()
    quantised = (weight / scale).round().clamp(-127, 127).to(torch.int8)
    tensors = {
        f"{name}.weight": quantised,
        f"{name}.weight_scale": scale.bfloat16(),
        f"{name}.weight_offset": torch.zeros_like(scale).bfloat16(),
    }
    if kind == "W8A8":
        # Activations are of unit size but for what attention has averaged.
        usual = 0.01 if name == "o_proj" else 0.03
        input_scale = torch.tensor([usual * factor]).bfloat16()
        tensors |= {
            f"{name}.input_scale": input_scale,
            f"{name}.input_offset": torch.tensor([INPUT_OFFSET], dtype=torch.int8),
            f"{name}.deq_scale": (input_scale.float() * scale).flatten(),
            f"{name}.quant_bias": -INPUT_OFFSET * quantised.int().sum(-1, dtype=torch.int32),
        }
    return tensors
