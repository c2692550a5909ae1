"""What the plugin adds to a layer's two ops, in Python: python -m ascend_prefetch.vllm.overhead.

Layers of a stand-in for AscendMLAImpl run a step through the plugin; for comparison the same two
ops are called with arguments made beforehand. Both use stand-ins of the ops that return at once, so
the difference is the plugin's own work: it looks for changed weights, reads the step's metadata and
keeps the ledger. The time of the real ops on meta tensors, which check their arguments and compute
nothing, is the scale. Times are CPU times of this thread, the minimum of many repetitions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from ascend_prefetch.policy import PrefetchConfig

from .layer import FusedLayer
from .mla import DenseAttention

LAYERS = 61
HIDDEN, Q_LORA, KV_LORA, NOPE, ROPE, V, HEADS = 128, 64, 64, 64, 64, 64, 2


class UnquantizedLinearMethod:
    """The plugin recognises vLLM's class by this name."""


class _Linear(torch.nn.Module):
    def __init__(self, inputs: int, outputs: int, device: str) -> None:
        super().__init__()
        weight = torch.zeros(outputs, inputs, dtype=torch.bfloat16, device=device)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.quant_method = UnquantizedLinearMethod()
        self.custom_op = self.bias = None
        self.input_size = inputs
        self.input_is_parallel = self.reduce_results = True
        self.tp_size = 1


class _Norm(torch.nn.Module):
    def __init__(self, size: int, device: str) -> None:
        super().__init__()
        weight = torch.ones(size, dtype=torch.bfloat16, device=device)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.variance_epsilon = 1e-6


class _Attention:
    """The parts of AscendMLAImpl that a decode step needs; attention returns a ready result."""

    def __init__(self, *, layer_name: str, device: str, tokens: int) -> None:
        self.q_lora_rank, self.kv_lora_rank = Q_LORA, KV_LORA
        self.qk_rope_head_dim, self.v_head_dim, self.num_heads = ROPE, V, HEADS
        self.qk_nope_head_dim = NOPE
        self.fa_quant_layer = False
        self.fused_qkv_a_proj = _Linear(HIDDEN, Q_LORA + KV_LORA + ROPE, device)
        self.q_proj = _Linear(Q_LORA, HEADS * (NOPE + ROPE), device)
        self.o_proj = _Linear(HEADS * V, HIDDEN, device)
        self.q_a_layernorm, self.kv_a_layernorm = _Norm(Q_LORA, device), _Norm(KV_LORA, device)
        new: dict[str, Any] = {"dtype": torch.bfloat16, "device": device}
        self.W_UK_T = torch.zeros(HEADS, NOPE, KV_LORA, **new)
        self.W_UV = torch.zeros(HEADS, KV_LORA, V, **new)
        self.attention = torch.zeros(HEADS, tokens, 1, KV_LORA, **new)
        self.enable_kv_nz = False
        self.vllm_config = SimpleNamespace(
            lora_config=None,
            model_config=SimpleNamespace(
                hf_config=SimpleNamespace(hidden_size=HIDDEN, intermediate_size=0)
            ),
            parallel_config=SimpleNamespace(
                tensor_parallel_size=1, data_parallel_size=1, use_ubatching=False
            ),
            compilation_config=SimpleNamespace(static_forward_context={}),
        )

    def process_weights_after_loading(self, act_dtype: torch.dtype) -> None:
        pass

    def _forward_decode(self, *_: object) -> torch.Tensor:
        return self.attention


_SEAM: Any = SimpleNamespace(
    flash_comm=None,
    mla_refusal=lambda impl: None,
    keep_mla_weights=lambda impl: None,
    capturing=lambda: False,
    windows=SimpleNamespace(install=lambda: None, shared_experts_overlap=lambda: False),
    before_mla_cache_write=lambda *_: None,
    decode=lambda impl, *arguments: impl._forward_decode(*arguments),
    mla_cache_written=lambda layer_name: None,
    mla_done=lambda layer_name, kv_cache: None,
)


class _Layer(FusedLayer, _Attention):
    settings = PrefetchConfig(enabled=True)
    family = DenseAttention(_SEAM)


