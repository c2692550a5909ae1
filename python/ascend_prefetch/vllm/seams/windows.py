"""Upstream's collectives behind attention, wrapped so that weights are prefetched beside them.

They are the same in vllm-ascend 0.18.0 to 0.30.0rc2, but for an argument of experts that the
wrappers pass on (releases.WINDOWS, WINDOWS_BY_METHOD).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from ..fallback import attribute
from ..signatures import MARK, first_difference
from ..windows.running import running
from .releases import FUSED_MOE, PARALLEL_STATE, WINDOWS, WINDOWS_BY_METHOD


@functools.cache
def install() -> str | None:
    """Wraps upstream's functions, once in a process.

    It runs when the first layer is built, when upstream has replaced its classes.

    Returns:
        None, or one line that says how upstream differs; nothing is wrapped then.
    """
    broken = first_difference(WINDOWS)
    if broken is not None and first_difference(WINDOWS_BY_METHOD) is not None:
        return broken
    state: Any = importlib.import_module(PARALLEL_STATE)
    # Upstream puts a subclass in its place; groups of either class are in use.
    coordinator = state.GroupCoordinator
    group = next(base for base in coordinator.__mro__ if "_all_reduce_out_place" in vars(base))
    _wrap(group, "_all_reduce_out_place", functools.partial(_all_reduce, state.get_tp_group))
    dispatcher: Any = importlib.import_module(f"{FUSED_MOE}.token_dispatcher")
    _wrap(dispatcher.TokenDispatcherWithMC2, "token_combine", _combine)
    finalize: Any = importlib.import_module(f"{FUSED_MOE}.prepare_finalize")
    method: Any = importlib.import_module(f"{FUSED_MOE}.moe_comm_method")
    # MC2's inherits it, or calls it.
    _wrap(finalize.PrepareAndFinalizeWithAll2All, "finalize", _finalize)
    for owner in (method.MoECommMethod, method.FusedMC2CommImpl):
        _wrap(owner, "fused_experts", _experts)
    return None


def expert_ranks() -> int:
    """The ranks of expert parallelism."""
    state: Any = importlib.import_module(PARALLEL_STATE)
    return int(state.get_ep_group().world_size)


def shared_experts_overlap() -> bool:
    """Whether upstream runs shared experts on a stream of their own beside dispatch and combine.

    Raises:
        UpstreamChanged: there is no such setting.
    """
    from vllm_ascend.ascend_config import get_ascend_config

    return bool(attribute(get_ascend_config(), "multistream_overlap_shared_expert"))


def running_model() -> Any:
    """The model of this step; None in a context that was made for something else."""
    from vllm_ascend.ascend_forward_context import _EXTRA_CTX

    return _EXTRA_CTX.model_instance


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = vars(owner)[name]
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def wrapper(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not running.open:
            return original(self, *args, **kwargs)
        return around(original, self, *args, **kwargs)

    setattr(wrapper, MARK, True)
    setattr(owner, name, wrapper)


def _all_reduce(tp_group: Callable[[], Any], original: Any, group: Any, input_: Any) -> Any:
    if group is not tp_group():
        return original(group, input_)
    with running.beside("all_reduce", input_.nbytes):
        return original(group, input_)


def _combine(original: Any, dispatcher: Any, hidden_states: Any, *more: Any, **named: Any) -> Any:
    running.experts_done()
    row = hidden_states.shape[-1] * hidden_states.element_size()
    with running.beside("combine", row):
        return original(dispatcher, hidden_states, *more, **named)


def _finalize(original: Any, finalizer: Any, hidden_states: Any, *more: Any, **named: Any) -> Any:
    gathers = finalizer.tp_size > 1 and not finalizer.replace_allreduce
    # Where shared experts are data-parallel, releases up to 0.23 do not gather.
    if not gathers or getattr(finalizer, "enable_shared_expert_dp", False):
        return original(finalizer, hidden_states, *more, **named)
    with running.beside("all_gather", hidden_states.nbytes):
        return original(finalizer, hidden_states, *more, **named)


def _experts(original: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    result = original(method, *args, **kwargs)
    running.experts_done()
    return result
