"""A tensor-parallel group of processes, each with its shard of the same layers.

    ranks.py RANK SIZE FOLDER

Rank r writes FOLDER/rank-r.json: for every case its errors against a step of upstream's layers in
the same group, by compare.errors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import compare
import environment
import models
import steps

MODELS = {model.name: model for model in (models.DEEPSEEK_V3, models.DEEPSEEK_V32)}
QUANTISATIONS = ("bf16", "W8A8 dynamic")
SCENARIOS = (
    steps.Scenario("decode, padded rows", (5, 130, 200), (1, 1, 1), padding=5),
    steps.Scenario("decode, padded requests", (5, 130, 200), (1, 1, 1), empty=5),
)
MIXED = "on rank 0 alone"


def main() -> None:
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    environment.join_group(rank, size, folder / "store")
    from ascend_prefetch.vllm import turn

    found = []
    for name, model in MODELS.items():
        for quantisation in QUANTISATIONS:
            layers = compare.Pair(model, quantisation)
            for scenario in SCENARIOS:
                plain, off, on, calls = layers.run(scenario)
                turn(rank == 0)
                mixed = steps.run(layers.fused, scenario)
                turn(True)
                for title, result in (("", on), (MIXED, mixed), ("off", off)):
                    found.append(
                        {
                            "attention": name,
                            "quantisation": quantisation,
                            "scenario": scenario.name,
                            "plugin": title,
                            "errors": compare.errors(result, plain, scenario),
                            "fused calls": [name for name, _ in calls],
                        }
                    )
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
