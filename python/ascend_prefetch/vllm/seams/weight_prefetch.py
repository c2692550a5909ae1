"""The policy that replaces vLLM Ascend's WeightPrefetchMethod, for the weights of other modules.

The model code of 0.18 and 0.23 calls it before experts, MLP and static W8A8 layers; later releases
have no such class. The fused ops and the policy share one ledger of what is prefetched, which also
tells the policy which layer runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ascend_prefetch.policy import PrefetchConfig, StepContext, WeightPrefetchMethod
from ascend_prefetch.policy.sites import Piece, Site, WindowPlanner

from .. import regions
from ..fallback import UpstreamChanged, logger, no_prefetch, say_once
from ..signatures import Expected, first_difference, signature_of
from ..switch import switch

_MADE_WITH = "(self, weight_prefetch_config)"


def policy_difference(upstream: type) -> str | None:
    """How upstream's class differs from ours, which its call sites would use; None if equal.

    Our class has the methods of 0.18.0 to 0.23.0.post1.
    """
    name = upstream.__name__
    if signature_of(upstream.__init__) != _MADE_WITH:  # type: ignore[misc]
        found = signature_of(upstream.__init__)  # type: ignore[misc]
        return f"looked for {name}{_MADE_WITH}, found {name}{found}"
    for method, value in vars(upstream).items():
        if method.startswith("_"):
            continue
        ours = vars(WeightPrefetchMethod).get(method)
        if not callable(value):
            if method.isupper() and ours != value:
                return f"looked for {name}.{method} = {ours!r}, found {value!r}"
        elif ours is None:
            return f"found {name}.{method}{signature_of(value)}, which is not known"
        elif signature_of(ours) != signature_of(value):
            wanted, found = signature_of(ours), signature_of(value)
            return f"looked for {name}.{method}{wanted}, found {method}{found}"
    return None


def upstream_policy(
    settings: PrefetchConfig,
    names: Iterable[Expected],
    upstream: type,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> WeightPrefetchMethod:
    """The policy for the model that vLLM is setting up.

    Args:
        settings: the settings of this package.
        names: names of upstream that the policy uses, see releases.Release.policy.
        upstream: the class that it replaces.
        args, kwargs: the arguments of upstream's constructor, its own settings; their values are
            ignored.

    Raises:
        UpstreamChanged: upstream's class is not the one that this was written for.
    """
    broken = first_difference(names) or policy_difference(upstream)
    if broken is not None:
        raise UpstreamChanged(broken)
    try:
        inspect.signature(upstream.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    except TypeError as error:
        raise UpstreamChanged(f"{upstream.__name__}: {error}") from None
    from vllm.config import get_current_vllm_config
    from vllm_ascend.utils import is_moe_model

    logger.info(
        "ascend_prefetch: %s is this package's, written for vllm-ascend 0.18.0 to 0.23.0.post1",
        upstream.__name__,
    )
    return WeightPrefetchMethod(
        settings,
        is_moe=is_moe_model(get_current_vllm_config()),
        context=_Contexts(),
        switch=lambda: switch.on,
        ledger=regions.ledger,
        planner=_Planner(),
        notice=lambda reason: say_once(reason, so="nothing is prefetched"),
    )


class _Planner(WindowPlanner):
    """Plans nothing where planning fails, as an error must not stop the forward pass."""

    def piece(self, site: Site, nbytes: int, most: int) -> Piece:
        """See WindowPlanner.piece; the piece is empty for an unknown chip."""
        try:
            return super().piece(site, nbytes, most)
        except Exception as error:
            no_prefetch(error)
            return Piece(0, 0)


class _Contexts:
    """The running step, from vLLM's forward context; looked up once per forward pass."""

    def __init__(self) -> None:
        from vllm.forward_context import get_forward_context
        from vllm_ascend.ascend_forward_context import _EXTRA_CTX

        self._forward_context = get_forward_context
        self._extra = _EXTRA_CTX
        self._last: StepContext | None = None

    def __call__(self) -> StepContext | None:
        """The context of the running step; None outside a forward pass."""
        try:
            step = self._forward_context()
        except AssertionError:
            return None
        if self._last is None or self._last.step is not step:
            layers, first = self._layers(self._extra.model_instance)
            self._last = StepContext(step, self._extra.num_tokens, layers, None, first)
        return self._last

    @staticmethod
    def _layers(instance: Any) -> tuple[Any, int]:
        """The decoder layers of vLLM's model, and the number of the first one on this rank."""
        if instance is None:  # a forward context that was made for something else than a model
            return None, 0
        model = getattr(instance, "model", None)
        layers = getattr(model, "layers", None)
        if layers is None:
            name = type(instance).__name__
            say_once(f"{name} has no model.layers", so="nothing is prefetched by sites")
        # Models without pipeline parallelism have no start_layer.
        return layers, getattr(model, "start_layer", 0)
