"""The ops' arguments that come from a layer, made once after its weights are loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ascend_prefetch.backend import backends

from .fallback import Unsupported, attribute
from .linears import LinearArguments, read_linear
from .watch import Watch

ROPE = 64

_SCATTERS = "SequenceRowParallelOp"  # its communication is that of seams/flash_comm.py
# Upstream's own o_proj, which multiplies rows of other ranks by this rank's weight.
_READS_WEIGHT = {"OProjRowParallelOp"}

ReadIndexer = Callable[[Any, Watch], dict[str, Any]]
ReadCaches = Callable[[Any, Watch], dict[str, Any]]


@dataclass
class Prolog:
    """The weights of mla_prolog or sfa_prolog.

    Attributes:
        qkv_a: the weight that the prolog reads first.
        before: positional arguments from qkv_a_weight to kv_a_norm_weight.
        indexer: positional arguments from indexer_wq_b to indexer_weights_proj; empty for a layer
            without an indexer.
        options: keyword arguments that do not change from call to call.
        watch: watches every tensor that the arguments were made from.
    """

    qkv_a: torch.Tensor
    before: tuple[torch.Tensor | None, ...]
    indexer: tuple[torch.Tensor | None, ...]
    options: dict[str, object]
    watch: Watch

    def in_order(self) -> list[tuple[str, torch.Tensor]]:
        """The weights by name, in the order in which the kernel reads them."""
        named: list[tuple[str, torch.Tensor | None]] = [("fused_qkv_a", self.qkv_a)]
        if self.indexer:
            wq_b, wk, _, _, weights_proj = self.indexer
            named += [("indexer_wk", wk), ("indexer_weights_proj", weights_proj)]
        named.append(("q_b", self.before[2]))
        if self.indexer:
            named.append(("indexer_wq_b", wq_b))
        named.append(("w_uk", self.before[3]))
        return [(name, weight) for name, weight in named if weight is not None]


@dataclass
class Output:
    """The weights of o_proj, W_UV among them.

    Attributes:
        scatters: whether its sums are scattered over the ranks in steps with flash communication.
    """

    o_proj: torch.Tensor
    options: dict[str, torch.Tensor]
    watch: Watch
    scatters: bool


@dataclass
class LayerArguments:
    """The arguments of both ops of a layer; those of an op that it does not support are None.

    Attributes:
        shard: the weight that upstream's o_proj reads where the op o_proj is not supported and the
            weight may be prefetched; else None.
        reasons: why an op is not supported, by "prolog" or "o_proj".
        watch: watches every tensor that the arguments were made from.
    """

    prolog: Prolog | None = None
    output: Output | None = None
    shard: torch.Tensor | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)


def read_layer(
    impl: Any,
    read_indexer: ReadIndexer | None,
    read_caches: ReadCaches,
    flash_comm: bool = False,
) -> LayerArguments:
    """The arguments of an attention layer of vLLM Ascend.

    Args:
        impl: AscendMLAImpl or AscendSFAImpl after process_weights_after_loading.
        read_indexer: returns the arguments of the indexer; None for MLA.
        read_caches: returns the options of the prolog that the layer's caches call for.
        flash_comm: whether the caller can do o_proj's part in flash communication.

    Raises:
        UpstreamChanged: the layer lacks what all known releases have.
    """
    layer = LayerArguments()
    try:
        layer.prolog = _read_prolog(impl, read_indexer, read_caches)
    except Unsupported as reason:
        layer.reasons["prolog"] = str(reason)
    try:
        layer.output = _read_output(impl, flash_comm)
    except Unsupported as reason:
        layer.reasons["o_proj"] = str(reason)
    layer.watch = Watch(*(part.watch for part in (layer.prolog, layer.output) if part is not None))
    if layer.output is None and _custom_op(impl) in _READS_WEIGHT:
        shard = layer.watch.tensor(impl.o_proj, "weight")
        layer.shard = shard if shard is not None and shard.numel() else None
    return layer


def _custom_op(impl: Any) -> str:
    """The class name of the communication that o_proj has beside tensor parallelism."""
    return type(getattr(impl.o_proj, "custom_op", None)).__name__


def prolog_refusal(impl: Any, read_indexer: ReadIndexer | None) -> str | None:
    """Why a layer's prolog goes upstream, or None; asked before upstream has made W_UK.

    Args:
        impl: AscendMLAImpl or AscendSFAImpl before process_weights_after_loading, when its linear
            layers have been processed.
        read_indexer: returns the arguments of the indexer; None for MLA.

    Raises:
        UpstreamChanged: the layer lacks what all known releases have.
    """
    sizes: list[Any] = [
        attribute(impl, name) for name in ("num_heads", "qk_nope_head_dim", "kv_lora_rank")
    ]
    w_uk = torch.empty(sizes, dtype=impl.kv_a_layernorm.weight.dtype, device="meta")
    try:
        _read_prolog(impl, read_indexer, _no_options, w_uk)
    except Unsupported as reason:
        return str(reason)
    return None


def _no_options(impl: Any, watch: Watch) -> dict[str, Any]:
    return {}


def _read_prolog(
    impl: Any,
    read_indexer: ReadIndexer | None,
    read_caches: ReadCaches,
    w_uk: torch.Tensor | None = None,
) -> Prolog:
    """The weights of the prolog; w_uk stands for W_UK where upstream has not made it yet."""
    watch = Watch()
    with_latent = impl.q_lora_rank is not None
    if with_latent:
        qkv_a = read_linear("fused_qkv_a_proj", impl.fused_qkv_a_proj, watch, "qkv_a_")
    else:
        qkv_a = read_linear("kv_a_proj_with_mqa", impl.kv_a_proj_with_mqa, watch, "qkv_a_")
    q_b = read_linear("q_b_proj" if with_latent else "q_proj", impl.q_proj, watch, "q_b_")
    options: dict[str, object] = {**qkv_a.options, **q_b.options, **read_caches(impl, watch)}
    kv_norm = impl.kv_a_layernorm
    options["eps"] = kv_norm.variance_epsilon
    q_norm_weight = None
    if with_latent:
        q_norm = impl.q_a_layernorm
        if q_norm.variance_epsilon != kv_norm.variance_epsilon:
            raise Unsupported("the norms of q_a and kv_a have epsilons of their own")
        q_norm_weight = watch.tensor(q_norm, "weight")
        if (q_bias := _bias(q_norm, watch.tensor)) is not None:
            options["q_a_norm_bias"] = q_bias
    if w_uk is None:
        w_uk = _need(watch.tensor(impl, "W_UK_T"), "W_UK")
    kv_norm_weight = _need(watch.tensor(kv_norm, "weight"), "the weight of kv_a_layernorm")
    kv_bias = _bias(kv_norm, watch.copied)  # copied: the next check holds for these values alone
    if kv_bias is not None and kv_bias.any():
        # kv_a_norm_bias cannot be used: upstream's cache op has no such bias, nor have its fused
        # ops. In a cache that both write, some rows would have the bias and others would not.
        raise Unsupported("kv_a_layernorm has a bias, which vLLM Ascend leaves out of its rows")
    before = (qkv_a.weight, q_norm_weight, q_b.weight, w_uk, kv_norm_weight)
    prolog = Prolog(qkv_a.weight, before, (), options, watch)
    if read_indexer is not None:
        arguments = read_indexer(impl, watch)
        prolog.indexer = arguments.pop("weights")
        options.update(arguments)
    _check_prolog(prolog, impl, sparse=read_indexer is not None)
    return prolog


def _bias(norm: Any, read: Callable[[object, str], torch.Tensor | None]) -> torch.Tensor | None:
    """The bias of upstream's AscendRMSNorm; None if there is none, or the checkpoint had none.

    A norm that does not tell whether a bias was loaded holds zeros if none was.
    """
    return read(norm, "bias") if getattr(norm, "bias_loaded", True) else None


def _read_output(impl: Any, flash_comm: bool = False) -> Output:
    watch = Watch()
    known = (_SCATTERS,) if flash_comm else ()
    o_proj = read_linear("o_proj", impl.o_proj, watch, custom_ops=known)
    if not attribute(impl.o_proj, "input_is_parallel", "o_proj"):
        raise Unsupported("o_proj splits its input")
    for name in ("reduce_results", "tp_size"):  # read in every step
        attribute(impl.o_proj, name, "o_proj")
    w_uv = _need(watch.tensor(impl, "W_UV"), "W_UV")
    output = Output(
        o_proj.weight, {**o_proj.options, "w_uv": w_uv}, watch, _custom_op(impl) == _SCATTERS
    )
    heads, latent, _ = w_uv.shape
    x = w_uv.new_empty(1, heads, latent, device="meta")
    _ask_op("o_proj", w_uv.device, x, output.o_proj, output.options)
    return output


def indexer_arguments(
    impl: Any, watch: Watch, wk: LinearArguments, weights_proj: LinearArguments | None
) -> dict[str, Any]:
    """The keyword arguments of an indexer, with its weights under "weights".

    Args:
        impl: AscendSFAImpl with an indexer.
        wk: arguments of wk, or of wk and weights_proj in one weight.
        weights_proj: arguments of weights_proj, or None where wk holds it.
    """
    wq_b = read_linear("the indexer's wq_b", impl.wq_b, watch, "indexer_wq_b_")
    for name, linear in (("wk", wk), ("weights_proj", weights_proj)):
        if linear is not None and linear.options:
            raise Unsupported(f"the indexer's {name} is quantised")
    norm = impl.k_norm
    return {
        "weights": (
            wq_b.weight,
            wk.weight,
            watch.tensor(norm, "weight"),
            watch.tensor(norm, "bias"),
            None if weights_proj is None else weights_proj.weight,
        ),
        "indexer_rope_interleaved": not impl.is_rope_neox_style,
        "indexer_eps": norm.eps,
        **wq_b.options,
    }


def _check_prolog(prolog: Prolog, impl: Any, *, sparse: bool) -> None:
    norm: Any = prolog.before[4]
    qkv_a: Any = prolog.before[0]
    first = "fused_qkv_a_proj" if impl.q_lora_rank is not None else "kv_a_proj_with_mqa"
    hidden: Any = attribute(getattr(impl, first), "input_size", first)
    if impl.qk_rope_head_dim != ROPE:
        raise Unsupported(f"rope of {impl.qk_rope_head_dim} elements")
    new = functools.partial(norm.new_empty, device="meta")
    step = [new(1, ROPE), new(1, ROPE), new(1, dtype=torch.int64)]
    latent = torch.int8 if "kv_cache_scale" in prolog.options else norm.dtype
    caches = [new(1, 16, 1, impl.kv_lora_rank, dtype=latent), new(1, 16, 1, ROPE)]
    if sparse and prolog.indexer:
        caches.append(new(1, 16, 1, impl.head_dim))
    x = new(1, hidden)
    name = "sfa_prolog" if sparse else "mla_prolog"
    arguments = (*prolog.before, *step, *caches, *prolog.indexer)
    _ask_op(name, qkv_a.device, x, *arguments, prolog.options)


def _ask_op(name: str, device: torch.device, *arguments: Any) -> None:
    """Asks an op whether it accepts these arguments; nothing is computed.

    Raises:
        Unsupported: the op refuses them, in its own words, or this build has no kernels for the
            device.
    """
    *tensors, options = arguments
    npu = backends()["npu"]
    if device.type not in ("cpu", "meta") and not npu.available:
        raise Unsupported(f"ascend_prefetch has no backend for {device.type}: {npu.detail}")
    meta = [None if t is None else t.to("meta") for t in tensors]
    keywords = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    try:
        getattr(torch.ops.ascend_prefetch, name)(*meta, **keywords)
    except (RuntimeError, ValueError) as error:
        raise Unsupported(str(error).splitlines()[0]) from None


def _need(tensor: torch.Tensor | None, name: str) -> torch.Tensor:
    if tensor is None or not tensor.numel():
        raise Unsupported(f"upstream freed {name}")
    return tensor
