"""Real attention layers of vLLM with vLLM Ascend's implementation, loaded by their own loaders."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import torch

import environment
import models

PREFIX = "model.layers.{}.self_attn"
_FUSED = {  # the name in the model: those in checkpoints, in the order of their shards
    "fused_qkv_a_proj": ("q_a_proj", "kv_a_proj_with_mqa"),
    "indexer.wk_weights_proj": ("indexer.wk", "indexer.weights_proj"),
}


class Layers:
    """Attention layers of one model, in a configuration of their own.

    Attributes:
        config: their VllmConfig.
        modules: DeepseekV2MLAAttention, one per layer.
        names: of their attention and, where it has metadata of its own, of their indexers' caches;
            metadata is keyed by them.
        builders: of metadata, by name, as a model runner keeps them.
    """

    def __init__(
        self,
        model: models.Model,
        quantisation: str,
        *,
        count: int = 1,
        additional: dict | None = None,
        speculative: int = 0,
        overrides: dict | None = None,
        kv_role: str | None = None,
        mlapo: bool = False,
        int8_latents: bool = False,
        seed: int = 0,
        prepare: Callable[[object], None] | None = None,
    ):
        """
        Args:
            model: whose layers they are.
            quantisation: one of models.QUANTISATIONS.
            count: number of layers.
            additional: --additional-config.
            speculative: tokens that a draft model proposes.
            overrides: of the model's configuration.
            kv_role: see environment.configuration.
            mlapo: whether upstream may prepare its fused op MLAPO.
            int8_latents: see models.quant_description.
            seed: of the first layer's checkpoint.
            prepare: given the VllmConfig before anything is built from it.
        """
        environment.start()

        self.model = model
        self.hf_config = c = model.configuration()
        for key, value in (overrides or {}).items():
            setattr(c, key, value)
        description = models.quant_description(model, quantisation, count, int8_latents)
        quant = None
        if description is not None:
            quant = _quantisation_config()(description)
            # As vLLM does with a model's own mapping; releases before 0.27 have theirs.
            quant.packed_modules_mapping = {
                "gate_up_proj": ["gate_proj", "up_proj"],
                "fused_qkv_a_proj": list(_FUSED["fused_qkv_a_proj"]),
            }
        # Its fused kernel rounds otherwise than the ops that upstream composes without it.
        additional = {"enable_mlapo": mlapo, **(additional or {})}
        self.config = environment.configuration(
            c, quant=quant, additional=additional, speculative=speculative, kv_role=kv_role
        )
        if prepare is not None:
            prepare(self.config)
        buffer = None
        if model.sparse:
            buffer = torch.zeros(environment.MAX_TOKENS, c.index_topk, dtype=torch.int32)
        _forget_rope()
        self.modules = []
        with (
            environment.mlapo(mlapo),
            environment.context(self.config),
            _default_dtype(torch.bfloat16),
        ):
            for layer in range(count):
                self.modules.append(self._new(layer, quant, buffer))
            for layer, module in enumerate(self.modules):
                tensors = models.checkpoint(model, quantisation, seed + layer, int8_latents)
                _load(module, tensors)
                self._loaded(layer)
            _make_rope_buffers(self.config)
        self._rope = _rope()
        self.names = [f"{PREFIX.format(layer)}.attn" for layer in range(count)]
        for impl in self.impls:
            if getattr(impl, "runtime_has_indexer", False):  # since 0.28
                self.names.append(impl.indexer.k_cache.prefix)
        self.builders: dict = {}

    def _new(self, layer: int, quant, buffer):
        """The attention of a layer, built in the context of its configuration."""
        from vllm.model_executor.models.deepseek_v2 import DeepseekV2MLAAttention

        c = self.hf_config
        return DeepseekV2MLAAttention(
            vllm_config=self.config,
            config=c,
            hidden_size=c.hidden_size,
            num_heads=c.num_attention_heads,
            qk_nope_head_dim=c.qk_nope_head_dim,
            qk_rope_head_dim=c.qk_rope_head_dim,
            v_head_dim=c.v_head_dim,
            q_lora_rank=c.q_lora_rank,
            kv_lora_rank=c.kv_lora_rank,
            max_position_embeddings=c.max_position_embeddings,
            cache_config=self.config.cache_config,
            quant_config=quant,
            prefix=PREFIX.format(layer),
            topk_indices_buffer=buffer,
        )

    def _loaded(self, layer: int) -> None:
        """After the weights of a layer's attention were loaded."""
        process(self.modules[layer])

    def enter(self) -> None:
        """Brings back this model's tables of sines, which are one for a process upstream."""
        from vllm_ascend.ops import rotary_embedding

        for name, table in self._rope.items():
            setattr(rotary_embedding, name, table)

    @property
    def impls(self):
        return [module.mla_attn.mla_attn.impl for module in self.modules]


