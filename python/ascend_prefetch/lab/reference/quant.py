"""W8A8 arithmetic: quantised activations and int32 sums exact to the bit, then float64.

Every float32 operation is rounded once and integers are rounded half to even:

- static: x * (1 / input_scale) + input_offset, as in vllm-ascend's mla_preprocess
  (csrc/mla_preprocess/op_kernel/mla_preprocess_mix_bf16.hpp, which additionally rounds to float16
  in between). Its unfused path holds the reciprocal in the dtype of the activations instead
  (quantization/methods/w8a8_static.py).
- dynamic: x * (127 / absmax), as in npu_dynamic_quant of CANN 8.1 (ascendc/dynamic_quant). A row
  whose 127 / absmax is not finite, such as one of zeros, gives zeros and the scale 0.
"""

from __future__ import annotations

import torch

from ascend_prefetch.linear import Linear, W8A8Linear
from ascend_prefetch.packing import unpack_dequant_scale

from ._tensors import CHUNK, check_rank, check_same, check_shape, linear64

_INT32 = torch.iinfo(torch.int32)


def quantise_static(
    x: torch.Tensor, input_scale: torch.Tensor, input_offset: torch.Tensor | None = None
) -> torch.Tensor:
    """saturate(round(x * (1 / input_scale) + input_offset)).

    Args:
        x: any shape, bfloat16, float16 or float32.
        input_scale: [1] float32.
        input_offset: [1] float32, or None for 0.

    Returns:
        int8, the shape of x.

    Raises:
        ValueError: a shape or dtype does not match.
    """
    _check_scalar("input_scale", input_scale)
    scaled = x.float() * _divide(1.0, input_scale)
    if input_offset is not None:
        _check_scalar("input_offset", input_offset)
        scaled = scaled + input_offset
    return _saturate(scaled)


def quantise_dynamic(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """round(x * (127 / absmax)) of each row, and the row's scale absmax / 127.

    Args:
        x: [..., size], bfloat16, float16 or float32.

    Returns:
        int8, the shape of x; and the scales [...], float32.
    """
    x = x.float()
    if not x.numel():
        return x.to(torch.int8), x.new_zeros(x.shape[:-1])
    absmax = x.abs().amax(-1)
    multiplier = _divide(127.0, absmax)
    usable = multiplier.isfinite()
    scale = _divide(absmax, 127.0).where(usable, 0.0)
    return _saturate(x * multiplier.where(usable, 0.0).unsqueeze(-1)), scale


def quantise_latent(kv_c: torch.Tensor, kv_cache_scale: torch.Tensor) -> torch.Tensor:
    """Rows of an int8 latent cache: saturate(round(kv_c * (1 / kv_cache_scale))) in float32.

    Args:
        kv_c: [T, kv_lora], the normed latent, unrounded.
        kv_cache_scale: [1] float32.

    Returns:
        int8 [T, kv_lora]. An op's own float32 latent may differ from this one in its last bits,
        so that its int8 value may differ by one where the latent lies on a tie.

    Raises:
        ValueError: kv_cache_scale is not [1] float32.
    """
    _check_scalar("kv_cache_scale", kv_cache_scale)
    return _saturate(kv_c.float() * _divide(1.0, kv_cache_scale))


def int8_matmul(
    x: torch.Tensor, weight: torch.Tensor, quant_bias: torch.Tensor | None = None
) -> torch.Tensor:
    """The integer sums x @ weight + quant_bias, exact.

    Args:
        x: [T, in] int8.
        weight: [in, out] int8.
        quant_bias: [out] int32, or None.

    Returns:
        [T, out] int64, within the range of int32.

    Raises:
        ValueError: a shape or dtype does not match, or a sum leaves the range of int32.
    """
    for name, tensor in (("x", x), ("weight", weight)):
        check_rank(name, tensor, 2)
        _check_dtype(name, tensor, torch.int8)
    size, out = weight.shape
    check_shape("x", x, (x.shape[0], size))
    columns = max(1, CHUNK // max(1, size))
    # float64 products are exact, as sums stay below 2^53, and much faster than integer ones.
    sums = torch.cat([x.double() @ w.double() for w in weight.split(columns, dim=1)], dim=1).long()
    if quant_bias is not None:
        check_shape("quant_bias", quant_bias, (out,))
        _check_dtype("quant_bias", quant_bias, torch.int32)
        sums += quant_bias
    if sums.numel() and (sums.min() < _INT32.min or sums.max() > _INT32.max):
        raise ValueError("x: expected sums that int32 can hold")
    return sums


def dequantise(
    sums: torch.Tensor, dequant_scale: torch.Tensor, token_scale: torch.Tensor | None = None
) -> torch.Tensor:
    """sums * dequant_scale * token_scale in float64.

    Args:
        sums: [T, out], integers.
        dequant_scale: [out] float32, or packed into int64.
        token_scale: [T] float32 of dynamic layers, or None.

    Raises:
        ValueError: a shape or dtype does not match.
    """
    check_shape("dequant_scale", dequant_scale, sums.shape[-1:])
    result = sums.double() * unpack_dequant_scale(dequant_scale).double()
    if token_scale is not None:
        check_shape("token_scale", token_scale, sums.shape[:1])
        result *= token_scale.double().unsqueeze(-1)
    return result


def w8a8_linear(x: torch.Tensor, layer: W8A8Linear) -> torch.Tensor:
    """A W8A8 layer: quantised activations and exact sums, dequantised in float64.

    Args:
        x: [T, in], of the dtype that the layer quantises from.
        layer: a layer whose weight is row-major.

    Returns:
        [T, out] float64.

    Raises:
        ValueError: a shape or dtype does not match.
    """
    if layer.input_scale is not None:
        values, token_scale = quantise_static(x, layer.input_scale, layer.input_offset), None
    else:
        values, token_scale = quantise_dynamic(x)
    sums = int8_matmul(values, layer.weight, layer.quant_bias)
    return dequantise(sums, layer.dequant_scale, token_scale)


def linear(x: torch.Tensor, layer: Linear, dtype: torch.dtype) -> torch.Tensor:
    """x through a layer of either kind, in float64.

    Args:
        x: [T, in].
        layer: [out, in], or W8A8.
        dtype: the dtype to which x is rounded before a W8A8 layer quantises it; 16-bit layers take
            x unchanged.
    """
    if isinstance(layer, W8A8Linear):
        return w8a8_linear(x.to(dtype), layer)
    return linear64(x, layer)


def check_linear(name: str, layer: Linear, shape: tuple[int, int]) -> None:
    """Raises ValueError unless a layer of either kind has shape (out, in)."""
    if isinstance(layer, W8A8Linear):
        check_same(name, tuple(layer.weight.shape), shape[::-1])
    else:
        check_shape(name, layer, shape)


def _divide(dividend: torch.Tensor | float, divisor: torch.Tensor | float) -> torch.Tensor:
    """The quotient, rounded once; `number / tensor` would round both reciprocal and product."""
    return torch.div(*torch.broadcast_tensors(torch.as_tensor(dividend), torch.as_tensor(divisor)))


def _saturate(x: torch.Tensor) -> torch.Tensor:
    return x.round().clamp(-128, 127).to(torch.int8)


def _check_scalar(name: str, tensor: torch.Tensor) -> None:
    check_shape(name, tensor, (1,))
    _check_dtype(name, tensor, torch.float32)


def _check_dtype(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> None:
    if tensor.dtype != dtype:
        raise ValueError(f"{name}: expected {dtype}, got {tensor.dtype}")
