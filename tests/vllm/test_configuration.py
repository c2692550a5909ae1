"""The configuration code of a release starts whatever the plugin's settings are.

The real VllmConfig, the release's real AscendConfig and its platform's check of the configuration,
in the order of a server: upstream's platform is imported, then the plugin is loaded, then a
configuration is made, checked, and handed to other processes.
"""

from __future__ import annotations

import importlib
import json
import logging
import pickle
import sys
from importlib.metadata import version

import pytest

import environment
import models

KEY = "ascend_prefetch"
ON = {"enabled": True}
SETTINGS = {
    "no switch": None,
    "on": ON,
    "off": {"enabled": False},
    "an unknown key": {"enable": True},
    "a value out of range": {"enabled": True, "captured_kv_len": 0},
    "no dict": True,
    "a release that nobody knows": {"enabled": True, "release": "0.99"},
}


@pytest.fixture(scope="module")
def upstream():
    """vllm_ascend.ascend_config, imported before the plugin is loaded, as a server does."""
    environment.install_double()
    importlib.import_module("vllm_ascend.platform")
    from ascend_prefetch.vllm import register

    register()
    return importlib.import_module("vllm_ascend.ascend_config")


@pytest.fixture(autouse=True)
def log(caplog, monkeypatch):
    from ascend_prefetch.vllm import _seam, fallback, patch

    monkeypatch.delenv("ASCEND_PREFETCH_SETTINGS", raising=False)
    monkeypatch.setattr(patch, "_classes", {})
    _seam.cache_clear()
    fallback.forget()
    logger = logging.getLogger("vllm.ascend_prefetch")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    yield caplog
    _seam.cache_clear()


def start(upstream, additional: dict | None):
    """Makes a configuration, lets the platform check it, and reads it as another process does."""
    config = environment.configuration(models.DEEPSEEK_V3.configuration(), additional=additional)
    # A server's has a model while it is made, and vLLM then calls the platform by itself.
    config.device_config.device_type = "npu"
    eager = importlib.import_module("vllm.config").CUDAGraphMode.NONE  # what the model asks for
    config.compilation_config.cudagraph_mode = eager
    upstream.clear_ascend_config()
    importlib.import_module("vllm_ascend.platform").NPUPlatform.check_and_update_config(config)
    received = config.additional_config = pickle.loads(pickle.dumps(config.additional_config))
    upstream.clear_ascend_config()
    made = upstream.init_ascend_config(config)
    assert type(made) is upstream.AscendConfig
    assert config.compute_hash()
    return config, received


def lines(log, level: int = logging.WARNING) -> list[str]:
    """Of this package; upstream's platform has warnings of its own."""
    ours = [record for record in log.records if record.name == "vllm.ascend_prefetch"]
    return [record.getMessage() for record in ours if record.levelno >= level]


def test_a_release_of_the_index_runs_here(upstream):
    import vllm_ascend

    assert version("vllm-ascend") in vllm_ascend.__path__[0]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_starts(upstream, log, settings):
    given = None if settings is None else {KEY: settings}
    _, received = start(upstream, given)
    if settings is None:
        assert KEY not in received and lines(log) == []
    elif settings == {"enable": True}:
        (line,) = lines(log, logging.ERROR)
        assert "unknown key 'enable', expected one of enabled" in line
        assert received[KEY] == {"enabled": False}
    elif settings is True or "captured_kv_len" in settings:
        assert len(lines(log, logging.ERROR)) == 1 and received[KEY] == {"enabled": False}
    else:
        assert received[KEY] == settings and lines(log) == []


@pytest.mark.parametrize("key", ["ascend-prefetch", "AscendPrefetch", "ascend_prefetsh"])
def test_a_key_that_is_misspelt_starts(upstream, log, key):
    _, received = start(upstream, {key: ON})
    (line,) = lines(log, logging.ERROR)
    assert f"additional_config: unknown key '{key}', expected 'ascend_prefetch'" in line
    assert received[KEY] == {"enabled": False} and key not in received


