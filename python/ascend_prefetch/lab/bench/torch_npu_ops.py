"""The work of the ops by torch_npu's own ops, as vLLM Ascend calls them, for comparison.

Sources: vllm-project/vllm-ascend v0.23.0, attention/mla_v1.py (_mla_preprocess, exec_kv_decode,
rope_single, _v_up_proj), attention/sfa_v1.py (the indexer, without Triton),
quantization/methods/w8a8_static.py and w8a8_dynamic.py; Ascend/op-plugin, docs/zh/custom_APIs. The
prefetches are those of pull request 6629 (commit 66b60c9440), as in bench/upstream.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ascend_prefetch.lab.bench.prolog import PrologInputs
from ascend_prefetch.lab.bench.upstream import MAX_O_PROJ_BYTES
from ascend_prefetch.linear import Linear, W8A8Linear
from ascend_prefetch.models import IndexerWeights, MlaWeights, ModelDimensions
from ascend_prefetch.packing import unpack_dequant_scale

_FRACTAL_NZ = 29  # ACL_FORMAT_FRACTAL_NZ


class Cmo:
    """Prefetches by torch_npu.npu_prefetch on a side stream, joined before a call ends."""

    def __init__(self, torch_npu: Any) -> None:
        self._torch_npu = torch_npu
        self._stream = torch_npu.npu.Stream()

    def prefetch(self, weight: torch.Tensor, behind: torch.Tensor, most_bytes: int) -> None:
        """Starts a prefetch after the work that is now on the current stream and makes `behind`."""
        npu = self._torch_npu.npu
        self._stream.wait_stream(npu.current_stream())
        with npu.stream(self._stream):
            self._torch_npu.npu_prefetch(weight, behind, most_bytes)

    def join(self) -> None:
        """Makes the current stream wait for the prefetches; required before a capture ends."""
        self._torch_npu.npu.current_stream().wait_stream(self._stream)


class LinearLayer:
    """One linear layer: F.linear, or quantisation and npu_quant_matmul.

    Attributes:
        weight: the weight as the matrix product reads it.
    """

    def __init__(self, torch_npu: Any, layer: Linear, dtype: torch.dtype, nz: bool) -> None:
        self._torch_npu, self._dtype = torch_npu, dtype
        self._layer = layer if isinstance(layer, W8A8Linear) else None
        weight = layer.weight if isinstance(layer, W8A8Linear) else layer
        self.weight = torch_npu.npu_format_cast(weight, _FRACTAL_NZ) if nz else weight
        if self._layer is None:
            return
        scale = unpack_dequant_scale(self._layer.dequant_scale)
        # float16 models store static scales packed.
        packed = dtype == torch.float16 and self._layer.input_scale is not None
        self._scale = torch_npu.npu_trans_quant_param(scale) if packed else scale
        if self._layer.input_scale is not None:
            size = weight.shape[0]
            self._reciprocal = (1 / self._layer.input_scale).to(dtype).repeat(size)
            offset = self._layer.input_offset
            self._offset = (
                torch.zeros_like(self._reciprocal)
                if offset is None
                else offset.to(dtype).repeat(size)
            )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [T, in] to [T, out], both of the activation dtype."""
        if self._layer is None:
            return F.linear(x, self.weight)
        token_scale = None
        if self._layer.input_scale is None:
            x, token_scale = self._torch_npu.npu_dynamic_quant(x)
        else:
            x = self._torch_npu.npu_quantize(
                x, self._reciprocal, self._offset, torch.qint8, -1, False
            )
        return self._torch_npu.npu_quant_matmul(
            x,
            self.weight,
            self._scale,
            pertoken_scale=token_scale,
            bias=self._layer.quant_bias,
            output_dtype=self._dtype,
        )


class MlaProlog:
    """mla_prolog by torch_npu's ops, on device tensors; the caches of `inputs` are written."""

    def __init__(
        self,
        torch_npu: Any,
        weights: MlaWeights,
        inputs: PrologInputs,
        dims: ModelDimensions,
        nz: bool,
    ) -> None:
        dtype = inputs.hidden_states.dtype
        self.torch_npu, self.weights, self.inputs, self.dims = torch_npu, weights, inputs, dims
        self.nz = nz
        self.qkv_a = LinearLayer(torch_npu, weights.qkv_a, dtype, nz)
        self.q_b = LinearLayer(torch_npu, weights.q_b, dtype, nz)
        # [T, 1, 1, 64] in the activation dtype, as the rope ops take them.
        self.cos = inputs.cos.to(dtype).view(-1, 1, 1, dims.qk_rope_head_dim)
        self.sin = inputs.sin.to(dtype).view(-1, 1, 1, dims.qk_rope_head_dim)

    def __call__(self, cmo: Cmo | None = None) -> tuple[torch.Tensor, ...]:
        """q_nope [T, N, kv_lora], q_rope [T, N, 64] and q_c [T, q_lora].

        The hidden states take the place of q_c in models without a query latent.
        """
        if cmo is not None:
            weight = self.qkv_a.weight
            cmo.prefetch(weight, self.inputs.hidden_states, weight.nbytes)
        results = self.project()
        if cmo is not None:
            cmo.join()
        return results

    def project(self) -> tuple[torch.Tensor, ...]:
        """The same results, without prefetches."""
        npu, weights, dims = self.torch_npu, self.weights, self.dims
        hidden = self.inputs.hidden_states
        tokens, rope = hidden.shape[0], dims.qk_rope_head_dim
        kv_lora, q_lora = dims.kv_lora_rank, dims.q_lora_rank or 0
        if q_lora:
            q_c, kv = self.qkv_a(hidden).split([q_lora, kv_lora + rope], dim=-1)
            q_c = npu.npu_rms_norm(q_c, weights.q_a_norm, dims.rms_norm_eps)[0]
            if weights.q_a_norm_bias is not None:
                q_c.add_(weights.q_a_norm_bias)
            kv = kv.contiguous()
        else:
            q_c, kv = hidden, self.qkv_a(hidden)
        heads, nope = weights.w_uk.shape[:2]
        query = self.q_b(q_c).view(tokens, heads, nope + rope)
        q_nope, q_pe = query.split([nope, rope], dim=-1)
        q_nope = torch.bmm(q_nope.transpose(0, 1), weights.w_uk).transpose(0, 1)
        # The op takes no bias: vLLM Ascend ignores kv_a_norm_bias, and so does this comparison.
        npu.npu_kv_rmsnorm_rope_cache(
            kv.view(tokens, 1, 1, kv_lora + rope),
            weights.kv_a_norm,
            self.cos,
            self.sin,
            self.inputs.slot_mapping,
            self.inputs.rope_cache.tensor,
            self.inputs.kv_cache.tensor,
            epsilon=dims.rms_norm_eps,
            cache_mode="PA",
        )
        q_pe = npu.npu_interleave_rope(q_pe.reshape(tokens, heads, 1, rope), self.cos, self.sin)
        return q_nope, q_pe.view(tokens, heads, rope), q_c


