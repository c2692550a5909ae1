"""What an operator sees: the summary and the counters; and the switch, as it is given by others."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import torch

import vllm_stand_ins as up
from ascend_prefetch.policy import PrefetchConfig
from ascend_prefetch.vllm import counters as module
from ascend_prefetch.vllm import patch, switch, worker

pytestmark = pytest.mark.usefixtures("fresh_plugin")


@pytest.fixture
def counters(monkeypatch):
    fresh = module.Counters()
    for name in ("counters", "layer"):
        monkeypatch.setattr(f"ascend_prefetch.vllm.{name}.counters", fresh)
    return fresh


def layers(seam, count=3):
    plain = patch.fused_class(up.AscendMLAImpl, "mla", PrefetchConfig(enabled=True), seam)
    made = [plain(layer_name=f"model.layers.{i}.self_attn.attn") for i in range(count)]
    for impl in made:
        impl.process_weights_after_loading(torch.bfloat16)
    return made


def step(seam, impls, **metadata):
    seam.context = type(seam.context)()
    for impl in impls:
        up.run_layer(impl, up.new_caches(), up.decode_metadata(3, **metadata), 3)


def test_layers_are_counted_by_path_and_reason(seam, counters):
    impls = layers(seam)
    step(seam, impls)
    step(seam, impls, prefills=1)
    switch.turn(False)
    step(seam, impls)
    assert counters.layers == {
        module.FUSED: 3,
        "steps with prefill rows": 3,
        "switched off": 3,
    }
    table = worker.Switchable().ascend_prefetch_counters()
    assert table["layers"] == dict(counters.layers)
    # One step brought what the planners in the ops bring: of these layers all of o_proj.
    nbytes = 3 * impls[0].o_proj.weight.nbytes
    assert table["bytes"] == {"MTE2 mla_prolog": nbytes}
    assert table["refused_bytes"] == 0


def test_one_summary_is_logged_after_the_first_step(seam, counters, caplog):
    caplog.set_level(logging.INFO, "vllm.ascend_prefetch")
    impls = layers(seam)
    impls[2].o_proj.bias = impls[2].fused_qkv_a_proj.bias = torch.zeros(4)
    impls[2].fused_weights.read(impls[2])
    for _ in range(3):
        step(seam, impls)
    lines = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in lines if "layers run the fused ops" in line]
    assert (
        "2 of 3 layers run the fused ops; 1 vLLM Ascend's own: fused_qkv_a_proj has a bias" in line
    )
    assert "MB beside mla_prolog (MTE2)" in line
    assert "window lengths: published, 4096 cached tokens" in line


@pytest.mark.parametrize(
    ("given", "on"),
    [("false", False), ("False", False), ("0", False), ("off", False), (0, False), (False, False)]
    + [("true", True), ("1", True), ("on", True), (1, True), (True, True)],
)
def test_the_switch_reads_words(given, on):
    switch.turn(not on)
    assert switch.turn(given) is (not on)
    assert switch.switch.on is on


@pytest.mark.parametrize("given", ["maybe", "", 2, None, 1.0, []])
def test_what_is_no_switch_is_refused(given):
    with pytest.raises(ValueError, match="turn: expected true or false, got "):
        switch.turn(given)
    assert switch.switch.on is True


_PROMETHEUS = """
import sys, types

class Counter:
    made = []
    def __init__(self, name, text, labels=()):
        self.name, self.of = name, {}
        Counter.made.append(self)
    def labels(self, *values):
        self._at = values
        return self
    def inc(self, value):
        at = getattr(self, "_at", ())
        self.of[at] = self.of.get(at, 0) + value

sys.modules["prometheus_client"] = types.SimpleNamespace(Counter=Counter)
from ascend_prefetch.vllm import counters
one = counters.Counters()
one.layers["fused"] = 5
one.layers["steps with prefill rows"] = 2
counters.ledger.brought["cube", "combine"] = 100
one.flush()
one.layers["fused"] = 7
one.flush()
print({c.name: c.of for c in Counter.made})
"""


def test_prometheus_gets_what_was_counted_since():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROMETHEUS],
        capture_output=True,
        text=True,
        check=True,
    )
    assert eval(done.stdout) == {
        "ascend_prefetch_layers": {
            ("fused", ""): 7,
            ("upstream", "steps with prefill rows"): 2,
        },
        "ascend_prefetch_bytes": {("cube", "combine"): 100},
        "ascend_prefetch_refused_bytes": {},
    }


def test_a_process_without_prometheus_says_so_once(counters, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    caplog.set_level(logging.INFO, "vllm.ascend_prefetch")
    counters.flush()
    counters.flush()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "Prometheus has no counters of it: ModuleNotFoundError" in line
