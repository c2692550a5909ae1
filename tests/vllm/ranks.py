"""A tensor-parallel group of processes, each with its shard of the same layers.

    ranks.py RANK SIZE FOLDER CASES

Rank r writes FOLDER/rank-r.json: for every case its errors against a step of upstream's layers in
the same group, by compare.errors. launch() starts the group and reads what it wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import compare
import environment
import models
import steps

SIZE = 2
MODELS = {model.name: model for model in (models.DEEPSEEK_V3, models.DEEPSEEK_V32)}
MIXED = "on rank 0 alone"


@dataclass(frozen=True)
class Cases:
    """What a group of processes runs.

    Attributes:
        scenarios: the steps.
        quantisations: of the layers.
        mixed: whether a step is also run with the plugin on one rank alone.
        environment: variables of the processes.
        o_proj: whether the processes share o_proj alone.
    """

    scenarios: tuple[steps.Scenario, ...]
    quantisations: tuple[str, ...] = ("bf16", "W8A8 dynamic")
    mixed: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    o_proj: bool = False


CASES = {
    "plain": Cases(
        (
            steps.Scenario("decode, padded rows", (5, 130, 200), (1, 1, 1), padding=5),
            steps.Scenario("decode, padded requests", (5, 130, 200), (1, 1, 1), empty=5),
        ),
        mixed=True,
    ),
    # Ranks that are told otherwise than the others gather other tensors, and wait for ever.
    "flash communication": Cases(
        (
            steps.Scenario("decode, padded rows", (5, 130, 200), (1, 1, 1), padding=5),
            steps.Scenario("decode, unequal shares", (5, 130, 200), (1, 1, 1), padding=4),
            steps.Scenario("decode, padded requests", (5, 130, 200), (1, 1, 1), empty=4),
            steps.Scenario("prefill and decode", (5, 130, 0), (1, 1, 6)),
        ),
        tuple(models.QUANTISATIONS),
        environment=((environment.FLASH_COMM, "1"),),
    ),
    "o_proj alone": Cases(
        (
            steps.Scenario("decode, padded rows", (5, 130, 200), (1, 1, 1), padding=5),
            steps.Scenario("prefill and decode", (5, 130, 0), (1, 1, 6)),
        ),
        ("W8A8 static",),
        mixed=True,
        o_proj=True,
    ),
}


def launch(folder: Path, cases: str, rows: list[dict]) -> list[dict]:
    """Runs a group, adds rank 0's comparisons to the table, and returns all ranks' results.

    Raises:
        AssertionError: a process failed; the text is what all of them said.
    """
    group = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(SIZE), str(folder), cases],
            env=os.environ | dict(CASES[cases].environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(SIZE)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in group]
    finally:
        for process in group:
            process.kill()
    assert [process.returncode for process in group] == [0] * SIZE, "\n".join(said)
    found = []
    for rank in range(SIZE):
        results = json.loads((folder / f"rank-{rank}.json").read_text())
        found += results
        for case in results if not rank else ():
            if case["plugin"] != "off":
                group = f"{'o_proj ' if CASES[cases].o_proj else ''}TP{SIZE}"
                names = (case["scenario"], group, case["plugin"])
                row = compare.table_row(
                    case["attention"],
                    case["quantisation"],
                    " ".join(filter(None, names)),
                    len(case["fused calls"]),
                    case["errors"],
                )
                rows.append(row)
    return found


def main() -> None:
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    cases = CASES[sys.argv[4]]
    environment.join_group(rank, size, folder / "store", o_proj=cases.o_proj)
    release = environment.start()
    from ascend_prefetch.vllm import turn

    found = []
    for name, model in MODELS.items():
        if model.sparse and cases.environment and release.startswith("0.18."):
            continue  # there it is context parallelism
        for quantisation in cases.quantisations:
            layers = compare.Pair(model, quantisation)
            for scenario in cases.scenarios:
                plain, off, on, calls = layers.run(scenario)
                results = {"": on, "off": off}
                o_proj = layers.fused.impls[0].o_proj.weight.data_ptr()
                prefetched = [w.data_ptr() for _, more in calls for w in more.get("prefetch", ())]
                if cases.mixed:
                    turn(rank == 0)
                    results[MIXED] = steps.run(layers.fused, scenario)
                    turn(True)
                for title, result in results.items():
                    found.append(
                        {
                            "attention": name,
                            "quantisation": quantisation,
                            "scenario": scenario.name,
                            "plugin": title,
                            "errors": compare.errors(result, plain, scenario),
                            "fused calls": [name for name, _ in calls],
                            "rows of a rank": result.shares[0],
                            "o_proj prefetched": o_proj in prefetched,
                        }
                    )
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
