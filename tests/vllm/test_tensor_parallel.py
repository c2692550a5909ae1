"""Two ranks, with shards by upstream's own loaders and its all-reduce over gloo."""

import json
import subprocess
import sys
from pathlib import Path

import compare
import ranks

SIZE = 2


def test_ranks_equal_upstreams_ranks(rows, tmp_path):
    script = Path(ranks.__file__)
    group = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(SIZE), str(tmp_path)],
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
    for rank in range(SIZE):
        for case in json.loads((tmp_path / f"rank-{rank}.json").read_text()):
            prolog = "sfa_prolog" if ranks.MODELS[case["attention"]].sparse else "mla_prolog"
            assert sorted(case["fused calls"]) == sorted([prolog, "o_proj"])
            found = case["errors"]
            if case["plugin"] == "off":
                assert not any(found.values())
                continue
            if not rank:
                rows.append(
                    compare.table_row(
                        case["attention"],
                        case["quantisation"],
                        " ".join(filter(None, (case["scenario"], "TP2", case["plugin"]))),
                        len(case["fused calls"]),
                        found,
                    )
                )
            assert not compare.beyond_tolerance(case["quantisation"], found), (rank, case)
