"""A layer's op arguments and prefetches, made from its weights and remade when these change."""

from __future__ import annotations

from contextlib import AbstractContextManager
from logging import ERROR
from typing import Any

from . import neighbours, regions
from .arguments import LayerArguments, prolog_refusal, read_layer
from .captured import Captured
from .fallback import Unsupported, attribute, no_prefetch, say_once, upstream_changed
from .following import Following
from .switch import holders, switch
from .windows.of_layer import WindowsOfLayer, windows_of


class LayerWeights:
    """The op arguments and prefetch windows of one layer.

    Attributes:
        arguments: arguments of its ops; None before the first step and after forget().
        windows: the windows between kernels in which weights are prefetched.
    """

    def __init__(self, place: neighbours.Place | None) -> None:
        self._place = place
        self.arguments: LayerArguments | None = None
        self._under_prolog: regions.Region | None = None
        self._under_o_proj: regions.NextLayer | None = None
        self.windows = WindowsOfLayer()
        self._captured = Captured()
        holders.add(self)

    def ready(self, layer: Any) -> LayerArguments | None:
        """The arguments if the layer's prolog is fused and switched on, else None."""
        if not switch.on:
            return None
        arguments = self.arguments
        if arguments is None or not arguments.watch.unchanged():
            if layer.family.seam.capturing():
                say_once("weights were replaced while a graph was being captured")
                return None
            arguments = self.read(layer)
        return arguments if arguments.prolog is not None else None

    def keep(self, layer: Any) -> None:
        """Keeps upstream from making its own copies of weights that the fused prolog reads.

        A layer whose prolog goes upstream keeps upstream's fused prolog, and so do all layers of a
        process that loads them switched off.
        """
        if not (switch.on and layer.settings.prolog):
            return
        family = layer.family
        try:
            refusal = _refusal(layer)
            if refusal is None and prolog_refusal(layer, family.indexer_reader(layer)) is None:
                family.keep_weights(layer)
        except Exception as error:  # a layer that differs from those of the known releases
            upstream_changed(error)

    def why_not(self) -> str:
        """Why ready() returned None."""
        if not switch.on:
            return "switched off"
        if self.arguments is None:
            return "weights that were replaced while a graph was being captured"
        return self.arguments.reasons.get("prolog", "the setting prolog is false")

    def read(self, layer: Any) -> LayerArguments:
        """Reads the arguments again; logs which parts of the layer go upstream, and why."""
        family, settings = layer.family, layer.settings
        gone = self._captured.restore()
        if gone is not None:
            say_once(gone, so="capture graphs again, they read memory that is gone", level=ERROR)
        try:
            refusal = _refusal(layer)
            if refusal is not None:
                arguments = LayerArguments(reasons={"prolog": refusal, "o_proj": refusal})
            else:
                flash_comm = family.seam.flash_comm is not None
                arguments = read_layer(
                    layer, family.indexer_reader(layer), family.cache_options, flash_comm
                )
        except Exception as error:  # a layer that differs from those of the known releases
            upstream_changed(error)
            arguments = LayerArguments()
        if not settings.prolog:
            arguments.prolog = None
        if not settings.o_proj:
            arguments.output = None
        for part, reason in arguments.reasons.items():
            say_once(f"{part}: {reason}")
        for op in (arguments.prolog, arguments.output):
            if op is not None:
                self._captured.keep_place(type(op).__name__, op.options, op.watch)
        self._forget()
        self.arguments = arguments
        try:
            self._plan_windows(layer, arguments)
        except Exception as error:  # an unknown chip
            no_prefetch(error)
        return arguments

    def captured(self) -> None:
        """Called in a step that a graph captures, whose ops read the arguments."""
        if self.arguments is not None:
            self._captured.hold(self.arguments.watch)

    def forget(self) -> None:
        """Drops everything made from the weights; the next step makes it again."""
        self._forget()
        self._captured.let_go()

    def _forget(self) -> None:
        self.arguments = self._under_prolog = self._under_o_proj = None
        self.windows = WindowsOfLayer()

    def prefetch_o_proj(self, passing_bytes: int, tokens: int) -> dict[str, object]:
        """The prolog's prefetch arguments for a step of `tokens` tokens.

        passing_bytes pass through L2 before o_proj is read. The op has to run in watch_prolog().
        """
        region = self._under_prolog
        return {} if region is None else region.claim(passing_bytes, tokens)

    def watch_prolog(self) -> AbstractContextManager[object]:
        """The context of the prolog."""
        return regions.NOTHING if self._under_prolog is None else self._under_prolog.watch()

    def prefetch_next_layer(self, tokens: int) -> dict[str, object]:
        """The prefetch arguments of o_proj for a step of `tokens` tokens.

        The op has to run in watch_o_proj().
        """
        return {} if self._under_o_proj is None else self._under_o_proj.prefetch(tokens)

    def watch_o_proj(self) -> AbstractContextManager[object]:
        """The context of o_proj."""
        return regions.NOTHING if self._under_o_proj is None else self._under_o_proj.watch()

    def _plan_windows(self, layer: Any, arguments: LayerArguments) -> None:
        """Decides which weights are prefetched under the prolog and under o_proj."""
        ratios = layer.settings.prefetch_ratio["attn"]
        output = arguments.output
        o_proj = arguments.shard if output is None else output.o_proj
        if o_proj is not None and layer.settings.o_proj and ratios["o"]:
            self._under_prolog = regions.Region(
                o_proj,
                ratios["o"],
                layer=None if self._place is None else self._place.number,
                site=f"{layer.family.name}_prolog",
                name="o_proj",
            )
        if self._place is None or arguments.prolog is None:
            return
        following = Following(self._place, layer.vllm_config)
        if layer.settings.next_layer and ratios["qkv"]:
            self._under_o_proj = regions.NextLayer(following, ratios["qkv"])
        if layer.settings.windows:
            try:
                self.windows = windows_of(layer, self._place, arguments, following)
            except Unsupported as reason:
                say_once(str(reason), so="nothing is prefetched between kernels")


def _refusal(layer: Any) -> str | None:
    """Why a layer goes upstream in every step, or None."""
    if attribute(layer.vllm_config, "lora_config") is not None:
        return "LoRA adapters, which the ops do not apply"
    return layer.family.layer_refusal(layer)
