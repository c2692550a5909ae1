"""One of two tensor-parallel ranks: upstream's all-reduce behind a layer, with its window.

windows_ranks.py RANK SIZE FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import torch

import compare
import environment
import models
import moe
import steps

STEP = steps.Scenario("decode", (5, 130, 200), (1, 1, 1))


def main() -> None:
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    environment.join_group(rank, size, folder / "store")
    environment.start()
    from vllm.distributed import tensor_model_parallel_all_reduce

    from ascend_prefetch.vllm import turn
    from ascend_prefetch.vllm.regions import ledger
    from ascend_prefetch.vllm.windows import plan

    plan.READER_US_PER_MB.update(dict.fromkeys(plan.READER_US_PER_MB, 1e5))
    layers = compare.Pair(models.DEEPSEEK_V3, "bf16", count=2)
    layers.fused.enter()
    mine = torch.full((3, 512), float(rank + 1))
    with steps.after_first_layer(layers.fused, STEP):
        with compare.count_ops() as calls:
            total = tensor_model_parallel_all_reduce(mine.clone())
        with compare.count_ops() as again:
            tensor_model_parallel_all_reduce(mine.clone())
        claims = ledger.claims
    turn(False)
    with steps.after_first_layer(layers.fused, STEP), compare.count_ops() as off:
        tensor_model_parallel_all_reduce(mine.clone())
    turn(True)
    prolog = layers.fused.impls[1].fused_weights.arguments.prolog
    found = {
        "sum": total.unique().item(),
        "calls": [name for name, _ in calls],
        "again": [name for name, _ in again],
        "off": [name for name, _ in off],
        "bytes": sum(claim.bytes for claim in claims if claim.layer == 1),
        "wanted": sum(weight.nbytes for _, weight in prolog.in_order()),
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps(found | experts()))


def experts() -> dict[str, object]:
    """Decoder layers with experts: when something is fetched behind the first layer's attention."""
    from ascend_prefetch.vllm.regions import ledger
    from ascend_prefetch.vllm.windows.running import running

    model = models.DEEPSEEK_V3_MOE
    plain = moe.MoELayers(model, "W8A8 dynamic", count=2)
    plain.enter()
    wanted = moe.run(plain, STEP)
    fused = moe.MoELayers(
        model, "W8A8 dynamic", count=2, additional={"ascend_prefetch": {"enabled": True}}
    )
    fused.enter()
    moe.run(fused, STEP)  # what the planners in the ops bring is learnt
    order: list[str] = []
    done = running.experts_done

    def experts_done() -> None:
        order.append("experts")
        done()

    with mock.patch.object(type(running), "experts_done", lambda self: experts_done()):
        with compare.count_ops(order.append) as calls:
            result = moe.run(fused, STEP)
    claims = ledger.claims
    return {
        "errors": compare.errors(result, wanted, STEP),
        "order": order,
        "joins": [name for name, _ in calls].count("prefetch_join"),
        "behind experts": sorted(
            {one.weight for one in claims if one.layer == 1 and one.engine == "cube"}
        ),
        "sites": sorted({one.site for one in claims if one.layer == 1 and one.engine == "cube"}),
    }


if __name__ == "__main__":
    main()
