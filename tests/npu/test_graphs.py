"""Capture and replay: a graph gives what the eager op gives, whatever was planned in between."""

import pytest
import torch
from device_calls import OPS, DeviceCall, captured, snapshot

from ascend_prefetch.beside import prefetch_beside
from mla_cases import same_bits

pytestmark = pytest.mark.npu


def eager(call):
    call.clear_caches()
    return snapshot(call, call())


@pytest.mark.parametrize("op", OPS)
def test_replays_equal_eager_calls(npu, op):
    """Other shapes are planned, run and captured between a graph's capture and its replay."""
    call = DeviceCall(op, tokens=17)
    graph, results = captured(npu, call)
    others = [DeviceCall(op, tokens) for tokens in (1, 2, 16, 18, 33, 48, 129)]
    expected_others = [eager(other) for other in others]
    graphs = [captured(npu, other) for other in others]
    for seed in range(3):
        call.new_activations(seed)
        expected = eager(call)
        call.clear_caches()
        graph.replay()
        npu.synchronize()
        assert all(map(same_bits, snapshot(call, results), expected))
    for other, wanted, (other_graph, other_results) in zip(
        others, expected_others, graphs, strict=True
    ):
        other.clear_caches()
        other_graph.replay()
        npu.synchronize()
        assert all(map(same_bits, snapshot(other, other_results), wanted))


@pytest.mark.parametrize("engine", ["vector", "cube", "sdma"])
def test_prefetch_and_join_in_a_graph(npu, engine):
    """A fork is joined before the capture ends, in each of several graphs."""
    call = DeviceCall("o_proj", tokens=17)
    expected = snapshot(call, call())
    weight = call.arguments["o_proj_weight"]
    region = torch.ones(4 << 20, dtype=torch.uint8, device="npu")

    def work():
        with prefetch_beside([weight, region], engine=engine):
            return call()

    for _ in range(2):
        graph, results = captured(npu, work)
        for _ in range(20):
            graph.replay()
        npu.synchronize()
        assert all(map(same_bits, snapshot(call, results), expected))
        assert bool((region == 1).all())


def test_two_ops_of_a_layer_in_one_graph(npu):
    """The prolog, which prefetches o_proj's weight, and o_proj behind it."""
    prolog, o_proj = DeviceCall("mla_prolog", tokens=16), DeviceCall("o_proj", tokens=16)
    expected = eager(prolog) + snapshot(o_proj, o_proj())

    def work():
        return prolog(prefetch=[o_proj.arguments["o_proj_weight"]]), o_proj()

    graph, (first, second) = captured(npu, work)
    for _ in range(20):
        prolog.clear_caches()
        graph.replay()
    npu.synchronize()
    actual = snapshot(prolog, first) + snapshot(o_proj, second)
    assert all(map(same_bits, actual, expected))
