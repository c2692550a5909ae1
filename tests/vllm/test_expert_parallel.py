"""Experts on two ranks: what they compute, and what the plugin counts of them on each."""

from __future__ import annotations

import pytest

import compare
import expert_ranks
import models
import moe


@pytest.mark.parametrize("cases", expert_ranks.CASES)
def test_ranks_share_the_experts(tmp_path, cases):
    local = 8 + expert_ranks.REDUNDANT if cases == "balanced" else 8
    for found in expert_ranks.launch(tmp_path, cases):
        quantisation = found["quantisation"]
        assert found["from formula"] < compare.tolerance(quantisation, "outputs")
        assert found["ops"] == {"mla_prolog": 2, "o_proj": 2}
        assert not moe.beyond_tolerance(quantisation, found["errors"]), found
        assert found["dispatches"] == (cases != "all-gather")
        expert, _ = moe.bytes_of(models.DEEPSEEK_V3_MOE, quantisation)
        assert (found["experts"], found["bytes of an expert"]) == (local // 2, expert)
