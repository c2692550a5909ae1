"""The plugin for vLLM Ascend: its MLA and SFA attention runs the ops of this package.

Installed beside vllm-ascend it does nothing until `--additional-config
'{"ascend_prefetch": {"enabled": true}}'` turns it on. Layers and steps that it does not support go
upstream, that is, they run vLLM Ascend's own code; each reason is logged once.
docs/vllm-ascend.md is the guide.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from importlib.metadata import PackageNotFoundError, version

from ascend_prefetch.vllm.fallback import logger, reasons, stay_off
from ascend_prefetch.vllm.seams import RELEASES, Release, known_versions
from ascend_prefetch.vllm.switch import release, turn
from ascend_prefetch.vllm.worker import Switchable

__all__ = ["Switchable", "reasons", "register", "release", "turn"]


def register() -> None:
    """Entry point of vllm.general_plugins; may be called any number of times in a process.

    Imports neither vllm_ascend nor anything that touches a device, and raises nothing.
    """
    from ascend_prefetch.vllm import patch

    patch.guarded(_register)


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
def _seam(setting: str | None = None) -> Release | None:
    """The release of vLLM Ascend whose seam is used; None, after a line in the log, if none is.

    It is the release whose names the installed modules have, whatever their version is: that of
    their version goes first. If they have the names of none, it is the nearest release, against
    whose names each kind of attention is checked when a layer is built.

    Args:
        setting: the release that the user has set; None to look at what is installed.
    """
    installed = _installed("vllm-ascend")
    if setting is not None:
        if setting not in RELEASES:
            known = ", ".join(known_versions())
            stay_off(f"release: expected one of {known}, got {setting!r}")
            return None
        logger.info("ascend_prefetch: vllm-ascend %s is taken for %s, as set", installed, setting)
        return RELEASES[setting]
    newest_first = [*reversed(RELEASES.values())]
    told = [_minor(version) for version in (installed, _installed("vllm")) if version is not None]
    nearest = next((RELEASES[name] for name in told if name in RELEASES), newest_first[0])
    if importlib.util.find_spec("vllm_ascend") is None:
        # There are no modules to inspect: the release's names are checked when a layer is built.
        return nearest
    candidates = dict.fromkeys([nearest, *newest_first])
    found = next((release for release in candidates if release.fits() is None), None)
    if found is None:
        return nearest
    if installed is None or found.name != _minor(installed):
        logger.info(
            "ascend_prefetch: vllm-ascend %s is taken for %s, by its modules; the setting release "
            "says otherwise",
            installed,
            found.name,
        )
    return found


def _minor(installed: str) -> str:
    """Major and minor of a version: "0.23" of "0.23.0.post1"."""
    return ".".join(re.split(r"[.+]", installed)[:2])


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
