"""Device queries that upstream makes on its way."""

from __future__ import annotations

import functools
import types

import torch
import torch.distributed

from double import calls, graph, streams


def npu() -> dict:
    """Contents of torch.npu; unavailable, so that transformers leaves it alone."""
    return {
        "Stream": streams.Stream,
        "Event": streams.Event,
        "current_stream": streams.current,
        "stream": streams.stream,
        **graph.npu(),
        "is_available": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "empty_cache": lambda: None,
        "synchronize": lambda *_: None,
        "config": type("config", (), {"allow_internal_format": True}),
    }


_backend_of = torch.distributed.ProcessGroup._get_backend


def backend_of(group, place: torch.device):
    """ProcessGroup._get_backend; that of the device is gloo's, with a name as HCCL's has."""
    if place.type != "npu":
        return _backend_of(group, place)
    return types.SimpleNamespace(get_hccl_comm_name=lambda rank: f"gloo of rank {rank}")


def on_host(factory):
    """A factory of tensors whose device "npu" is the host."""

    @functools.wraps(factory)
    def made(*args, device=None, **kwargs):
        if device is not None and torch.device(device).type == "npu":
            device = "cpu"
        return factory(*args, device=device, **kwargs)

    return made


def npu_prefetch(input, dependency, max_size, offset=0):
    """Records the call; leaves the tensor alone, as the op does."""
    if max_size <= 0 or offset < 0 or offset >= input.numel() * input.element_size():
        raise RuntimeError(f"npu_prefetch: max_size {max_size}, offset {offset}")
    calls.note_prefetch(input, max_size)


def torch_npu() -> dict:
    """Contents of torch_npu that compute nothing."""
    return {
        "npu_prefetch": npu_prefetch,
        "__version__": "2.13.0",
        "float8_e8m0fnu": torch.float8_e8m0fnu,
    }
