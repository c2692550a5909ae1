"""Attention weights from a Hugging Face checkpoint in safetensors format.

Tensor names and shapes are those of DeepseekV3ForCausalLM, DeepseekV32ForCausalLM and
LongcatFlashForCausalLM in transformers. W8A8 layers are those of msmodelslim's AscendV1 format
(gitcode.com/Ascend/msmodelslim, docs/zh/quantization_formats/ascendv1.md), read the way vllm-ascend
0.23 does (quantization/methods/w8a8_static.py, w8a8_dynamic.py): beside `weight` int8 [out, in],

- W8A8 and W8A8_MIX have input_scale [1], input_offset [1], quant_bias [out] int32 and deq_scale
  [out], float32 or packed into int64; W8A8_MIX also has the tensors of W8A8_DYNAMIC, for prefill;
- W8A8_DYNAMIC has weight_scale [out, 1] and weight_offset [out, 1], all zeros.

C8 checkpoints have the scale of int8 latents beside them, fa_k.scale [1, 1] (upstream's
quantization/methods/kv_c8.py): it becomes MlaWeights.kv_cache_scale. Weights of 4 bits: see
int4_weights.

Weights of 8 bits that no op takes, E4M3 and int8 with a scale for each block, and int8 weights of
layers that have 16 bits in the ops (kv_b_proj), are dequantised: see dequantise.

Every tensor of an attention module is either read, or known not to change any result of the ops, or
refused by name: see unread_tensors.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from typing import Any, NamedTuple

import torch

from ascend_prefetch.linear import Linear, W8A8Linear
from ascend_prefetch.shown import shown

from . import int4_weights
from .checkpoint_files import ALL, CheckpointFiles
from .dequantise import dequantise, scaled_block
from .dimensions import ModelDimensions
from .unread_tensors import is_irrelevant, why_refused
from .weights import IndexerWeights, MlaWeights, indexer_weight_shapes

# The decoder layers; those of a multi-modal model as its publisher and as transformers name them.
_LAYERS = ("model.layers", "language_model.model.layers", "model.language_model.layers")
_FLOATS = ("F64", "F32", "F16", "BF16")
_HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}
_MLA_MODULES = (
    "q_a_proj",
    "q_a_layernorm",
    "q_b_proj",
    "q_proj",
    "kv_a_proj_with_mqa",
    "kv_a_layernorm",
    "kv_b_proj",
    "o_proj",
)
_INDEXER_MODULES = ("indexer.wq_b", "indexer.wk", "indexer.k_norm", "indexer.weights_proj")
_E4M3 = "F8_E4M3"
_SCALES = ("F32", "BF16", "F16", "F8_E8M0")
_STATIC_TYPES = ("W8A8", "W8A8_MIX")
_DYNAMIC_TYPE = "W8A8_DYNAMIC"


def load_mla_weights(
    directory: str | os.PathLike[str],
    dims: ModelDimensions,
    layer: int,
    tp_rank: int,
    tp_size: int,
    dtype: torch.dtype | None = None,
    ignored: Collection[str] = (),
) -> MlaWeights:
    """Loads the attention weights of one layer as rank `tp_rank` of `tp_size` holds them.

    The factors that LongCat multiplies its latents with, dims.q_lora_scale and kv_lora_scale, are
    folded into the norm weights (and biases), rounded to their dtype, as vllm 0.23 does at load
    time (model_executor/models/longcat_flash.py). Biases of the latent norms, which exist in W8A8
    checkpoints with outlier suppression, are read if present. Only rank 0 gets the quant_bias of
    o_proj, since the ranks' results are summed.

    Args:
        directory: holds model.safetensors.index.json and its shards, or model.safetensors, or the
            files that msmodelslim writes instead.
        dims: the dimensions the checkpoint is expected to have.
        layer: index of the attention layer, counted over all attention modules where decoder
            layers have several.
        tp_rank: rank within the tensor-parallel group, 0 <= tp_rank < tp_size.
        tp_size: tensor-parallel degree.
        dtype: floating-point dtype of the result, which is that of the activations. None takes the
            dtype of the layer's 16-bit weights; if it has none, tensors keep their stored dtype
            (the ops take 16-bit weights only, the references any), and dequantised ones are
            bfloat16. W8A8 layers keep int8 and their scales. E4M3 weights, and int8 ones with a
            scale for each block, are dequantised to `dtype` (no cube core of the known chips takes
            E4M3); quantise_mla_weights makes W8A8 layers of them again.
        ignored: tensors of the attention module that are left out instead of refused, at the
            caller's responsibility, by their names within it ("q_b_proj.bias") or their full names
            in the checkpoint. Every name must exist in some layer, not necessarily in this one, so
            that one list serves all layers.

    Returns:
        Contiguous tensors of their own, independent of the files.

    Raises:
        FileNotFoundError: the directory, its checkpoint, or a shard the index names is missing.
        ValueError: an argument is out of range or not an integer, `ignored` is not a collection of
            names or has one that no layer's attention has, a file is corrupt, the index names a
            shard outside the directory, a tensor is missing or has another shape or dtype than
            expected, nothing reads a tensor (a bias of a projection, a gate), the layer has weights
            of both 16-bit dtypes and `dtype` is None, or a layer is quantised in another way than
            those above.
    """
    for argument, number in (("tp_size", tp_size), ("tp_rank", tp_rank)):
        _check_whole(argument, number)
    heads = dims.heads_per_rank(tp_size)
    if not 0 <= tp_rank < tp_size:
        raise ValueError(f"tp_rank: expected 0 <= tp_rank < {tp_size}, got {tp_rank}")
    reader = _LayerReader(directory, dims, layer, dtype, _MLA_MODULES, ignored)

    def of_rank(per_head: int) -> slice:
        return slice(tp_rank * heads * per_head, (tp_rank + 1) * heads * per_head)

    hidden, q_lora, kv_lora = dims.hidden_size, dims.q_lora_rank, dims.kv_lora_rank
    q_size = dims.num_heads * dims.qk_head_dim
    q_rows = of_rank(dims.qk_head_dim)
    kv_a = _Projection("kv_a_proj_with_mqa", (kv_lora + dims.qk_rope_head_dim, hidden))
    q_a_norm = q_a_norm_bias = None
    if q_lora is None:
        qkv_a = reader.linear(kv_a)
        q_b = reader.linear(_Projection("q_proj", (q_size, hidden), q_rows))
    else:
        qkv_a = reader.linear(_Projection("q_a_proj", (q_lora, hidden)), kv_a)
        q_b = reader.linear(_Projection("q_b_proj", (q_size, q_lora), q_rows))
        q_a_norm = reader.vector("q_a_layernorm.weight", q_lora, dims.q_lora_scale)
        q_a_norm_bias = reader.bias("q_a_layernorm.bias", q_lora, dims.q_lora_scale)

    kv_head_dim = dims.qk_nope_head_dim + dims.v_head_dim
    kv_b = reader.matrix(
        _Projection("kv_b_proj", (dims.num_heads * kv_head_dim, kv_lora), of_rank(kv_head_dim))
    )
    w_uk, w_uv = kv_b.view(heads, kv_head_dim, kv_lora).split(
        [dims.qk_nope_head_dim, dims.v_head_dim], dim=1
    )
    o_proj = _Projection(
        "o_proj", (hidden, dims.num_heads * dims.v_head_dim), columns=of_rank(dims.v_head_dim)
    )
    weights = MlaWeights(
        qkv_a=qkv_a,
        q_a_norm=q_a_norm,
        q_b=q_b,
        w_uk=reader.own([w_uk]),
        w_uv=reader.own([w_uv.transpose(1, 2)]),
        kv_a_norm=reader.vector("kv_a_layernorm.weight", kv_lora, dims.kv_lora_scale),
        o_proj=reader.linear(o_proj, with_quant_bias=tp_rank == 0),
        q_a_norm_bias=q_a_norm_bias,
        kv_a_norm_bias=reader.bias("kv_a_layernorm.bias", kv_lora, dims.kv_lora_scale),
        kv_cache_scale=reader.cache_scale(),
    )
    # load_indexer_weights checks the indexer's tensors.
    reader.refuse_unread(besides="indexer." if dims.indexer is not None else None)
    return weights


def load_indexer_weights(
    directory: str | os.PathLike[str],
    dims: ModelDimensions,
    layer: int,
    dtype: torch.dtype | None = None,
    ignored: Collection[str] = (),
) -> IndexerWeights | None:
    """Loads the indexer weights of one layer, which are the same on every rank.

    Args:
        directory: as for load_mla_weights.
        dims: the dimensions the checkpoint is expected to have.
        layer: index of the attention layer.
        dtype: floating-point dtype of the projections; None takes the dtype of the 16-bit weights
            of the whole attention module, as in load_mla_weights.
        ignored: as for load_mla_weights; the names begin with "indexer.".

    Returns:
        Contiguous tensors of their own; the norm in float32, converted without loss. None for a
        layer without an indexer.

    Raises:
        FileNotFoundError: as in load_mla_weights.
        ValueError: as in load_mla_weights, or the model has no indexer.
    """
    shapes = indexer_weight_shapes(dims)
    # The dtype is that of the activations, which the whole attention module shares.
    modules = _MLA_MODULES + _INDEXER_MODULES
    reader = _LayerReader(directory, dims, layer, dtype, modules, ignored)
    if not reader.has("indexer."):
        return None

    def projection(name: str) -> _Projection:
        rows, columns = shapes[name]
        return _Projection(f"indexer.{name}", (rows, columns))

    weights = IndexerWeights(
        wq_b=reader.linear(projection("wq_b")),
        wk=reader.own([reader.matrix(projection("wk"))]),
        k_norm=reader.float_vector("indexer.k_norm.weight", *shapes["k_norm"]),
        k_norm_bias=reader.float_vector("indexer.k_norm.bias", *shapes["k_norm_bias"]),
        weights_proj=reader.own([reader.matrix(projection("weights_proj"))]),
    )
    reader.refuse_unread(within="indexer.")
    return weights


class _Projection(NamedTuple):
    """The part of a linear layer that is read.

    Attributes:
        name: name of the module.
        shape: (out, in) of the whole weight in the checkpoint.
        rows: outputs to read.
        columns: inputs to read.
    """

    name: str
    shape: tuple[int, int]
    rows: slice = ALL
    columns: slice = ALL


class _LayerReader:
    """Reads the tensors of one attention module by their names within it."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        dims: ModelDimensions,
        layer: int,
        dtype: torch.dtype | None,
        modules: tuple[str, ...],
        ignored: Collection[str],
    ) -> None:
        _check_whole("layer", layer)
        if layer < 0:
            raise ValueError(f"layer: expected an index >= 0, got {layer}")
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"dtype: expected a floating-point dtype, got {dtype}")
        self._files = CheckpointFiles(directory)
        self._types = self._files.descriptions()
        decoder_layer, module = divmod(layer, dims.attentions_per_layer)
        self._layers = next((name for name in _LAYERS if any(self._files.names(name))), _LAYERS[0])
        self._prefix = f"{self._layers}.{decoder_layer}.self_attn"
        self._names = self._files.names(self._prefix)
        # In layers with several attention modules: tensors that belong to none of them, so that
        # nothing reads them.
        self._strays: list[str] = []
        if dims.attentions_per_layer > 1:
            attentions = tuple(f"{index}." for index in range(dims.attentions_per_layer))
            self._strays = [name for name in self._names if not name.startswith(attentions)]
            self._prefix += f".{module}"
            self._names = self._files.names(self._prefix)
        self._ignored = self._short_names(ignored)
        self._has_indexer = dims.indexer is not None
        self._seen: set[str] = set()
        self._dtype = dtype or self._stored_dtype(modules)

    def __contains__(self, name: str) -> bool:
        return f"{self._prefix}.{name}" in self._files

    def has(self, prefix: str) -> bool:
        """Whether the name of any tensor starts with `prefix`."""
        return any(name.startswith(prefix) for name in self._names)

    def _short_names(self, ignored: Collection[str]) -> set[str]:
        """The names of the tensors in `ignored` within the module; each must be some layer's."""
        if isinstance(ignored, (str, bytes)) or not isinstance(ignored, Collection):
            raise ValueError(f"ignored: expected a list of tensors' names, got {shown(ignored)}")
        here = {f"{self._prefix}.{name}": name for name in self._names}
        layer = self._prefix.rpartition(".")[0]
        here |= {f"{layer}.{name}": name for name in self._strays}
        known, found = set(here.values()), set()
        elsewhere: set[str] | None = None
        for name in ignored:
            if not isinstance(name, str):
                raise ValueError(f"ignored: expected tensors' names, got {shown(name)}")
            if name in known or name in here:
                found.add(here.get(name, name))
                continue
            if elsewhere is None:
                elsewhere = set()
                for other in self._files.names(self._layers):
                    parts = re.fullmatch(r"\d+\.self_attn\.((?:\d+\.)?(.*))", other, re.DOTALL)
                    if parts is not None:
                        elsewhere |= {f"{self._layers}.{other}", parts[1], parts[2]}
            if name not in elsewhere:
                raise ValueError(
                    f"ignored: expected names of tensors of the attention, as q_b_proj.bias is "
                    f"one, got {shown(name)}, which no layer has"
                )
        return found

    def refuse_unread(self, within: str = "", besides: str | None = None) -> None:
        """Raises ValueError if a tensor was not read that may change results.

        Args:
            within: prefix of the names to check.
            besides: prefix of names that are not checked; None for none.
        """
        unread = [
            name
            for name in self._names
            if name.startswith(within)
            and not (besides is not None and name.startswith(besides))
            and name not in self._seen
        ]
        left = sorted(
            name
            for name in unread + self._strays
            if name not in self._ignored and not is_irrelevant(name)
        )
        if not left:
            return
        first = left[0]
        module = self._prefix.rpartition(".")[0] if first in self._strays else self._prefix
        others = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        # The names in a corrupt file may be anything.
        full = f"{module}.{first}"
        sane = full.isprintable() and len(full) < 200
        name_of_it = f": {first!r}" if sane else ""
        raise ValueError(
            f"tensor {full if sane else repr(full)[:200]}{others}: "
            f"{why_refused(first, self._has_indexer)}; to leave it out all the same, name it in "
            f"`ignored`{name_of_it}"
        )

    def _stored_dtype(self, modules: tuple[str, ...]) -> torch.dtype | None:
        """The dtype of the 16-bit weights among those of `modules`; None where there are none."""
        found: dict[str, str] = {}
        for name in (f"{module}.weight" for module in modules):
            if name in self:
                found.setdefault(self._files.dtype(f"{self._prefix}.{name}"), name)
        halves = {kind: name for kind, name in found.items() if kind in _HALVES}
        if len(halves) > 1:
            told = " and ".join(f"{kind} ({name})" for kind, name in sorted(halves.items()))
            raise ValueError(
                f"{self._prefix}: expected 16-bit weights of one dtype, got {told}: pass dtype"
            )
        return next((_HALVES[kind] for kind in halves), None)

    def own(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Concatenates memory-mapped parts along dimension 0, copying and converting once."""
        rows = [part.shape[0] for part in parts]
        shape = (sum(rows), *parts[0].shape[1:])
        result = torch.empty(shape, dtype=self._dtype or parts[0].dtype)
        for target, part in zip(result.split(rows), parts, strict=True):
            target.copy_(part)
        return result

    def vector(self, name: str, size: int, scale: float = 1.0) -> torch.Tensor:
        """A one-dimensional tensor times `scale`, in the requested dtype; rounded once."""
        stored = self._read(name, (size,), _FLOATS)
        if scale == 1.0:
            return self.own([stored])
        return (stored.double() * scale).to(self._dtype or stored.dtype)

    def bias(self, name: str, size: int, scale: float) -> torch.Tensor | None:
        """The same as vector() for a tensor that may be absent; None in that case."""
        return self.vector(name, size, scale) if name in self else None

    def float_vector(self, name: str, size: int) -> torch.Tensor:
        """A one-dimensional tensor in float32, whatever dtype is requested."""
        return self._read(name, (size,), _FLOATS).to(torch.float32, copy=True)

    def cache_scale(self) -> torch.Tensor | None:
        """[1] float32, the scale of int8 latents; None where the layer has none."""
        name, offset = "fa_k.scale", "fa_k.offset"
        if name not in self or name in self._ignored:
            return None
        full = f"{self._prefix}.{name}"
        shape = self._files.shape(full)
        if math.prod(shape) != 1:
            raise ValueError(
                f"tensor {full}: expected one scale, [1, 1], as all heads share a latent, got "
                f"shape {list(shape)}; to run with a 16-bit cache, name it in `ignored`: {name!r}"
            )
        scale = self._read(name, shape, _FLOATS).reshape(1).float().clone()
        if not (scale.isfinite() & (scale > 0)).all():
            raise ValueError(f"tensor {full}: expected a positive scale, got {scale.item()}")
        if offset in self and offset not in self._ignored:
            shape = self._files.shape(f"{self._prefix}.{offset}")
            if self._read(offset, shape, (*_FLOATS, "I8")).any():
                raise ValueError(
                    f"tensor {self._prefix}.{offset}: expected zeros, as vLLM Ascend quantises "
                    f"caches symmetrically; to leave it out, name it in `ignored`: {offset!r}"
                )
        return scale

    def matrix(self, projection: _Projection) -> torch.Tensor:
        """The weight of a layer that has floating-point weights in the ops, whatever is stored."""
        return self._float_weight(projection)

    def linear(self, *projections: _Projection, with_quant_bias: bool = True) -> Linear:
        """One layer that concatenates the outputs of the projections."""
        types = {projection.name: self._quant_type(projection) for projection in projections}
        if len(set(types.values())) > 1:
            found = ", ".join(f"{name} {kind or 'FLOAT'}" for name, kind in types.items())
            raise ValueError(f"{self._prefix}: expected projections of one type, got {found}")
        kind = types[projections[0].name]
        if kind is None:
            return self.own([self._float_weight(projection) for projection in projections])
        if kind == int4_weights.TYPE and any(self._has_groups(p) for p in projections):
            return self.own([self._float_weight(projection) for projection in projections])
        weight = _columns([self._int8_weight(projection, kind) for projection in projections])
        for projection in projections:
            self._check_weight_offset(projection)
        if kind in (_DYNAMIC_TYPE, int4_weights.TYPE):
            scales = [self._weight_scale(projection) for projection in projections]
            return W8A8Linear(weight, torch.cat(scales))
        for projection in projections:
            # W8A8_MIX's scales for prefill are already part of deq_scale; a quant_bias that is not
            # requested belongs to another rank.
            self._seen |= {f"{projection.name}.{part}" for part in ("weight_scale", "quant_bias")}
        return W8A8Linear(
            weight,
            torch.cat([self._per_output(p, "deq_scale", ("F32", "I64")) for p in projections]),
            input_scale=self._shared_scalar(projections, "input_scale", _FLOATS),
            input_offset=self._shared_scalar(projections, "input_offset", (*_FLOATS, "I8")),
            quant_bias=torch.cat([self._per_output(p, "quant_bias", ("I32",)) for p in projections])
            if with_quant_bias
            else None,
        )

    def _has_groups(self, projection: _Projection) -> bool:
        return f"{projection.name}.weight_scale_second" in self

    def _int8_weight(self, projection: _Projection, kind: str) -> torch.Tensor:
        """[out, in] int8; numbers of 4 bits are unpacked."""
        name = f"{projection.name}.weight"
        full = f"{self._prefix}.{name}"
        if kind != int4_weights.TYPE:
            return self._weight(projection, ("I8",))
        # For an op whose numbers have no sign: 8 times the sums of the weights.
        self._seen.add(f"{projection.name}.scale_bias")
        rows, columns = projection.shape
        if not int4_weights.is_packed(f"tensor {full}", self._files.shape(full), (rows, columns)):
            return self._weight(projection, ("I8",))
        of_rank = int4_weights.packed_rows(f"tensor {full}", projection.rows, rows)
        packed = self._read(name, (rows // 2, columns), ("I8",), of_rank, projection.columns)
        return int4_weights.unpack(packed)

    def _dequantised_int4(self, projection: _Projection) -> torch.Tensor:
        """A weight of 4 bits with scales per group of inputs, or per output, in floating-point."""
        rows, columns = projection.shape
        scale = self._read(f"{projection.name}.weight_scale", (rows, 1), _FLOATS).float()
        self._check_weight_offset(projection)
        name = f"{projection.name}.weight_scale_second"
        groups = 1
        if name in self:
            full = f"{self._prefix}.{name}"
            shape = self._files.shape(full)
            if len(shape) != 2 or shape[0] != rows or shape[1] < 1 or columns % shape[1]:
                raise ValueError(
                    f"tensor {full}: expected a scale for each group of inputs, [{rows}, groups], "
                    f"where groups divides {columns}, got shape {list(shape)}"
                )
            groups = shape[1]
            scale = scale * self._read(name, shape, _FLOATS).float()
            self._check_weight_offset(projection, "weight_offset_second", groups)
        return dequantise(
            self._int8_weight(projection, int4_weights.TYPE),
            scale,
            (1, columns // groups),
            (projection.rows.start or 0, projection.columns.start or 0),
            self._dtype or torch.bfloat16,
        )

    def _float_weight(self, projection: _Projection) -> torch.Tensor:
        """A weight in floating-point: memory-mapped from the file, or dequantised."""
        name = f"{projection.name}.weight"
        if self._types.get(f"{self._prefix}.{name}") == int4_weights.TYPE:
            return self._dequantised_int4(projection)
        stored = self._files.dtype(f"{self._prefix}.{name}") if name in self else None
        if stored not in ("I8", _E4M3):
            return self._weight(projection, _FLOATS)
        found = next(
            (f"{name}{end}" for end in ("_scale_inv", "_scale") if f"{name}{end}" in self), None
        )
        if found is None:
            raise ValueError(
                f"tensor {self._prefix}.{name}: expected weight_scale_inv or weight_scale beside "
                f"a weight of {stored}, found neither"
            )
        full = f"{self._prefix}.{found}"
        shape = self._files.shape(full)
        block = scaled_block(f"tensor {full}", shape, projection.shape, self._files.block())
        scale = self._read(found, shape, _SCALES).float()
        if not scale.isfinite().all():
            raise ValueError(f"tensor {full}: expected finite scales")
        self._check_weight_offset(projection)
        # The scales of activations: these stay unquantised.
        self._seen |= {f"{projection.name}.{part}" for part in ("input_scale", "input_offset")}
        return dequantise(
            self._weight(projection, (stored,)),
            scale.reshape(-1, scale.shape[1] if len(shape) == 2 else 1),
            block,
            (projection.rows.start or 0, projection.columns.start or 0),
            self._dtype or torch.bfloat16,
        )

    def _quant_type(self, projection: _Projection) -> str | None:
        """W8A8, W8A8_DYNAMIC, or None for a weight that is floating-point in the op."""
        name = f"{self._prefix}.{projection.name}"
        weight = f"{name}.weight"
        if weight not in self._files or self._files.dtype(weight) != "I8":
            return None
        if f"{weight}_scale_inv" in self._files:
            return None
        described = self._types.get(weight)
        if f"{name}.input_scale" in self._files and described in (None, *_STATIC_TYPES):
            return _STATIC_TYPES[0]
        # W8A16 has the same tensors as W8A8_DYNAMIC; only the description tells them apart.
        if f"{name}.weight_scale" in self._files and described in (None, _DYNAMIC_TYPE):
            return _DYNAMIC_TYPE
        if f"{name}.weight_scale" in self._files and described == int4_weights.TYPE:
            return int4_weights.TYPE
        raise ValueError(
            f"tensor {weight}: expected W8A8, W8A8_DYNAMIC or W4A8_DYNAMIC with its scales, "
            f"got {described or 'int8 without scales'}"
        )

    def _weight(self, projection: _Projection, dtypes: tuple[str, ...]) -> torch.Tensor:
        name, shape, rows, columns = projection
        return self._read(f"{name}.weight", shape, dtypes, rows, columns)

    def _per_output(
        self, projection: _Projection, name: str, dtypes: tuple[str, ...]
    ) -> torch.Tensor:
        shape = projection.shape[:1]
        return self._read(f"{projection.name}.{name}", shape, dtypes, projection.rows)

    def _weight_scale(self, projection: _Projection) -> torch.Tensor:
        shape = (projection.shape[0], 1)
        scale = self._read(f"{projection.name}.weight_scale", shape, _FLOATS, projection.rows)
        return scale.flatten().float()

    def _check_weight_offset(
        self, projection: _Projection, kind: str = "weight_offset", columns: int = 1
    ) -> None:
        name = f"{projection.name}.{kind}"
        if name in self:
            kinds = (*_FLOATS, "I8", "I64")
            offset = self._read(name, (projection.shape[0], columns), kinds)
            if offset.any():
                raise ValueError(
                    f"tensor {self._prefix}.{name}: expected zeros, as weights are quantised "
                    "symmetrically"
                )

    def _shared_scalar(
        self, projections: tuple[_Projection, ...], name: str, dtypes: tuple[str, ...]
    ) -> torch.Tensor:
        """A [1] float32 that all projections share, as the same activations are quantised once."""
        first, *others = projections
        value = self._read(f"{first.name}.{name}", (1,), dtypes).float().clone()
        for other in others:
            found = self._read(f"{other.name}.{name}", (1,), dtypes).float()
            if not torch.equal(found, value):
                raise ValueError(
                    f"tensor {self._prefix}.{other.name}.{name}: expected {value.item()} as of "
                    f"{first.name}, got {found.item()}"
                )
        return value

    def _read(self, name: str, *arguments: Any) -> torch.Tensor:
        self._seen.add(name)
        return self._files.read(f"{self._prefix}.{name}", *arguments)


def _check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number, got {shown(value)}")


def _columns(parts: list[torch.Tensor]) -> torch.Tensor:
    """[in, out], the transposes of several weights [out, in] side by side."""
    outputs = [part.shape[0] for part in parts]
    result = torch.empty((parts[0].shape[1], sum(outputs)), dtype=parts[0].dtype)
    for target, part in zip(result.split(outputs, dim=1), parts, strict=True):
        target.copy_(part.T)
    return result
