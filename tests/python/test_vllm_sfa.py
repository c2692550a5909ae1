"""The plugin's sparse attention beside a stand-in of upstream's."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import vllm_stand_ins as up
from ascend_prefetch.policy import PrefetchConfig
from ascend_prefetch.vllm import fallback, patch
from ascend_prefetch.vllm.family import SharedStep
from vllm_stand_ins import NAME

pytestmark = pytest.mark.usefixtures("fresh_plugin")


def fused(seam, settings=None, **options):
    config = PrefetchConfig(enabled=True, **(settings or {}))
    impl = patch.fused_class(up.AscendSFAImpl, "sfa", config, seam)(layer_name=NAME, **options)
    impl.process_weights_after_loading(torch.bfloat16)
    return impl


def run(impl, metadata, rows):
    caches = up.sparse_caches() if impl.has_indexer else up.new_caches()
    return up.run_layer(impl, caches, metadata, rows)


@pytest.mark.parametrize("has_indexer", [True, False])
@pytest.mark.parametrize("parts", [{}, {"o_proj": False}])
def test_a_step_is_upstream_s(seam, has_indexer, parts):
    plain = up.AscendSFAImpl(has_indexer=has_indexer)
    plain.process_weights_after_loading(torch.bfloat16)
    impl = fused(seam, parts, has_indexer=has_indexer)
    ours = run(impl, up.sparse_metadata(6, actual=5), 6)
    theirs = run(plain, up.sparse_metadata(6, actual=5), 6)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
    assert impl.upstream_calls == 0
    assert fallback.reasons() == ()
    assert seam.told == [f"wait {NAME}", f"written {NAME}", f"done {NAME}"]


@pytest.mark.parametrize("kv_bias", [0.0, 0.25])
def test_norms_biases_are_upstream_s(seam, kv_bias):
    """Of the query latent for the indexer as well; one of the cache's latent goes upstream."""
    bias, metadata = torch.full((up.KV_LORA,), kv_bias), up.sparse_metadata(6)
    impl = up.with_biases(fused(seam), bias)
    ours = run(impl, metadata, 6)
    theirs = run(up.with_biases(up.AscendSFAImpl(), bias), metadata, 6)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
    assert impl.upstream_calls == (kv_bias != 0)
    reason = "prolog: kv_a_layernorm has a bias, which vLLM Ascend leaves out of its rows"
    assert fallback.reasons() == ((reason,) if kv_bias else ())


def test_what_passes_is_what_attention_reads(seam):
    impl = fused(seam)
    caches = up.sparse_caches()
    step = type("Step", (), {"tokens": 3, "cached": 100_000})
    row, key = (up.KV_LORA + up.ROPE) * 2, up.INDEX_DIM * 2
    assert impl.family.passing_bytes(impl, step, caches) == 3 * 2048 * row + 100_000 * key
    step.cached = 120
    assert impl.family.passing_bytes(impl, step, caches) == 120 * (row + key)


def test_lengths_are_not_read_under_capture():
    with FakeTensorMode():
        lengths = torch.empty(3, dtype=torch.int32)  # whose values nobody can read
    table, slots = torch.zeros(3, 1, 1, up.ROPE), torch.zeros(3, dtype=torch.int32)
    read = (3, slots, table, table, lengths)
    assert SharedStep(read, 100).cached == 300
    read = (3, slots, table, table, torch.tensor([7, 0, 5]))
    assert SharedStep(read, None).cached == 12


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"num_input_tokens": 1025}, "steps of more than 1024 rows"),
        ({"num_input_tokens": 4}, "steps whose rows and slots differ in number"),
    ],
)
def test_steps_that_go_upstream_say_why(seam, monkeypatch, change, reason):
    impl = fused(seam)
    monkeypatch.setattr(up.AscendSFAImpl, "forward", lambda self, *_: _[-1])
    metadata = up.sparse_metadata(3)
    vars(metadata).update(change)
    assert run(impl, metadata, 3)[0].eq(3.0).all()
    assert fallback.reasons() == (reason,)


@pytest.mark.parametrize("parts", [{}, {"o_proj": False}])
def test_rows_behind_those_of_metadata_are_left_as_they_are(seam, parts):
    """Where the release does so; its other ranks reduce as many rows."""
    impl, metadata = fused(seam, parts), up.sparse_metadata(3)
    wanted = run(impl, metadata, 3)
    seam.trims_rows = True
    output, *caches = run(impl, metadata, 5)
    torch.testing.assert_close(output[:3], wanted[0])
    assert output[3:].eq(3.0).all()
    assert impl.upstream_calls == 0 and fallback.reasons() == ()


def test_a_quantised_wk_is_upstream_s(seam):
    impl = fused(seam)
    layer = impl.wk_weights_proj
    layer.quant_method = up.AscendW8A8DynamicLinearMethod()
    layer.weight_scale = torch.ones(layer.weight.shape[0])
    impl.fused_weights.read(impl)
    assert fallback.reasons() == ("prolog: the indexer's wk is quantised",)
