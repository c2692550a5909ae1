"""Puts the fused layers in the place of vLLM Ascend's, once its modules are imported."""

from __future__ import annotations

import functools
import importlib.abc
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ascend_prefetch.policy import KEY, PrefetchConfig

from .fallback import logger, say_once
from .seams import Seam

_MARK = "_ascend_prefetch_wrapped"


class _AfterImport(importlib.abc.MetaPathFinder):
    """Runs functions behind the import of modules: registering imports nothing by itself."""

    def __init__(self, hooks: Mapping[str, Callable[[Any], None]]) -> None:
        self.hooks = hooks

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        hook = self.hooks.get(name)
        if hook is None:
            return None
        specs = (
            finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self
        )
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            guarded(hook, module)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


def install(seam: Callable[[], Seam | None]) -> None:
    """Hooks the modules that are patched; those that are imported already are patched now.

    Args:
        seam: of the version of vLLM Ascend that is installed; called when it is needed.
    """
    hooks = {
        "vllm_ascend.attention.mla_v1": lambda module: _wrap_backend(
            module.AscendMLABackend, module.AscendMLAImpl, "mla", seam
        ),
        "vllm_ascend.attention.sfa_v1": lambda module: _wrap_backend(
            module.AscendSFABackend, module.AscendSFAImpl, "sfa", seam
        ),
        "vllm_ascend.ops.weight_prefetch": _wrap_policy,
    }
    if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport(hooks))
    for name, hook in hooks.items():
        if name in sys.modules:
            guarded(hook, sys.modules[name])


def guarded(step: Callable[..., None], *args: object) -> None:
    """Runs a step of the installation; what it raises is a line in the log, no more."""
    try:
        step(*args)
    except Exception as error:
        logger.warning(
            "ascend_prefetch stays off: %s: %s; vLLM Ascend runs without it",
            type(error).__name__,
            error,
        )


def current_settings() -> PrefetchConfig | None:
    """The settings of the configuration that layers are being built for.

    None where it is off, and where none are being built: vLLM Ascend asks for its classes with
    every full graph that it replays as well.

    Raises:
        ValueError: unknown or contradictory settings.
    """
    from vllm.config import get_current_vllm_config_or_none

    additional = getattr(get_current_vllm_config_or_none(), "additional_config", None)
    if not additional or KEY not in additional:
        return None
    settings = PrefetchConfig.from_additional_config(additional)
    return settings if settings.enabled else None


def _wrap_backend(backend: Any, plain: type, family: str, seam: Callable[[], Seam | None]) -> None:
    original = backend.get_impl_cls
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def get_impl_cls() -> type:
        chosen: type = original()
        settings = current_settings()
        if settings is None:
            # A replay calls a static method of the class, which the fused one inherits.
            return chosen
        if chosen is not plain:
            say_once(f"{chosen.__name__}: context parallelism or offloaded caches")
            return chosen
        version = seam()
        return chosen if version is None else fused_class(plain, family, settings, version)

    setattr(get_impl_cls, _MARK, True)
    backend.get_impl_cls = staticmethod(get_impl_cls)


_classes: dict[tuple[type, str], type] = {}


def fused_class(plain: type, family: str, settings: PrefetchConfig, seam: Seam) -> type:
    """A subclass of upstream's implementation that runs the fused ops."""
    key = (plain, repr(settings))
    if key not in _classes:
        mixin: type
        if family == "mla":
            from .mla import FusedMLA as mixin
        else:
            from .sfa import FusedSFA as mixin
        name = f"Fused{plain.__name__}"
        _classes[key] = type(name, (mixin, plain), {"seam": seam, "settings": settings})
        logger.info("ascend_prefetch: %s runs the fused ops", plain.__name__)
    return _classes[key]


def _wrap_policy(module: Any) -> None:
    original = module.WeightPrefetchMethod
    if hasattr(original, _MARK):
        return

    @functools.wraps(original, updated=())
    def make(weight_prefetch_config: Any) -> Any:
        settings = current_settings()
        if settings is None:
            return original(weight_prefetch_config)
        from .policy import upstream_policy

        return upstream_policy(settings)

    setattr(make, _MARK, True)
    module.WeightPrefetchMethod = make
