"""Functions that the seams of several releases share."""

from __future__ import annotations

from typing import Any

import torch
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.forward_context import get_forward_context
from vllm_ascend.ascend_forward_context import _EXTRA_CTX
from vllm_ascend.attention.utils import maybe_save_kv_layer_to_connector

from ..arguments import indexer_arguments
from ..fallback import attribute, say_once
from ..linears import read_linear
from ..watch import Watch
from . import windows as windows_of_all

_KEPT = "turned off, because it would keep the weights in a second form"

forward_context = get_forward_context
windows = windows_of_all
all_reduce = tensor_model_parallel_all_reduce


def capturing() -> bool:
    """Whether a graph is being captured."""
    return bool(_EXTRA_CTX.capturing)


def padded_tokens() -> int:
    """Number of rows of this step on this rank, padding included."""
    return _EXTRA_CTX.num_tokens


def without_fused_prologs(impl: Any, switches: tuple[str, ...] = ("enable_mlapo",)) -> None:
    """Turns a layer's own switches of upstream's fused prologs off.

    Raises:
        UpstreamChanged: the layer lacks one of these attributes.
    """
    for name in switches:
        if attribute(impl, name):
            setattr(impl, name, False)
            say_once(f"{name} of a layer whose prolog is fused", so=_KEPT)


def first_true(impl: object, reasons: dict[str, str]) -> str | None:
    """The reason of the first attribute that is true, or None; reasons are by attribute name.

    Raises:
        UpstreamChanged: an attribute is missing.
    """
    for name, reason in reasons.items():
        if attribute(impl, name):
            return reason
    return None


def dense_refusal(impl: Any, reasons: dict[str, str]) -> str | None:
    """Why a layer of dense attention goes upstream: caches in float8, or one of `reasons`.

    Raises:
        UpstreamChanged: an attribute is missing.
    """
    if attribute(impl, "fa_quant_layer") and attribute(impl, "dtype") is not torch.int8:
        return f"fa_quant caches in {impl.dtype}"
    return first_true(impl, reasons)


def nothing(*_: object) -> None:
    """Does nothing, for releases that tell their KV connector nothing at this point."""


def save_caches(layer_name: str, kv_cache: tuple) -> None:
    """Hands a layer's caches to the KV connector, after the layer's output was written."""
    maybe_save_kv_layer_to_connector(layer_name, list(kv_cache))


def split_caches(impl: object, kv_cache: tuple) -> tuple:
    """The caches (latent, rope, indexer) of a layer that owns all of them."""
    return kv_cache


def read_joint_indexer(impl: Any, watch: Watch) -> dict[str, Any]:
    """The arguments of an indexer whose one weight has wk's rows above those of weights_proj."""
    wk = read_linear("the indexer's wk_weights_proj", impl.wk_weights_proj, watch)
    return indexer_arguments(impl, watch, wk, None)


SHARDED = {"layer_sharding_kwargs": "weights that are sharded by layer"}
PRODUCER = {"is_kv_producer": "a worker that produces caches for others"}
CONTEXT_PARALLEL = {"enable_dsa_cp": "context parallelism of sparse attention"}
