"""Whether this machine has an NPU, and whether the ops can use it."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ascend_prefetch.backend import backends

DEV = Path("/dev")
"""Where device files are."""


@dataclass(frozen=True)
class NpuStatus:
    """What was found.

    Attributes:
        visible: device files of NPUs, whether or not anything here can use them.
        missing: why the ops cannot use an NPU, in one line; None where they can.
    """

    visible: tuple[str, ...]
    missing: str | None


def device_files(dev: Path = DEV) -> list[Path]:
    """What the driver shows of NPUs, by number: davinci0, davinci1 and so on.

    Args:
        dev: where device files are.
    """
    numbered = [(re.fullmatch(r"davinci(\d+)", path.name), path) for path in dev.iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


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
    """torch_npu, with a device that the ops can use.

    Raises:
        RuntimeError: "no NPU: " and why.
    """
    missing = status().missing
    if missing is not None:
        raise RuntimeError(f"no NPU: {missing}")
    return importlib.import_module("torch_npu")


def _backend_missing() -> str | None:
    npu = backends()["npu"]
    return None if npu.available else npu.detail
