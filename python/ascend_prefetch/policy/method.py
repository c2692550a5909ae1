"""Weight prefetches at vLLM Ascend's call sites, sized by the planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from ascend_prefetch.policy import sites
from ascend_prefetch.policy.config import PrefetchConfig
from ascend_prefetch.policy.context import (
    StepContext,
    experts_weight,
    find,
    layer_at,
    layer_of,
    output_weights,
)
from ascend_prefetch.policy.engines import Engine, Sdma
from ascend_prefetch.policy.ledger import PrefetchLedger
from ascend_prefetch.policy.sites import Site, WindowPlanner

MOE_MIN_ROWS = 96
"""Steps with fewer rows use too few experts for a prefetch to pay off; upstream's value."""

MLP_MAX_TOKENS = 499
"""In steps with more tokens the MLP is compute-bound; upstream's value."""


class Settings(Protocol):
    """PrefetchConfig, or the object that vLLM Ascend made from its own key."""

    @property
    def enabled(self) -> bool:
        """Whether anything is prefetched."""

    @property
    def prefetch_ratio(self) -> Mapping[str, Mapping[str, float]]:
        """The maximum share of each weight's bytes, by module and weight."""


@dataclass
class ModulePrefetch:
    """The prefetches of one kind of module.

    Attributes:
        module_name: "attn", "moe" or "mlp".
        enable: whether its weights are prefetched, by the settings and the kind of model.
        is_active_this_forward: whether the last call site decided to prefetch.
        prefetch_ratio: the maximum share of each weight's bytes.
        linear_prefix_map: the weight that linear layers of a class hold, by the exact class name.
    """

    module_name: str
    enable: bool
    prefetch_ratio: Mapping[str, float]
    linear_prefix_map: Mapping[str, str] = field(default_factory=dict)
    is_active_this_forward: bool = False

    def __post_init__(self) -> None:
        self.enable = self.enable and any(self.prefetch_ratio.values())


class _Joins:
    """Learns for each number of rows whether a site's counterpart, which joins, will be called.

    Upstream's counterparts are in other functions, and only on some paths of the model. Without one
    the prefetch would stay pending, and a graph capture in which it was issued would fail. A
    captured step has a number of rows that ran before, so the answer is known by then.
    """

    _MAX_KEPT = 4096

    def __init__(self) -> None:
        self._followed: set[int] = set()
        self._waiting: int | None = None

    def begin(self, rows: int | None) -> bool:
        """Notes that the site was called; returns whether its counterpart followed last time."""
        self.abandon()
        self._waiting = rows
        return rows in self._followed

    def abandon(self) -> None:
        """Notes that the counterpart of the last call of the site was not called."""
        if self._waiting is not None:
            self._followed.discard(self._waiting)
            self._waiting = None

    def end(self) -> None:
        """Notes that the counterpart was called."""
        if self._waiting is None:
            return
        if len(self._followed) >= self._MAX_KEPT:
            self._followed.clear()
        self._followed.add(self._waiting)
        self._waiting = None


