"""What the plugin prefetches beside upstream's collectives, with stand-ins of upstream's layers."""

from __future__ import annotations

import gc
import json
import weakref
from types import SimpleNamespace

import pytest
import torch

import vllm_stand_ins as up
from ascend_prefetch import beside, windows
from ascend_prefetch.policy import PrefetchConfig
from ascend_prefetch.vllm import fallback, patch, regions, switch
from ascend_prefetch.vllm.windows import plan
from ascend_prefetch.vllm.windows.plan import Wanted, WindowPlanner
from ascend_prefetch.vllm.windows.running import running

pytestmark = pytest.mark.usefixtures("fresh_plugin")

CHIP = "Ascend910_9391"
NAMES = [f"model.layers.{number}.self_attn.attn" for number in range(2)]


@pytest.fixture
def calls(monkeypatch):
    """What the op prefetch is told, and "join"; nothing is loaded."""
    found = []

    def prefetch(weights, **options):
        found.append((weights, options))

    monkeypatch.setattr(beside, "prefetch", prefetch)
    monkeypatch.setattr(beside, "prefetch_join", lambda: found.append("join"))
    # The stand-ins' weights are so small that no window would pay.
    for name in plan.READER_US_PER_MB:
        monkeypatch.setitem(plan.READER_US_PER_MB, name, 1e5)
    return found


def layers(seam, family="mla", experts=None, **settings):
    """Two layers whose weights have been read, the first with the given experts."""
    config = PrefetchConfig(enabled=True, **settings)
    plain = up.AscendMLAImpl if family == "mla" else up.AscendSFAImpl
    made = [patch.fused_class(plain, family, config, seam)(layer_name=name) for name in NAMES]
    for impl in made:
        impl.vllm_config.parallel_config.tensor_parallel_size = 4
        if experts is not None:
            impl.vllm_config.compilation_config.static_forward_context["model.layers.0.experts"] = (
                experts
            )
            text = impl.vllm_config.model_config.hf_config
            text.n_shared_experts, text.moe_intermediate_size, text.num_experts_per_tok = 1, 64, 2
        impl.process_weights_after_loading(torch.bfloat16)
    return made


def step(seam, impl, rows=4):
    up.run_layer(impl, up.new_caches(), up.decode_metadata(rows), rows)


def claimed(site):
    return [(one.layer, one.weight, one.bytes) for one in regions.ledger.claims if one.site == site]


def prolog_bytes(impl):
    return {name: weight.nbytes for name, weight in impl.fused_weights.arguments.prolog.in_order()}


def test_the_last_all_reduce_brings_what_the_next_prolog_reads(seam, calls):
    first, second = layers(seam, next_layer=True)
    seam.context = SimpleNamespace()
    step(seam, first)
    under_o_proj = sum(nbytes for _, _, nbytes in claimed("o_proj"))
    with running.beside("all_reduce", 4 * up.HIDDEN * 2):
        assert len(calls) == 1  # joined where the window ends
    assert calls[1:] == ["join"]
    wanted = prolog_bytes(second)
    found = claimed("all_reduce")
    assert [name for _, name, _ in found][-2:] == ["q_b", "w_uk"]
    assert {layer for layer, _, _ in found} == {1}
    assert sum(nbytes for _, _, nbytes in found) + under_o_proj == sum(wanted.values())
    weights, options = calls[0]
    assert options["engine"] == "cube" and options["beside"] is True
    assert sum(options["max_bytes"]) == sum(nbytes for _, _, nbytes in found)
    # A byte is fetched once: the next window has nothing left.
    with running.beside("all_reduce", 4 * up.HIDDEN * 2):
        pass
    assert len(calls) == 2