class SfaProlog:
    """sfa_prolog: MlaProlog and the indexer, whose weight projection is a separate product.

    The indexer's rope is the half-split one of npu_rotary_mul even where the model pairs
    neighbours, as in vLLM Ascend without Triton. The values differ then, but the number of bytes
    and kernels is the same.
    """

    def __init__(
        self, mla: MlaProlog, weights: IndexerWeights, cache: torch.Tensor, eps: float
    ) -> None:
        assert weights.weights_proj is not None  # fused weights are split when they are loaded
        dtype = mla.inputs.hidden_states.dtype
        self._mla, self._weights, self._cache, self._eps = mla, weights, cache, eps
        self._wq_b = LinearLayer(mla.torch_npu, weights.wq_b, dtype, mla.nz)
        self._wk = LinearLayer(mla.torch_npu, weights.wk, dtype, mla.nz)
        self._weights_proj = LinearLayer(mla.torch_npu, weights.weights_proj, dtype, mla.nz)

    def __call__(self, cmo: Cmo | None = None) -> tuple[torch.Tensor, ...]:
        """MlaProlog's results, then the indexer's queries [T, Hi, Di] and weights [T, Hi]."""
        mla = self._mla
        hidden = mla.inputs.hidden_states
        q_nope, q_rope, q_c = mla(cmo)
        size = self._weights.k_norm.shape[0]
        key = F.layer_norm(
            self._wk(hidden).float(),
            (size,),
            self._weights.k_norm.float(),
            self._weights.k_norm_bias.float(),
            self._eps,
        ).to(hidden.dtype)
        key = self._rotate(key.view(-1, 1, size)).view(-1, size)
        mla.torch_npu.npu_scatter_nd_update_(
            self._cache.view(-1, size), mla.inputs.slot_mapping.view(-1, 1), key
        )
        query = self._rotate(self._wq_b(q_c).view(hidden.shape[0], -1, size))
        return q_nope, q_rope, q_c, query, self._weights_proj(hidden)

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        rope = self._mla.dims.qk_rope_head_dim
        turned, kept = x.split([rope, x.shape[-1] - rope], dim=-1)
        turned = self._mla.torch_npu.npu_rotary_mul(
            turned.unsqueeze(2), self._mla.cos, self._mla.sin
        )
        return torch.cat([turned.squeeze(2), kept], dim=-1)


class OProj:
    """o_proj by torch_npu's ops, from the attention output [N, T, kv_lora]."""

    def __init__(
        self, torch_npu: Any, weights: MlaWeights, attn_output: torch.Tensor, nz: bool
    ) -> None:
        self._torch_npu, self._w_uv = torch_npu, weights.w_uv
        self._by_heads = attn_output.transpose(0, 1).contiguous()
        self._o_proj = LinearLayer(torch_npu, weights.o_proj, attn_output.dtype, nz)

    def __call__(self, cmo: Cmo | None = None) -> tuple[torch.Tensor, ...]:
        """The result, [T, hidden]."""
        values = self._torch_npu.npu_transpose_batchmatmul(
            self._by_heads, self._w_uv, perm_y=(1, 0, 2)
        ).flatten(1)
        if cmo is not None:
            weight = self._o_proj.weight
            cmo.prefetch(weight, values, min(weight.nbytes, MAX_O_PROJ_BYTES))
        result = self._o_proj(values)
        if cmo is not None:
            cmo.join()
        return (result,)


class Prefetch:
    """prefetch by npu_prefetch of the same bytes. Without `cmo` there is nothing to run."""

    def __init__(self, regions: Sequence[torch.Tensor], sizes: Sequence[int]) -> None:
        self._regions, self._sizes = regions, sizes

    def __call__(self, cmo: Cmo | None = None) -> tuple[torch.Tensor, ...]:
        """Prefetches the bytes and joins, so that they are in L2 when it ends."""
        if cmo is None:
            raise ValueError("prefetch: without npu_prefetch there are no separate ops")
        for region, size in zip(self._regions, self._sizes, strict=True):
            cmo.prefetch(region, region, size)
        cmo.join()
        return ()


def linear_product(
    torch_npu: Any, x: torch.Tensor, weight: torch.Tensor, nz: bool
) -> Callable[[], torch.Tensor]:
    """A plain 16-bit matrix product; the timing model has points of such products."""
    layer = LinearLayer(torch_npu, weight, x.dtype, nz)
    return lambda: layer(x)