class WeightPrefetchMethod:
    """Prefetches weights at the call sites of vLLM Ascend, with its methods and signatures.

    A site names a weight, but not how much time there is. The planner grants as many bytes as the
    copy engine loads while the kernels up to the weight's use are launched; ratios and upstream's
    caps can only reduce that. The ledger ensures that no byte is loaded twice in a step.

    Every prefetch is joined. Prefetches of sites with a counterpart (`..._postprocess`) are joined
    there; where upstream does not call the counterpart on every path, the site prefetches only
    after the counterpart was seen to follow. The sites before qkv_a and o_proj have no counterpart,
    so they prefetch only for a caller that joins.

    In a compiled graph a site is one call per layer, whose size is decided at tracing; the ledger,
    which counts by steps, does not record it.

    Attributes:
        is_moe: whether the model has experts; decides between `moe` and `mlp`.
        mla_sfa_prefetch_enable: whether the settings enable prefetching.
        attn, moe, mlp: the prefetches of each kind of module.
        ledger: the bytes that were prefetched in this step.
        planner: the decisions so far, with their reasons.
    """

    MLP_GATE_UP = "gate_up"
    MLP_DOWN = "down"

    def __init__(
        self,
        weight_prefetch_config: Settings,
        *,
        is_moe: bool = True,
        context: Callable[[], StepContext | None] = lambda: None,
        caller_joins: bool = False,
        switch: Callable[[], bool] = lambda: True,
        ledger: PrefetchLedger | None = None,
        planner: WindowPlanner | None = None,
        engine: Engine | None = None,
        notice: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """
        Args:
            weight_prefetch_config: the settings.
            is_moe: whether the model has experts.
            context: returns the running forward pass, or None if unknown; sites that need it then
                prefetch nothing.
            caller_joins: whether the caller calls join() after the output projection of every
                attention layer.
            switch: returns whether to prefetch; asked at every site.
            ledger: the ledger to share with other prefetches; by default a new one.
            planner: the planner to use; by default one for the chip of backend.chip().
            engine: the engine to use; by default the copy engine.
            notice: called with one line whenever a layer lacks the weight of a site, which happens
                when the model's attributes are not named as in vLLM Ascend up to 0.23.

        Raises:
            ValueError: a setting is out of range.
        """
        enabled = bool(weight_prefetch_config.enabled)
        ratios = PrefetchConfig(prefetch_ratio=weight_prefetch_config.prefetch_ratio).prefetch_ratio
        self.is_moe = is_moe
        self.mla_sfa_prefetch_enable = enabled
        self.attn = ModulePrefetch(
            "attn",
            enabled,
            ratios["attn"],
            {"AscendQKVParallelLinear": "qkv", "AscendRowParallelLinear": "o"},
        )
        self.moe = ModulePrefetch("moe", enabled and is_moe, ratios["moe"])
        self.mlp = ModulePrefetch("mlp", enabled and not is_moe, ratios["mlp"])
        self.ledger = ledger or PrefetchLedger()
        self.planner = planner or WindowPlanner()
        self._ratios = ratios
        self._context = context
        self._caller_joins = caller_joins
        self._switch = switch
        self._engine = engine or Sdma()
        self._notice = notice
        self._pending = False
        # The step that the sites belong to; the ledger knows the layer that was entered last in it.
        self._step = self.ledger.step
        self._began: int | None = None
        self._layer: int | None = None
        self._joins = {"moe": _Joins(), "mlp": _Joins()}
        # The layer of each output projection; None for other weights of the same class.
        self._output_layers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    # --- for the caller of the sites ---

    def enter_layer(self, number: int) -> None:
        """Assigns the following sites to a decoder layer, until another layer is entered.

        The next layer may be entered here or in the ledger.
        """
        self._enter(number)
        self._layer = number

    def join(self) -> None:
        """Makes the current stream wait for every pending prefetch; does nothing if none is."""
        if self._pending:
            self._pending = False
            self._engine.join()

    # --- attention ---

    def maybe_prefetch_mla_or_sla_weight_in_current_stream(
        self,
        inputs: torch.Tensor,
        dependency: torch.Tensor,
        max_size: int = 0,
        linear_layer: torch.nn.Module | None = None,
    ) -> None:
        """The site before qkv_a, or before o_proj, whose layer is then given as linear_layer.

        Args:
            inputs: the weight.
            dependency: the tensor that must be computed before the prefetch starts.
            max_size: maximum number of bytes; 0 for no limit but the planner's.
            linear_layer: the layer of an output projection.
        """
        if not self.mla_sfa_prefetch_enable or not self._caller_joins:
            return
        context = self._enter()
        number = layer_of(getattr(linear_layer, "prefix", None))
        site = sites.BEFORE_QKV_A if linear_layer is None else sites.BEFORE_O_PROJ
        self._start(site, inputs, dependency, self._present(context, number), max_size)

    def maybe_prefetch_attn_weight_preprocess(
        self, layer_cls_name: str, weight: torch.Tensor, start_flag: torch.Tensor
    ) -> None:
        """The site before a static W8A8 layer quantises its input.

        Args:
            layer_cls_name: name of the layer's class. Output projections share it with other
                layers; the model's attributes tell which weights are output projections.
            weight: the layer's weight.
            start_flag: the tensor that must be computed before the prefetch starts.
        """
        name = self._attention_weight(layer_cls_name)
        if name is None:
            return
        context = self._enter()
        site, number = sites.QUANTISE_QKV, self._present(context)
        if name == "o":
            site, number = sites.QUANTISE_O_PROJ, self._output_layer(weight, context)
            if number is None:
                return
        self._start(site, weight, start_flag, number)

    def maybe_prefetch_attn_weight_postprocess(
        self, layer_cls_name: str, stop_flag: torch.Tensor
    ) -> None:
        """Joins what maybe_prefetch_attn_weight_preprocess started."""
        if self._attention_weight(layer_cls_name) is not None:
            self.join()

    # --- experts ---

    def maybe_prefetch_moe_weight_preprocess(
        self, hidden_states: torch.Tensor, prefix: str
    ) -> None:
        """The site before experts are selected; prefetches gate_up of the running layer's experts.

        Args:
            hidden_states: [rows, hidden].
            prefix: "gate_up".

        Raises:
            ValueError: `prefix` is something else.
        """
        self.moe.is_active_this_forward = False
        if not self.moe.enable:
            return
        _check_name(prefix, ("gate_up",))
        context = self._enter()
        rows = hidden_states.shape[0]
        joined = self._joins["moe"].begin(rows)
        number = self._present(context)
        layer = layer_at(context, number)
        weight = experts_weight(layer)
        self._name_missing(layer, weight, "experts.w13_weight")
        if rows >= MOE_MIN_ROWS and joined and weight is not None:
            self.moe.is_active_this_forward = True
            self._start(sites.SELECT_EXPERTS, weight, hidden_states, number)

    def maybe_prefetch_moe_weight_postprocess(self, stop_flag: torch.Tensor) -> None:
        """The site before the experts' matrix products; joins."""
        if self.moe.enable:
            self._enter()
            self._joins["moe"].end()
        if self.moe.is_active_this_forward:
            self.join()

    # --- dense layers ---

    def maybe_prefetch_mlp_weight_preprocess(
        self,
        prefetch_layer_name: str,
        x_dependency: torch.Tensor | None,
        curr_layer_prefix: str | None = None,
    ) -> None:
        """The site after a linear layer (for gate_up), or before the activation (for down).

        Args:
            prefetch_layer_name: MLP_GATE_UP or MLP_DOWN.
            x_dependency: the tensor that must be computed before the prefetch starts.
            curr_layer_prefix: name of the linear layer, required for gate_up, which is prefetched
                only after the output projection of self_attn.

        Raises:
            ValueError: another name, or gate_up without a prefix.
        """
        self.mlp.is_active_this_forward = False
        if not self.mlp.enable:
            return
        _check_name(prefetch_layer_name, (self.MLP_GATE_UP, self.MLP_DOWN))
        context = self._enter()
        if context is None or context.num_tokens is None or context.num_tokens > MLP_MAX_TOKENS:
            return
        self.mlp.is_active_this_forward = True
        if prefetch_layer_name == self.MLP_GATE_UP:
            self._prefetch_gate_up(context, x_dependency, curr_layer_prefix)
        else:
            self._prefetch_down(context, x_dependency)

    def maybe_prefetch_mlp_weight_postprocess(self, stop_flag: torch.Tensor) -> None:
        """The site after the norm, or after the activation; joins."""
        if self.mlp.is_active_this_forward:
            self.join()

    def _prefetch_gate_up(
        self, context: StepContext, after: torch.Tensor | None, prefix: str | None
    ) -> None:
        if not prefix:
            raise ValueError(
                "maybe_prefetch_mlp_weight_preprocess: expected curr_layer_prefix, the name of the "
                f"linear layer, with {self.MLP_GATE_UP!r}, got {prefix!r}"
            )
        if prefix.split(".")[-2:-1] != ["self_attn"]:
            return
        number = layer_of(prefix)
        if number is None:
            return
        self._layer = number
        weight = self._weight_of(layer_at(context, number), "mlp.gate_up_proj.weight")
        # The counterpart joins it before the activation's prefetch starts, or never does.
        if self._joins["mlp"].begin(context.num_tokens):
            self._start(sites.MLP_NORM, weight, after, number)

    def _prefetch_down(self, context: StepContext, after: torch.Tensor | None) -> None:
        self._joins["mlp"].end()
        number = self._present(context)
        if number is None:
            # No site of this step has given a name; layers are counted by their one activation.
            number = context.first_layer
        weight = self._weight_of(layer_at(context, number), "mlp.down_proj.weight")
        self._start(sites.MLP_ACTIVATION, weight, after, number)
        last = context.layers is not None and number + 1 >= len(context.layers)
        self._layer = None if last else number + 1

    # --- all of them ---

    def _weight_of(self, layer: object | None, path: str) -> object | None:
        weight: object | None = find(layer, path)
        self._name_missing(layer, weight, path)
        return weight

    def _name_missing(self, layer: object | None, weight: object | None, path: str) -> None:
        if layer is not None and weight is None and not torch.compiler.is_compiling():
            self._notice(f"{type(layer).__name__} has no {path}")

    def _enter(self, begins: int | None = None) -> StepContext | None:
        """The running context; a new step makes the policy forget what it knew of the old one.

        Args:
            begins: number of the layer that begins now, if one does.
        """
        context = self._context()
        if not torch.compiler.is_compiling() and context is not None:
            self.ledger.enter(context.step, begins)
            step = self.ledger.step
            if step is not self._step:
                self._step, self._began, self._layer = step, None, None
                for joins in self._joins.values():
                    joins.abandon()
            if step.layer != self._began:
                self._began = self._layer = step.layer
        return context

    def _present(self, context: StepContext | None, named: int | None = None) -> int | None:
        """The running layer: by the context, else by name, else the one entered last."""
        if context is not None and context.layer is not None:
            return context.layer
        return self._layer if named is None else named

    def _attention_weight(self, layer_cls_name: str) -> str | None:
        return self.attn.linear_prefix_map.get(layer_cls_name) if self.attn.enable else None

    def _output_layer(self, weight: torch.Tensor, context: StepContext | None) -> int | None:
        """The layer whose attention ends with this weight; None for other weights."""
        number = self._present(context)
        if any(weight is known for known in output_weights(layer_at(context, number))):
            return number
        if torch.compiler.is_compiling() or context is None or context.layers is None:
            return None
        if weight not in self._output_layers:
            numbers = range(len(context.layers))
            self._output_layers[weight] = next(
                (
                    number
                    for number in numbers
                    for known in output_weights(layer_at(context, number))
                    if weight is known
                ),
                None,
            )
        return self._output_layers[weight]

    def _start(
        self,
        site: Site,
        weight: object,
        after: torch.Tensor | None,
        layer: int | None,
        max_size: int = 0,
    ) -> None:
        ratio = self._ratios[site.module][site.ratio]
        if ratio == 0 or not isinstance(weight, torch.Tensor) or not self._switch():
            return
        weight = sites.dense_bytes(weight)
        if weight is None:
            return
        nbytes = weight.numel() * weight.element_size()
        most = int(nbytes * ratio)
        for cap in (max_size, site.most_bytes):
            most = min(most, cap) if cap > 0 else most
        if most <= 0:
            return
        if torch.compiler.is_compiling():
            offset, size = self.planner.traced_piece(site, nbytes, most)
            pieces: Sequence[tuple[int, int]] = [(offset, size)] if size else []
        else:
            offset, size = self.planner.piece(site, nbytes, most)
            pieces = self.ledger.claim(
                weight,
                offset,
                size,
                layer=layer,
                site=site.name,
                engine=self._engine.name,
                name=site.weight,
            )
        if pieces:
            self._engine.start(weight, pieces, after)
            self._pending = True


def _check_name(name: str, allowed: tuple[str, ...]) -> None:
    if name not in allowed:
        raise ValueError(
            f"weight prefetch: expected the name of a weight, one of {', '.join(allowed)}, got "
            f"{name!r}"
        )
