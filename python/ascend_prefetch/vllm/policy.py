"""The policy in the place of vLLM Ascend's WeightPrefetchMethod, for the weights of other modules.

Up to 0.23 its model code calls the policy before experts, MLP and static W8A8 layers; later
versions have no such calls. What the fused ops prefetch and what the policy does share one ledger.
"""

from __future__ import annotations

from ascend_prefetch.policy import PrefetchConfig, StepContext, WeightPrefetchMethod
from ascend_prefetch.policy.windows import Piece, Site, WindowPlanner

from . import windows
from .fallback import no_prefetch
from .switch import switch


def upstream_policy(settings: PrefetchConfig) -> WeightPrefetchMethod:
    """The policy for the model that vLLM is setting up; attention tells it the present layer."""
    from vllm.config import get_current_vllm_config
    from vllm_ascend.utils import is_moe_model

    policy = WeightPrefetchMethod(
        settings,
        is_moe=is_moe_model(get_current_vllm_config()),
        context=_Contexts(),
        switch=lambda: switch.on,
        ledger=windows.ledger,
        planner=_Planner(),
    )
    windows.follow(policy)
    return policy


class _Planner(WindowPlanner):
    """Plans nothing where it cannot: what calls it is a forward pass."""

    def piece(self, site: Site, nbytes: int, most: int) -> Piece:
        """See WindowPlanner; empty for an unknown chip."""
        try:
            return super().piece(site, nbytes, most)
        except Exception as error:
            no_prefetch(error)
            return Piece(0, 0)


class _Contexts:
    """What runs now, by vLLM's forward context; looked up once in a forward pass."""

    def __init__(self) -> None:
        from vllm import forward_context
        from vllm_ascend.ascend_forward_context import _EXTRA_CTX

        self._forward_context = forward_context
        self._extra = _EXTRA_CTX
        self._last: StepContext | None = None

    def __call__(self) -> StepContext | None:
        """None outside of a forward pass."""
        try:
            step = self._forward_context.get_forward_context()
        except AssertionError:
            return None
        if self._last is None or self._last.step is not step:
            model = getattr(self._extra.model_instance, "model", None)
            layers = getattr(model, "layers", None)
            first = getattr(model, "start_layer", 0)
            self._last = StepContext(step, self._extra.num_tokens, layers, None, first)
        return self._last
