"""Graphs: what is called during a capture is kept, and run again by a replay on the same memory.

Two things differ from a device's capture: calls also run while they are captured, and their memory
is never given to anything else. What a device refuses is refused here: reading a tensor's value on
the host.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from double import streams

PYTHON_OPS: dict[str, Callable] = {}
"""What upstream registers as torch.ops.vllm: names and functions. Captures look into them."""


@dataclass
class CapturedCall:
    """A call with its arguments, and the memory of its results."""

    name: str
    function: Callable
    args: tuple
    kwargs: dict[str, Any]
    results: Any = None

    def run(self) -> None:
        found = tree_leaves(self.function(*self.args, **self.kwargs))
        held = {_memory(t) for t in _tensors((self.args, self.kwargs))}
        for result, new in zip(tree_leaves(self.results), found, strict=True):
            if not isinstance(result, torch.Tensor) or _memory(result) in held:
                continue  # a view of what it was given, or written in place
            if "aten::empty" in self.name or "aten::new_empty" in self.name:
                result.fill_(float("nan") if result.is_floating_point() else -77)
            else:
                result.copy_(new)


@dataclass
class NPUGraph:
    """What was captured."""

    steps: list[CapturedCall] = field(default_factory=list)
    group: int = 0  # where the open task group began

    def replay(self) -> None:
        for step in self.steps:
            step.run()


class ExternalEvent:
    """Recorded by whoever has updated the arguments of a call, before a replay comes to it."""

    def __init__(self, *_, **__):
        self._recorded = False

    def record(self, stream=None):
        self._recorded = True

    def wait(self, stream=None):
        _capture("ExternalEvent.wait", self._wait)

    def reset(self, stream=None):
        _capture("ExternalEvent.reset", self._reset)

    def _wait(self):
        if not self._recorded:
            raise RuntimeError("a replay waits for an update that nobody has made")

    def _reset(self):
        self._recorded = False


_graph: NPUGraph | None = None  # under capture
_updated: list[CapturedCall] | None = None  # the task group whose arguments are replaced


def _capture(name: str, function: Callable) -> None:
    assert _graph is not None, f"{name} outside of a capture"
    _graph.steps.append(CapturedCall(name, function, (), {}))


@contextlib.contextmanager
def graph(captured: NPUGraph, pool=None) -> Iterator[None]:
    """torch.npu.graph."""
    global _graph
    assert _graph is None, "one capture at a time"
    _graph = captured
    try:
        with streams.capture(), _Tape():
            yield
    finally:
        _graph = None


def opaque(function: Callable) -> Callable:
    """An op of the double that a capture keeps as one call, whatever it computes with."""

    @functools.wraps(function)
    def called(*args, **kwargs):
        if _updated is not None:
            (step,) = _updated
            assert step.name == function.__name__, f"{step.name} is updated by {function.__name__}"
            step.args, step.kwargs = args, kwargs
            return None
        streams.work()
        if _graph is None:
            return function(*args, **kwargs)
        with _disable_current_modes():
            results = function(*args, **kwargs)
        _graph.steps.append(CapturedCall(function.__name__, function, args, kwargs, results))
        return results

    return called


# What item(), bool(), tolist() and numpy() come down to, in inference mode and outside of it.
_READS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::resolve_neg")


class _Tape(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name
        if name in _READS:
            raise RuntimeError(f"{name} reads a tensor's value while a graph is captured")
        if function.namespace == "vllm":
            with self:
                return PYTHON_OPS[name.removeprefix("vllm::")](*args, **kwargs)
        results = function(*args, **kwargs)
        streams.work()
        assert _graph is not None
        _graph.steps.append(CapturedCall(name, function, args, kwargs, results))
        return results


def _tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _group_begin(stream) -> None:
    assert _graph is not None
    _graph.group = len(_graph.steps)


def _group_end(stream) -> list[CapturedCall]:
    assert _graph is not None
    return _graph.steps[_graph.group :]


def _update_begin(stream, handle: list[CapturedCall]) -> None:
    global _updated
    _updated = handle


def _update_end(stream) -> None:
    global _updated
    _updated = None


def npu() -> dict:
    """Contents of torch.npu."""
    return {
        "NPUGraph": NPUGraph,
        "ExternalEvent": ExternalEvent,
        "graph": graph,
        "graph_pool_handle": lambda: None,
        "graph_task_group_begin": _group_begin,
        "graph_task_group_end": _group_end,
        "graph_task_update_begin": _update_begin,
        "graph_task_update_end": _update_end,
    }
