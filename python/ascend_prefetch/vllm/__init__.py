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
    """The release of vLLM Ascend whose seam is used; None, after a line in the log, if none fits.

    Args:
        setting: the release that the user has set; None to look at what is installed.
    """
    installed = _installed("vllm-ascend")
    known = ", ".join(known_versions())
    if setting is not None:
        if setting not in RELEASES:
            stay_off(f"release: expected one of {known}, got {setting!r}")
            return None
        logger.info("ascend_prefetch: vllm-ascend %s is taken for %s, as set", installed, setting)
        return RELEASES[setting]
    if installed is not None and _is_built_from_source(installed):
        return _by_modules(installed)
    found = None if installed is None else RELEASES.get(_minor(installed))
    if found is None:
        logger.warning(
            "ascend_prefetch stays off: it does not know vllm-ascend %s; install one of %s",
            installed,
            known,
        )
    return found


def _is_built_from_source(installed: str) -> bool:
    """Whether a version is of a commit, such as 0.1.dev100+g0123456: its number tells little."""
    return ".dev" in installed or "+" in installed


def _minor(installed: str) -> str:
    """Major and minor of a version: "0.23" of "0.23.0.post1"."""
    return ".".join(re.split(r"[.+]", installed)[:2])


def _by_modules(installed: str) -> Release | None:
    """The release whose names a source build has; that of its own or vLLM's version goes first."""
    beside = _installed("vllm") or ""
    told = [RELEASES[name] for name in map(_minor, (installed, beside)) if name in RELEASES]
    if importlib.util.find_spec("vllm_ascend") is None:
        # There are no modules to inspect: the release's names are checked when a layer is built.
        return told[0] if told else None
    different = []
    for candidate in dict.fromkeys([*told, *reversed(RELEASES.values())]):
        difference = candidate.fits()
        if difference is None:
            logger.info(
                "ascend_prefetch: vllm-ascend %s is taken for %s, by its modules; the setting "
                "release says otherwise",
                installed,
                candidate.name,
            )
            return candidate
        different.append(f"{candidate.name}: {difference}")
    stay_off(
        f"vllm-ascend {installed} is none of {', '.join(known_versions())} by its modules "
        f"({different[0]}); the setting release says which it is"
    )
    return None


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
