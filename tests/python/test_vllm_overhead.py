"""What the plugin adds to a layer's ops, in Python."""

from __future__ import annotations

import json
import sys

from ascend_prefetch.vllm import overhead


def test_what_a_layer_costs_more_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["overhead", "--json"])
    overhead.main()
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"plugin_us", "bare_us", "added_us", "torch_ops_us", "ratio"}
    assert all(result[name] > 0 for name in ("plugin_us", "bare_us", "torch_ops_us"))
    assert result["ratio"] == result["added_us"] / result["torch_ops_us"]
