"""Small stand-ins for vLLM Ascend's attention, for tests without it.

They compute what upstream's methods of the same names compute, with torch alone; attention itself
is replaced by something that is easy to foresee. tests/vllm holds the plugin against the real one.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch

HIDDEN, Q_LORA, KV_LORA, NOPE, ROPE, V, HEADS = 128, 64, 64, 64, 64, 64, 2
INDEX_HEADS, INDEX_DIM = 16, 128


class UnquantizedLinearMethod:
    """Named as vLLM's, which is how the plugin tells it."""


class AscendW8A8LinearMethod:
    """Named as vLLM Ascend's."""


class AscendW8A8DynamicLinearMethod:
    """Named as vLLM Ascend's."""


class Linear(torch.nn.Module):
    """A linear layer of vLLM after loading, on one rank."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        self.weight = torch.nn.Parameter(weight.bfloat16(), requires_grad=False)
        self.quant_method = UnquantizedLinearMethod()
        self.custom_op = self.bias = None
        self.input_size = self.input_size_per_partition = inputs
        self.reduce_results, self.tp_size, self.tp_rank = True, 1, 0

    def forward(self, x, **_):
        return torch.nn.functional.linear(x, self.weight), None


class Norm(torch.nn.Module):
    """RMSNorm of vLLM."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size, dtype=torch.bfloat16), False)
        self.variance_epsilon = 1e-6

    def forward(self, x):
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.variance_epsilon)


class AscendMLAImpl:
    """Upstream's dense attention as far as the plugin knows it."""

    def __init__(self, layer_name: str = "model.layers.0.self_attn.attn", **_) -> None:
        self.q_lora_rank, self.kv_lora_rank = Q_LORA, KV_LORA
        self.qk_nope_head_dim, self.qk_rope_head_dim, self.v_head_dim = NOPE, ROPE, V
        self.num_heads = HEADS
        self.fused_qkv_a_proj = Linear(HIDDEN, Q_LORA + KV_LORA + ROPE, 1)
        self.q_proj = Linear(Q_LORA, HEADS * (NOPE + ROPE), 2)
        self.kv_b_proj = Linear(KV_LORA, HEADS * (NOPE + V), 3)
        self.o_proj = Linear(HEADS * V, HIDDEN, 4)
        self.q_a_layernorm, self.kv_a_layernorm = Norm(Q_LORA), Norm(KV_LORA)
        self.enable_kv_nz = False
        self.layer_name = layer_name
        self.vllm_config = SimpleNamespace(
            model_config=SimpleNamespace(
                hf_config=SimpleNamespace(hidden_size=HIDDEN, intermediate_size=256)
            ),
            parallel_config=SimpleNamespace(tensor_parallel_size=1),
            compilation_config=SimpleNamespace(static_forward_context={}),
        )
        self.upstream_calls = 0

    def process_weights_after_loading(self, act_dtype) -> None:
        weight = self.kv_b_proj.weight.data.T.view(KV_LORA, HEADS, NOPE + V)
        w_uk, w_uv = weight.split([NOPE, V], dim=-1)
        self.W_UV = w_uv.transpose(0, 1).contiguous()
        self.W_UK_T = w_uk.permute(1, 2, 0).contiguous()

    def _v_up_proj(self, x):
        x = torch.bmm(x.view(HEADS, -1, KV_LORA), self.W_UV)
        return x.transpose(0, 1).reshape(-1, HEADS * V)

    def _forward_decode(self, q_nope, q_rope, latent, rope, size, metadata, scale=None):
        # [N, T, 1, kv_lora]: every head sees its query and the latest latent row.
        rows = latent.view(-1, KV_LORA)[metadata.slot_mapping[: q_nope.shape[0]]]
        attention = (q_nope + rows.unsqueeze(1)).transpose(0, 1).unsqueeze(2)
        return self._v_up_proj(attention.contiguous())

    def prolog(self, hidden, kv_cache, metadata):
        """q_nope and q_rope as upstream's own path has them; writes the caches."""
        q_c, kv_c, k_rope = self.fused_qkv_a_proj(hidden)[0].split([Q_LORA, KV_LORA, ROPE], -1)
        q = self.q_proj(self.q_a_layernorm(q_c))[0].view(-1, HEADS, NOPE + ROPE)
        q_nope, q_rope = q.split([NOPE, ROPE], -1)
        q_nope = torch.bmm(q_nope.transpose(0, 1), self.W_UK_T).transpose(0, 1)
        tokens = hidden.shape[0]
        cos = metadata.decode.cos[:tokens].view(tokens, 1, ROPE).float()
        sin = metadata.decode.sin[:tokens].view(tokens, 1, ROPE).float()
        slots = metadata.slot_mapping[:tokens]
        kept = slots >= 0
        kv_cache[0].view(-1, KV_LORA)[slots[kept]] = self.kv_a_layernorm(kv_c)[kept]
        k_rope = interleave_rope(k_rope.unsqueeze(1), cos, sin).squeeze(1)
        kv_cache[1].view(-1, ROPE)[slots[kept]] = k_rope[kept]
        return q_nope, interleave_rope(q_rope, cos, sin)

    def forward(self, layer_name, hidden, kv_cache, metadata, gather=False, output=None):
        self.upstream_calls += 1
        if metadata is None:
            return output.fill_(0)
        tokens = metadata.num_decode_tokens
        q_nope, q_rope = self.prolog(hidden[:tokens], kv_cache, metadata)
        padded = hidden.new_zeros(output.shape[0], HEADS * V)
        padded[:tokens] = self._forward_decode(q_nope, q_rope, *kv_cache, 16, metadata)
        output[...] = self.o_proj(padded)[0]
        return output


