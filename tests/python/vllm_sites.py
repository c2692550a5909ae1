"""Packages vllm and vllm_ascend that hold the names which the plugin takes, and nothing else.

Made from what a release is written down to have (seams/releases.py): tests/vllm holds that against
the releases themselves. Written to a folder, so that they are imported as the real ones are.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

import ascend_prefetch.vllm as plugin
from ascend_prefetch.policy import WeightPrefetchMethod
from ascend_prefetch.vllm import fallback, patch
from ascend_prefetch.vllm.seams import RELEASES, Release
from ascend_prefetch.vllm.signatures import Expected, signature_of

NEWEST = [*RELEASES.values()][-1]

_CONFIG = """
    current = None

    class VllmConfig:
        def __init__(self, additional_config=None, moe=False):
            self.additional_config, self.moe = additional_config, moe
            self.__post_init__()

        def __post_init__(self):
            from vllm_ascend.ascend_config import init_ascend_config
            self.checked = init_ascend_config(self)
"""
_CONFIG_PACKAGE = """
    from vllm.config import vllm as _where
    from vllm.config.vllm import VllmConfig

    def get_current_vllm_config():
        if _where.current is None:
            raise AssertionError("Current vLLM config is not set.")
        return _where.current

    def get_current_vllm_config_or_none():
        return _where.current
"""
_LOOKS_UP = """
    class AscendConfig:
        def __init__(self, vllm_config):
            self.known = (vllm_config.additional_config or {}).get("known")

    def init_ascend_config(vllm_config):
        return AscendConfig(vllm_config)
"""
STRICT = """
    class AscendConfig:
        def __init__(self, *, known=None):
            self.known = known

    def init_ascend_config(vllm_config):
        return AscendConfig(**(vllm_config.additional_config or {}))
"""
_CONTEXT = """
    current = None

    def get_forward_context():
        assert current is not None
        return current
"""
_BACKEND = """
    class Other(Ascend{name}Impl): pass
    Ascend{name}Backend.chosen = Ascend{name}Impl
    Ascend{name}Backend.get_impl_cls = staticmethod(lambda: Ascend{name}Backend.chosen)
"""


def _policy() -> str:
    """Upstream's class, with the signatures of ours, which are those of upstream."""
    lines = ["class WeightPrefetchMethod:", "    MLP_GATE_UP, MLP_DOWN = 'gate_up', 'down'"]
    lines.append("    def __init__(self, weight_prefetch_config):")
    lines.append("        self.config = weight_prefetch_config")
    for name, method in vars(WeightPrefetchMethod).items():
        if name.startswith("maybe_"):
            lines.append(f"    def {name}{signature_of(method)}: pass")
    return "\n".join(lines) + "\n"


def files(release: Release, strict: bool = False) -> dict[str, str]:
    """Contents by path.

    Args:
        release: whose names they have.
        strict: whether AscendConfig refuses keys that it does not know.
    """
    texts = {
        "vllm/__init__.py": "",
        "vllm/config/__init__.py": _CONFIG_PACKAGE,
        "vllm/config/vllm.py": _CONFIG,
        "vllm/forward_context.py": _CONTEXT,
        "vllm_ascend/__init__.py": "",
        "vllm_ascend/ascend_config.py": STRICT if strict else _LOOKS_UP,
        "vllm_ascend/utils.py": "def is_moe_model(vllm_config):\n    return vllm_config.moe\n",
        "vllm_ascend/ops/__init__.py": "",
        "vllm_ascend/ops/weight_prefetch.py": _policy(),
    }
    texts = {path: textwrap.dedent(text) for path, text in texts.items()}
    by_module: dict[str, list[Expected]] = defaultdict(list)
    for expected in (*release.names, *release.dense, *release.sparse):
        if not expected.absent and expected.module != "vllm.forward_context":
            by_module[expected.module].append(expected)
    for module, names in by_module.items():
        path = module.replace(".", "/")
        for parent in list(Path(path).parents)[:-1]:
            texts.setdefault(f"{parent}/__init__.py", "")
        texts[f"{path}.py"] = _module(names)
    for family in ("MLA", "SFA"):
        path = f"vllm_ascend/attention/{family.lower()}_v1.py"
        texts[path] += textwrap.dedent(_BACKEND.format(name=family))
    return texts


def install(folder: Path, strict: bool = False, **versions: str) -> None:
    """Writes packages of those versions, with the names of their release, or of the newest."""
    number = versions.get("vllm_ascend", "")
    release = RELEASES.get(".".join(number.split(".")[:2]), NEWEST)
    for package, version in versions.items():
        for path, text in files(release, strict).items():
            if path.startswith(f"{package}/"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        describe(folder, package, version)


def describe(folder: Path, package: str, version: str) -> None:
    """Writes the metadata of an installed package."""
    info = folder / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    name = package.replace("_", "-")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Call it as install(), without the folder; nothing stays behind."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("vllm", "vllm_ascend"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_npu", SimpleNamespace())  # which seams import
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delenv("ASCEND_PREFETCH_SETTINGS", raising=False)
    monkeypatch.setattr(patch, "_classes", {})
    fallback.forget()
    plugin._seam.cache_clear()

    def write(strict=False, **versions):
        install(tmp_path, strict, **versions)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    plugin._seam.cache_clear()
    for name in list(sys.modules):
        # Seams import upstream; their table does not.
        if name.split(".")[0] in ("vllm", "vllm_ascend") or re.match(
            r"ascend_prefetch\.vllm\.seams\.(?!releases$)", name
        ):
            del sys.modules[name]


def configure(additional_config):
    """Makes the configuration that layers are built for from now on."""
    config = importlib.import_module("vllm.config.vllm")
    config.current = config.VllmConfig(additional_config)
    return config.current


def backend(family="mla"):
    """Upstream's backend of dense ("mla") or sparse ("sfa") attention."""
    module = importlib.import_module(f"vllm_ascend.attention.{family}_v1")
    return getattr(module, f"Ascend{family.upper()}Backend")


def lines(caplog, level=logging.DEBUG):
    """What was logged, of that level and above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def _module(names: list[Expected]) -> str:
    functions, classes = [], defaultdict(list)
    for expected in names:
        owner, _, name = expected.name.rpartition(".")
        signature = expected.signature
        if owner and signature is None:
            classes[owner].append(f"    {name} = None")
        elif owner:
            static = "" if signature.startswith("(self") else "@staticmethod"
            classes[owner].append(f"    {static}\n    def {name}{signature}: pass")
        elif signature is not None:
            functions.append(f"def {name}{signature}: pass")
        elif expected.name.startswith("_"):  # one object of a class
            values = {"num_tokens": 7}
            lines = [f"    extra_attrs = {expected.fields!r}"]
            lines += [f"    {field} = {values.get(field)!r}" for field in expected.fields]
            functions.append("\n".join(["class _Extra:", *lines, f"{name} = _Extra()"]))
        else:
            classes[expected.name] += [f"    {field}: object" for field in expected.fields]
    for owner, lines in classes.items():
        if owner.endswith("Impl"):
            lines.append("    layer_name = None\n    def __init__(self, **_): pass")
    made = ["\n".join([f"class {owner}:", *lines]) for owner, lines in classes.items()]
    return "\n\n".join([*functions, *made]) + "\n"