def test_the_key_and_the_old_key_contradict_each_other(upstream, log):
    if not hasattr(upstream, "WeightPrefetchConfig"):
        return  # upstream's own key is gone
    old = {"enabled": True, "prefetch_ratio": {"moe": {"gate_up": 0.5}}}
    _, received = start(upstream, {KEY: ON, "weight_prefetch_config": old})
    (line,) = lines(log)
    assert "contradict each other: prefetch_ratio.moe.gate_up is 0.8 and 0.5" in line
    assert received["weight_prefetch_config"] == old and received[KEY] == {"enabled": False}


def test_the_environment_joins_what_other_processes_receive(upstream, log, monkeypatch):
    monkeypatch.setenv("ASCEND_PREFETCH_SETTINGS", json.dumps({**ON, "o_proj": False}))
    config, received = start(upstream, None)
    assert received[KEY] == {"enabled": True, "o_proj": False} and lines(log) == []
    other, _ = start(upstream, {KEY: {"enabled": True, "o_proj": False}})
    assert config.compute_hash() == other.compute_hash()
    monkeypatch.delenv("ASCEND_PREFETCH_SETTINGS")
    assert start(upstream, None)[0].compute_hash() != other.compute_hash()


def test_the_key_wins_over_the_environment(upstream, log, monkeypatch):
    monkeypatch.setenv("ASCEND_PREFETCH_SETTINGS", '{"enabled": false}')
    _, received = start(upstream, {KEY: ON})
    assert received[KEY] == ON
    assert lines(log) == [
        "ascend_prefetch: additional_config and ASCEND_PREFETCH_SETTINGS contradict each other, "
        "the former counts: enabled is True and False"
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"enable": true}'])
def test_a_broken_environment_starts(upstream, log, monkeypatch, text):
    monkeypatch.setenv("ASCEND_PREFETCH_SETTINGS", text)
    _, received = start(upstream, None)
    (line,) = lines(log, logging.ERROR)
    assert "ASCEND_PREFETCH_SETTINGS" in line and received[KEY] == {"enabled": False}


def unhooked(upstream, monkeypatch) -> bool:
    """Makes AscendConfig what it is without the plugin; whether that is another one."""
    config = upstream.AscendConfig
    if "__new__" not in vars(config):
        return False
    original = getattr(config.__init__, "__wrapped__", config.__init__)
    monkeypatch.setattr(config, "__init__", original)
    monkeypatch.setattr(config, "__new__", lambda cls, *_, **__: object.__new__(cls))
    return True


def test_a_configuration_that_cannot_be_hooked_starts(upstream, log, monkeypatch):
    """The seam is broken on purpose: the constructor is upstream's own again, of another form."""
    if not unhooked(upstream, monkeypatch):  # it takes vLLM's configuration, and refuses no key
        return
    _, received = start(upstream, {KEY: ON})
    assert KEY not in received
    assert lines(log) == [
        "ascend_prefetch stays off: looked for a constructor of "
        "vllm_ascend.ascend_config.AscendConfig to hook, found none; vLLM Ascend runs without it"
    ]


def test_without_the_hook_upstream_would_refuse_the_key(upstream, monkeypatch):
    """What the hook is for: once upstream takes the key by itself, it can go."""
    refuses = not version("vllm-ascend").startswith(("0.18.", "0.23.", "0.26."))
    assert unhooked(upstream, monkeypatch) == refuses
    if refuses:
        with pytest.raises(ValueError, match=KEY):
            upstream.AscendConfig(**{KEY: ON})


def test_a_constructor_that_pydantic_makes_anew_is_hooked_again(upstream):
    if version("vllm-ascend").startswith(("0.18.", "0.23.", "0.26.")):
        return
    from pydantic.dataclasses import rebuild_dataclass

    start(upstream, {KEY: ON})
    rebuild_dataclass(upstream.AscendConfig, force=True)
    start(upstream, {KEY: ON})


def chosen(family: str, config):
    """The class that a layer is built with, and upstream's own."""
    from vllm.config import set_current_vllm_config

    module = importlib.import_module(f"vllm_ascend.attention.{family}_v1")
    name = f"Ascend{family.upper()}"
    with set_current_vllm_config(config):
        return getattr(module, f"{name}Backend").get_impl_cls(), getattr(module, f"{name}Impl")


