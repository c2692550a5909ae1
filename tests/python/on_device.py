"""Runs the ops of CPU tensors on a device, for tests that know nothing of devices."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


class OnDevice(TorchDispatchMode):
    """Inside the block calls of ascend_prefetch with CPU tensors run on a device.

    The memory under every argument goes there as a whole, so that tensors keep their strides,
    their offsets and what they share, and comes back as a whole: what the op wrote shows, and so
    would a byte that it must not touch. Results come back, too.

    Attributes:
        device: where to.
        calls: how many there were.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if func.namespace != "ascend_prefetch":
            return func(*args, **kwargs)
        self.calls += 1
        memory: dict[tuple[int, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.device.type != "cpu":
                return tensor
            storage = tensor.untyped_storage()
            key = (storage.data_ptr(), tensor.dtype)
            if key not in memory:
                elements = storage.nbytes() // tensor.element_size()
                whole = torch.as_strided(tensor, (elements,), (1,), 0)
                memory[key] = whole, whole.to(self.device, copy=True)
            there = memory[key][1]
            return torch.as_strided(there, tensor.shape, tensor.stride(), tensor.storage_offset())

        args, kwargs = tree_map_only(torch.Tensor, moved, (args, kwargs))
        results = func(*args, **kwargs)
        for here, there in memory.values():
            here.copy_(there)
        return tree_map_only(torch.Tensor, lambda tensor: tensor.cpu(), results)
