"""Replaces vLLM Ascend's attention layers by the fused ones, once its modules are imported."""

from __future__ import annotations

import functools
import importlib.abc
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ascend_prefetch.policy import PrefetchConfig

from . import both_graphs
from .fallback import logger, say_once, stay_off, upstream_changed
from .seams import Release, Seam
from .settings import current, settle
from .signatures import MARK, first_difference
from .strict_config import hide_settings

FindRelease = Callable[[str | None], Release | None]
"""Returns the release whose seam is used, given the setting `release`; None, after a log line, if
none fits."""


class _AfterImport(importlib.abc.MetaPathFinder):
    """Runs functions after the import of modules; registering them imports nothing."""

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


def install(find: FindRelease) -> None:
    """Hooks the modules to be patched; those that are already imported are patched now.

    Args:
        find: called when a layer is built with the plugin on.
    """
    hooks = {
        "vllm.config.vllm": _settle_settings,
        "vllm_ascend.ascend_config": hide_settings,
        "vllm_ascend.attention.mla_v1": lambda module: _wrap_backend(
            module.AscendMLABackend, module.AscendMLAImpl, "mla", find
        ),
        "vllm_ascend.attention.sfa_v1": lambda module: _wrap_backend(
            module.AscendSFABackend, module.AscendSFAImpl, "sfa", find
        ),
        both_graphs.MODULE: both_graphs.both_graphs.install,
        "vllm_ascend.ops.weight_prefetch": lambda module: _wrap_policy(module, find),
    }
    if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport(hooks))
    for name, hook in hooks.items():
        if name in sys.modules:
            guarded(hook, sys.modules[name])


def guarded(step: Callable[..., None], *args: object) -> None:
    """Runs a step of the installation; an exception becomes a line in the log."""
    try:
        step(*args)
    except Exception as error:
        stay_off(f"{type(error).__name__}: {error}")


# --- settings ---


def _settle_settings(module: Any) -> None:
    """Settles the settings before vLLM and the platform look at a configuration."""
    config = module.VllmConfig
    original = config.__post_init__
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def __post_init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        guarded(settle, self)
        original(self, *args, **kwargs)

    setattr(__post_init__, MARK, True)
    config.__post_init__ = __post_init__


# --- layers ---


def _wrap_backend(backend: Any, plain: type, family: str, find: FindRelease) -> None:
    original = backend.get_impl_cls
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def get_impl_cls(*args: Any, **kwargs: Any) -> type:
        chosen: type = original(*args, **kwargs)
        try:
            settings = current()
            if settings is None:
                # Replaying a graph calls a static method of the class; the fused class inherits it.
                return chosen
            if args or kwargs:
                unknown = ", ".join([*map(repr, args), *kwargs])
                stay_off(f"{backend.__name__}.get_impl_cls: unknown argument {unknown}")
                return chosen
            if chosen is not plain:
                say_once(f"{chosen.__name__}: context parallelism or offloaded caches")
                return chosen
            return _class_for(plain, family, settings, find)
        except Exception as error:  # a model is being built
            stay_off(f"{type(error).__name__}: {error}")
            return chosen

    setattr(get_impl_cls, MARK, True)
    backend.get_impl_cls = staticmethod(get_impl_cls)


_classes: dict[tuple[type, str], type] = {}


def _class_for(plain: type, family: str, settings: PrefetchConfig, find: FindRelease) -> type:
    """The fused class; upstream's own where it differs from every known release."""
    key = (plain, repr(settings))
    if key in _classes:
        return _classes[key]
    _classes[key] = plain
    release = find(settings.release)
    if release is None:
        return plain
    broken = first_difference(release.of_family(family))
    if broken is not None:
        stay_off(f"{broken}, unlike vllm-ascend {release.versions}")
        return plain
    if settings.ab:
        both_graphs.both_graphs.want()
    seam = release.load()
    _say_installed(plain, family, release)
    _classes[key] = fused_class(plain, family, settings, seam)
    return _classes[key]


def _say_installed(plain: type, family: str, release: Release) -> None:
    names = [
        f"{name.name.removeprefix(f'{plain.__name__}.')}{name.signature}"
        for name in release.of_family(family)
        if name.signature is not None and name.name.startswith(f"{plain.__name__}.")
    ]
    logger.info(
        "ascend_prefetch: %s runs the fused ops, written for vllm-ascend %s: %s",
        plain.__name__,
        release.versions,
        ", ".join(names),
    )


def fused_class(plain: type, family: str, settings: PrefetchConfig, seam: Seam) -> type:
    """A subclass of upstream's implementation that runs the fused ops."""
    from .layer import FusedLayer, GatheringLayer
    from .mla import DenseAttention
    from .sfa import SparseAttention

    attention = {"mla": DenseAttention, "sfa": SparseAttention}[family]
    attributes = {"family": attention(seam), "settings": settings}
    layer = GatheringLayer if seam.gathers_rows else FusedLayer
    return type(f"Fused{plain.__name__}", (layer, plain), attributes)


# --- policy ---


def _wrap_policy(module: Any, find: FindRelease) -> None:
    original = module.WeightPrefetchMethod
    if hasattr(original, MARK):
        return

    @functools.wraps(original, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        try:
            settings = current()
            release = None if settings is None else find(settings.release)
            if settings is not None and release is not None and release.policy:
                from .seams.weight_prefetch import upstream_policy

                return upstream_policy(settings, release.policy, original, args, kwargs)
        except Exception as error:  # a model is being built
            upstream_changed(error)
        return original(*args, **kwargs)

    setattr(make, MARK, True)
    module.WeightPrefetchMethod = make