def test_nothing_is_fetched_before_the_experts_have_been_read(seam, calls):
    experts = SimpleNamespace(
        w13_weight=torch.zeros(8, 64, up.HIDDEN),
        w2_weight=torch.zeros(8, up.HIDDEN, 32),
        _shared_experts=torch.nn.Linear(96, up.HIDDEN, bias=False, dtype=torch.bfloat16),
        _gate=torch.nn.Linear(up.HIDDEN, 8, bias=False),
    )
    first, _ = layers(seam, experts=experts)
    step(seam, first)
    with running.beside("all_reduce", 1024):  # of the shared expert, before the routed ones
        pass
    assert calls == []
    running.experts_done()
    with running.beside("combine", up.HIDDEN * 2), running.beside("all_reduce", 1024):
        pass  # a window within a window is not one of its own
    assert len(calls) == 2 and calls[1] == "join"
    assert {name for _, name, _ in claimed("combine")} >= {"q_b", "w_uk"}


@pytest.mark.parametrize(
    "change", [{"windows": False}, {"next_layer": False}, {"prefetch_ratio": {"attn": {"qkv": 0}}}]
)
def test_settings_keep_windows_empty(seam, calls, change):
    first, _ = layers(seam, **change)
    step(seam, first)
    with running.beside("all_reduce", 1024):
        pass
    assert calls == []


def test_a_share_of_qkv_a_is_a_limit(seam, calls):
    first, second = layers(seam, prefetch_ratio={"attn": {"qkv": 0.5}})
    step(seam, first)
    with running.beside("all_reduce", 1024):
        pass
    whole = prolog_bytes(second)["fused_qkv_a"]
    of_qkv_a = [one.bytes for one in regions.ledger.claims if "fused_qkv_a" in one.weight]
    assert sum(of_qkv_a) <= whole // 2


def test_the_last_layer_and_one_that_is_running_have_no_window(seam, calls):
    first, second = layers(seam)
    step(seam, second)
    with running.beside("all_reduce", 1024):
        pass
    step(seam, first)
    running.enter()
    with running.beside("all_reduce", 1024):
        pass
    assert calls == []


def test_the_switch_closes_windows(seam, calls):
    first, _ = layers(seam)
    switch.turn(False)
    step(seam, first)
    with running.beside("all_reduce", 1024):
        pass
    assert calls == [] and first.upstream_calls == 1


def test_a_step_of_upstreams_has_windows_too(seam, calls):
    """What the next layer reads is the same."""
    first, _ = layers(seam)
    up.run_layer(first, up.new_caches(), up.decode_metadata(4, prefills=1), 4)
    assert first.upstream_calls == 1
    with running.beside("all_reduce", 1024):
        pass
    assert len(calls) == 2


def test_a_capture_without_metadata_has_windows(seam, calls):
    """Piecewise graphs are captured like that; a profile run looks the same but for the capture."""
    first, _ = layers(seam)
    hidden, output = torch.zeros(4, up.HIDDEN), torch.zeros(4, up.HIDDEN)
    first.forward(NAMES[0], hidden, (), None, False, output)
    with running.beside("all_reduce", 1024):
        pass
    assert calls == []
    seam.is_capturing = True
    first.forward(NAMES[0], hidden, (), None, False, output)
    with running.beside("all_reduce", 1024):
        pass
    assert len(calls) == 2


def test_an_error_in_a_window_joins(seam, calls):
    first, _ = layers(seam)
    step(seam, first)
    with pytest.raises(ZeroDivisionError), running.beside("all_reduce", 1024):
        raise ZeroDivisionError
    assert calls[-1] == "join"
    step(seam, first)
    assert running.open


def test_a_device_without_the_engine_stops_nothing(seam, calls, monkeypatch):
    def refuse(weights, **options):
        raise RuntimeError("prefetch: engine 'cube': no kernels")

    monkeypatch.setattr(beside, "prefetch", refuse)
    first, _ = layers(seam)
    step(seam, first)
    with running.beside("all_reduce", 1024):
        pass
    assert any("no kernels" in reason for reason in fallback.reasons())


