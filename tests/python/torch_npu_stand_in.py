"""What stands in for torch_npu where code that measures on a device is tested without one.

Its ops are those of the double that vLLM Ascend runs on (tests/vllm/double). Graphs record the
calls of their capture, and a clock moves on where a test says so: nothing here is a time of a
device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

from double import device, linear, norm_rope, streams


class Graph:
    """Of a StandInNpu: what was called in the capture, by the names that the test gave."""

    def __init__(self, npu: StandInNpu) -> None:
        self.npu, self.calls = npu, []

    def replay(self) -> None:
        self.npu.replays += 1
        self.npu.now_ms += self.npu.replay_ms(self)


class Event:
    def __init__(self, npu: StandInNpu) -> None:
        self.npu, self.at = npu, None

    def record(self) -> None:
        self.at = self.npu.now_ms

    def elapsed_time(self, later: Event) -> float:
        return later.at - self.at


class StandInNpu:
    """torch.npu.

    Attributes:
        replay_ms: how long the replay of a graph takes.
        captures: graphs in the order of their capture.
    """

    Stream = streams.Stream

    def __init__(self, replay_ms: Callable[[Graph], float], name: str = "Ascend910_9391") -> None:
        self.replay_ms, self.name = replay_ms, name
        self.now_ms, self.replays, self.captures = 0.0, 0, []
        self.capturing: Graph | None = None

    def NPUGraph(self) -> Graph:
        return Graph(self)

    @contextlib.contextmanager
    def graph(self, graph: Graph):
        self.capturing = graph
        yield
        self.capturing = None
        self.captures.append(graph)

    def note(self, name: str) -> None:
        """A call, which a capture keeps."""
        if self.capturing is not None:
            self.capturing.calls.append(name)

    def Event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)

    def synchronize(self) -> None:
        pass

    def current_stream(self) -> streams.Stream:
        return self.Stream()

    def stream(self, stream: streams.Stream):
        return contextlib.nullcontext()

    def get_device_name(self) -> str:
        return self.name


class StandInTorchNpu:
    """torch_npu, with ops of CPU tensors; `cast` holds the formats that tensors were cast to."""

    __version__ = "2.13.0"

    def __init__(self, npu: StandInNpu) -> None:
        self.npu, self.cast = npu, []
        for name, op in {**device.torch_npu(), **norm_rope.OPS, **linear.OPS}.items():
            if name.startswith("npu_") and not hasattr(self, name):
                setattr(self, name, op)

    def npu_format_cast(self, tensor: torch.Tensor, acl_format: int) -> torch.Tensor:
        self.cast.append(acl_format)
        return tensor

    @staticmethod
    def npu_trans_quant_param(scale: torch.Tensor) -> torch.Tensor:
        """Ascend/op-plugin, npu_trans_quant_param: 19 bits of the float32, and bit 46."""
        bits = scale.view(torch.int32).long() & 0xFFFFE000
        return bits | 1 << 46