def _quantisation_config() -> type:
    for package in ("quantization.configs", "quantization"):
        name = f"vllm_ascend.{package}.modelslim_config"
        if importlib.util.find_spec(f"vllm_ascend.{package}") and importlib.util.find_spec(name):
            return importlib.import_module(name).AscendModelSlimConfig
    raise ModuleNotFoundError("modelslim_config")


_ROPE = ("_cos_mla", "_sin_mla", "_cos_cache", "_sin_cache", "_cos_sin_cache")


def _rope() -> dict:
    from vllm_ascend.ops import rotary_embedding

    return {name: getattr(rotary_embedding, name) for name in _ROPE}


def _forget_rope() -> None:
    from vllm.model_executor.layers import rotary_embedding as vllm_rope
    from vllm_ascend.ops import rotary_embedding

    vllm_rope._ROPE_DICT.clear()
    for name in _ROPE:
        setattr(rotary_embedding, name, None)


def _make_rope_buffers(config) -> None:
    from vllm_ascend.ops.rotary_embedding import set_cos_and_sin

    set_cos_and_sin(config, 64, 1, torch.bfloat16, torch.device("cpu"))


class _default_dtype:
    def __init__(self, dtype):
        self.dtype = dtype

    def __enter__(self):
        self.before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *_):
        torch.set_default_dtype(self.before)


def _load(module, tensors: dict[str, torch.Tensor]) -> None:
    """As the model's load_weights does: a parameter's own loader, with the shard of fused ones."""
    parameters = dict(module.named_parameters())
    left = dict.fromkeys(parameters)
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        arguments = (tensor,)
        for fused, shards in _FUSED.items():
            if layer in shards and f"{fused}.{kind}" in parameters:
                name, arguments = f"{fused}.{kind}", (tensor, shards.index(layer))
        if layer.startswith("fa_"):
            name = f"mla_attn.mla_attn.{name}"
        if name not in parameters:
            if module.indexer is None and layer.startswith("indexer"):
                continue  # a layer that shares another's indexer
            raise KeyError(f"{name} is not among {sorted(parameters)}")
        parameter = parameters[name]
        loader = getattr(parameter, "weight_loader", None) or _copy
        loader(parameter, *arguments)
        left.pop(name, None)
    if left:
        raise KeyError(f"not loaded: {sorted(left)}")


def _copy(parameter, tensor) -> None:
    assert parameter.shape == tensor.shape, (parameter.shape, tensor.shape)
    parameter.data.copy_(tensor)


def process(module) -> None:
    """vLLM's process_weights_after_loading of an attention: its linear layers first."""
    process_parts(module)
    module.mla_attn.mla_attn.process_weights_after_loading(torch.bfloat16)


def process_parts(module) -> None:
    """Prepares the weights of all layers in a module that have a method of quantisation."""
    from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase

    for part in module.modules():
        method = getattr(part, "quant_method", None)
        if isinstance(method, QuantizeMethodBase):
            method.process_weights_after_loading(part)
