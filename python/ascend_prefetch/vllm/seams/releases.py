"""The releases of vLLM Ascend that have a seam, and upstream's names that it was written for.

Every name of upstream that the plugin replaces, calls or imports is listed, with its signature as
read in the source archives of these releases. Nothing here imports upstream.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..signatures import Expected, first_difference

if TYPE_CHECKING:
    from . import Seam

_MLA = "vllm_ascend.attention.mla_v1"
_SFA = "vllm_ascend.attention.sfa_v1"
_UTILS = "vllm_ascend.attention.utils"
_CONTEXT = "vllm_ascend.ascend_forward_context"
_FENCE = "vllm_ascend.memcache_comm_fence"
_MOVED_FENCE = "vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.attention_fence"
_LINEAR_OP = "vllm_ascend.ops.linear_op"
_DEVICE = "vllm_ascend.device.device_op"
_INDEXER = "vllm_ascend.attention.indexer"
PARALLEL_STATE = "vllm.distributed.parallel_state"
FUSED_MOE = "vllm_ascend.ops.fused_moe"

_FORWARD = (
    "(self, layer_name, hidden_states, kv_cache, attn_metadata, need_gather_q_kv=False, "
    "output=None)"
)
_FORWARD_OF_ALL_ROWS = "(self, layer_name, hidden_states, kv_cache, attn_metadata, output=None)"
_QUERY_AND_LENGTHS = (
    "(self, ql_nope, q_pe, kv_cache, topk_indices, attn_metadata, actual_seq_lengths_query, "
    "actual_seq_lengths_key"
)


def _replaced(names: tuple[Expected, ...], name: str, signature: str) -> tuple[Expected, ...]:
    """The same names, one of them with another signature."""
    return tuple(e._replace(signature=signature) if e.name == name else e for e in names)


_COMMON = (
    Expected("vllm.distributed", "tensor_model_parallel_all_reduce", "(input_)"),
    Expected("vllm.forward_context", "get_forward_context", "()"),
    Expected(_CONTEXT, "_EXTRA_CTX", fields=("capturing", "num_tokens", "model_instance")),
    Expected(_UTILS, "maybe_save_kv_layer_to_connector", "(layer_name, kv_cache_layer)"),
    Expected(_UTILS, "wait_for_kv_layer_from_connector", "(layer_name)"),
)
_FLASH_COMM = (
    Expected(
        _CONTEXT,
        "_ExtraForwardContextProxy",
        fields=("flash_comm_v1_enabled", "mmrs_fusion", "pad_size"),
    ),
    Expected("vllm.distributed", "tensor_model_parallel_reduce_scatter", "(input_, dim=-1)"),
    Expected(
        "vllm_ascend.ops.register_custom_ops",
        "_maybe_all_gather_and_maybe_unpad_impl",
        "(x, label, is_ep_comm=False)",
    ),
    Expected(_LINEAR_OP, "SequenceRowParallelOp.apply_impl", "(self, input_)"),
    Expected(
        _LINEAR_OP, "SequenceRowParallelOp.matmul_and_reduce", "(self, input_parallel, bias_)"
    ),
)
_OPROJ_TP = Expected(_LINEAR_OP, "OProjRowParallelOp.apply_impl", "(self, input_)")
_WRITTEN = Expected(_UTILS, "notify_kv_cache_written", "(layer_name='')")
_START = Expected(_FENCE, "record_attention_compute_start", "()")
_MOVED_START = _START._replace(module=_MOVED_FENCE)
_WINDOW = Expected(_MOVED_FENCE, "attention_transfer_window", "()")
_SELECT = Expected(
    _DEVICE,
    "DeviceOperator.indexer_select_post_process",
    "(sfa_impl, q_li, q_li_scale, q_li_shape_ori, weights, kv_cache, attn_metadata, "
    "actual_seq_lengths_query, actual_seq_lengths_key, enable_sparse_li_c8, "
    "use_torch_npu_lightning_indexer)",
)
# What writes the rows of layers with int8 caches, beside ops of torch_npu.
_RESHAPE = Expected(
    _DEVICE,
    "DeviceOperator.reshape_and_cache",
    "(key, value, key_cache, value_cache, slot_mapping)",
)
_SELECT_OF_MODULE = _SELECT._replace(
    signature="(q_li, q_li_scale, q_li_shape_ori, weights, kv_cache, indexer_k_cache_idx, "
    "indexer_scale_cache_idx, attn_metadata, actual_seq_lengths_query, actual_seq_lengths_key, "
    "enable_sparse_li_c8, use_torch_npu_lightning_indexer)"
)
_SELECT_WITH_FP4 = _SELECT._replace(
    signature="(q_li, q_li_scale, q_li_shape_ori, weights, kv_cache, indexer_k_cache_idx, "
    "indexer_scale_cache_idx, attn_metadata, actual_seq_lengths_query, actual_seq_lengths_key, "
    "enable_sparse_li_c8, enable_sparse_li_c4, use_torch_npu_lightning_indexer)"
)
_INDEXER_MODULE = (
    Expected(
        _MLA,
        "DecodeMLAPreprocessResult",
        "(ql_nope=None, q_pe=None, k_nope=None, k_pe=None, decode_q_wo_k_up=None, "
        "dequant_scale_q_nope=None, current_k_nope=None, current_k_pe=None)",
    ),
    Expected(_INDEXER, "AscendSFAIndexerBackend"),
)

_POLICY = (
    Expected("vllm.config", "get_current_vllm_config", "()"),
    Expected("vllm.forward_context", "get_forward_context", "()"),
    Expected("vllm_ascend.utils", "is_moe_model", "(vllm_config)"),
    Expected(_CONTEXT, "_EXTRA_CTX", fields=("num_tokens", "model_instance")),
)
_DENSE = (
    Expected(_MLA, "AscendMLABackend.get_impl_cls", "()"),
    Expected(_MLA, "AscendMLAImpl.forward", _FORWARD),
    Expected(
        _MLA,
        "AscendMLAImpl._forward_decode",
        "(self, q_nope, q_pe, k_nope, k_pe, block_size, attn_metadata, dequant_scale_q_nope=None)",
    ),
    Expected(_MLA, "AscendMLAImpl._v_up_proj", "(self, x)"),
    Expected(_MLA, "AscendMLAImpl.process_weights_after_loading", "(self, act_dtype)"),
    Expected(
        _MLA,
        "AscendMLAMetadata",
        fields=("slot_mapping", "num_decodes", "num_decode_tokens", "num_prefills", "decode"),
    ),
    Expected(_MLA, "AscendMLADecodeMetadata", fields=("cos", "sin", "seq_lens_list")),
)
_DENSE_OF_ALL_ROWS = _replaced(_DENSE, "AscendMLAImpl.forward", _FORWARD_OF_ALL_ROWS)
_DENSE_OF_RESULT = _replaced(
    _DENSE_OF_ALL_ROWS,
    "AscendMLAImpl._forward_decode",
    "(self, decode_preprocess_res, block_size, attn_metadata)",
)
_SPARSE = (
    Expected(_SFA, "AscendSFABackend.get_impl_cls", "()"),
    Expected(_SFA, "AscendSFAImpl.forward", _FORWARD),
    Expected(_SFA, "AscendSFAImpl._v_up_proj", "(self, x)"),
    Expected(_SFA, "AscendSFAImpl.process_weights_after_loading", "(self, act_dtype)"),
)
_METADATA = Expected(
    _SFA,
    "AscendSFAMetadata",
    fields=(
        *("slot_mapping", "cos", "sin", "num_input_tokens"),
        *("seq_lens_cpu", "seq_lens", "cum_query_lens", "block_table"),
    ),
)
_METADATA_WITH_RUNS = _METADATA._replace(
    fields=(
        *_METADATA.fields,
        *("block_size", "group_len", "group_key_idx", "group_key_cache_idx"),
    )
)
_SPARSE_OF_ALL_ROWS = _replaced(_SPARSE, "AscendSFAImpl.forward", _FORWARD_OF_ALL_ROWS)
_ATTENTION = Expected(
    _SFA,
    "AscendSFAImpl._execute_sparse_flash_attention_process",
    f"{_QUERY_AND_LENGTHS})",
)
_ATTENTION_OF_TABLE = _ATTENTION._replace(signature=f"{_QUERY_AND_LENGTHS}, block_table=None)")
_COMPOSED = Expected(_SFA, "AscendSFAImpl._compose_sfa_kv_cache", "(self, kv_cache)")
_SHARED_INDEXERS = (
    Expected(_SFA, "AscendSFAImpl._get_indexcache_topk_indices", "(self, num_tokens)"),
    Expected(_SFA, "AscendSFAImpl._update_indexcache_topk_indices", "(self, topk_indices)"),
)
_FUSED_TYPES = Expected(
    _SFA, "AscendSFAImpl._get_fused_type_unsupported_reasons", "(self, pp_type)"
)
_RUNS_OF_SLOTS = Expected(_SFA, "AscendSFAImpl._use_li_c8_reshape_optim", "(self)")
_SPARSE_OF_MODULE = (
    *_SPARSE_OF_ALL_ROWS,
    *_SHARED_INDEXERS,
    _COMPOSED,
    _METADATA,
    _ATTENTION_OF_TABLE,
    _FUSED_TYPES,
    Expected(_SFA, "AscendSFAImpl.runtime_has_indexer"),
    Expected(_SFA, "AscendSFAImpl._get_indexer_attn_metadata", "(self)"),
    Expected(
        _INDEXER,
        "AscendSFAIndexerMetadata",
        fields=("actual_seq_lengths_query", "actual_seq_lengths_key", "slot_mapping"),
    ),
)
_RUN_INDEXER = Expected(
    _INDEXER,
    "AscendSFAIndexerBackend.forward",
    "(self, hidden_states, q_c, k_hidden_states, indexer_metadata, compute_topk=True)",
)

WINDOWS = (
    Expected(PARALLEL_STATE, "GroupCoordinator._all_reduce_out_place", "(self, input_)"),
    Expected(PARALLEL_STATE, "get_tp_group", "()"),
    Expected(PARALLEL_STATE, "get_ep_group", "()"),
    Expected(
        f"{FUSED_MOE}.token_dispatcher",
        "TokenDispatcherWithMC2.token_combine",
        "(self, hidden_states, combine_metadata, bias=None)",
    ),
    Expected(
        f"{FUSED_MOE}.prepare_finalize",
        "PrepareAndFinalizeWithAll2All.finalize",
        "(self, hidden_states, reduce_results, padded_hidden_states_shape=None)",
    ),
    Expected(
        f"{FUSED_MOE}.moe_comm_method",
        "MoECommMethod.fused_experts",
        "(self, fused_experts_input)",
    ),
    Expected(
        f"{FUSED_MOE}.moe_comm_method",
        "FusedMC2CommImpl.fused_experts",
        "(self, fused_experts_input)",
    ),
    Expected("vllm_ascend.ascend_config", "get_ascend_config", "()"),
)
"""What windows wrap or call, up to 0.27. The all-to-all combine is no window: it waits on the host
for its sizes."""

_EXPERTS_BY_METHOD = "(self, fused_experts_input, quant_method=None)"
WINDOWS_BY_METHOD = _replaced(
    _replaced(WINDOWS, "MoECommMethod.fused_experts", _EXPERTS_BY_METHOD),
    "FusedMC2CommImpl.fused_experts",
    _EXPERTS_BY_METHOD,
)
"""What windows wrap or call since 0.28."""


_INT8_OF_MODULE = (
    Expected(
        _SFA,
        "AscendSFAImpl._store_parallel_kv",
        "(self, k_pe, k_nope, knope_scale, fused_kv_no_split, kv_ag_handles, kv_cache, "
        "slot_mapping_sfa, attn_metadata, full_gather_o_proj_enabled)",
    ),
    Expected(
        "vllm_ascend.attention.indexer",
        "AscendSFAIndexerBackend.write_cache",
        "(self, k_li, k_li_scale, slot_mapping, indexer_attn_metadata=None)",
    ),
    _RESHAPE._replace(
        signature="(key, value, key_cache, value_cache, slot_mapping, use_bnsd=False)"
    ),
)


@dataclass(frozen=True)
class Release:
    """Releases of vLLM Ascend that share a seam.

    Attributes:
        name: major and minor, as in the setting `release`.
        versions: versions that the seam was written for.
        module: name of the seam module, beside this file.
        names: names of upstream that every layer uses.
        dense, sparse: further names that layers of dense and of sparse attention use.
        policy: names that the policy uses when it replaces upstream's WeightPrefetchMethod; empty
            for releases that have no such class.
    """

    name: str
    versions: str
    module: str
    names: tuple[Expected, ...]
    dense: tuple[Expected, ...]
    sparse: tuple[Expected, ...]
    policy: tuple[Expected, ...] = ()

    def of_family(self, family: str) -> tuple[Expected, ...]:
        """All names that layers of a family, "mla" or "sfa", use."""
        return (*self.names, *(self.dense if family == "mla" else self.sparse))

    def fits(self) -> str | None:
        """One line about the first name that differs from this release; None if none does."""
        # The modules of attention are imported first: some of those that they import cannot be,
        # because they import each other.
        return first_difference((*self.dense, *self.sparse, *self.names))

    def load(self) -> Seam:
        """The seam module; importing it imports vLLM Ascend.

        Raises:
            ImportError: upstream lacks a name that the seam imports.
        """
        seam: Any = importlib.import_module(f"{__package__}.{self.module}")
        return seam


RELEASES = {
    release.name: release
    for release in (
        Release(
            "0.18",
            "0.18.0",
            "v0_18",
            (*_COMMON, *_FLASH_COMM, _OPROJ_TP, _WRITTEN._replace(signature=None, absent=True)),
            _DENSE,
            (
                *_SPARSE,
                _METADATA,
                _ATTENTION,
                _RESHAPE,
            ),
            _POLICY,
        ),
        Release(
            "0.23",
            "0.23.0, 0.23.0.post1",
            "v0_23",
            (*_COMMON, *_FLASH_COMM, _OPROJ_TP, _WRITTEN, _START, _SELECT),
            _DENSE,
            (
                *_SPARSE,
                *_SHARED_INDEXERS,
                _ATTENTION,
                _RESHAPE,
                _METADATA_WITH_RUNS,
            ),
            _POLICY,
        ),
        Release(
            "0.26",
            "0.26.0rc1",
            "v0_26",
            (*_COMMON, *_FLASH_COMM, _OPROJ_TP, _WRITTEN, _START, _SELECT),
            _DENSE,
            (
                *_SPARSE,
                *_SHARED_INDEXERS,
                _COMPOSED,
                _RUNS_OF_SLOTS,
                _ATTENTION_OF_TABLE,
                _FUSED_TYPES,
                _RESHAPE,
                _METADATA_WITH_RUNS,
            ),
        ),
        Release(
            "0.27",
            "0.27.1rc1",
            "v0_27",
            (*_COMMON, _WRITTEN, _MOVED_START, _SELECT),
            _DENSE_OF_ALL_ROWS,
            (
                *_SPARSE_OF_ALL_ROWS,
                *_SHARED_INDEXERS,
                _COMPOSED,
                _RUNS_OF_SLOTS,
                _ATTENTION_OF_TABLE,
                _FUSED_TYPES,
                _RESHAPE,
                _METADATA_WITH_RUNS,
            ),
        ),
        Release(
            "0.28",
            "0.28.0rc1",
            "v0_28",
            (*_COMMON, _WRITTEN, _MOVED_START, _SELECT_OF_MODULE, *_INDEXER_MODULE),
            _DENSE_OF_RESULT,
            (*_SPARSE_OF_MODULE, _RUN_INDEXER, *_INT8_OF_MODULE),
        ),
        Release(
            "0.29",
            "0.29.0rc1",
            "v0_29",
            (*_COMMON, _WRITTEN, _WINDOW, _SELECT_OF_MODULE, *_INDEXER_MODULE),
            _DENSE_OF_RESULT,
            (*_SPARSE_OF_MODULE, _RUN_INDEXER, *_INT8_OF_MODULE),
        ),
        Release(
            "0.30",
            "0.30.0rc2",
            "v0_30",
            (*_COMMON, _WRITTEN, _WINDOW, _SELECT_WITH_FP4, *_INDEXER_MODULE),
            _DENSE_OF_RESULT,
            (
                *_SPARSE_OF_MODULE,
                *_INT8_OF_MODULE,
                _RUN_INDEXER._replace(
                    signature="(self, hidden_states, q_c, k_hidden_states, indexer_metadata, "
                    "compute_topk=True, attn_q_gather_handle=None)"
                ),
            ),
        ),
    )
}
"""The releases by name, the oldest first."""