class _Inputs:
    """A decode step's tensors; every step gets new metadata and a new context."""

    def __init__(self, tokens: int, device: str) -> None:
        new: dict[str, Any] = {"dtype": torch.bfloat16, "device": device}
        self.tokens = tokens
        self.hidden = torch.zeros(tokens, HIDDEN, **new)
        self.output = torch.zeros(tokens, HIDDEN, **new)
        self.caches = tuple(torch.zeros(8, 16, 1, size, **new) for size in (KV_LORA, ROPE))
        self.tables = torch.zeros(tokens, 1, 1, ROPE, **new)
        self.slots = torch.arange(tokens, dtype=torch.int32).to(device)

    def metadata(self) -> SimpleNamespace:
        decode = SimpleNamespace(cos=self.tables, sin=self.tables, seq_lens_list=[40] * self.tokens)
        return SimpleNamespace(
            slot_mapping=self.slots,
            num_decodes=self.tokens,
            num_decode_tokens=self.tokens,
            num_prefills=0,
            decode=decode,
        )


def _layers(tokens: int, device: str) -> list[_Layer]:
    layers = []
    for number in range(LAYERS):
        name = f"model.layers.{number}.self_attn.attn"
        layers.append(_Layer(layer_name=name, device=device, tokens=tokens))
        layers[-1].process_weights_after_loading(torch.bfloat16)
    return layers


def _through_plugin(layers: list[_Layer], step: _Inputs) -> None:
    context, metadata = SimpleNamespace(), step.metadata()
    _SEAM.forward_context = lambda: context
    for layer in layers:
        layer.forward("", step.hidden, step.caches, metadata, step.output)


def _bare(layers: list[Any], step: _Inputs, ops: Any) -> None:
    table = step.tables.view(step.tokens, ROPE)
    for layer in layers:
        arguments = layer.fused_weights.arguments
        prolog, output = arguments.prolog, arguments.output
        weight = output.o_proj
        windows = {"prefetch": [weight], "prefetch_passing_bytes": [0]}
        ops.mla_prolog.default(
            step.hidden,
            *prolog.before,
            table,
            table,
            step.slots,
            *step.caches,
            **prolog.options,
            **windows,
        )
        latent = layer.attention.view(HEADS, step.tokens, KV_LORA).transpose(0, 1).contiguous()
        step.output[...] = ops.o_proj.default(latent, weight, **output.options, **windows)


def _us_per_layer(run: Callable[[], None], repetitions: int) -> float:
    run()
    times = []
    for _ in range(repetitions):
        start = time.thread_time_ns()
        run()
        times.append(time.thread_time_ns() - start)
    return min(times) / 1000 / LAYERS


def measure(tokens: int = 16, repetitions: int = 200) -> dict[str, float]:
    """Microseconds of Python per layer, that is, per two ops.

    Returns:
        plugin_us, bare_us and their difference added_us, all with stand-ins of the ops;
        torch_ops_us, of the two real ops on meta tensors; and ratio, added_us / torch_ops_us.
    """
    layers, step = _layers(tokens, "cpu"), _Inputs(tokens, "cpu")
    results = (step.hidden,) * 4
    stand_ins = SimpleNamespace(
        mla_prolog=SimpleNamespace(default=lambda *_, **__: results),
        o_proj=SimpleNamespace(default=lambda *_, **__: step.hidden),
    )
    real, _Layer.ops = _Layer.ops, stand_ins
    try:
        plugin = _us_per_layer(lambda: _through_plugin(layers, step), repetitions)
        bare = _us_per_layer(lambda: _bare(layers, step, stand_ins), repetitions)
    finally:
        _Layer.ops = real
    layers, step = _layers(tokens, "meta"), _Inputs(tokens, "meta")
    real_us = _us_per_layer(lambda: _real(layers, step, real), repetitions)
    added = plugin - bare
    return {
        "plugin_us": plugin,
        "bare_us": bare,
        "added_us": added,
        "torch_ops_us": real_us,
        "ratio": added / real_us,
    }


def _real(layers: list[Any], step: _Inputs, ops: Any) -> None:
    """The two ops alone: their dispatch and checks."""
    table = step.tables.view(step.tokens, ROPE)
    latent = torch.empty(step.tokens, HEADS, KV_LORA, dtype=torch.bfloat16, device="meta")
    for layer in layers:
        arguments = layer.fused_weights.arguments
        prolog, output = arguments.prolog, arguments.output
        weight = output.o_proj
        ops.mla_prolog.default(
            step.hidden, *prolog.before, table, table, step.slots, *step.caches, **prolog.options
        )
        ops.o_proj.default(latent, weight, **output.options)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=16, help="rows of the step")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments.tokens)
    if arguments.json:
        print(json.dumps(result))
        return
    print(
        f"{result['added_us']:.1f} us of Python per layer beside its two ops "
        f"({result['plugin_us']:.1f} - {result['bare_us']:.1f}); "
        f"two calls of torch.ops take {result['torch_ops_us']:.1f} us, ratio {result['ratio']:.2f}"
    )


if __name__ == "__main__":
    main()
