"""Two sets of captured graphs, with the fused ops and without, between which the switch chooses.

For the setting `ab`: a captured graph keeps what it was captured with, so a comparison on a live
server needs both. Every graph that upstream captures is captured twice; turn() then exchanges which
set is replayed, together with upstream's parameters of captured attention, and captures nothing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from .fallback import logger, stay_off
from .signatures import MARK, Expected, first_difference
from .switch import on_turn, switch

MODULE = "vllm_ascend.compilation.acl_graph"
_SIZES = "(aclgraph_capture_sizes)"
EXPECTED = (
    Expected(MODULE, "ACLGraphWrapper.__call__", "(self, *args, **kwargs)"),
    Expected(MODULE, "set_graph_params", _SIZES),
    Expected(MODULE, "set_draft_graph_params", _SIZES),
    Expected("vllm.forward_context", "get_forward_context", "()"),
)
"""What is wrapped, as vllm-ascend 0.18.0 to 0.30.0rc2 have it."""

_EXTRA = "additional_kwargs"  # of the context: a dictionary of what upstream adds to it

_SETTERS = {
    "set_graph_params": "_graph_params",
    "set_draft_graph_params": "_draft_graph_params",
    "set_draft_graph_prefill_params": "_draft_graph_prefill_params",  # from 0.23 on
}


class BothGraphs:
    """The two sets of this process.

    Attributes:
        wanted: whether graphs are captured twice.
        count: graphs that were captured a second time.
        seconds: what that took.
        nbytes: device memory that it took; None where the device does not tell.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.count = 0
        self.seconds = 0.0
        self.nbytes: int | None = 0
        self._module: Any = None
        self._parameters: dict[str, dict[bool, Any]] = {}
        self._told = False

    def install(self, module: Any) -> None:
        """Wraps upstream's graphs, once; nothing changes until want().

        Args:
            module: vllm_ascend.compilation.acl_graph.
        """
        wrapper = getattr(module, "ACLGraphWrapper", None)
        if wrapper is None or hasattr(wrapper.__call__, MARK):
            return
        self._module = module
        _wrap(wrapper, "__call__", self._call)
        for setter, name in _SETTERS.items():
            if hasattr(module, setter):
                _wrap(module, setter, functools.partial(self._set, name))
        on_turn(self._select)

    def want(self) -> None:
        """Captures every graph twice from now on; a line says where upstream does not allow it."""
        if self.wanted:
            return
        broken = first_difference(EXPECTED)
        if broken is None and self._module is None:
            broken = f"looked for a hook of {MODULE}, found none"
        if broken is not None:
            stay_off(f"ab: {broken}")
            return
        self.wanted = True

    def _set(self, name: str, original: Callable[..., Any], sizes: Any) -> None:
        """Makes upstream's parameters of captured attention once for each set."""
        original(sizes)
        if not self.wanted:
            return
        made = {switch.on: getattr(self._module, name)}
        setattr(self._module, name, None)  # upstream refuses to make them twice
        original(sizes)
        made[not switch.on] = getattr(self._module, name)
        self._parameters[name] = made
        self._select(switch.on)

    def _select(self, on: bool) -> None:
        """Gives upstream the parameters of one set."""
        for name, made in self._parameters.items():
            setattr(self._module, name, made[on])

    def _call(self, original: Callable[..., Any], wrapper: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.wanted:
            return original(wrapper, *args, **kwargs)
        sets = vars(wrapper).get("_ascend_prefetch_sets")
        if sets is None:
            sets = {switch.on: wrapper.concrete_aclgraph_entries, not switch.on: {}}
            wrapper._ascend_prefetch_sets = sets
        mine = sets[switch.on]
        wrapper.concrete_aclgraph_entries = mine
        before, context = _captured(mine), _Context()
        result = original(wrapper, *args, **kwargs)
        if _captured(mine) > before:
            with context:
                self._capture_other(original, wrapper, sets, args, kwargs)
        elif not self._told and self.count:
            self._tell()
        return result

    def _capture_other(
        self,
        original: Callable[..., Any],
        wrapper: Any,
        sets: dict[bool, dict[Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        start, free = time.monotonic(), _free_bytes()
        switch.on = not switch.on
        self._select(switch.on)
        wrapper.concrete_aclgraph_entries = sets[switch.on]
        try:
            original(wrapper, *args, **kwargs)
        finally:
            switch.on = not switch.on
            self._select(switch.on)
            wrapper.concrete_aclgraph_entries = sets[switch.on]
        self.count += 1
        self.seconds += time.monotonic() - start
        now = _free_bytes()
        if free is None or now is None or self.nbytes is None:
            self.nbytes = None
        else:
            self.nbytes += free - now

    def _tell(self) -> None:
        """Logs what the second set costs, at the first replay."""
        self._told = True
        memory = "unknown" if self.nbytes is None else f"{self.nbytes / 1e6:.0f} MB"
        logger.info(
            "ascend_prefetch: ab: a second set of %d graphs took %.1f s to capture, device memory: "
            "%s; turn() chooses which set is replayed",
            self.count,
            self.seconds,
            memory,
        )


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(wrapper, MARK, True)
    setattr(owner, name, wrapper)


def _captured(entries: dict[Any, Any]) -> int:
    """How many of upstream's entries have a graph."""
    return sum(entry.aclgraph is not None for entry in entries.values())


class _Context:
    """The step's context as it was before a model ran, for the time of a second run.

    Upstream counts layers in it, and notes that it captures.
    """

    def __init__(self) -> None:
        from vllm.forward_context import get_forward_context

        self._context = get_forward_context()
        self._state = self._copy()

    def __enter__(self) -> None:
        self._state = self._exchange(self._state)

    def __exit__(self, *_: object) -> None:
        self._exchange(self._state)

    def _copy(self) -> dict[str, Any]:
        fields = vars(self._context).items()
        return {name: dict(v) if name == _EXTRA else v for name, v in fields}

    def _exchange(self, state: dict[str, Any]) -> dict[str, Any]:
        now = self._copy()
        vars(self._context).clear()
        vars(self._context).update(state)
        return now


def _free_bytes() -> int | None:
    """Free memory of the device; None where it does not tell."""
    import torch

    npu = getattr(torch, "npu", None)
    try:
        free, _ = npu.mem_get_info()  # type: ignore[union-attr]
        return int(free)
    except Exception:  # the double, or a device that is busy
        return None


both_graphs = BothGraphs()
"""Of this process."""
