"""Two ranks that share a layer's experts.

    expert_ranks.py RANK SIZE FOLDER CASES

Rank r writes FOLDER/rank-r.json: of every case how far the layer's output is from its formula, how
far a step with the plugin is from one without, and what the plugin counts of the experts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch

import compare
import environment
import models
import moe
from steps import Scenario

SIZE = 2
REDUNDANT = 2
PLUGIN = {"ascend_prefetch": {"enabled": True}}
# Upstream's settings of a group, and environment variables of its processes.
CASES = {
    "all-gather": ({}, {}),
    "balanced": (
        {"eplb_config": {"dynamic_eplb": True, "num_redundant_experts": REDUNDANT}},
        # Without dispatch, upstream looks physical experts up among the logical ones.
        {"DYNAMIC_EPLB": "true", environment.DEVICE: "A3"},
    ),
    "dispatch and combine": ({}, {environment.DEVICE: "A3"}),
}
DECODE = Scenario("decode, experts", (5, 130, 200, 31), (1, 1, 1, 1))


def launch(folder: Path, cases: str) -> list[dict]:
    """Runs a group, and returns all ranks' results.

    Raises:
        AssertionError: a process failed; the text is what all of them said.
    """
    logs = [folder / f"log-{rank}" for rank in range(SIZE)]
    group = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(SIZE), str(folder), cases],
            env=os.environ | CASES[cases][1],
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(timeout=300) for process in group]
    finally:
        for process in group:
            process.kill()
    assert codes == [0] * SIZE, "\n".join(log.read_text() for log in logs)
    files = [folder / f"rank-{rank}.json" for rank in range(SIZE)]
    return [case for file in files for case in json.loads(file.read_text())]


def main() -> None:
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    additional = CASES[sys.argv[4]][0]
    environment.join_group(rank, size, folder / "store")
    environment.start()
    from vllm_ascend import utils

    utils._CUSTOM_OP_ENABLED = True  # as on a device: lists of experts need one
    found = []
    for quantisation in ("bf16", "W8A8 dynamic"):
        plain, fused = (
            moe.MoELayers(
                models.DEEPSEEK_V3_MOE,
                quantisation,
                count=2,
                expert_parallel=True,
                additional={**additional, **plugin},
            )
            for plugin in ({}, PLUGIN)
        )
        found.append({"quantisation": quantisation, **case(plain, fused, quantisation)})
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


def case(plain: moe.MoELayers, fused: moe.MoELayers, quantisation: str) -> dict:
    from ascend_prefetch.vllm.neighbours import FeedForward, place_of

    x = torch.randn(8, 512, generator=torch.Generator().manual_seed(3)).bfloat16()
    output = moe.feed_forward(plain, 0, x)
    wanted = moe.reference(plain.model, quantisation, 0, x)
    plain.enter()
    step = moe.run(plain, DECODE)
    fused.enter()
    with compare.count_ops() as ops:
        with_plugin = moe.run(fused, DECODE)
    counted = FeedForward(fused.config, place_of(fused.names[0]))
    return {
        "from formula": compare.distance(output, wanted),
        "errors": compare.errors(with_plugin, step, DECODE),
        "ops": Counter(name for name, _ in ops),
        "dispatches": "npu_moe_distribute_dispatch" in step.calls.names,
        "experts": counted.experts,
        "bytes of an expert": counted.expert,
        "bytes always": counted.dense,
    }


if __name__ == "__main__":
    main()
