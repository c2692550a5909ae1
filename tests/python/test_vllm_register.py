"""The entry point: what it does without vLLM, beside known and unknown versions, on and off."""

from __future__ import annotations

import importlib
import logging
import sys
from types import SimpleNamespace

import pytest

import ascend_prefetch.vllm as plugin
import vllm_sites
from ascend_prefetch.policy import WeightPrefetchMethod
from ascend_prefetch.vllm import fallback, regions, switch
from vllm_sites import backend, configure, lines

site = vllm_sites.site  # a fixture


def test_without_vllm_a_line_says_what_to_install(site, caplog):
    plugin.register()
    assert lines(caplog) == [
        "ascend_prefetch stays off: vllm is not installed; install it beside ascend-prefetch "
        "(vllm-ascend 0.18, 0.23, 0.26, 0.27, 0.28, 0.29, 0.30)"
    ]


def test_without_vllm_ascend_a_line_says_what_to_install(site, caplog):
    site(vllm="0.23.0")
    plugin.register()
    (line,) = lines(caplog)
    assert line.startswith("ascend_prefetch stays off: vllm-ascend is not installed; install it")


def test_registering_imports_nothing_of_upstream(site):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    assert "vllm_ascend" not in sys.modules and "vllm" not in sys.modules


@pytest.mark.parametrize("additional", [None, {}, {"other": 1}, {"ascend_prefetch": {}}])
def test_installed_but_off_leaves_upstream_alone(site, caplog, additional):
    site(vllm="0.23.0", vllm_ascend="0.99.0")
    caplog.set_level(logging.DEBUG)
    plugin.register()
    configure(additional)
    assert backend().get_impl_cls() is backend().chosen
    assert lines(caplog) == []


@pytest.mark.parametrize("family", ["mla", "sfa"])
@pytest.mark.parametrize(
    "version",
    ["0.18.0", "0.23.0", "0.26.0rc1", "0.27.1rc1", "0.28.0rc1", "0.29.0rc1", "0.30.0rc2"],
)
def test_on_gives_a_subclass_of_upstream_s(site, version, family):
    site(vllm="0.23.0", vllm_ascend=version)
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True}})
    chosen = backend(family).get_impl_cls()
    assert issubclass(chosen, backend(family).chosen) and chosen is not backend(family).chosen
    assert backend(family).get_impl_cls() is chosen


@pytest.mark.parametrize("imported_before", [True, False])
def test_registering_twice_wraps_once(site, imported_before):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    if imported_before:
        backend()
    for _ in range(2):
        plugin.register()
    configure({"ascend_prefetch": {"enabled": True}})
    wrapped = backend().get_impl_cls
    assert not hasattr(wrapped.__wrapped__, "__wrapped__")
    plugin.register()
    assert backend().get_impl_cls is wrapped


@pytest.mark.parametrize("additional", [None, {"ascend_prefetch": {"enabled": True}}])
@pytest.mark.parametrize("family", ["mla", "sfa"])
def test_outside_of_a_configuration_the_class_is_upstream_s(site, family, additional):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    configure(additional)
    built = backend(family).get_impl_cls()
    importlib.import_module("vllm.config.vllm").current = None  # as when a graph is replayed
    assert backend(family).get_impl_cls() is backend(family).chosen
    assert issubclass(built, backend(family).chosen)


@pytest.mark.parametrize("family", ["mla", "sfa"])
def test_an_unknown_version_is_told_by_its_modules(site, caplog, family):
    caplog.set_level(logging.INFO)
    site(vllm="0.99.0", vllm_ascend="0.99.0")  # with the names of the newest release
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True}})
    for _ in range(2):
        assert backend(family).get_impl_cls() is not backend(family).chosen
    told, runs = lines(caplog)
    assert told == (
        "ascend_prefetch: vllm-ascend 0.99.0 is taken for 0.30, by its modules; the setting "
        "release says otherwise"
    )
    assert "runs the fused ops, written for vllm-ascend 0.30.0rc2: forward(self, " in runs


def test_an_implementation_of_another_kind_is_left_alone(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    caplog.set_level(logging.INFO)
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True}})
    kind = backend()
    kind.chosen = importlib.import_module("vllm_ascend.attention.mla_v1").Other
    assert kind.get_impl_cls() is kind.chosen
    assert lines(caplog) == [
        "ascend_prefetch: vLLM Ascend's own path is taken: Other: context parallelism or offloaded "
        "caches"
    ]


def test_an_upstream_without_the_seam_is_left_alone(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    path = importlib.import_module("vllm_ascend").__path__[0]
    with open(f"{path}/attention/mla_v1.py", "w") as file:
        file.write("class AscendMLABackend: pass\n")
    importlib.invalidate_caches()
    importlib.import_module("vllm_ascend.attention.mla_v1")
    (line,) = lines(caplog)
    assert line.startswith("ascend_prefetch stays off: AttributeError: ")
    assert line.endswith("; vLLM Ascend runs without it")


def test_upstream_s_policy_is_its_own_while_off(site):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    configure({"weight_prefetch_config": {"enabled": True}})
    module = importlib.import_module("vllm_ascend.ops.weight_prefetch")
    assert module.WeightPrefetchMethod("theirs").config == "theirs"


def test_upstream_s_policy_gives_way_while_on(site):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True}})
    module = importlib.import_module("vllm_ascend.ops.weight_prefetch")
    policy = module.WeightPrefetchMethod(weight_prefetch_config="theirs")
    assert isinstance(policy, WeightPrefetchMethod)
    assert policy.ledger is regions.ledger
    assert policy.mlp.enable and not policy.moe.enable
    assert policy._context() is None  # outside of a forward pass
    context = importlib.import_module("vllm.forward_context")
    context.current = SimpleNamespace()
    assert policy._context()[:3] == (context.current, 7, None)
    regions.ledger.enter(context.current, 5)  # as attention does
    assert policy._present(policy._enter()) == 5


def test_a_policy_that_the_release_does_not_call_is_left_alone(site):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True, "release": "0.26"}})
    module = importlib.import_module("vllm_ascend.ops.weight_prefetch")
    assert module.WeightPrefetchMethod("theirs").config == "theirs"


def test_a_wrong_value_in_the_environment_is_a_line(monkeypatch, caplog):
    monkeypatch.setenv("ASCEND_PREFETCH", "yes")
    assert switch._Switch().on is False
    assert lines(caplog) == [
        "ascend_prefetch stays off: ASCEND_PREFETCH: expected 0 or 1, got 'yes'"
    ]


def test_a_site_without_a_plan_is_left_alone(monkeypatch):
    from ascend_prefetch.policy.sites import MLP_NORM
    from ascend_prefetch.vllm.seams.weight_prefetch import _Planner

    fallback.forget()
    monkeypatch.setattr("ascend_prefetch.backend.chip", lambda: "Ascend999")
    assert _Planner().piece(MLP_NORM, 1 << 20, 1 << 20) == (0, 0)
    (reason,) = fallback.reasons()
    assert "Ascend999" in reason
