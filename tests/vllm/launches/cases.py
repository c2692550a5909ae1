"""What of a serve command decides how attention runs, as a configuration of small layers.

Commands that differ in nothing that attention and the plugin see are one case, which is run once.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from launches.rows import Row

# Of a name in a command: model in models.py, heads of the real one.
_MODELS = (
    (re.compile(r"glm-5\.3-flash", re.IGNORECASE), "GLM-5.3-Flash", 0),
    (re.compile(r"glm", re.IGNORECASE), "GLM_5", 64),
    (re.compile(r"v3\.2", re.IGNORECASE), "DEEPSEEK_V32", 128),
    (re.compile(r"kimi-k2", re.IGNORECASE), "DEEPSEEK_V3", 64),
    (re.compile(r"v3\.1|r1", re.IGNORECASE), "DEEPSEEK_V3", 128),
)
# Ranks of a worker whose command takes them from a script's argument: the tutorials' scripts have
# 1 to 8.
_TP_OF_SCRIPTS = 4

# Keys of additional_config, and what upstream makes of their values.
_FLAGS = (
    "multistream_overlap_shared_expert",
    "enable_shared_expert_dp",
    "enable_flashcomm1",
    "enable_dsa_cp",
    "enable_mlapo",
    "enable_sparse_c8",
    "enable_sparse_li_c8",
    "enable_sparse_sfa_c8",
    "c8_enable_reshape_optim",
)


@dataclass(frozen=True)
class Case:
    """Real attention layers of a command, for one rank or for two.

    Attributes:
        model: a name in models.py.
        quantisation: of the attention, a key of models.QUANTISATIONS.
        int8_latents: whether the checkpoint has scales of int8 caches (fa_quant).
        heads: of a rank.
        ranks: 2 where a setting means nothing to one rank, else 1.
        speculative: tokens that are proposed per step.
        environ: environment variables of upstream.
        additional: additional_config, as JSON.
        overrides: of the model's configuration.
        kv_connector, kv_role: of the KV transfer, or empty.
        kv_cache_dtype, indexer_kv_dtype: of vllm serve, or empty.
        context_parallel: ranks that share a request's cache.
        max_tokens: of a step.
    """

    model: str
    quantisation: str
    int8_latents: bool
    heads: int
    ranks: int
    speculative: int
    environ: tuple[tuple[str, str], ...]
    additional: str
    overrides: tuple[tuple[str, object], ...]
    kv_connector: str
    kv_role: str
    kv_cache_dtype: str
    indexer_kv_dtype: str
    context_parallel: int
    max_tokens: int

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(values: dict) -> Case:
        pairs = ("environ", "overrides")
        lists = {name: tuple(tuple(pair) for pair in values[name]) for name in pairs}
        return Case(**{**values, **lists})


def of_row(row: Row) -> Case:
    """The case of a serve command."""
    s = row.settings
    model, heads = next((m, h) for name, m, h in _MODELS if name.search(row.model))
    tp = s["tensor_parallel_size"]
    tp_size = int(tp) if tp.isdigit() else _TP_OF_SCRIPTS
    environ = tuple((k, v) for k, v in s.items() if k.startswith("VLLM_ASCEND_"))
    additional: dict[str, object] = {k: s[k] == "true" for k in _FLAGS if k in s}
    if "enable_fused_mc2" in s:
        additional["enable_fused_mc2"] = int(s["enable_fused_mc2"] in ("1", "true"))
    if "layer_sharding" in s:
        additional["layer_sharding"] = s["layer_sharding"].split(",")
    if s.get("dynamic_eplb") == "true":
        additional["eplb_config"] = {"dynamic_eplb": True}
    overrides: list[tuple[str, object]] = []
    if "use_index_cache" in s:
        overrides.append(("use_index_cache", s["use_index_cache"] == "true"))
        overrides.append(("index_topk_freq", int(s["index_topk_freq"])))
    context_parallel = int(s.get("decode_context_parallel_size", "1"))
    consumer = s.get("kv_role") == "kv_consumer"
    return Case(
        model=model,
        quantisation=_quantisation(row),
        int8_latents="c8_attn" in row.model,
        heads=max(1, heads // tp_size),
        ranks=2 if _needs_ranks(s, context_parallel) else 1,
        speculative=int(s["speculative"].split(":")[1]) if "speculative" in s else 0,
        environ=environ,
        additional=json.dumps(additional, sort_keys=True),
        overrides=tuple(overrides),
        # No part of the plugin asks which connector it is.
        kv_connector="MooncakeConnectorV1" if consumer else "",
        kv_role="kv_consumer" if consumer else "",
        kv_cache_dtype=s.get("kv_cache_dtype", ""),
        indexer_kv_dtype=s.get("indexer_kv_dtype", ""),
        context_parallel=2 if context_parallel > 1 else 1,
        # Upstream asks whether MLAPO takes the largest step: at most 1,024 tokens.
        max_tokens=512 if int(s.get("max_num_batched_tokens", "8192")) <= 1024 else 4096,
    )


def _needs_ranks(settings: dict[str, str], context_parallel: int) -> bool:
    flags = ("enable_flashcomm1", "enable_dsa_cp", "VLLM_ASCEND_ENABLE_FLASHCOMM1")
    set_ = any(settings.get(flag) in ("1", "true") for flag in flags)
    return set_ or context_parallel > 1 or "layer_sharding" in settings


def _quantisation(row: Row) -> str:
    """Of the attention: msmodelslim's W8A8 is static for V3 and R1, dynamic for the others."""
    if row.settings.get("quantization") != "ascend":
        return "bf16"
    name = row.model.lower()
    static = re.search(r"r1|v3\.1", name) and "w8a8" in name and "c8_attn" not in name
    return "W8A8 static" if static else "W8A8 dynamic"