def test_microbatches_have_no_windows(seam, calls):
    plain = patch.fused_class(up.AscendMLAImpl, "mla", PrefetchConfig(enabled=True), seam)
    impl = plain(layer_name=NAMES[0])
    impl.vllm_config.parallel_config.use_ubatching = True
    impl.process_weights_after_loading(torch.bfloat16)
    assert impl.fused_weights.windows == (None, None)
    assert any("micro-batches" in reason for reason in fallback.reasons())


def test_collectives_of_another_form_are_one_line(seam, calls):
    seam.windows.broken = "looked for a.b, found none"
    first, _ = layers(seam)
    step(seam, first)
    assert first.upstream_calls == 0  # the ops run all the same
    assert fallback.reasons().count("looked for a.b, found none") == 1


@pytest.mark.parametrize("text", ["{", '{"windows": {"combine": {"short": 5}}}'])
def test_a_broken_profile_is_one_line(seam, calls, tmp_path, text):
    path = tmp_path / "lengths.json"
    path.write_text(text)
    first, _ = layers(seam, window_lengths=str(path))
    step(seam, first)
    assert first.upstream_calls == 0 and first.fused_weights.windows == (None, None)
    assert len([reason for reason in fallback.reasons() if "lengths.json" in reason]) == 1


def weights(sizes):
    """Wanted weights of given MB, without memory."""
    made = {
        name: torch.empty(int(mb * 1e6), dtype=torch.uint8, device="meta")
        for name, mb in sizes.items()
    }
    return [Wanted.of(weight, name, 1) for name, weight in made.items()]


SIZES = {"fused_qkv_a": 15.138816, "q_b": 9.437184, "w_uk": 4.194304}


def fetched(planner, window, moved=0, passing=0, sizes=SIZES, done=None):
    wanted = weights(sizes)
    done = [0] * len(wanted) if done is None else done
    decisions = planner.fetch([window], [moved], passing, wanted, done, 700.0)
    return {one.weight: one.bytes for one in decisions if one.bytes}


def test_a_combine_brings_all_of_deepseek_v3_at_tp4():
    """The same bytes as the laboratory's plan of the layer (bench results: layers as served)."""
    found = fetched(WindowPlanner(CHIP, None), windows.combine(16, 4), 458752, 917504)
    assert found == {name: round(mb * 1e6) for name, mb in SIZES.items()}


def test_no_more_than_the_short_length_allows():
    planner = WindowPlanner(CHIP, None)
    window = windows.all_reduce(16, 262144)  # 14.6 us at its short length
    found = fetched(planner, window)
    assert 0 < sum(found.values()) < planner._rates["cube"] * 14.6
    longer = fetched(planner, windows.combine(16, 4), sizes={"fused_qkv_a": 60.0})
    assert sum(longer.values()) < planner._rates["cube"] * 27


def test_what_passes_or_is_unknown_leaves_nothing():
    planner = WindowPlanner(CHIP, None)
    assert fetched(planner, windows.combine(16, 4), passing=None) == {}
    assert fetched(planner, windows.combine(16, 4), passing=700_000_000) == {}


def test_what_is_warm_already_is_not_fetched_again():
    planner = WindowPlanner(CHIP, None)
    found = fetched(planner, windows.combine(16, 4), done=[4_000_000, 0, 4_194_304])
    assert found["fused_qkv_a"] == round(SIZES["fused_qkv_a"] * 1e6) - 4_000_000
    assert "w_uk" not in found


def test_a_profile_s_lengths_count(tmp_path):
    path = tmp_path / "lengths.json"
    path.write_text(json.dumps({"windows": {"combine": {"short": 9, "nominal": 12, "long": 30}}}))
    planner = WindowPlanner(CHIP, str(path))
    window = planner.length_of(windows.combine(16, 4))
    assert tuple(window.us) == (9, 12, 30)
    assert sum(fetched(planner, window).values()) < planner._rates["cube"] * 9
    with pytest.raises(ValueError, match="expected 'all_reduce'"):
        planner.length_of(windows.all_reduce(4, 1024))


