"""Windows between kernels: upstream's own collectives, beside which weights are prefetched.

What the release's functions do is not changed; what is fetched beside them, and that it is joined
before they return, is counted at the ops.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import compare
import environment
import models
import steps
import windows_ranks
from steps import Scenario

_STEP = Scenario("decode", (5, 130, 200), (1, 1, 1))


@pytest.fixture(autouse=True)
def worth(monkeypatch):
    """Weights of these small layers are worth a window."""
    from ascend_prefetch.vllm.windows import plan

    for name in plan.READER_US_PER_MB:
        monkeypatch.setitem(plan.READER_US_PER_MB, name, 1e5)


def site_bytes(site: str) -> dict[str, int]:
    from ascend_prefetch.vllm.regions import ledger

    return {one.weight: one.bytes for one in ledger.claims if one.site == site}


def test_upstreams_collectives_are_those_that_are_wrapped():
    from ascend_prefetch.vllm.seams import windows
    from ascend_prefetch.vllm.signatures import MARK

    compare.Pair(models.DEEPSEEK_V3, "bf16")
    assert windows.install() is None
    moe = "vllm_ascend.ops.fused_moe"
    for module, owner, name in (
        ("vllm.distributed.parallel_state", "GroupCoordinator", "_all_reduce_out_place"),
        (f"{moe}.token_dispatcher", "TokenDispatcherWithMC2", "token_combine"),
        # MC2 inherits it, or, since 0.27, calls it.
        (f"{moe}.prepare_finalize", "PrepareAndFinalizeWithAll2All", "finalize"),
        (f"{moe}.moe_comm_method", "MC2CommImpl", "fused_experts"),
        (f"{moe}.moe_comm_method", "FusedMC2CommImpl", "fused_experts"),
    ):
        found = getattr(getattr(importlib.import_module(module), owner), name)
        assert hasattr(found, MARK), f"{owner}.{name}"


@pytest.fixture
def combine(monkeypatch):
    """Upstream's MC2 combine, whose op returns what `combine.returned` holds."""
    module = importlib.import_module("vllm_ascend.ops.fused_moe.token_dispatcher")
    torch_npu = importlib.import_module("torch_npu")
    returned = torch.ones(3, 512)
    for name in ("npu_moe_distribute_combine", "npu_moe_distribute_combine_v2"):
        monkeypatch.setattr(torch_npu, name, lambda **_: returned, raising=False)
    cls = module.TokenDispatcherWithMC2
    dispatcher = object.__new__(cls)
    dispatcher.enable_dispatch_v2 = True
    dispatcher.a5_need_extra_args = False
    monkeypatch.setattr(cls, "get_combine_mc_kwargs", lambda self, *_, **__: {})

    def run():
        hidden_states = torch.zeros(24, 512, dtype=torch.bfloat16)
        return dispatcher.token_combine(hidden_states=hidden_states, combine_metadata=None)

    run.returned = returned
    return run


@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
def test_combine_brings_the_next_prologs_weights(model, combine):
    layers = compare.Pair(model, "W8A8 dynamic", count=2)
    layers.fused.enter()
    with steps.after_first_layer(layers.fused, _STEP), compare.count_ops() as calls:
        assert combine() is combine.returned
    assert [name for name, _ in calls] == ["prefetch", "prefetch_join"]
    assert calls[0][1]["engine"] == "cube" and calls[0][1]["beside"] is True
    second = layers.fused.impls[1].fused_weights.arguments.prolog
    already = site_bytes("o_proj").get("fused_qkv_a_proj", 0)
    wanted = sum(weight.nbytes for _, weight in second.in_order())
    assert sum(site_bytes("combine").values()) + already == wanted


def test_a_piecewise_graph_holds_its_window(combine):
    """The piece between two attentions is captured without metadata, fork and join within it."""
    from vllm.compilation.monitor import set_cudagraph_capturing_enabled
    from vllm.config import CUDAGraphMode
    from vllm.forward_context import BatchDescriptor
    from vllm_ascend.compilation import acl_graph

    from ascend_prefetch.vllm.regions import ledger

    layers = compare.Pair(models.DEEPSEEK_V3, "W8A8 dynamic", count=2)
    layers.fused.enter()
    steps.run(layers.fused, _STEP)  # a warm-up, in which layers read their weights
    set_cudagraph_capturing_enabled(True)
    config, mode = layers.fused.config, CUDAGraphMode.PIECEWISE
    x = torch.zeros(_STEP.rows, 512)
    before = acl_graph.ACLGraphWrapper(lambda: x + 1, config, mode)
    piece = acl_graph.ACLGraphWrapper(lambda: combine() + x, config, mode)
    module = layers.fused.modules[0]
    with environment.context(config), torch.inference_mode():
        steps.bind(module, None)
        with steps.forward_context(
            layers.fused,
            _STEP,
            None,
            aclgraph_runtime_mode=mode,
            batch_descriptor=BatchDescriptor(num_tokens=_STEP.rows),
        ):
            before()
            positions = torch.zeros(_STEP.rows, dtype=torch.long)
            module.mla_attn(positions, steps.new_input(layers.fused, _STEP))
            piece()
            (entry,) = piece.concrete_aclgraph_entries.values()
            names = [step.name for step in entry.aclgraph.steps]
            ours = [name for name in names if name.startswith("ascend_prefetch::")]
            assert ours == ["ascend_prefetch::prefetch", "ascend_prefetch::prefetch_join"]
            # A replay makes the captured calls, and nothing is planned or claimed for it.
            claims = ledger.totals.claims
            with compare.count_ops() as calls:
                assert torch.equal(piece(), combine.returned + x)
            assert [name for name, _ in calls] == ["prefetch", "prefetch_join"]
            assert ledger.totals.claims == claims


def test_the_last_all_reduce_of_two_ranks(tmp_path):
    script = Path(windows_ranks.__file__)
    group = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), "2", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in group]
    finally:
        for process in group:
            process.kill()
    assert [process.returncode for process in group] == [0, 0], "\n".join(said)
    for rank in range(2):
        found = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        assert found["sum"] == 3.0  # 1 + 2
        assert found["calls"] == ["prefetch", "prefetch_join"]
        assert found["again"] == []  # nothing is left
        assert found["off"] == []
        assert found["bytes"] == found["wanted"]

        # Behind a layer with experts nothing of the next layer comes before they have been read.
        assert not compare.beyond_tolerance("W8A8 dynamic", found["errors"])
        order = found["order"]
        behind = order[order.index("o_proj") + 1 : order.index("mla_prolog", 1)]
        assert "experts" in behind and found["joins"] == order.count("prefetch")
        assert behind[behind.index("experts") :].count("prefetch") >= 1
        assert "q_b" in found["behind experts"] and found["sites"] == ["all_reduce"]
