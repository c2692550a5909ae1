"""Decode graphs with the plugin: captured by upstream's wrapper, replayed with other requests.

A replay runs no Python of a layer, so whatever a layer reads on the host while it is captured stays
as it was. Each replay is held against the same step of upstream's layers without a graph; to show
that the double's graphs are sound, so are graphs of upstream's own layers.
"""

from __future__ import annotations

from collections import Counter

import pytest

import compare
import models
import steps
from graphs import Captured
from steps import Scenario

ONE_BY_ONE = (
    Scenario("captured", (1,) * 8, (1,) * 8),
    [
        Scenario("padded requests", (5, 130, 200), (1, 1, 1), empty=5),
        Scenario("all requests", (3, 7, 1, 90, 2, 127, 60, 11), (1,) * 8),
    ],
)
SPECULATIVE = (
    Scenario("captured", (1,) * 4, (2,) * 4, speculative=1),
    [Scenario("2 tokens per request", (5, 130, 200, 31), (2,) * 4, speculative=1)],
)


@pytest.mark.parametrize("quantisation", ["bf16", "W8A8 dynamic"])
@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
@pytest.mark.parametrize("batch", [ONE_BY_ONE, SPECULATIVE], ids=["decode", "speculative"])
def test_replays_equal_steps(rows, model, quantisation, batch):
    captured, replayed = batch
    layers = compare.Pair(model, quantisation, count=2, speculative=captured.speculative)
    layers.plain.enter()
    plain = Captured(layers.plain, captured)
    wanted = [steps.run(layers.plain, scenario, seed) for seed, scenario in enumerate(replayed)]
    control = [plain.replay(scenario, seed) for seed, scenario in enumerate(replayed)]
    layers.fused.enter()
    graph = Captured(layers.fused, captured)
    ops = Counter(
        name.removeprefix("ascend_prefetch::")
        for name in graph.calls
        if name.startswith("ascend_prefetch::")
    )
    assert ops == {"sfa_prolog" if model.sparse else "mla_prolog": 2, "o_proj": 2}
    for seed, scenario in enumerate(replayed):
        assert not any(compare.errors(control[seed], wanted[seed], scenario).values())
        found = compare.errors(graph.replay(scenario, seed), wanted[seed], scenario)
        title = f"replayed graph, {scenario.name}"
        rows.append(compare.table_row(model.name, quantisation, title, sum(ops.values()), found))
        assert not compare.beyond_tolerance(quantisation, found)
