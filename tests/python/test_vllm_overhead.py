"""What the plugin adds to a layer's ops, in Python."""

from __future__ import annotations

import json
import sys

from ascend_prefetch.vllm import overhead


def test_a_layer_costs_at_most_20_us_more(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["overhead", "--json"])
    overhead.main()
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"plugin_us", "bare_us", "added_us", "torch_ops_us", "ratio"}
    assert 0 < result["added_us"] <= 20
    assert result["ratio"] == result["added_us"] / result["torch_ops_us"]
