"""Small stand-ins for vLLM Ascend's attention, for tests without it.

They compute what upstream's methods of the same names compute, with torch alone; attention itself
is replaced by something that is easy to foresee. tests/vllm holds the plugin against the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import torch

from ascend_prefetch.vllm import fallback, neighbours, patch, regions, switch
from ascend_prefetch.vllm.arguments import indexer_arguments
from ascend_prefetch.vllm.caches import Int8Caches
from ascend_prefetch.vllm.linears import read_linear
from ascend_prefetch.vllm.windows.running import running

HIDDEN, Q_LORA, KV_LORA, NOPE, ROPE, V, HEADS = 128, 64, 64, 64, 64, 64, 2
INDEX_HEADS, INDEX_DIM = 16, 128
NAME = "model.layers.0.self_attn.attn"


@contextmanager
def fresh_plugin() -> Iterator[None]:
    """The plugin's own state as in a new process."""
    fallback.forget()
    regions.ledger.reset()
    patch._classes.clear()
    neighbours._layers.clear()  # of tests before, which are not collected yet
    running.forget()
    try:
        yield
    finally:
        switch.turn(True)


def run_layer(impl, caches, metadata, rows: int):
    """Output and caches of a forward of random rows, always the same."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(rows, HIDDEN, generator=generator).bfloat16()
    output = torch.full((rows, HIDDEN), 3.0, dtype=torch.bfloat16)
    assert impl.forward(NAME, hidden, caches, metadata, False, output) is output
    return output, *caches


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
        self.input_is_parallel = self.reduce_results = True
        self.tp_size, self.tp_rank = 1, 0

    def forward(self, x, **_):
        return torch.nn.functional.linear(x, self.weight), None


class Norm(torch.nn.Module):
    """RMSNorm of vLLM."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size, dtype=torch.bfloat16), False)
        self.variance_epsilon = 1e-6
        self.bias, self.bias_loaded = None, False

    def load_bias(self, bias):
        """As of a checkpoint whose outliers were moved before it was quantised."""
        self.bias = torch.nn.Parameter(bias.bfloat16(), requires_grad=False)
        self.bias_loaded = True

    def without_bias(self, x):
        """What npu_kv_rmsnorm_rope_cache computes: it takes no bias."""
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.variance_epsilon)

    def forward(self, x):
        x = self.without_bias(x)
        return x + self.bias if self.bias_loaded else x


class AscendMLAImpl:
    """Upstream's dense attention as far as the plugin knows it."""

    fa_quant_layer = False

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
            lora_config=None,
            model_config=SimpleNamespace(
                hf_config=SimpleNamespace(hidden_size=HIDDEN, intermediate_size=256)
            ),
            parallel_config=SimpleNamespace(
                tensor_parallel_size=1, data_parallel_size=1, use_ubatching=False
            ),
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
        kv_cache[0].view(-1, KV_LORA)[slots[kept]] = self.kv_a_layernorm.without_bias(kv_c)[kept]
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


class AscendSFAImpl(AscendMLAImpl):
    """Upstream's sparse attention as far as the plugin knows it."""

    def __init__(self, layer_name: str = "model.layers.0.self_attn.attn", **options) -> None:
        super().__init__(layer_name)
        self.has_indexer = options.get("has_indexer", True)
        self.skip_topk = not self.has_indexer
        self.use_index_cache = False
        self.is_rope_neox_style = True
        self.head_dim = INDEX_DIM
        if self.has_indexer:
            self.wq_b = Linear(Q_LORA, INDEX_HEADS * INDEX_DIM, 11)
            self.wk_weights_proj = Linear(HIDDEN, INDEX_DIM + INDEX_HEADS, 12)
            self.k_norm = torch.nn.LayerNorm(INDEX_DIM, eps=1e-6)

    def _get_indexcache_topk_indices(self, tokens):
        return torch.zeros(tokens, dtype=torch.int32)

    def _execute_sparse_flash_attention_process(self, q_nope, q_rope, caches, chosen, metadata, *_):
        # What the indexer chose shows in the result.
        return (q_nope + caches[0].view(-1, KV_LORA)[chosen].unsqueeze(1)).contiguous()

    def _v_up_proj(self, x):
        return torch.bmm(x.transpose(0, 1), self.W_UV).transpose(0, 1).reshape(-1, HEADS * V)

    def index(self, hidden, q_c, caches, metadata):
        """(queries, weights) of the indexer; writes its cache."""
        cos, sin = (t.view(-1, 1, ROPE).float() for t in (metadata.cos, metadata.sin))
        kw = self.wk_weights_proj(hidden)[0]
        key = self.k_norm(kw[:, :INDEX_DIM].float()).bfloat16().unsqueeze(1)
        kept = metadata.slot_mapping >= 0
        rows = half_split_rope(key, cos, sin).squeeze(1)[kept]
        caches[2].view(-1, INDEX_DIM)[metadata.slot_mapping[kept]] = rows
        q = self.wq_b(q_c)[0].view(-1, INDEX_HEADS, INDEX_DIM)
        return half_split_rope(q, cos, sin), kw[:, INDEX_DIM:]

    def forward(self, layer_name, hidden, kv_cache, metadata, gather=False, output=None):
        self.upstream_calls += 1
        metadata.decode = metadata
        q_nope, q_rope = self.prolog(hidden, kv_cache, metadata)
        chosen = self._get_indexcache_topk_indices(len(hidden))
        if self.has_indexer:
            q_c = self.fused_qkv_a_proj(hidden)[0][:, :Q_LORA]
            q, weights = self.index(hidden, self.q_a_layernorm(q_c), kv_cache, metadata)
            chosen = StandInSeam().select(self, q, weights, kv_cache, metadata)
        x = self._execute_sparse_flash_attention_process(q_nope, q_rope, kv_cache, chosen, metadata)
        output[...] = self.o_proj(self._v_up_proj(x))[0]
        return output


