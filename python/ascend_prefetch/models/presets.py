"""Attention dimensions of published models, and the names that they go by."""

from __future__ import annotations

from .dimensions import IndexerDimensions, ModelDimensions

_DEEPSEEK_V3 = ModelDimensions(
    name="deepseek-v3",
    hidden_size=7168,
    num_heads=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/config.json",
)

_DEEPSEEK_V3_2 = ModelDimensions(
    name="deepseek-v3.2",
    hidden_size=7168,
    num_heads=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="https://huggingface.co/deepseek-ai/DeepSeek-V3.2/blob/main/config.json",
    indexer=IndexerDimensions(num_heads=64, head_dim=128, top_k=2048, rope_interleaved=False),
)

_GLM_5 = ModelDimensions(
    name="glm-5",
    hidden_size=6144,
    num_heads=64,
    q_lora_rank=2048,
    kv_lora_rank=512,
    qk_nope_head_dim=192,
    qk_rope_head_dim=64,
    v_head_dim=256,
    rms_norm_eps=1e-5,
    rope_interleaved=True,
    source="https://huggingface.co/zai-org/GLM-5/blob/main/config.json",
    indexer=IndexerDimensions(num_heads=32, head_dim=128, top_k=2048, rope_interleaved=True),
)

_KIMI_K2 = ModelDimensions(
    name="kimi-k2",
    hidden_size=7168,
    num_heads=64,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/config.json",
)

_LONGCAT_FLASH = ModelDimensions(
    name="longcat-flash",
    hidden_size=6144,
    num_heads=64,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-5,
    rope_interleaved=True,
    source="https://huggingface.co/meituan-longcat/LongCat-Flash-Chat/blob/main/config.json",
    q_lora_scale=(6144 / 1536) ** 0.5,
    kv_lora_scale=(6144 / 512) ** 0.5,
    attentions_per_layer=2,
)

_GLM_4_MOE_LITE = ModelDimensions(
    name="glm-4-moe-lite",
    hidden_size=2048,
    num_heads=20,
    q_lora_rank=768,
    kv_lora_rank=512,
    qk_nope_head_dim=192,
    qk_rope_head_dim=64,
    v_head_dim=256,
    rms_norm_eps=1e-5,
    rope_interleaved=True,
    source="https://huggingface.co/zai-org/GLM-4.7-Flash/blob/main/config.json",
)

_LONGCAT_FLASH_LITE = ModelDimensions(
    name="longcat-flash-lite",
    hidden_size=3072,
    num_heads=32,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-5,
    rope_interleaved=True,
    source="https://huggingface.co/meituan-longcat/LongCat-Flash-Lite/blob/main/config.json",
    q_lora_scale=(3072 / 1536) ** 0.5,
    kv_lora_scale=(3072 / 512) ** 0.5,
    attentions_per_layer=2,
)

_DEEPSEEK_V2 = ModelDimensions(
    name="deepseek-v2",
    hidden_size=5120,
    num_heads=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="https://huggingface.co/deepseek-ai/DeepSeek-V2/blob/main/config.json",
)

_DEEPSEEK_V2_LITE = ModelDimensions(
    name="deepseek-v2-lite",
    hidden_size=2048,
    num_heads=16,
    q_lora_rank=None,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="https://huggingface.co/deepseek-ai/DeepSeek-V2-Lite/blob/main/config.json",
)

MODELS: dict[str, ModelDimensions] = {
    model.name: model
    for model in (
        _DEEPSEEK_V3,
        _DEEPSEEK_V3_2,
        _GLM_5,
        _KIMI_K2,
        _LONGCAT_FLASH,
        _LONGCAT_FLASH_LITE,
        _GLM_4_MOE_LITE,
        _DEEPSEEK_V2,
        _DEEPSEEK_V2_LITE,
    )
}
"""The presets by name."""

# Releases with the sizes of a preset: of its attention and of what follows it. Their names are the
# last part of those on huggingface.co. Kimi-K2.5 and later have them in text_config (transformers
# 5.24, models/kimi_k25), GLM-5.1 and 5.2 have the sizes of GLM-5 (docs.nvidia.com/nemo,
# megatron-bridge, models/glm/glm5).
_RELEASES = {
    "deepseek-v2": ("DeepSeek-V2-Chat", "DeepSeek-V2.5", "DeepSeek-Coder-V2-Instruct"),
    "deepseek-v2-lite": ("DeepSeek-V2-Lite-Chat", "DeepSeek-Coder-V2-Lite-Instruct"),
    "deepseek-v3": (
        "DeepSeek-V3-0324",
        "DeepSeek-V3.1",
        "DeepSeek-V3.1-Terminus",
        "DeepSeek-R1",
        "DeepSeek-R1-0528",
    ),
    "deepseek-v3.2": ("DeepSeek-V3.2-Exp", "DeepSeek-V3.2-Speciale"),
    "glm-4-moe-lite": ("GLM-4.7-Flash",),
    "glm-5": ("GLM-5-FP8", "GLM-5.1", "GLM-5.1-FP8", "GLM-5.2", "GLM-5.2-FP8"),
    "kimi-k2": (
        "Kimi-K2-Base",
        "Kimi-K2-Instruct",
        "Kimi-K2-Instruct-0905",
        "Kimi-K2-Thinking",
        "Kimi-K2.5",
        "Kimi-K2.6",
    ),
    "longcat-flash": ("LongCat-Flash-Chat", "LongCat-Flash-Chat-FP8", "LongCat-Flash-Thinking"),
    "longcat-flash-lite": ("LongCat-Flash-Lite-FP8",),
}

ALIASES: dict[str, str] = {
    name.lower(): preset for preset, names in _RELEASES.items() for name in (preset, *names)
}
# DeepSeek's releases go by their version alone, too: R1, V3.1.
ALIASES |= {
    name.removeprefix("deepseek-"): preset
    for name, preset in ALIASES.items()
    if name.startswith("deepseek-")
}
"""Names of presets by other names of the same sizes, in lower case."""
