"""The plugin for vLLM Ascend: its MLA and SFA attention runs the ops of this package.

Installed beside vllm-ascend it does nothing until `--additional-config
'{"ascend_prefetch": {"enabled": true}}'` turns it on. What it does not support goes the way of
vLLM Ascend, logged once per reason. docs/vllm-ascend.md is the guide.
"""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version

from ascend_prefetch.vllm.fallback import logger, reasons
from ascend_prefetch.vllm.seams import Seam, known_versions, seam_for
from ascend_prefetch.vllm.switch import Switchable, turn

__all__ = ["Switchable", "reasons", "register", "release", "turn"]


def register() -> None:
    """Entry point of vllm.general_plugins; may be called any number of times in a process.

    Imports neither vllm_ascend nor anything that touches a device, and raises nothing.
    """
    from ascend_prefetch.vllm import patch

    patch.guarded(_register)


def release() -> None:
    """Lets go of all weights and caches, at any time; the next step takes them up again.

    For sleep mode and before weights are replaced; in every process that runs the model, see
    Switchable.release_ascend_prefetch.
    """
    Switchable().release_ascend_prefetch()


def _register() -> None:
    from ascend_prefetch.vllm import patch

    for package in ("vllm", "vllm-ascend"):
        if _installed(package) is None:
            logger.warning(
                "ascend_prefetch stays off: %s is not installed; install it beside ascend-prefetch "
                "(vllm-ascend %s)",
                package,
                ", ".join(known_versions()),
            )
            return
    patch.install(_seam)


@functools.cache
def _seam() -> Seam | None:
    """The seam of the installed vLLM Ascend; None, with a line in the log, where it has none."""
    installed = _installed("vllm-ascend")
    seam = None if installed is None else seam_for(installed)
    if seam is None:
        logger.warning(
            "ascend_prefetch stays off: it does not know vllm-ascend %s; install one of %s",
            installed,
            ", ".join(known_versions()),
        )
    return seam


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