def half_split_rope(x, cos, sin):
    """The first elements of every head, of which halves are pairs; the others stay."""
    first, rest = x[..., :ROPE].float(), x[..., ROPE:]
    turned = torch.cat([-first[..., ROPE // 2 :], first[..., : ROPE // 2]], -1)
    return torch.cat([(first * cos + turned * sin).bfloat16(), rest], -1)


def interleave_rope(x, cos, sin):
    """torch_npu.npu_interleave_rope: pairs are neighbours before and halves after."""
    x = x.float()
    x = torch.cat([x[..., ::2], x[..., 1::2]], -1)
    turned = torch.cat([-x[..., ROPE // 2 :], x[..., : ROPE // 2]], -1)
    return (x * cos + turned * sin).bfloat16()


def with_biases(impl, kv_bias):
    """The layer, of a checkpoint with biases of both latent norms."""
    draw = torch.Generator().manual_seed(9)
    impl.q_a_layernorm.load_bias(0.1 * torch.randn(Q_LORA, generator=draw))
    impl.kv_a_layernorm.load_bias(kv_bias)
    impl.process_weights_after_loading(torch.bfloat16)
    return impl


class StandInWindows:
    """The windows of the stand-in's collectives; nothing is wrapped."""

    def __init__(self) -> None:
        self.broken: str | None = None
        self.overlap = False
        self.model: object | None = None

    def install(self) -> str | None:
        return self.broken

    def expert_ranks(self) -> int:
        return 16

    def shared_experts_overlap(self) -> bool:
        return self.overlap

    def running_model(self) -> object | None:
        return self.model


class StandInSeam:
    """A seam without vLLM; counts what it is told."""

    flash_comm = None
    gathers_rows = True
    trims_rows = False
    shares_indexers = True

    def __init__(self) -> None:
        self.context = SimpleNamespace()
        self.told: list[str] = []
        self.is_capturing = False
        self.rows = 0
        self.windows = StandInWindows()

    def mla_refusal(self, impl):
        return "fa_quant caches" if impl.fa_quant_layer else None

    def sfa_refusal(self, impl):
        return "int8 caches" if getattr(impl, "enable_sparse_li_c8", False) else None

    def keep_mla_weights(self, impl):
        """Nothing: the stand-ins have no fused prolog of their own."""

    keep_sfa_weights = keep_mla_weights

    def int8_caches(self, impl):
        return Int8Caches(latents=False, keys=False)

    def read_indexer(self, impl, watch):
        wk = read_linear("the indexer's wk_weights_proj", impl.wk_weights_proj, watch)
        return indexer_arguments(impl, watch, wk, None)

    def has_indexer(self, impl):
        return impl.has_indexer

    def before_mla_cache_write(self, impl, layer_name):
        pass

    def before_sfa_cache_write(self, impl, layer_name):
        self.told.append(f"wait {layer_name}")

    def sparse_caches(self, impl, kv_cache):
        return kv_cache

    def select(self, impl, q, weights, kv_cache, metadata):
        """A slot for every token, by its first score: far from a tie in these tests."""
        score = (q.float().sum(-1) * weights.float()).sum(-1)
        return (score > 0).int()

    def decode(self, impl, q_nope, q_rope, latent, rope, metadata, q_scale):
        size = latent.shape[1]
        return impl._forward_decode(q_nope, q_rope, latent, rope, size, metadata, q_scale)

    def sparse_attention(self, impl, q_nope, q_rope, kv_cache, chosen, metadata):
        return impl._execute_sparse_flash_attention_process(
            q_nope, q_rope, kv_cache, chosen, metadata
        )

    sfa_cache_written = mla_cache_written = lambda self, name: self.told.append(f"written {name}")
    sfa_done = mla_done = lambda self, name, kv_cache: self.told.append(f"done {name}")

    def forward_context(self):
        return self.context

    def all_reduce(self, partial):
        self.told.append(f"all_reduce {partial.shape[0]}")
        return partial

    def capturing(self):
        return self.is_capturing

    def padded_tokens(self):
        return self.rows


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


def sparse_metadata(tokens: int, *, actual: int | None = None):
    """Metadata of sparse attention."""
    dense = decode_metadata(tokens, actual=actual)
    return SimpleNamespace(
        slot_mapping=dense.slot_mapping,
        cos=dense.decode.cos,
        sin=dense.decode.sin,
        num_input_tokens=tokens,
        seq_lens_cpu=torch.full((tokens,), 40),
        cum_query_lens=None,
        seq_lens=None,
    )


def sparse_caches():
    """new_caches() and the indexer's."""
    generator = torch.Generator().manual_seed(8)
    return (*new_caches(), torch.randn(16, 16, 1, INDEX_DIM, generator=generator).bfloat16())
