"""The forward of an attention layer; it reads from top to bottom."""

from __future__ import annotations

from typing import Any

import torch

from ascend_prefetch.policy import PrefetchConfig

from . import neighbours
from .caches import KnownCaches
from .counters import FUSED, counters
from .fallback import UpstreamChanged, no_prefetch, say_once, upstream_changed
from .family import Family, SharedStep
from .regions import NOTHING, ledger
from .weights import LayerWeights
from .windows.running import running

_Upstream: Any = object  # AscendMLAImpl or AscendSFAImpl where patch makes a class


class FusedLayer(_Upstream):  # type: ignore[misc]
    """Derived from AscendMLAImpl or AscendSFAImpl, whose forward runs where the ops cannot.

    patch.fused_class makes the subclass and sets its class attributes.

    Attributes:
        family: what differs between dense and sparse attention.
        fused_weights: the arguments of the ops.
        keep_latent: whether _v_up_proj returns its input unchanged, for the op o_proj.
    """

    family: Family
    settings: PrefetchConfig
    ops: Any = torch.ops.ascend_prefetch
    keep_latent = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "layer_name" not in kwargs:
            no_prefetch(UpstreamChanged("attention is built without the argument layer_name"))
        place = neighbours.register(kwargs.get("layer_name"), self)
        self._number = None if place is None else place.number
        self.fused_weights = LayerWeights(place)
        self.known_caches = KnownCaches()

    def forward(
        self,
        layer_name: str,
        hidden_states: torch.Tensor,
        kv_cache: Any,
        attn_metadata: Any,
        output: Any = None,
        *more: Any,
        **unknown: Any,
    ) -> torch.Tensor:
        """Upstream's forward, run by the ops where they support the step.

        A step with arguments that upstream's forward does not have in this release goes upstream as
        a whole, and the log names these arguments.
        """
        given = (layer_name, hidden_states, kv_cache, attn_metadata, output)
        return self._forward(given, False, output, more, unknown)

    def _forward(
        self,
        given: tuple[Any, ...],
        gather: bool,
        output: Any,
        more: tuple[Any, ...],
        unknown: dict[str, Any],
    ) -> torch.Tensor:
        """The forward of every release.

        Args:
            given: the arguments in the order of the release.
            gather: whether the rows of hidden_states are split over ranks.
            output: where the result is written; the last of `given`.
            more, unknown: arguments that this release does not have.
        """
        layer_name, hidden_states, kv_cache, attn_metadata = given[:4]
        family, weights = self.family, self.fused_weights
        running.enter()
        if more or unknown:
            first = len(given) + 1
            names = ", ".join([*(f"number {i}" for i, _ in enumerate(more, first)), *unknown])
            upstream_changed(f"{family.name}: forward was given the unknown argument {names}")
            return super().forward(*given, *more, **unknown)
        if attn_metadata is None or kv_cache is None:
            # vLLM's profile run, which measures memory, or a capture of what lies between
            # attention layers, which holds the windows there.
            result = super().forward(*given)
            if family.seam.capturing():
                ledger.enter(family.seam.forward_context(), self._number)
                self._open_windows(hidden_states, gather)
            return result

        # The ops must support the step, the weights and the caches.
        if ledger.enter(family.seam.forward_context(), self._number):
            counters.new_step(self)
        refusal = family.step_refusal(attn_metadata, gather, hidden_states)
        arguments = weights.ready(self) if refusal is None else None
        if arguments is not None:
            caches = family.caches(self, kv_cache)
            refusal = self.known_caches.refusal(self, caches)
        if refusal is not None:
            say_once(refusal)
        if arguments is None or refusal is not None:
            counters.layers[refusal or weights.why_not()] += 1
            result = super().forward(*given)
            self._open_windows(hidden_states, gather)
            return result

        # Upstream's own communication, where ranks have a share of the rows each.
        rows, flash_comm = hidden_states, family.seam.flash_comm
        if gather and flash_comm is not None:
            rows = flash_comm.gather(hidden_states)

        # The prolog, with o_proj prefetched under it.
        step = self._shared_step(attn_metadata)
        tokens, o_proj = step.tokens, arguments.output
        if o_proj is not None and o_proj.scatters and flash_comm is not None:
            o_proj = None if flash_comm.scatters_in_product() else o_proj
        prolog: Any = arguments.prolog
        prefetch = weights.prefetch_o_proj(family.passing_bytes(self, step, caches), tokens)
        family.before_cache_write(self, layer_name)
        slots, *written = family.written(self, prolog, caches, step)
        with weights.watch_prolog():
            queries = family.op(self.ops)(
                rows if rows.shape[0] == tokens else rows[:tokens],
                *prolog.before,
                step.cos,
                step.sin,
                slots,
                *written,
                *prolog.indexer,
                **prolog.options,
                **prefetch,
            )
        family.store(self, written, caches, attn_metadata)
        family.cache_written(layer_name)

        # Upstream's attention.
        self.keep_latent = o_proj is not None
        try:
            with family.beside_attention(self, step, caches):
                attention = family.attention(self, queries, caches, attn_metadata)
        finally:
            self.keep_latent = False

        # o_proj, with the next layer's fused_qkv_a prefetched under it.
        latent = None if o_proj is None else family.latent(self, attention, tokens)
        written_rows = family.rows_written(output, tokens)
        if o_proj is None or latent is None:
            family.upstream_o_proj(self, attention, written_rows)
        else:
            prefetch = weights.prefetch_next_layer(tokens)
            with weights.watch_o_proj():
                partial = self.ops.o_proj.default(
                    latent, o_proj.o_proj, **o_proj.options, **prefetch
                )
            self._write(partial, written_rows, o_proj.scatters)
        if step.captured:
            weights.captured()
        family.done(layer_name, kv_cache)
        counters.layers[FUSED] += 1
        self._open_windows(hidden_states, gather)
        return output

    def process_weights_after_loading(self, act_dtype: torch.dtype) -> None:
        """Runs upstream's method, then reads the weights again; also called after a reload.

        Upstream's fused prologs (MLAPO, PROLOG_V3) need the weights in a form of their own, and on
        workers that only decode they free the originals. A layer that runs our prolog has no use
        for them, and its other steps run upstream's projections, which need the originals.
        """
        self.fused_weights.keep(self)
        super().process_weights_after_loading(act_dtype)
        self.fused_weights.read(self)

    def _open_windows(self, hidden_states: torch.Tensor, is_share: bool) -> None:
        """From here to the next layer's prolog weights may be prefetched.

        Args:
            hidden_states: of this step.
            is_share: whether they are this rank's share of the rows; experts are read for all.
        """
        behind = self.fused_weights.windows.behind
        if behind is not None:
            rows = hidden_states.shape[0]
            running.leave(behind, self.family.seam.padded_tokens() if is_share else rows)

    def _v_up_proj(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the latent output of attention unchanged where the op o_proj applies W_UV."""
        return x if self.keep_latent else super()._v_up_proj(x)

    def _shared_step(self, metadata: Any) -> SharedStep:
        """The values that the layers of this step share, made by the first layer."""
        read = self.family.read_step(metadata)
        step: SharedStep | None = metadata.__dict__.get("_ascend_prefetch")
        if step is None or not step.holds(read):
            # Under graph capture the lengths of the requests are dummies.
            length = self.settings.captured_kv_len if self.family.seam.capturing() else None
            step = metadata._ascend_prefetch = SharedStep(read, length)
        return step

    def _write(self, partial: torch.Tensor, output: torch.Tensor, scatters: bool) -> None:
        """Sums o_proj's [T, hidden] over the ranks into output, which may have padding rows.

        Args:
            partial: this rank's part of the sums.
            output: where they are written; with flash communication this rank's share of the rows.
            scatters: whether o_proj takes part in flash communication.
        """
        tokens, seam = partial.shape[0], self.family.seam
        reduces = self.o_proj.reduce_results and self.o_proj.tp_size > 1
        flash_comm = seam.flash_comm if scatters else None
        if flash_comm is not None and reduces and (rows := flash_comm.scattered_rows()):
            if rows != tokens:
                whole = partial.new_zeros(rows, partial.shape[1])
                whole[:tokens] = partial
                partial = whole
            output[...] = flash_comm.reduce_scatter(partial)
            return
        if output.shape[0] != tokens:
            # Padding is reduced as well: another rank of the group may run this step upstream and
            # wait for the same number of rows.
            output[:tokens] = partial
            output[tokens:] = 0
            partial = output
        if reduces:
            windows = self.fused_weights.windows.behind
            window = NOTHING if windows is None else windows.behind_o_proj(partial.nbytes)
            with window:
                partial = seam.all_reduce(partial)
        if partial is not output:
            output[...] = partial


class GatheringLayer(FusedLayer):
    """A layer of the releases with flash communication, whose forward is told to gather rows."""

    def forward(  # type: ignore[override]
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
        """See FusedLayer.forward."""
        given = (layer_name, hidden_states, kv_cache, attn_metadata, need_gather_q_kv, output)
        return self._forward(given, need_gather_q_kv, output, more, unknown)