def interleave_rope(x, cos, sin):
    """torch_npu.npu_interleave_rope: pairs are neighbours before and halves after."""
    x = x.float()
    x = torch.cat([x[..., ::2], x[..., 1::2]], -1)
    turned = torch.cat([-x[..., ROPE // 2 :], x[..., : ROPE // 2]], -1)
    return (x * cos + turned * sin).bfloat16()


class StandInSeam:
    """A seam without vLLM; counts what it is told."""

    def __init__(self) -> None:
        self.context = SimpleNamespace()
        self.told: list[str] = []
        self.is_capturing = False

    def mla_refusal(self, impl):
        return "fa_quant caches" if getattr(impl, "fa_quant_layer", False) else None

    def forward_context(self):
        return self.context

    def all_reduce(self, partial):
        self.told.append("all_reduce")
        return partial

    def capturing(self):
        return self.is_capturing

    def padded_tokens(self):
        return self.rows

    def mla_cache_written(self, layer_name):
        self.told.append(f"written {layer_name}")

    def mla_done(self, layer_name, kv_cache):
        self.told.append(f"done {layer_name}")


def decode_metadata(tokens: int, *, actual: int | None = None, prefills: int = 0):
    """Metadata of a decode step; slots beyond `actual` are padding."""
    angle = torch.arange(tokens).view(-1, 1) * torch.logspace(0, -3, ROPE // 2)
    table = [
        f(torch.cat([angle, angle], -1)).bfloat16().view(-1, 1, 1, ROPE)
        for f in (torch.cos, torch.sin)
    ]
    slots = torch.arange(tokens, dtype=torch.int32) * 3 + 5
    if actual is not None:
        slots[actual:] = -1
    metadata = SimpleNamespace(
        slot_mapping=slots,
        num_decodes=tokens,
        num_decode_tokens=tokens,
        num_prefills=prefills,
        decode=SimpleNamespace(cos=table[0], sin=table[1], seq_lens_list=[40] * tokens),
    )
    return metadata


def new_caches():
    """Sixteen blocks of sixteen rows, filled with something."""
    generator = torch.Generator().manual_seed(7)
    return tuple(
        torch.randn(16, 16, 1, size, generator=generator).bfloat16() for size in (KV_LORA, ROPE)
    )