def own_release():
    """The release that the plugin knows the installed one as."""
    from ascend_prefetch.vllm.seams import RELEASES

    return RELEASES[".".join(version("vllm-ascend").split(".")[:2])]


@pytest.mark.parametrize("family", ["mla", "sfa"])
def test_layers_are_fused(upstream, log, family):
    config, _ = start(upstream, {KEY: ON})
    found, plain = chosen(family, config)
    assert issubclass(found, plain) and found is not plain and lines(log) == []
    (line,) = lines(log, logging.INFO)
    assert f"{plain.__name__} runs the fused ops, written for vllm-ascend " in line
    assert version("vllm-ascend") in line and "forward(self, layer_name, hidden_states, " in line


@pytest.mark.parametrize("family", ["mla", "sfa"])
@pytest.mark.parametrize("release", ["0.18", "0.23", "0.26", "0.27", "0.28", "0.29", "0.30"])
def test_a_release_that_is_set_has_to_fit(upstream, log, family, release):
    """As when a user is wrong about it: the class is upstream's, one line names the difference."""
    config, _ = start(upstream, {KEY: {**ON, "release": release}})
    found, plain = chosen(family, config)
    if found is plain:
        (line,) = lines(log, logging.ERROR)
        assert line.startswith("ascend_prefetch stays off: looked for ")
        assert release != own_release().name
    else:
        assert lines(log) == []


@pytest.mark.parametrize("installed", ["0.1.dev100+g0123456", "0.31.0"])
def test_a_version_that_nobody_knows_is_told_by_its_modules(upstream, log, monkeypatch, installed):
    import ascend_prefetch.vllm as plugin

    # Of both packages: neither version tells anything.
    monkeypatch.setattr(plugin, "_installed", lambda package: installed)
    config, _ = start(upstream, {KEY: ON})
    found, plain = chosen("mla", config)
    assert found is not plain and lines(log) == []
    told, _ = lines(log, logging.INFO)
    assert f"vllm-ascend {installed} is taken for {own_release().name}, by its modules" in told


MODULES = (
    "vllm_ascend.attention.utils",
    "vllm_ascend.attention.indexer",
    "vllm_ascend.device.device_op",
    "vllm_ascend.memcache_comm_fence",
    "vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.attention_fence",
)


@pytest.mark.parametrize("family", ["mla", "sfa"])
@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_has_moved_is_one_line(upstream, log, monkeypatch, module, family):
    """The seam is broken on purpose: a module of upstream's is not where it was."""
    config, _ = start(upstream, {KEY: ON})
    chosen(family, config)  # the backend's own imports are upstream's affair
    log.clear()
    from ascend_prefetch.vllm import _seam, fallback, patch

    fallback.forget()
    _seam.cache_clear()
    patch._classes.clear()
    monkeypatch.setitem(sys.modules, module, None)
    config, _ = start(upstream, {KEY: ON})
    found, plain = chosen(family, config)
    names = own_release().of_family(family)
    if module in {name.module for name in names if not name.absent}:
        assert found is plain
        (line,) = lines(log)
        assert line.startswith(f"ascend_prefetch stays off: looked for {module}.")
        assert "ModuleNotFoundError" in line
    else:
        assert found is not plain and lines(log) == []


@pytest.mark.parametrize("family", ["mla", "sfa"])
def test_a_forward_that_has_changed_is_one_line(upstream, log, monkeypatch, family):
    """The seam is broken on purpose: a later release has another argument."""
    config, _ = start(upstream, {KEY: ON})
    _, plain = chosen(family, config)
    log.clear()
    from ascend_prefetch.vllm import _seam, fallback, patch

    fallback.forget()
    _seam.cache_clear()
    patch._classes.clear()
    monkeypatch.setattr(plain, "forward", lambda self, layer_name, hidden_states, output: output)
    assert chosen(family, start(upstream, {KEY: ON})[0])[0] is plain
    (line,) = lines(log)
    assert f"looked for {plain.__module__}.{plain.__name__}.forward(self, layer_name, " in line
    assert (
        f"found {plain.__name__}.forward(self, layer_name, hidden_states, output), unlike" in line
    )
