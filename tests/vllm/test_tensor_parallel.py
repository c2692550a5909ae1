"""Two ranks, with shards by upstream's own loaders and its collectives over gloo."""

from __future__ import annotations

import compare
import environment
import ranks


def test_ranks_equal_upstreams_ranks(rows, tmp_path):
    for case in ranks.launch(tmp_path, "plain", rows):
        check(case, fused=True)


def test_ranks_with_a_share_of_the_rows_each(rows, tmp_path):
    """Flash communication: rows are gathered before the prolog, o_proj's sums are scattered."""
    release = tuple(map(int, environment.start().split(".")[:2]))
    found = ranks.launch(tmp_path, "flash communication", rows)
    assert {case["rows of a rank"] for case in found} == ({4} if release < (0, 27) else {7, 8})
    for case in found:
        sparse = ranks.MODELS[case["attention"]].sparse
        check(case, fused=sparse or case["scenario"] != "prefill and decode")


def test_ranks_that_share_o_proj_alone(rows, tmp_path):
    """o_proj is upstream's, with its own exchange of rows; its weight comes under the prolog."""
    for case in ranks.launch(tmp_path, "o_proj alone", rows):
        sparse = ranks.MODELS[case["attention"]].sparse
        fused = sparse or case["scenario"] != "prefill and decode"
        check(case, fused=fused, ops=())
        assert case["o_proj prefetched"] == fused


def check(case: dict, *, fused: bool, ops: tuple[str, ...] = ("o_proj",)) -> None:
    """Of one step on one rank; `ops` are those beside the prolog."""
    prolog = "sfa_prolog" if ranks.MODELS[case["attention"]].sparse else "mla_prolog"
    assert sorted(case["fused calls"]) == (sorted([prolog, *ops]) if fused else [])
    found = case["errors"]
    if case["plugin"] == "off" or not fused:
        assert not any(found.values())
    assert not compare.beyond_tolerance(case["quantisation"], found), case
