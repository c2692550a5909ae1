"""A double of torch_npu, and of what else vLLM Ascend imports and a CPU machine does not have.

`install()` comes before the first import of vllm or vllm_ascend. After it upstream's modules
import, and the functions that its attention calls compute on CPU tensors: each is an exact
implementation in torch with the rounding points of the real one (norm_rope, linear, prolog, moe,
attention). Every other name raises AbsentError with that name when it is used.

What attention and the indexer received is kept: see double.calls.
"""

from __future__ import annotations

import sys
import types
from importlib.metadata import version

import torch

from double import attention, device, graph, int8_caches, linear, mc2, moe, norm_rope, prolog
from double.modules import AbsentError, replace

__all__ = ["AbsentError", "install"]

# Imported by modules beside the path, never called on it.
_BESIDE = (
    "acl mooncake torchair fla_npu xgrammar uvloop llguidance outlines_core cv2 "
    "compressed_tensors".split()
)
# Of xgrammar, made when vLLM's parsers are imported.
_FORMATS = ("JSONSchemaFormat", "AnyTextFormat")


def install() -> None:
    """Puts the doubles into sys.modules and registers the ops of torch.ops._C_ascend."""
    for name in _BESIDE:
        replace(name)
    replace("xgrammar.structural_tag", **{name: types.SimpleNamespace for name in _FORMATS})
    parts = (norm_rope, linear, prolog, moe, mc2, attention, int8_caches)
    ops = {name: op for part in parts for name, op in part.OPS.items()}
    replace("torch_npu", **device.torch_npu(), **{n: graph.opaque(op) for n, op in ops.items()})
    attention.add_variants(sys.modules["torch_npu"])
    # The name under which 0.30 imports the same op.
    replace("cann_ops_transformer", mla_prolog=graph.opaque(prolog.npu_mla_prolog_v3))
    replace("torch_npu.npu", **device.npu())
    # Below the package: the finder gives its modules no contents.
    replace("torch_npu._C", _weak_ref_tensor=lambda tensor: tensor)
    replace("torch_npu.atb", **{n: graph.opaque(op) for n, op in attention.ATB.items()})
    torch.utils.rename_privateuse1_backend("npu")
    torch.npu = replace("torch.npu", **device.npu())
    torch.Tensor.npu = lambda self, *_, **__: self
    # Barriers ask for it: there is a device by name, and none behind it.
    torch._C._get_accelerator = lambda *_: torch.device("cpu")
    torch.distributed.is_hccl_available = lambda: True
    torch.distributed.ProcessGroup._get_backend = device.backend_of
    torch.tensor = device.on_host(torch.tensor)
    torch.version.cann = None
    attention.register(not version("vllm-ascend").startswith("0.18."))
    linear.register()
    int8_caches.register()
    moe.register()


def finish() -> None:
    """After vllm and vllm_ascend are imported: what has to be set in their modules.

    The Triton kernel of the indexer's rope has no host build. Without one upstream rotates halves
    whatever the model asks for, so its own path is kept and the kernel replaced.

    Since 0.28 the norm that adds imports upstream's own C++ module, whose op is a double. Elsewhere
    upstream asks first whether there is that module, and is told that there is none, as before.
    """
    sys.modules["vllm_ascend.utils"]._CUSTOM_OP_ENABLED = False
    replace("vllm_ascend.vllm_ascend_C")
    for name in ("sfa_v1", "indexer"):
        module = sys.modules.get(f"vllm_ascend.attention.{name}")
        if module is not None and hasattr(module, "rope_forward_triton_siso"):
            module.HAS_TRITON = True
            module.rope_forward_triton_siso = norm_rope.rope_forward_triton_siso
