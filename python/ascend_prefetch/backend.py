"""Where the ops can run: on a device for NPU tensors, on the host twin for CPU tensors.

The twin belongs to the laboratory (ascend_prefetch.lab), which an installation may lack.

The device backend is a library beside this file. Only a build with CANN makes it, and it needs the
torch_npu release that it was built with.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import NamedTuple

import torch

from ascend_prefetch import _C

LIBRARY = Path(__file__).with_name("_C_npu.so")


class Backend(NamedTuple):
    """A backend of the ops.

    Attributes:
        available: whether calls can run on it in this process.
        detail: which tensors it takes; or one line that says why it is not available.
    """

    available: bool
    detail: str


def backends() -> dict[str, Backend]:
    """Every backend by name: "twin", which runs the kernels on the host, and "npu".

    Where there is a device library, the first call asks it for the chip, which starts CANN's
    runtime.
    """
    return {"twin": _twin, "npu": _with_chip(_npu)}


def _with_chip(npu: Backend) -> Backend:
    if not npu.available:
        return npu
    try:
        return Backend(True, f"NPU tensors, {_C.device_chip()}")
    except RuntimeError as error:
        return Backend(False, _first_line(error))


def chip() -> str:
    """SoC name of the chip that plans are made for: the NPU if there is one, else the twin's."""
    return _C.device_chip() or _C.host_chip()


_twin = Backend(False, "not loaded")
_npu = Backend(False, "not loaded")


def load() -> None:
    """Loads the backends that are installed; importing ascend_prefetch calls it.

    Raises:
        ImportError: the library does not match torch_npu, or torch_npu does not match torch.
    """
    global _twin, _npu
    _twin = _load_twin()
    missing = _load(LIBRARY)
    _npu = Backend(missing is None, missing or "NPU tensors")


def _load_twin() -> Backend:
    if importlib.util.find_spec("ascend_prefetch._lab") is None:
        return Backend(False, "this installation has no laboratory (ascend_prefetch._lab)")
    lab = importlib.import_module("ascend_prefetch._lab")
    _C.set_host_device(lab.twin_device())
    return Backend(True, "host, CPU tensors")


def _load(library: Path) -> str | None:
    if not library.exists():
        return "this build has no device library; build with ASCEND_HOME_PATH set for NPUs"
    try:
        torch_npu = importlib.import_module("torch_npu")
    except ImportError as error:
        return f"torch_npu cannot be imported ({_first_line(error)}); install torch_npu and CANN"
    if _release(torch_npu.__version__) != _release(torch.__version__):
        raise ImportError(
            f"ascend_prefetch: torch_npu {torch_npu.__version__} does not go with torch "
            f"{torch.__version__}; install the torch_npu of that release"
        )
    try:
        _C.load_device(str(library))
    except RuntimeError as error:
        if "undefined symbol" in str(error):
            raise ImportError(
                f"ascend_prefetch: its device backend was built for another torch_npu or CANN than "
                f"torch_npu {torch_npu.__version__} here; build it again "
                f"({_first_line(error)})"
            ) from None
        reason = _first_line(error)
        warnings.warn(f"NPU tensors cannot be used: {reason}", RuntimeWarning, stacklevel=4)
        return reason
    return None


def _release(version: str) -> list[str]:
    """Major and minor of a version, which torch and torch_npu must share: "2.13.0" gives 2, 13."""
    return version.split(".")[:2]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
