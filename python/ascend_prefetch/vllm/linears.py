"""vLLM Ascend's linear layers as arguments of the ops.

Forms of a weight, set in upstream's process_weights_after_loading: 16-bit [out, in]; int8
[in, out]. Either may be in FRACTAL_NZ, which torch_npu keeps beside an unchanged shape; the ops
ask it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .fallback import Unsupported, attribute
from .watch import Watch

_PLAIN = {"UnquantizedLinearMethod", "AscendUnquantizedLinearMethod"}
_STATIC = "AscendW8A8LinearMethod"
_DYNAMIC = "AscendW8A8DynamicLinearMethod"
_PLAIN_CUSTOM_OPS = {"CustomReplicatedOp"}  # what a ReplicatedLinear always has: plain


class LinearArguments(NamedTuple):
    """What an op takes of one linear layer.

    Attributes:
        weight: of the layer.
        options: scales and biases by argument name, with the op's prefix.
    """

    weight: torch.Tensor
    options: dict[str, torch.Tensor]


def read_linear(name: str, layer: object, watch: Watch, prefix: str = "") -> LinearArguments:
    """A layer's arguments; what they are made of is watched.

    Args:
        name: for reasons.
        layer: a linear layer of vLLM after loading, or None.
        watch: where its tensors are added.
        prefix: what the op puts before its options, such as "q_b_".

    Raises:
        Unsupported: there is no weight (any more), or a quantisation, bias or communication that
            the ops do not know.
        UpstreamChanged: the layer lacks what those of all known releases have.
    """
    if layer is None:
        raise Unsupported(f"there is no {name}")
    # Layers of vLLM itself, which vLLM Ascend leaves as they are, have no communication of its own.
    is_ascends = type(layer).__module__.split(".")[0] == "vllm_ascend"
    has_custom_op = is_ascends or hasattr(layer, "custom_op")
    custom_op = type(attribute(layer, "custom_op", name) if has_custom_op else None).__name__
    if custom_op not in _PLAIN_CUSTOM_OPS and custom_op != "NoneType":
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
    # The bias is that of all of the input features: one rank of a row-parallel layer adds it.
    # Replicated layers, which have a rank as well, are not told how much of the input is theirs.
    size = attribute(layer, "input_size", name)
    row_parallel = getattr(layer, "input_size_per_partition", size) != size
    first = not row_parallel or attribute(layer, "tp_rank", name) == 0
    from_checkpoint = getattr(layer, "ascend_quant_method", "") != "compressed-tensors"
    bias = watch.tensor(layer, "quant_bias") if first and from_checkpoint else None
    if bias is not None:
        options["quant_bias"] = bias
    return options


def _float_scale(name: str, layer: object, attribute: str, watch: Watch) -> torch.Tensor:
    """Scales of the columns, [out], float32 or int64 as they are, others as float32."""
    scale = watch.copied(layer, attribute)
    if scale is None:
        raise Unsupported(f"upstream freed {attribute} of {name} for its own fused path")
    if scale.dtype in (torch.float32, torch.int64):
        return scale.reshape(-1)
    return scale.float().reshape(-1).contiguous()


def scale_with_reciprocal(reciprocal: torch.Tensor) -> torch.Tensor:
    """The float32 scale whose reciprocal is a given one.

    Upstream multiplies with the reciprocal rounded to the dtype of the model
    (quantization/methods/w8a8_static.py), the ops with the reciprocal of a float32 scale. For 102
    of bfloat16's 128 mantissas that is the same number; no float32 has the reciprocal of the other
    26, whose is one unit in the last place of float32 away. There an activation that lies on a tie
    may be rounded to the other neighbour.

    Args:
        reciprocal: [1], of any dtype.
    """
    return reciprocal.float().reciprocal().contiguous()


def bytes_of(weight: torch.Tensor) -> torch.Tensor:
    """The memory of a contiguous weight, [bytes] uint8.

    A view of a tensor that torch_npu keeps in FRACTAL_NZ would convert it; upstream's weak
    reference is a plain tensor of the same memory.
    """
    if weight.device.type == "npu":
        weight = torch.ops._C_ascend.weak_ref_tensor(weight)
    return weight.view(-1).view(torch.uint8)
