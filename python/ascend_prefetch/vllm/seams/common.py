"""Functions that the seams of several releases share."""

from __future__ import annotations

from typing import Any

import torch
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.forward_context import get_forward_context
from vllm_ascend.ascend_forward_context import _EXTRA_CTX
from vllm_ascend.attention.utils import (
    maybe_save_kv_layer_to_connector,
    wait_for_kv_layer_from_connector,
)

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


def without_fused_types(impl: Any) -> None:
    """Gives a sparse layer a reason against each of upstream's fused prologs (PreprocessType).

    Raises:
        UpstreamChanged: the layer has no method that gives such reasons.
    """
    without_fused_prologs(impl)
    refuse = "_get_fused_type_unsupported_reasons"
    attribute(impl, refuse)
    setattr(impl, refuse, lambda pp_type: [f"ascend_prefetch runs the prolog, not {pp_type}"])


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


def before_cache_write(impl: object, layer_name: str) -> None:
    """Waits until the KV connector has filled a layer's caches."""
    wait_for_kv_layer_from_connector(layer_name)


def decode(
    impl: Any,
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    latent: torch.Tensor,
    rope: torch.Tensor,
    metadata: Any,
    q_scale: torch.Tensor | None,
) -> torch.Tensor:
    """Dense attention of decode rows, and W_UV; see Seam.decode."""
    size = latent.shape[1]
    return impl._forward_decode(q_nope, q_rope, latent, rope, size, metadata, q_scale)


def sparse_attention(
    impl: Any,
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    kv_cache: tuple,
    chosen: torch.Tensor,
    metadata: Any,
) -> torch.Tensor:
    """Sparse attention over the chosen tokens; see Seam.sparse_attention."""
    return impl._execute_sparse_flash_attention_process(
        q_nope, q_rope, kv_cache, chosen, metadata, metadata.cum_query_lens, metadata.seq_lens
    )


def has_indexer(impl: object) -> bool:
    """Whether a layer has an indexer, in releases in which some have none.

    Raises:
        UpstreamChanged: the attribute is missing.
    """
    return bool(attribute(impl, "has_indexer"))


def composed_caches(impl: Any, kv_cache: tuple) -> tuple:
    """The caches (latent, rope, indexer) of a layer whose indexer owns its cache."""
    return impl._compose_sfa_kv_cache(kv_cache)


def mla_refusal(impl: Any, reasons: dict[str, str]) -> str | None:
    """Why a layer of dense attention that may have no rope goes upstream, or None.

    Raises:
        UpstreamChanged: an attribute is missing.
    """
    if not attribute(impl, "use_mla_rope"):
        return "attention without rope"
    return dense_refusal(impl, reasons)


def split_caches(impl: object, kv_cache: tuple) -> tuple:
    """The caches (latent, rope, indexer) of a layer that owns all of them."""
    return kv_cache


def read_joint_indexer(impl: Any, watch: Watch) -> dict[str, Any]:
    """The arguments of an indexer whose one weight has wk's rows above those of weights_proj."""
    wk = read_linear("the indexer's wk_weights_proj", impl.wk_weights_proj, watch)
    return indexer_arguments(impl, watch, wk, None)


OUTPUT_GATE = {"use_output_gate": "gates on the attention's output"}
SHARDED = {"layer_sharding_kwargs": "weights that are sharded by layer"}
PRODUCER = {"is_kv_producer": "a worker that produces caches for others"}
CONTEXT_PARALLEL = {"enable_dsa_cp": "context parallelism of sparse attention"}
