"""What both kinds of attention share: arguments that follow the weights, and the output."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ascend_prefetch.policy import PrefetchConfig

from . import neighbours, windows
from .arguments import LayerArguments, ReadIndexer, read_layer
from .fallback import UpstreamChanged, no_prefetch, say_once, upstream_changed
from .seams import Seam
from .switch import switch

# Rows beyond which a step goes upstream: a decode step has not so many, and upstream's own fused
# ops stop there as well.
_MOST_TOKENS = 1024


class Step(Protocol):
    """What the layers of a step share, read off its metadata once."""

    def __init__(self, metadata: Any, captured_kv_len: int | None) -> None:
        """
        Args:
            metadata: upstream's, of this kind of attention.
            captured_kv_len: cached tokens of a request while a graph is captured, else None.
        """

    def holds(self, metadata: Any) -> bool:
        """Whether the metadata, which drafting changes in place, is still what was read."""


if TYPE_CHECKING:

    class Upstream:
        """What the mixins use of AscendMLAImpl and AscendSFAImpl; no base but for mypy."""

        vllm_config: Any
        num_heads: int
        kv_lora_rank: int
        qk_rope_head_dim: int
        v_head_dim: int
        o_proj: Any
        W_UV: torch.Tensor
        # Of dense attention.
        enable_kv_nz: bool
        _forward_decode: Callable[..., torch.Tensor]
        # Of sparse attention.
        head_dim: int
        skip_topk: bool
        use_index_cache: bool
        _get_indexcache_topk_indices: Callable[[int], torch.Tensor]
        _update_indexcache_topk_indices: Callable[[torch.Tensor], None]
        _execute_sparse_flash_attention_process: Callable[..., torch.Tensor]

        def process_weights_after_loading(self, act_dtype: torch.dtype) -> None:
            """Makes what it computes with of the weights."""

        def _v_up_proj(self, x: torch.Tensor) -> torch.Tensor: ...

        def forward(
            self,
            layer_name: str,
            hidden_states: torch.Tensor,
            kv_cache: Any,
            attn_metadata: Any,
            need_gather_q_kv: bool = False,
            output: Any = None,
            *more: Any,
            **unknown: Any,
        ) -> torch.Tensor:
            """Attention from its projections to o_proj, written to output."""
else:
    Upstream = object


# Of this process.
_layers: weakref.WeakSet[FusedLayer] = weakref.WeakSet()


def release() -> None:
    """Lets go of all weights and caches, at any time; the next step takes them up again.

    For sleep mode and before weights are replaced: without it a layer's old weights stay until its
    next step, which sees that they were replaced.
    """
    for layer in list(_layers):
        layer.let_go()
    windows.ledger.forget()


class FusedLayer(Upstream):
    """Mixed into AscendMLAImpl and AscendSFAImpl, in front of them.

    Class attributes are set where the class is made, see patch.fused_class.
    """

    seam: Seam
    settings: PrefetchConfig
    family: str
    step_class: type[Step]
    ops: Any = torch.ops.ascend_prefetch

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "layer_name" not in kwargs:
            no_prefetch(UpstreamChanged("attention is built without the argument layer_name"))
        self._place = neighbours.register(kwargs.get("layer_name"), self)
        self._fused: LayerArguments | None = None
        self._keep_latent = False
        self._under_prolog: windows.Region | None = None
        self._behind: windows.NextLayer | None = None
        # The caches that were looked at last, and what was found.
        self._known_caches: tuple[weakref.ref[torch.Tensor], ...] = ()
        self._cache_refusal: str | None = None
        _layers.add(self)

    def forward(
        self,
        layer_name: str,
        hidden_states: torch.Tensor,
        kv_cache: Any,
        attn_metadata: Any,
        need_gather_q_kv: bool = False,
        output: Any = None,
        *more: Any,
        **unknown: Any,
    ) -> torch.Tensor:
        """Upstream's forward; by the ops where they take the step.

        Arguments that it had in no release that this was written for go to upstream with all of the
        step, and are named in the log.
        """
        if more or unknown:
            names = ", ".join([*(f"number {6 + i}" for i, _ in enumerate(more, 1)), *unknown])
            upstream_changed(f"{self.family}: forward was given the unknown argument {names}")
            return super().forward(
                layer_name,
                hidden_states,
                kv_cache,
                attn_metadata,
                need_gather_q_kv,
                output,
                *more,
                **unknown,
            )
        fused, caches = None, ()
        if attn_metadata is not None and kv_cache is not None:
            number = None if self._place is None else self._place.number
            windows.ledger.enter(self.seam.forward_context(), number)
            fused = self._takes(attn_metadata, need_gather_q_kv, hidden_states)
        if fused is not None:
            caches = self._caches(kv_cache)
        if fused is None or not self._takes_caches(caches):
            return super().forward(
                layer_name, hidden_states, kv_cache, attn_metadata, need_gather_q_kv, output
            )
        step = self._shared_step(attn_metadata)
        self._run(fused, step, layer_name, hidden_states, caches, attn_metadata, output)
        getattr(self.seam, f"{self.family}_done")(layer_name, kv_cache)
        return output

    def _takes(
        self, metadata: Any, gather: bool, hidden_states: torch.Tensor
    ) -> LayerArguments | None:
        """The layer's arguments, if the ops take a step; says why where they do not."""
        raise NotImplementedError

    def _caches(self, kv_cache: Any) -> tuple:
        """All caches of the layer, of what upstream hands to forward."""
        return kv_cache

    def _run(
        self,
        fused: LayerArguments,
        step: Any,
        layer_name: str,
        hidden_states: torch.Tensor,
        caches: tuple,
        metadata: Any,
        output: torch.Tensor,
    ) -> None:
        """A step through the ops, written to output."""
        raise NotImplementedError

    def process_weights_after_loading(self, act_dtype: torch.dtype) -> None:
        """Upstream's, then reads the weights anew: also after a reload."""
        super().process_weights_after_loading(act_dtype)
        self._read_weights()

    def _v_up_proj(self, x: torch.Tensor) -> torch.Tensor:
        """The attention's latent output as it is where o_proj takes W_UV along."""
        return x if self._keep_latent else super()._v_up_proj(x)

    def _read_weights(self) -> LayerArguments:
        try:
            refusal = getattr(self.seam, f"{self.family}_refusal")(self)
            if refusal is not None:
                fused = LayerArguments(reasons={"prolog": refusal, "o_proj": refusal})
            else:
                fused = read_layer(self, self._indexer_reader())
        except Exception as error:  # a layer that is not what this version's was
            upstream_changed(error)
            fused = LayerArguments()
        if not self.settings.prolog:
            fused.prolog = None
        if not self.settings.o_proj:
            fused.output = None
        for part, reason in fused.reasons.items():
            say_once(f"{part}: {reason}")
        self._fused = fused
        self._under_prolog = self._behind = None
        try:
            self._plan_windows(fused)
        except Exception as error:  # an unknown chip
            no_prefetch(error)
        return fused

    def _plan_windows(self, fused: LayerArguments) -> None:
        """What is prefetched under the prolog and under o_proj."""
        ratios = self.settings.prefetch_ratio["attn"]
        number = None if self._place is None else self._place.number
        if fused.output is not None and ratios["o"]:
            self._under_prolog = windows.Region(
                fused.output.o_proj,
                ratios["o"],
                layer=number,
                site=f"{self.family}_prolog",
                name="o_proj",
            )
        if self.settings.next_layer and ratios["qkv"] and self._place is not None:
            self._behind = windows.NextLayer(self._place, self.vllm_config, ratios["qkv"])

    def let_go(self) -> None:
        """Drops what was made of weights and caches; the next step makes it anew."""
        self._fused = self._under_prolog = self._behind = None
        self._known_caches = ()

    def _indexer_reader(self) -> ReadIndexer | None:
        """Reads the arguments of an indexer; None for dense attention."""
        return None

    def _fits(self, tokens: int, gather: bool) -> bool:
        """Whether a step has its rows on this rank, and no more than decode steps have."""
        if gather:
            say_once("hidden states that are split over ranks (flash communication)")
        elif not 0 < tokens <= _MOST_TOKENS:
            say_once(f"steps of more than {_MOST_TOKENS} rows")
        else:
            return True
        return False

    def _ready(self) -> LayerArguments | None:
        """The layer's arguments while its prolog is fused and switched on."""
        if not switch.on:
            return None
        fused = self._fused
        if fused is None or not fused.watch.unchanged():
            if self.seam.capturing():
                say_once("weights were replaced while a graph was being captured")
                return None
            fused = self._read_weights()
        return fused if fused.prolog is not None else None

    def _takes_caches(self, caches: tuple) -> bool:
        """Whether the ops write such caches; looked at when they are new."""
        if not self._knows(caches):
            self._known_caches = tuple(weakref.ref(cache) for cache in caches)
            self._cache_refusal = self._why_not(caches)
        if self._cache_refusal is None:
            return True
        say_once(self._cache_refusal)
        return False

    def _knows(self, caches: tuple) -> bool:
        known = self._known_caches
        if len(known) != len(caches):
            return False
        for reference, cache in zip(known, caches, strict=True):  # any() takes twice as long
            if reference() is not cache:
                return False
        return True

    def _why_not(self, caches: tuple) -> str | None:
        if len(caches) not in (2, 3):
            return f"{len(caches)} caches in a layer"
        widths = [self.kv_lora_rank, self.qk_rope_head_dim, getattr(self, "head_dim", None)]
        for cache, width in zip(caches, widths[: len(caches)], strict=True):
            if cache.dtype != self.W_UV.dtype or cache.dim() != 4 or cache.shape[2:] != (1, width):
                return f"a cache of {list(cache.shape)} {cache.dtype}"
        return None

    def _prefetch_output(self, passing_bytes: int) -> dict[str, object]:
        """The prefetch arguments of a prolog; those bytes pass before o_proj is used."""
        return {} if self._under_prolog is None else self._under_prolog.claim(passing_bytes)

    def _shared_step(self, metadata: Any) -> Any:
        """The step_class of this step, which the first of its layers makes."""
        step = metadata.__dict__.get("_ascend_prefetch")
        if step is None or not step.holds(metadata):
            # Lengths of the requests under capture mean nothing.
            length = self.settings.captured_kv_len if self.seam.capturing() else None
            step = metadata._ascend_prefetch = self.step_class(metadata, length)
        return step

    def _product(self, latent: torch.Tensor, tokens: int, fused: LayerArguments) -> torch.Tensor:
        """This rank's part of W_UV and o_proj of [T, N, kv_lora]."""
        output: Any = fused.output
        prefetch = {} if self._behind is None else self._behind.prefetch(tokens)
        product: torch.Tensor = self.ops.o_proj.default(
            latent, output.o_proj, **output.options, **prefetch
        )
        return product

    def _sum_over_ranks(self, partial: torch.Tensor) -> torch.Tensor:
        """The sum of all ranks' parts, of as many rows as upstream's own: the group's other ranks
        wait for those."""
        layer = self.o_proj
        if layer.reduce_results and layer.tp_size > 1:
            return self.seam.all_reduce(partial)
        return partial
