"""Attention weights from a Hugging Face checkpoint in safetensors format.

Files are memory-mapped and only the rows and columns of the asked-for rank are read; pickle is
never involved. Tensor names and shapes are those of DeepseekV3ForCausalLM in transformers.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .dimensions import ModelDimensions
from .weights import MlaWeights

if TYPE_CHECKING:
    from safetensors import safe_open

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_ALL = slice(None)

# Weights of any other dtype (float8, int8) mean nothing without their scales.
_DTYPES = ("F64", "F32", "F16", "BF16")


def load_mla_weights(
    directory: str | os.PathLike[str],
    dims: ModelDimensions,
    layer: int,
    tp_rank: int,
    tp_size: int,
    dtype: torch.dtype | None = None,
) -> MlaWeights:
    """Loads the attention weights of one layer as rank `tp_rank` of `tp_size` holds them.

    Args:
        directory: holds model.safetensors.index.json and its shards, or model.safetensors.
        dims: the dimensions the checkpoint is expected to have.
        layer: index of the decoder layer.
        tp_rank: rank within the tensor-parallel group, 0 <= tp_rank < tp_size.
        tp_size: tensor-parallel degree.
        dtype: floating-point dtype of the result; None keeps the stored one.

    Returns:
        Contiguous tensors of their own, independent of the files.

    Raises:
        FileNotFoundError: the directory, its checkpoint, or a shard the index names is missing.
        ValueError: an argument is out of range, a file is corrupt, the index names a shard outside
            the directory, a projection has a bias, or a tensor is missing or has another shape or
            dtype than expected.
    """
    heads = dims.heads_per_rank(tp_size)
    if not 0 <= tp_rank < tp_size:
        raise ValueError(f"tp_rank: expected 0 <= tp_rank < {tp_size}, got {tp_rank}")
    if layer < 0:
        raise ValueError(f"layer: expected an index >= 0, got {layer}")
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating-point dtype, got {dtype}")
    checkpoint = _Checkpoint(directory)
    prefix = f"model.layers.{layer}.self_attn"

    def of_rank(per_head: int) -> slice:
        return slice(tp_rank * heads * per_head, (tp_rank + 1) * heads * per_head)

    def norm(name: str, size: int) -> torch.Tensor:
        return checkpoint.read(f"{prefix}.{name}.weight", (size,))

    def projection(
        name: str, shape: tuple[int, int], rows: slice = _ALL, columns: slice = _ALL
    ) -> torch.Tensor:
        if f"{prefix}.{name}.bias" in checkpoint:
            raise ValueError(f"tensor {prefix}.{name}.bias: expected a projection without bias")
        return checkpoint.read(f"{prefix}.{name}.weight", shape, rows, columns)

    hidden, q_lora, kv_lora = dims.hidden_size, dims.q_lora_rank, dims.kv_lora_rank
    q_size = dims.num_heads * dims.qk_head_dim
    kv_a = projection("kv_a_proj_with_mqa", (kv_lora + dims.qk_rope_head_dim, hidden))
    q_a_norm = q_a_norm_bias = None
    if q_lora is None:
        qkv_a = [kv_a]
        q_b = projection("q_proj", (q_size, hidden), of_rank(dims.qk_head_dim))
    else:
        qkv_a = [projection("q_a_proj", (q_lora, hidden)), kv_a]
        q_b = projection("q_b_proj", (q_size, q_lora), of_rank(dims.qk_head_dim))
        q_a_norm = _own([norm("q_a_layernorm", q_lora)], dtype)
        bias_name = f"{prefix}.q_a_layernorm.bias"
        if bias_name in checkpoint:
            q_a_norm_bias = _own([checkpoint.read(bias_name, (q_lora,))], dtype)

    kv_head_dim = dims.qk_nope_head_dim + dims.v_head_dim
    kv_b_shape = (dims.num_heads * kv_head_dim, kv_lora)
    kv_b = projection("kv_b_proj", kv_b_shape, of_rank(kv_head_dim))
    w_uk, w_uv = kv_b.view(heads, kv_head_dim, kv_lora).split(
        [dims.qk_nope_head_dim, dims.v_head_dim], dim=1
    )
    o_proj_shape = (hidden, dims.num_heads * dims.v_head_dim)
    return MlaWeights(
        qkv_a=_own(qkv_a, dtype),
        q_a_norm=q_a_norm,
        q_b=_own([q_b], dtype),
        w_uk=_own([w_uk], dtype),
        w_uv=_own([w_uv.transpose(1, 2)], dtype),
        kv_a_norm=_own([norm("kv_a_layernorm", kv_lora)], dtype),
        o_proj=_own([projection("o_proj", o_proj_shape, columns=of_rank(dims.v_head_dim))], dtype),
        q_a_norm_bias=q_a_norm_bias,
    )


def _own(parts: list[torch.Tensor], dtype: torch.dtype | None) -> torch.Tensor:
    """Concatenates memory-mapped parts along dimension 0, copying and converting only once."""
    rows = [part.shape[0] for part in parts]
    result = torch.empty((sum(rows), *parts[0].shape[1:]), dtype=dtype or parts[0].dtype)
    for target, part in zip(result.split(rows), parts, strict=True):
        target.copy_(part)
    return result


class _Checkpoint:
    """The tensors of a checkpoint directory by name, each read from the file that holds it."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        if not self._directory.is_dir():
            raise FileNotFoundError(f"directory: expected a checkpoint directory, got {directory}")
        index, single = self._directory / _INDEX, self._directory / _SINGLE
        if index.is_file():
            self._source, self._shards = index, _read_weight_map(index)
        elif single.is_file():
            self._source = single
            with _open(single) as file:
                self._shards = dict.fromkeys(file.keys(), _SINGLE)
        else:
            raise FileNotFoundError(f"{directory}: expected {_INDEX} or {_SINGLE}, found neither")

    def __contains__(self, name: str) -> bool:
        return name in self._shards

    def read(
        self, name: str, shape: tuple[int, ...], rows: slice = _ALL, columns: slice = _ALL
    ) -> torch.Tensor:
        """Rows and columns of tensor `name`, which must have `shape`; backed by the file."""
        if name not in self._shards:
            raise ValueError(f"{self._source}: tensor {name} is missing{self._near_names(name)}")
        path = self._shard_path(name)
        with _open(path) as file:
            if name not in file.keys():
                raise ValueError(f"{path}: tensor {name} is missing, though the index names it")
            tensor = file.get_slice(name)
            if tuple(tensor.get_shape()) != shape:
                raise ValueError(
                    f"{path}: tensor {name}: expected shape {list(shape)}, got {tensor.get_shape()}"
                )
            if tensor.get_dtype() not in _DTYPES:
                raise ValueError(
                    f"{path}: tensor {name}: expected an unquantised dtype "
                    f"({', '.join(_DTYPES)}), got {tensor.get_dtype()}"
                )
            return tensor[rows] if len(shape) == 1 else tensor[rows, columns]

    def _shard_path(self, name: str) -> Path:
        shard = self._shards[name]
        # Shards lie beside the index: a path would let a checkpoint read files elsewhere. Links
        # stay allowed, as the Hugging Face cache is made of them.
        if Path(shard).name != shard:
            raise ValueError(
                f"{self._source}: tensor {name}: expected a shard in the directory, got {shard!r}"
            )
        path = self._directory / shard
        if not path.is_file():
            raise FileNotFoundError(f"{self._source}: tensor {name}: shard {shard} does not exist")
        return path

    def _near_names(self, name: str) -> str:
        # Comparing with all of a large model's names would take seconds.
        module, parameter, _ = name.rsplit(".", 2)
        layer = module.removesuffix(".self_attn")
        candidates = [other for other in self._shards if parameter in other or layer in other]
        near = difflib.get_close_matches(name, candidates, n=3)
        return f"; similar names: {', '.join(near)}" if near else ""


def _open(path: Path) -> safe_open:
    # safetensors is an optional dependency: without it all but this loader works.
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError("reading a checkpoint needs the package safetensors") from None
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{path}: corrupt safetensors file: {error}") from None


def _read_weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError):
        weight_map = None
    if not isinstance(weight_map, dict) or not all(
        isinstance(shard, str) for shard in weight_map.values()
    ):
        raise ValueError(f"{index}: expected a JSON object with a weight_map from names to files")
    return weight_map
