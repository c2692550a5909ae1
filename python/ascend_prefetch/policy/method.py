"""The weight prefetches of vLLM Ascend's call sites, decided by the planner."""

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

MOE_LEAST_ROWS = 96
"""Below it a step does not use enough experts for their weights to be worth it, as upstream."""

MLP_MOST_TOKENS = 499
"""Above it the MLP is bound by its arithmetic, as upstream."""


class Settings(Protocol):
    """PrefetchConfig, or the object that vLLM Ascend made of its own key."""

    @property
    def enabled(self) -> bool:
        """Whether anything is prefetched."""

    @property
    def prefetch_ratio(self) -> Mapping[str, Mapping[str, float]]:
        """The most of each weight, as a share of its bytes, by module and weight."""


@dataclass
class ModulePrefetch:
    """What is prefetched of one kind of module.

    Attributes:
        module_name: "attn", "moe" or "mlp".
        enable: whether anything is, by the settings and the kind of model.
        is_active_this_forward: whether the last call site decided to.
        prefetch_ratio: the most of each weight, as a share of its bytes.
        linear_prefix_map: which weight the linear layers of a class hold, by the exact name.
    """

    module_name: str
    enable: bool
    prefetch_ratio: Mapping[str, float]
    linear_prefix_map: Mapping[str, str] = field(default_factory=dict)
    is_active_this_forward: bool = False

    def __post_init__(self) -> None:
        self.enable = self.enable and any(self.prefetch_ratio.values())


class _Joins:
    """Whether a site's counterpart, which joins, follows in steps of so many rows.

    Upstream's counterparts are in other functions, on some paths of the model only: without one
    the prefetch would stay behind, and a graph capture that it was begun in would fail. A capture
    is of rows that ran before.
    """

    _MOST_KEPT = 4096

    def __init__(self) -> None:
        self._followed: set[int] = set()
        self._waiting: int | None = None

    def begin(self, rows: int | None) -> bool:
        """The site was called; whether the counterpart will follow, as it did the last time."""
        self.abandon()
        self._waiting = rows
        return rows in self._followed

    def abandon(self) -> None:
        """Nothing that follows belongs to the site any more."""
        if self._waiting is not None:
            self._followed.discard(self._waiting)
            self._waiting = None

    def end(self) -> None:
        """The counterpart was called."""
        if self._waiting is None:
            return
        if len(self._followed) >= self._MOST_KEPT:
            self._followed.clear()
        self._followed.add(self._waiting)
        self._waiting = None


class WeightPrefetchMethod:
    """Prefetches weights at the call sites of vLLM Ascend, with its methods and signatures.

    A site names a weight and is told nothing about when: the planner gives it as many bytes as the
    copy engine brings while the kernels up to the weight's use are launched. Ratios and upstream's
    caps only take from that. The ledger sees to it that no byte is brought twice in a step.

    Every prefetch is joined. Sites with a counterpart (`..._postprocess`) are joined there; where
    upstream does not call it on every path, only after it was seen to follow. The sites before
    qkv_a and o_proj have none, so they prefetch only for a caller who joins.

    In a compiled graph a site is one call per layer, decided when it is traced; the ledger, which
    is about steps, does not know of it.

    Attributes:
        is_moe: whether the model has experts; decides between `moe` and `mlp`.
        mla_sfa_prefetch_enable: whether the settings enable prefetching.
        attn, moe, mlp: of the kinds of modules.
        ledger: what was prefetched in this step.
        planner: what was decided, and why.
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
            context: what runs now; None where there is nothing to know, and then what needs it is
                not prefetched.
            caller_joins: whether join() is called behind the output projection of every attention
                layer.
            switch: whether to prefetch now; asked at every site.
            ledger: shared with others who prefetch; one of its own without.
            planner: for the twin's chip without.
            engine: the copy engine without.
            notice: told in one line, at every call, of a layer that lacks the weight that a site is
                about: the model's attributes have other names than in vLLM Ascend up to 0.23.

        Raises:
            ValueError: settings out of range.
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
        # The step that the sites belong to, and the layer that began last in it, by the ledger.
        self._step = self.ledger.step
        self._began: int | None = None
        self._layer: int | None = None
        self._joins = {"moe": _Joins(), "mlp": _Joins()}
        # Layer of each output projection, None for other weights of its class.
        self._output_layers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    # --- for the caller of the sites ---

    def enter_layer(self, number: int) -> None:
        """The sites that follow are of a decoder layer, until another begins here or in ledger."""
        self._enter(number)
        self._layer = number

    def join(self) -> None:
        """Makes the current stream wait for every prefetch that was begun, if one was."""
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
        """Before qkv_a, or before o_proj, which is given as linear_layer.

        Args:
            inputs: the weight.
            dependency: what has to be computed before.
            max_size: how many bytes at most; 0 for no limit but the planner's.
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
        """Before a static W8A8 layer quantises its input.

        Args:
            layer_cls_name: of the layer's class. Output projections share theirs with others, which
                are told apart by the model.
            weight: of the layer.
            start_flag: what has to be computed before.
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
        """Behind that."""
        if self._attention_weight(layer_cls_name) is not None:
            self.join()

    # --- experts ---

    def maybe_prefetch_moe_weight_preprocess(
        self, hidden_states: torch.Tensor, prefix: str
    ) -> None:
        """Before experts are selected: gate_up of the present layer's.

        Args:
            hidden_states: [rows, hidden].
            prefix: "gate_up".

        Raises:
            ValueError: another prefix.
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
        if rows >= MOE_LEAST_ROWS and joined and weight is not None:
            self.moe.is_active_this_forward = True
            self._start(sites.SELECT_EXPERTS, weight, hidden_states, number)

    def maybe_prefetch_moe_weight_postprocess(self, stop_flag: torch.Tensor) -> None:
        """Before experts multiply."""
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
        """Behind a linear layer (gate_up), or before the activation (down).

        Args:
            prefetch_layer_name: MLP_GATE_UP or MLP_DOWN.
            x_dependency: what has to be computed before.
            curr_layer_prefix: name of the linear layer; for gate_up, which is prefetched behind the
                output projection of self_attn alone.

        Raises:
            ValueError: another name, or gate_up without a prefix.
        """
        self.mlp.is_active_this_forward = False
        if not self.mlp.enable:
            return
        _check_name(prefetch_layer_name, (self.MLP_GATE_UP, self.MLP_DOWN))
        context = self._enter()
        if context is None or context.num_tokens is None or context.num_tokens > MLP_MOST_TOKENS:
            return
        self.mlp.is_active_this_forward = True
        if prefetch_layer_name == self.MLP_GATE_UP:
            self._prefetch_gate_up(context, x_dependency, curr_layer_prefix)
        else:
            self._prefetch_down(context, x_dependency)

    def maybe_prefetch_mlp_weight_postprocess(self, stop_flag: torch.Tensor) -> None:
        """Behind the norm, or behind the activation."""
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
        # Joined before the activation's own prefetch is, or not at all.
        if self._joins["mlp"].begin(context.num_tokens):
            self._start(sites.MLP_NORM, weight, after, number)

    def _prefetch_down(self, context: StepContext, after: torch.Tensor | None) -> None:
        self._joins["mlp"].end()
        number = self._present(context)
        if number is None:
            # No name was given in this step: layers are counted, one activation each.
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
        """The context, after what is known of an older step was forgotten.

        Args:
            begins: the layer that begins now.
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
        """The layer that runs now: by the context, else by name, else by what ran last."""
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
