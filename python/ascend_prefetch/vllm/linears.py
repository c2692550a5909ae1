"""vLLM Ascend's linear layers as arguments of the ops.

Upstream's process_weights_after_loading leaves a weight as 16-bit [out, in] or as int8 [in, out].
Either may be in FRACTAL_NZ, which torch_npu records without changing the shape; the ops ask
torch_npu for the format.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch

from .fallback import Unsupported, attribute
from .watch import Watch

_PLAIN = {"UnquantizedLinearMethod", "AscendUnquantizedLinearMethod"}
_STATIC = "AscendW8A8LinearMethod"
_DYNAMIC = "AscendW8A8DynamicLinearMethod"
_PLAIN_CUSTOM_OPS = {"CustomReplicatedOp"}  # every ReplicatedLinear has it; no communication


class LinearArguments(NamedTuple):
    """An op's arguments that come from one linear layer.

    Attributes:
        weight: the layer's weight.
        options: scales and biases by argument name, with the op's prefix.
    """

    weight: torch.Tensor
    options: dict[str, torch.Tensor]


def read_linear(
    name: str, layer: object, watch: Watch, prefix: str = "", custom_ops: Collection[str] = ()
) -> LinearArguments:
    """A layer's arguments; the tensors that they are made from are added to `watch`.

    Args:
        name: name of the layer, for error texts.
        layer: a linear layer of vLLM after loading, or None.
        watch: where its tensors are added.
        prefix: the op's prefix of the layer's options, such as "q_b_".
        custom_ops: class names of upstream's custom communication that the caller replaces.

    Raises:
        Unsupported: the weight is missing or was freed, or the ops do not support the layer's
            quantisation, bias or communication.
        UpstreamChanged: the layer lacks an attribute that it has in every known release.
    """
    if layer is None:
        raise Unsupported(f"there is no {name}")
    # vLLM's own layers, which vLLM Ascend leaves unchanged, have none of its custom communication.
    is_ascends = type(layer).__module__.split(".")[0] == "vllm_ascend"
    has_custom_op = is_ascends or hasattr(layer, "custom_op")
    custom_op = type(attribute(layer, "custom_op", name) if has_custom_op else None).__name__
    if custom_op not in {*_PLAIN_CUSTOM_OPS, *custom_ops, "NoneType"}:
        raise Unsupported(f"{name} goes through {custom_op}")
    if attribute(layer, "bias", name) is not None:
        raise Unsupported(f"{name} has a bias")
    weight = watch.tensor(layer, "weight")
    if weight is None or not weight.numel():
        raise Unsupported(f"upstream freed the weight of {name} for its own fused path")
    method = attribute(layer, "quant_method", name)
    scheme = type(getattr(method, "quant_method", method)).__name__
    if scheme in _PLAIN:
        options = {}
    elif scheme == _STATIC:
        options = _static_options(name, layer, watch)
    elif scheme == _DYNAMIC:
        options = {"dequant_scale": _float_scale(name, layer, "weight_scale", watch)}
    else:
        raise Unsupported(f"{name} is quantised by {scheme}")
    named = {prefix + key: value for key, value in options.items()}
    return LinearArguments(weight, named)


def _static_options(name: str, layer: object, watch: Watch) -> dict[str, torch.Tensor]:
    reciprocal = watch.copied(layer, "aclnn_input_scale_reciprocal")
    offset = watch.copied(layer, "aclnn_input_offset")
    if reciprocal is None or offset is None:
        raise Unsupported(f"{name} has no scales for its inputs")
    options = {
        "dequant_scale": _float_scale(name, layer, "deq_scale", watch),
        "input_scale": scale_with_reciprocal(reciprocal[:1]),
        "input_offset": offset[:1].float().contiguous(),
    }
    # The bias belongs to the sum over all input features, so one rank of a row-parallel layer adds
    # it. Replicated layers have a rank too, but no attribute for their share of the input.
    size = attribute(layer, "input_size", name)
    row_parallel = getattr(layer, "input_size_per_partition", size) != size
    first = not row_parallel or attribute(layer, "tp_rank", name) == 0
    from_checkpoint = getattr(layer, "ascend_quant_method", "") != "compressed-tensors"
    bias = watch.tensor(layer, "quant_bias") if first and from_checkpoint else None
    if bias is not None:
        options["quant_bias"] = bias
    return options


def _float_scale(name: str, layer: object, attribute: str, watch: Watch) -> torch.Tensor:
    """Scales of the columns, [out]: float32 and int64 unchanged, other dtypes as float32."""
    scale = watch.copied(layer, attribute)
    if scale is None:
        raise Unsupported(f"upstream freed {attribute} of {name} for its own fused path")
    if scale.dtype in (torch.float32, torch.int64):
        return scale.reshape(-1)
    copied = scale.float().reshape(-1).contiguous()
    # Upstream keeps the scales of dynamic layers as float32 too, so that no copy is needed; it
    # reads the others, which alone count where somebody has written them.
    kept = watch.tensor(layer, f"{attribute}_fp32")
    if kept is not None and kept.dtype == copied.dtype and torch.equal(kept.reshape(-1), copied):
        return kept.reshape(-1)
    return copied


def scale_with_reciprocal(reciprocal: torch.Tensor) -> torch.Tensor:
    """The float32 scale whose reciprocal is a given one.

    Upstream multiplies by the reciprocal rounded to the dtype of the model
    (quantization/methods/w8a8_static.py), the ops by the reciprocal of a float32 scale. For 102 of
    bfloat16's 128 mantissas the two are the same number. For the other 26 no float32 scale has
    exactly this reciprocal: the nearest is off by one unit in the last place of float32, and an
    activation that lies on a tie may be rounded to the other neighbour.

    Args:
        reciprocal: [1], of any dtype.
    """
    return reciprocal.float().reciprocal().contiguous()


def leading_bytes(weight: torch.Tensor, ratio: float) -> int:
    """How many bytes a share of a weight has, counted from its beginning in blocks of 32 bytes."""
    return int(weight.nbytes) if ratio >= 1 else int(weight.nbytes * ratio) // 32 * 32


def bytes_of(weight: torch.Tensor) -> torch.Tensor:
    """The memory of a contiguous weight, [bytes] uint8.

    Viewing a tensor that torch_npu keeps in FRACTAL_NZ would convert it; upstream's weak reference
    is a plain tensor over the same memory.
    """
    if weight.device.type == "npu":
        weight = torch.ops._C_ascend.weak_ref_tensor(weight)
    return weight.view(-1).view(torch.uint8)
