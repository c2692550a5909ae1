"""A/B on a live server: two graphs of each step, between which the switch chooses."""

from __future__ import annotations

from collections import Counter

import pytest

import compare
import environment
import models
import steps
from graphs import Captured
from layers import Layers
from steps import Scenario

_CAPTURED = Scenario("captured", (1,) * 8, (1,) * 8)
_STEPS = [
    Scenario("padded requests", (5, 130, 200), (1, 1, 1), empty=5),
    Scenario("all requests", (3, 7, 1, 90, 2, 127, 60, 11), (1,) * 8),
]


@pytest.fixture
def fresh(monkeypatch):
    """The plugin's two sets, as in a new process."""
    environment.start()
    from ascend_prefetch.vllm import both_graphs, turn

    sets = both_graphs.both_graphs
    for name, value in {"wanted": False, "count": 0, "_told": False, "_parameters": {}}.items():
        monkeypatch.setattr(sets, name, value)
    yield sets
    turn(True)


@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
def test_the_switch_chooses_the_graph_and_captures_nothing(model, fresh, rows):
    from ascend_prefetch.vllm import turn

    plain = Layers(model, "W8A8 dynamic", count=2)
    plain.enter()
    wanted = [steps.run(plain, scenario, seed) for seed, scenario in enumerate(_STEPS)]
    settings = {"ascend_prefetch": {"enabled": True, "ab": True}}
    layers = Layers(model, "W8A8 dynamic", count=2, additional=settings)
    layers.enter()
    graph = Captured(layers, _CAPTURED, both=True)
    assert fresh.wanted and fresh.count == 1

    # The graphs differ by the ops, and by what these replace of upstream's.
    calls = graph.both_calls()
    ours = Counter(name for name in calls[True] if name.startswith("ascend_prefetch::"))
    prolog = "sfa_prolog" if model.sparse else "mla_prolog"
    assert ours == {f"ascend_prefetch::{prolog}": 2, "ascend_prefetch::o_proj": 2}
    assert not any(name.startswith("ascend_prefetch::") for name in calls[False])

    for on in (True, False, True, False):
        assert turn("true" if on else "false") is not None
        for seed, scenario in enumerate(_STEPS):
            found = compare.errors(graph.replay(scenario, seed), wanted[seed], scenario)
            if on:
                assert not compare.beyond_tolerance("W8A8 dynamic", found)
            else:
                assert not any(found.values()), "upstream's graph"
    assert fresh.count == 1 and graph.both_calls() == calls
    found = compare.errors(graph.replay(_STEPS[0], 0), wanted[0], _STEPS[0])
    title = "two graphs, switched on and off"
    rows.append(compare.table_row(model.name, "W8A8 dynamic", title, sum(ours.values()), found))


def test_without_the_setting_a_graph_is_captured_once(fresh):
    layers = Layers(
        models.DEEPSEEK_V3, "bf16", count=1, additional={"ascend_prefetch": {"enabled": True}}
    )
    layers.enter()
    Captured(layers, _CAPTURED)
    assert not fresh.wanted and fresh.count == 0


def test_another_form_of_upstreams_graphs_is_one_line(fresh, monkeypatch):
    from vllm_ascend.compilation import acl_graph

    from ascend_prefetch.vllm import fallback

    fallback.forget()
    monkeypatch.setattr(acl_graph, "set_graph_params", lambda sizes, more: None)
    fresh.want()
    fresh.want()
    assert not fresh.wanted
    (line,) = [reason for reason in fallback.reasons() if reason.startswith("ab: ")]
    assert "looked for vllm_ascend.compilation.acl_graph.set_graph_params" in line
