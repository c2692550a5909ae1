"""Whether this machine has an NPU, and whether the ops can use it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ascend_prefetch.backend import backends
from ascend_prefetch.lab.environment import DEV, device_files


@dataclass(frozen=True)
class NpuStatus:
    """What was found.

    Attributes:
        visible: device files of NPUs, whether or not anything here can use them.
        missing: why the ops cannot use an NPU, in one line; None where they can.
    """

    visible: tuple[str, ...]
    missing: str | None


def status(dev: Path = DEV) -> NpuStatus:
    """Looks for NPUs, and for what they need.

    Args:
        dev: where device files are.
    """
    visible = tuple(map(str, device_files(dev)))
    if not visible:
        return NpuStatus((), f"there is no {dev}/davinci*")
    reason = _backend_missing()
    if reason is None:
        # The backend has imported it, and with it torch.npu.
        torch_npu = importlib.import_module("torch_npu")
        if torch_npu.npu.device_count() == 0:
            reason = "torch.npu finds no device; npu-smi info says in which state they are"
    return NpuStatus(visible, None if reason is None else f"there is {visible[0]}, but {reason}")


def require() -> ModuleType:
    """The module torch_npu, if there is a device that the ops can use.

    Raises:
        RuntimeError: "no NPU: " and the reason.
    """
    missing = status().missing
    if missing is not None:
        raise RuntimeError(f"no NPU: {missing}")
    return importlib.import_module("torch_npu")


def _backend_missing() -> str | None:
    npu = backends()["npu"]
    return None if npu.available else npu.detail