def test_sparse_attention_is_the_copy_engines(seam, calls, monkeypatch):
    """Both kinds of cores are busy; DeepSeek-V3.2 at TP1 with 20,000 cached tokens pays."""
    from ascend_prefetch.vllm.windows.attention import AttentionWindow

    o_proj = torch.empty(16384, 7168, dtype=torch.int8, device="meta")
    w_uv = torch.empty(128, 512, 128, dtype=torch.bfloat16, device="meta")
    output = SimpleNamespace(o_proj=o_proj, options={"w_uv": w_uv})
    monkeypatch.setitem(plan.READER_US_PER_MB, "w_uv", 0.55)
    monkeypatch.setitem(plan.READER_US_PER_MB, "o_proj", 0.42)
    window = AttentionWindow(WindowPlanner(CHIP, None), output, 3, has_indexer=True)
    cached = 4 * 20_000
    moved = (cached * 128 * 2, 4 * 2048 * 576 * 2)
    with window.beside(4, 4, cached, 2048, moved):
        pass
    assert calls[0][1]["engine"] == "sdma" and calls[1] == "join"
    assert [name for _, name, _ in claimed("sparse_attention")][0] == "w_uv"
    with window.beside(4, 4, 4 * 2048, 2048, moved):  # all rows are chosen: not published
        pass
    assert len(calls) == 2


def with_mlp(seam, linear):
    """A running model whose first layer is dense."""
    mlp = torch.nn.Module()
    mlp.gate_up_proj = linear
    seam.windows.model = torch.nn.Module()
    seam.windows.model.add_module("model", torch.nn.Module())
    seam.windows.model.model.layers = torch.nn.ModuleList([torch.nn.Module()])
    seam.windows.model.model.layers[0].mlp = mlp


def on_four_ranks(seam, **settings):
    first, _ = layers(seam, **settings)
    first.o_proj.tp_size, first.o_proj.reduce_results = 4, True
    return first


def test_o_projs_all_reduce_brings_what_is_read_next(seam, calls):
    linear = SimpleNamespace(weight=torch.nn.Parameter(torch.zeros(512, 512)))
    with_mlp(seam, linear)
    first = on_four_ranks(seam)
    step(seam, first)
    assert claimed("o_proj_all_reduce") == [(0, "gate_up", linear.weight.nbytes)]
    assert calls[1] == "join"


def test_a_weight_that_is_replaced_is_followed_and_not_kept(seam, calls):
    linear = SimpleNamespace(weight=torch.nn.Parameter(torch.zeros(512, 512)))
    with_mlp(seam, linear)
    first = on_four_ranks(seam)
    step(seam, first)
    old = weakref.ref(linear.weight)
    linear.weight = torch.nn.Parameter(torch.zeros(256, 512))
    calls.clear()
    seam.context = SimpleNamespace()
    step(seam, first)
    assert claimed("o_proj_all_reduce") == [(0, "gate_up", linear.weight.nbytes)]
    calls.clear()
    gc.collect()
    assert old() is None


@pytest.mark.parametrize(("share", "nbytes"), [(0.0, 0), (0.5, 512 * 512 * 2)])
def test_the_share_of_gate_up_is_a_limit(seam, calls, share, nbytes):
    with_mlp(seam, SimpleNamespace(weight=torch.nn.Parameter(torch.zeros(512, 512))))
    first = on_four_ranks(seam, prefetch_ratio={"mlp": {"gate_up": share}})
    step(seam, first)
    assert sum(one for _, _, one in claimed("o_proj_all_reduce")) == nbytes


def test_a_weight_with_gaps_is_one_line(seam, calls):
    with_mlp(seam, SimpleNamespace(weight=torch.nn.Parameter(torch.zeros(512, 512)[:, ::2])))
    first = on_four_ranks(seam)
    for _ in range(2):
        seam.context = SimpleNamespace()
        step(seam, first)
    assert claimed("o_proj_all_reduce") == [] and first.upstream_calls == 0
    assert len([reason for reason in fallback.reasons() if "RuntimeError" in reason]) == 1
