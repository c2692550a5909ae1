"""Packs operands of the ops: FRACTAL_NZ matrices and 64-bit dequantisation scales.

FRACTAL_NZ is the layout in which the cube unit reads a matrix without rearranging it. A matrix
[rows, cols] becomes [cols / C0, rows, C0]: vertical strips of C0 columns, stored one after the
other with 32 bytes per row. Sixteen rows of a strip make one fractal.
Source: torch_npu.npu_format_cast, format 29 (ACL_FORMAT_FRACTAL_NZ).
"""

from __future__ import annotations

import torch

_C0 = {torch.float16: 16, torch.bfloat16: 16, torch.int8: 32}


def nd_to_nz(matrix: torch.Tensor) -> torch.Tensor:
    """Packs a row-major matrix into FRACTAL_NZ.

    Rows are not padded: a consumer that reads whole fractals needs a multiple of 16 of them.

    Args:
        matrix: [..., rows, cols], float16, bfloat16 or int8, any strides.

    Returns:
        [..., cols / C0, rows, C0], contiguous, of the same dtype; C0 is 16, or 32 for int8.

    Raises:
        ValueError: another dtype, fewer than two dimensions, or cols not a multiple of C0.
    """
    c0 = _fractal_width("matrix", matrix)
    if matrix.dim() < 2:
        raise ValueError(f"matrix: expected at least 2 dimensions, got {_describe(matrix)}")
    if matrix.shape[-1] % c0:
        raise ValueError(
            f"matrix: expected a multiple of {c0} columns for {matrix.dtype}, "
            f"got {_describe(matrix)}"
        )
    return matrix.unflatten(-1, (matrix.shape[-1] // c0, c0)).transpose(-2, -3).contiguous()


def nz_to_nd(packed: torch.Tensor) -> torch.Tensor:
    """Unpacks FRACTAL_NZ into a row-major matrix: the inverse of nd_to_nz.

    Args:
        packed: [..., cols / C0, rows, C0], float16, bfloat16 or int8, any strides.

    Returns:
        [..., rows, cols], contiguous, of the same dtype.

    Raises:
        ValueError: another dtype, fewer than three dimensions, or a last dimension other than C0.
    """
    c0 = _fractal_width("packed", packed)
    if packed.dim() < 3 or packed.shape[-1] != c0:
        raise ValueError(
            f"packed: expected shape [..., cols / {c0}, rows, {c0}] for {packed.dtype}, "
            f"got {_describe(packed)}"
        )
    return packed.transpose(-2, -3).flatten(-2).contiguous()


def pack_dequant_scale(scale: torch.Tensor) -> torch.Tensor:
    """Packs float32 scales into the 64-bit form that checkpoints of float16 models hold.

    Args:
        scale: float32, any shape.

    Returns:
        int64 of the same shape: the bits of the float32 in the low half, zeros above.

    Raises:
        ValueError: another dtype.
    """
    if scale.dtype != torch.float32:
        raise ValueError(f"scale: expected float32, got {scale.dtype}")
    return scale.contiguous().view(torch.int32).long() & 0xFFFFFFFF


def unpack_dequant_scale(scale: torch.Tensor) -> torch.Tensor:
    """The float32 scales, from packed or float32 ones: the inverse of pack_dequant_scale.

    torch_npu.npu_trans_quant_param packs the same way, but clears the 13 lowest bits and sets bit
    46, a flag.

    Args:
        scale: int64 with the bits of a float32 in the low half; the high half is ignored. A float32
            tensor is returned as it is.

    Raises:
        ValueError: another dtype.
    """
    if scale.dtype == torch.float32:
        return scale
    if scale.dtype != torch.int64:
        raise ValueError(f"scale: expected float32 or int64, got {scale.dtype}")
    return scale.to(torch.int32).view(torch.float32)


def _fractal_width(name: str, tensor: torch.Tensor) -> int:
    if tensor.dtype not in _C0:
        raise ValueError(f"{name}: expected float16, bfloat16 or int8, got {tensor.dtype}")
    return _C0[tensor.dtype]


def _describe(tensor: torch.Tensor) -> str:
    return f"shape {list(tensor.shape)}"
