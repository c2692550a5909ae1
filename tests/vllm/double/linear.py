"""Quantisation and matrix products of torch_npu.

int8 products are summed exactly, 16-bit ones in fp32; each result is rounded once. Formulas: the
documentation of torch_npu in Ascend/op-plugin (npu_quantize, npu_dynamic_quant, npu_quant_matmul,
npu_transpose_batchmatmul) and, of batch_matmul_transpose, of vllm-ascend.
"""

from __future__ import annotations

import torch

from double import calls


def npu_format_cast(self, acl_format):
    """Another layout in memory behind the same shape, which a host tensor does not have."""
    calls.note("npu_format_cast")
    return self


def npu_quantize(self, scales, zero_points, dtype, axis=1, div_mode=True):
    """Static: int8(rint(x * scale + zero point)), saturated; scales are reciprocals here."""
    calls.note("npu_quantize")
    if div_mode or dtype is not torch.qint8:
        raise NotImplementedError(f"npu_quantize: div_mode {div_mode}, dtype {dtype}")
    scaled = self.float() * scales.float() + zero_points.float()
    return scaled.round().clamp(-128, 127).to(torch.int8)


def npu_dynamic_quant(x, *, smooth_scales=None, dst_type=torch.int8):
    """Per row: factor = 127 / max, int8(rint(x * factor)), and 1 / factor as its scale."""
    calls.note("npu_dynamic_quant")
    if smooth_scales is not None or dst_type is not torch.int8:
        raise NotImplementedError(f"npu_dynamic_quant: smooth_scales or dst_type {dst_type}")
    x = x.float()
    factor = 127.0 / x.abs().amax(-1, keepdim=True)
    quantized = torch.where(factor.isinf(), 0.0, x * factor).round().clamp(-128, 127)
    return quantized.to(torch.int8), (1.0 / factor).squeeze(-1)


def sums(x, weight):
    # 64-bit floats hold sums of int8 products exactly up to 2^53.
    return x.double() @ weight.double()


def npu_quant_matmul(
    x1, x2, scale, *, offset=None, pertoken_scale=None, bias=None, output_dtype=None, **other
):
    """x1: [T, in], x2: [in, out], int8; scale: [out]; bias: [out] int32; pertoken_scale: [T]."""
    calls.note("npu_quant_matmul")
    if offset is not None or any(value is not None for value in other.values()):
        raise NotImplementedError(f"npu_quant_matmul: {sorted(other)}")
    found = sums(x1, x2)
    if bias is not None:
        if bias.dtype is not torch.int32:
            raise NotImplementedError(f"npu_quant_matmul: bias {bias.dtype}")
        found = found + bias.double()
    if output_dtype is torch.int32:  # the sums, for an op that applies the scales
        return found.to(torch.int32)
    if scale.dtype is torch.int64:
        scale = scale.to(torch.int32).view(torch.float32)
    result = found.float() * scale.float()
    if pertoken_scale is not None:
        result = result * pertoken_scale.float().reshape(-1, 1)
    return result.to(output_dtype)


def npu_transpose_batchmatmul(
    input, weight, *, bias=None, scale=None, perm_x1=None, perm_x2=None, perm_y=None, **other
):
    calls.note("npu_transpose_batchmatmul")
    if bias is not None or scale is not None or perm_x2 not in (None, (0, 1, 2)) or other:
        raise NotImplementedError(f"npu_transpose_batchmatmul: {sorted(other)}")
    x = input.permute(*perm_x1) if perm_x1 is not None else input
    y = torch.bmm(x.float(), weight.float()).to(input.dtype)
    return y.permute(*perm_y).contiguous() if perm_y is not None else y


def _batch_matmul_transpose(tensor_a, tensor_b, tensor_c, format_mode=None, quant_mode=None):
    """tensor_a: [T, N, k]; tensor_b: [N, k, n]; tensor_c: [T, N, n], written."""
    calls.note("batch_matmul_transpose")
    product = torch.bmm(tensor_a.transpose(0, 1).float(), tensor_b.float())
    tensor_c.copy_(product.transpose(0, 1))


def register() -> None:
    """The op of torch.ops._C_ascend."""
    library = torch.library.Library("_C_ascend", "FRAGMENT")
    library.define(
        "batch_matmul_transpose(Tensor tensor_a, Tensor tensor_b, Tensor(a!) tensor_c, "
        "str? format_mode=None, str? quant_mode=None) -> ()"
    )
    library.impl("batch_matmul_transpose", _batch_matmul_transpose, "CPU")
    _libraries.append(library)


_libraries: list[torch.library.Library] = []  # an op lives as long as its library

OPS = {
    f.__name__: f
    for f in (
        npu_format_cast,
        npu_quantize,
        npu_dynamic_quant,
        npu_quant_matmul,
        npu_transpose_batchmatmul,
    )
}
