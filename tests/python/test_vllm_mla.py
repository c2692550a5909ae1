"""The plugin's dense attention beside a stand-in of upstream's."""

from __future__ import annotations

import contextlib
import functools
import gc
import weakref

import pytest
import torch

import vllm_stand_ins as up
from ascend_prefetch import planning
from ascend_prefetch.policy import PrefetchConfig, StepContext, WeightPrefetchMethod
from ascend_prefetch.vllm import fallback, patch, regions, switch, worker
from vllm_stand_ins import NAME

pytestmark = pytest.mark.usefixtures("fresh_plugin")


def fused(seam, name=NAME, **settings):
    config = PrefetchConfig(enabled=True, **settings)
    impl = patch.fused_class(up.AscendMLAImpl, "mla", config, seam)(layer_name=name)
    impl.process_weights_after_loading(torch.bfloat16)
    return impl


def run(impl, metadata, rows):
    return up.run_layer(impl, up.new_caches(), metadata, rows)


def both(seam, metadata, rows, **settings):
    """(plugin's, upstream's) output and caches, and the plugin's layer."""
    plain = up.AscendMLAImpl()
    plain.process_weights_after_loading(torch.bfloat16)
    impl = fused(seam, **settings)
    return run(impl, metadata, rows), run(plain, metadata, rows), impl


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)


def test_a_decode_step_is_upstream_s(seam):
    ours, theirs, impl = both(seam, up.decode_metadata(6), 6)
    close(ours, theirs)
    assert impl.upstream_calls == 0
    assert seam.told == [f"written {NAME}", f"done {NAME}"]


def test_forward_of_a_release_without_gathering_takes_the_output_fifth(seam):
    seam.gathers_rows = False
    impl, metadata, caches = fused(seam), up.decode_metadata(6), up.new_caches()
    hidden, output = torch.ones(6, up.HIDDEN).bfloat16(), torch.zeros(6, up.HIDDEN).bfloat16()
    assert impl.forward(NAME, hidden, caches, metadata, output) is output
    assert output.any() and impl.upstream_calls == 0


def test_padded_rows_are_upstream_s(seam):
    ours, theirs, impl = both(seam, up.decode_metadata(6, actual=4), 9)
    close(ours, theirs)
    assert not ours[0][6:].any()
    assert impl.upstream_calls == 0


@pytest.mark.parametrize("says_loaded", [True, False])
def test_norms_biases_are_upstream_s(seam, says_loaded):
    """Also where a release does not say whether a bias was loaded."""
    zeros, metadata = torch.zeros(up.KV_LORA), up.decode_metadata(6)
    impl = up.with_biases(fused(seam), zeros)
    if not says_loaded:
        del impl.q_a_layernorm.bias_loaded, impl.kv_a_layernorm.bias_loaded
        impl.fused_weights.read(impl)
    ours = run(impl, metadata, 6)
    close(ours, run(up.with_biases(up.AscendMLAImpl(), zeros), metadata, 6))
    plain = fused(seam, "model.layers.1.self_attn.attn")
    without = run(plain, metadata, 6)
    assert (ours[0] - without[0]).abs().max() > 0.1  # five times what `close` allows
    assert impl.upstream_calls == 0
    assert fallback.reasons() == ()


def test_a_bias_that_upstream_s_cache_lacks_sends_the_prolog_upstream(seam):
    """Some rows of a cache would have it and others would not; o_proj is fused all the same."""
    bias, metadata = torch.zeros(up.KV_LORA), up.decode_metadata(6)
    bias[3] = 0.25
    impl = up.with_biases(fused(seam), bias)
    arguments = impl.fused_weights.arguments
    assert arguments.prolog is None and arguments.output is not None
    close(run(impl, metadata, 6), run(up.with_biases(up.AscendMLAImpl(), bias), metadata, 6))
    assert impl.upstream_calls == 1
    reason = "prolog: kv_a_layernorm has a bias, which vLLM Ascend leaves out of its rows"
    assert fallback.reasons() == (reason,)


def test_a_bias_that_is_loaded_later_is_seen(seam):
    impl, metadata = up.with_biases(fused(seam), torch.zeros(up.KV_LORA)), up.decode_metadata(3)
    run(impl, metadata, 3)
    assert impl.upstream_calls == 0
    with torch.no_grad():
        impl.kv_a_layernorm.bias.add_(1)
    run(impl, metadata, 3)
    assert impl.upstream_calls == 1


@pytest.mark.parametrize("part", ["prolog", "o_proj"])
def test_each_part_can_stay_upstream_s(seam, part):
    seam.rows = 5
    ours, theirs, impl = both(seam, up.decode_metadata(5), 5, **{part: False})
    close(ours, theirs)
    assert impl.upstream_calls == (part == "prolog")


def test_the_switch_sends_a_step_upstream(seam):
    impl = fused(seam)
    assert switch.turn(False) is True
    run(impl, up.decode_metadata(3), 3)
    assert worker.Switchable().turn_ascend_prefetch(True) is False
    run(impl, up.decode_metadata(3), 3)
    assert impl.upstream_calls == 1


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"num_prefills": 1}, "steps with prefill rows"),
        ({"num_decodes": 0}, "steps with prefill rows"),
        ({"num_decode_tokens": 1025}, "steps of more than 1024 rows"),
    ],
)
def test_steps_that_go_upstream_say_why(seam, monkeypatch, change, reason):
    impl = fused(seam)
    monkeypatch.setattr(up.AscendMLAImpl, "forward", lambda self, *_: _[-1])
    metadata = up.decode_metadata(3)
    vars(metadata).update(change)
    assert run(impl, metadata, 3)[0].eq(3.0).all()
    assert fallback.reasons() == (reason,)


def test_split_hidden_states_and_profile_runs_go_upstream(seam, monkeypatch):
    impl = fused(seam)
    monkeypatch.setattr(up.AscendMLAImpl, "forward", lambda self, *arguments: arguments)
    metadata, x = up.decode_metadata(3), torch.zeros(3, up.HIDDEN)
    assert impl.forward(NAME, x, 2, metadata, True, 3) == (NAME, x, 2, metadata, True, 3)
    assert impl.forward(NAME, x, 2, None, False, 3) == (NAME, x, 2, None, False, 3)
    assert fallback.reasons() == ("hidden states that are split over ranks (flash communication)",)


def test_a_refused_layer_is_upstream_s_throughout(seam, monkeypatch):
    monkeypatch.setattr(up.AscendMLAImpl, "fa_quant_layer", True)
    impl = fused(seam)
    run(impl, up.decode_metadata(3), 3)
    assert impl.upstream_calls == 1
    assert fallback.reasons() == ("o_proj: fa_quant caches", "prolog: fa_quant caches")


def test_o_proj_of_its_own_communication_is_upstream_s(seam):
    seam.rows = 4
    impl = fused(seam)
    impl.o_proj.custom_op = up.UnquantizedLinearMethod()
    impl.fused_weights.read(impl)
    ours = run(impl, up.decode_metadata(4), 4)
    plain = up.AscendMLAImpl()
    plain.process_weights_after_loading(torch.bfloat16)
    close(ours, run(plain, up.decode_metadata(4), 4))
    assert impl.upstream_calls == 0
    assert fallback.reasons() == ("o_proj: o_proj goes through UnquantizedLinearMethod",)


@pytest.mark.parametrize("rows", [3, 7])
@pytest.mark.parametrize("in_place", [True, False])
def test_ranks_add_their_parts_of_as_many_rows_as_upstream_s(seam, monkeypatch, rows, in_place):
    plain = up.AscendMLAImpl()
    plain.process_weights_after_loading(torch.bfloat16)
    impl = fused(seam)
    impl.o_proj.tp_size = 2
    seen = []

    def all_reduce(partial):
        seen.append(partial.shape)
        return partial.mul_(2) if in_place else partial * 2

    monkeypatch.setattr(seam, "all_reduce", all_reduce)
    ours = run(impl, up.decode_metadata(3), rows)[0]
    assert seen == [(rows, up.HIDDEN)]
    close([ours / 2], [run(plain, up.decode_metadata(3), rows)[0]])


def test_metadata_that_changes_in_place_is_read_anew(seam):
    impl, metadata = fused(seam), up.decode_metadata(3)
    first = run(impl, metadata, 3)[1]
    metadata.slot_mapping = metadata.slot_mapping + 1
    second = run(impl, metadata, 3)[1]
    assert torch.equal(
        first.view(-1, up.KV_LORA)[[5, 8, 11]], second.view(-1, up.KV_LORA)[[6, 9, 12]]
    )


def test_replaced_weights_are_followed(seam):
    impl, metadata = fused(seam), up.decode_metadata(3)
    before = run(impl, metadata, 3)[0]
    impl.o_proj.weight = torch.nn.Parameter(impl.o_proj.weight * 2, requires_grad=False)
    after = run(impl, metadata, 3)[0]
    torch.testing.assert_close(after, 2 * before)
    impl.fused_qkv_a_proj.weight.data = impl.fused_qkv_a_proj.weight.data * 0
    assert not run(impl, metadata, 3)[1].view(-1, up.KV_LORA)[[5, 8, 11]].any()
    assert impl.upstream_calls == 0


def test_freed_weights_send_a_layer_upstream(seam, monkeypatch):
    impl = fused(seam)
    impl.q_proj.weight = None
    monkeypatch.setattr(up.AscendMLAImpl, "forward", lambda self, *_: _[-1])
    run(impl, up.decode_metadata(3), 3)
    assert fallback.reasons() == (
        "prolog: upstream freed the weight of q_b_proj for its own fused path",
    )


def test_no_weights_are_read_during_capture(seam, monkeypatch):
    impl = fused(seam)
    impl.o_proj.weight = torch.nn.Parameter(impl.o_proj.weight * 2, requires_grad=False)
    seam.is_capturing = True
    run(impl, up.decode_metadata(3), 3)
    assert impl.upstream_calls == 1
    seam.is_capturing = False
    run(impl, up.decode_metadata(3), 3)
    assert impl.upstream_calls == 1


def test_every_weight_is_prefetched_once_in_a_step(seam):
    layers = [fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(3)]
    for impl in layers:
        run(impl, up.decode_metadata(3), 3)
    # So small an o_proj leaves no time in which qkv_a could be brought.
    wanted = [(i, "o_proj", "mla_prolog", layers[0].o_proj.weight.nbytes) for i in range(3)]
    assert [(c.layer, c.weight, c.site, c.bytes) for c in regions.ledger.claims] == wanted
    seam.context = type(seam.context)()
    run(layers[0], up.decode_metadata(3), 3)
    assert regions.ledger.totals.steps == 2


@pytest.mark.parametrize("with_policy", [False, True])
def test_passes_of_a_draft_model_in_one_context_are_steps(seam, with_policy):
    context = StepContext(seam.context, 3, None, None, 0)
    config = PrefetchConfig(enabled=True)
    policy = WeightPrefetchMethod(config, context=lambda: context, ledger=regions.ledger)
    layers = [fused(seam, f"model.layers.{i}.self_attn.attn") for i in (61, 62)]
    for draft in range(1, 4):
        for impl in layers:
            run(impl, up.decode_metadata(3), 3)
            if with_policy:
                policy.maybe_prefetch_moe_weight_preprocess(torch.zeros(3, up.HIDDEN), "gate_up")
                assert policy._layer == impl._number
        assert [c.weight for c in regions.ledger.claims] == ["o_proj", "o_proj"]
        totals = regions.ledger.totals
        assert (totals.steps, totals.claims, totals.refused) == (draft, 2 * draft, 0)


def test_a_server_with_adapters_is_upstream_s(seam):
    impl = fused(seam)
    impl.vllm_config.lora_config = object()
    impl.fused_weights.read(impl)
    run(impl, up.decode_metadata(3), 3)
    assert impl.upstream_calls == 1
    reason = "LoRA adapters, which the ops do not apply"
    assert fallback.reasons() == (f"o_proj: {reason}", f"prolog: {reason}")


def test_what_the_planner_brings_is_claimed_and_no_more(seam):
    """The ledger says what the op's own plan says."""
    first, _ = (fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(2))
    for number in range(3):
        seam.context = type(seam.context)()
        with planning.logging_plans() if number == 2 else contextlib.nullcontext() as plans:
            run(first, up.decode_metadata(3), 3)
        brought = {c.weight: c.bytes for c in regions.ledger.claims}
    told = {
        plan.op: sum(d.bytes for d in plan.decisions if d.weight.startswith("prefetch"))
        for plan in plans
    }
    assert brought == {"o_proj": told["mla_prolog"]} and not told["o_proj"]


def test_a_log_of_plans_of_the_user_s_does_not_stop_a_step(seam):
    first, _ = (fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(2))
    with planning.logging_plans() as plans:
        run(first, up.decode_metadata(3), 3)
    assert first.upstream_calls == 0 and [plan.op for plan in plans] == ["mla_prolog", "o_proj"]
    assert regions.ledger.claims == []  # learnt in the next step
    run(first, up.decode_metadata(3), 3)
    assert [c.weight for c in regions.ledger.claims] == ["o_proj"]


def calls_of(impl):
    """Runs a step and returns the keyword arguments of its ops."""
    seen = {}

    def spy(name):
        real = getattr(torch.ops.ascend_prefetch, name).default

        def call(*arguments, **keywords):
            seen[name] = keywords
            return real(*arguments, **keywords)

        return type("Op", (), {"default": staticmethod(call)})

    impl.ops = type("Ops", (), {name: spy(name) for name in ("mla_prolog", "o_proj")})
    run(impl, up.decode_metadata(3), 3)
    return seen


def test_ops_are_told_what_passes_before_a_weight_is_used(seam):
    impl, behind = (fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(2))
    calls = calls_of(impl)
    rows = 3 * 40  # of the latent cache, see decode_metadata
    assert calls["mla_prolog"]["prefetch_passing_bytes"] == [rows * (up.KV_LORA + up.ROPE) * 2]
    assert calls["mla_prolog"]["prefetch"][0].data_ptr() == impl.o_proj.weight.data_ptr()
    assert calls["o_proj"]["prefetch_passing_bytes"] == [3 * up.HIDDEN * 256 * 2]  # a dense MLP
    weight = behind.fused_qkv_a_proj.weight
    assert calls["o_proj"]["prefetch"][0].data_ptr() == weight.data_ptr()


def test_experts_pass_before_the_next_layer(seam):
    impl, behind = (fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(2))
    text = impl.vllm_config.model_config.hf_config
    text.num_experts_per_tok, text.n_routed_experts, text.n_shared_experts = 2, 8, 1
    experts = up.SimpleNamespace(
        w13_weight=torch.zeros(8, 64),
        w2_weight=torch.zeros(8, 32),
        _shared_experts=torch.nn.Linear(96, up.HIDDEN, bias=False, dtype=torch.bfloat16),
        _gate=None,
    )
    impl.vllm_config.compilation_config.static_forward_context["model.layers.0.mlp.experts"] = (
        experts
    )
    always, one_expert = 96 * up.HIDDEN * 2 + 8 * up.HIDDEN * 4, 96 * 4
    assert calls_of(impl)["o_proj"]["prefetch_passing_bytes"] == [always + 6 * one_expert]


def test_ratios_cap_what_is_prefetched(seam):
    ratios = {"attn": {"qkv": 0, "o": 0.5}}
    impl, _ = (
        fused(seam, f"model.layers.{i}.self_attn.attn", prefetch_ratio=ratios) for i in range(2)
    )
    calls = calls_of(impl)
    assert sum(w.nbytes for w in calls["mla_prolog"]["prefetch"]) == impl.o_proj.weight.nbytes // 2
    assert "prefetch" not in calls["o_proj"]


def test_what_l2_would_lose_is_left_to_later_windows(seam):
    impl, _ = (fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(2))
    impl.vllm_config.model_config.hf_config.intermediate_size = 400_000  # 290 MB pass
    assert "prefetch" not in calls_of(impl)["o_proj"]
    assert [claim.site for claim in regions.ledger.claims] == ["mla_prolog"]


def test_a_captured_graph_counts_on_a_length_of_its_own(seam):
    impl = fused(seam, captured_kv_len=100)
    seam.is_capturing = True
    row = (up.KV_LORA + up.ROPE) * 2
    assert calls_of(impl)["mla_prolog"]["prefetch_passing_bytes"] == [3 * 100 * row]


def test_caches_that_the_ops_do_not_write_go_upstream(seam, monkeypatch):
    impl = fused(seam)
    monkeypatch.setattr(up.AscendMLAImpl, "forward", lambda self, *_: _[-1])
    caches = up.new_caches()
    monkeypatch.setattr(up, "new_caches", lambda: (caches[0].to(torch.int8), caches[1]))
    run(impl, up.decode_metadata(3), 3)
    monkeypatch.setattr(up, "new_caches", lambda: (*caches, *caches))
    run(impl, up.decode_metadata(3), 3)
    assert fallback.reasons() == (
        "4 caches in a layer",
        f"a cache of [16, 16, 1, {up.KV_LORA}] torch.int8",
    )


def test_a_layer_of_another_make_is_upstream_s(seam, monkeypatch):
    impl = fused(seam)
    del impl.q_a_layernorm
    impl.fused_weights.read(impl)
    missing = "AttributeError: 'FusedAscendMLAImpl' object has no attribute 'q_a_layernorm'"
    assert fallback.reasons() == (missing,)


def test_without_a_plan_the_ops_run_and_prefetch_nothing(seam, monkeypatch):
    def unknown(chip, passing_bytes):
        raise ValueError("unknown chip 'Ascend999'")

    ready = fused(seam, "model.layers.1.self_attn.attn")
    monkeypatch.setattr(regions._C, "l2_room", unknown)
    calls = calls_of(fused(seam))  # has no window, and learns in its step that ready has none
    assert [keywords.get("prefetch") for keywords in calls.values()] == [None, None]
    assert fallback.reasons() == ("ValueError: unknown chip 'Ascend999'",)
    assert ready.fused_weights.arguments is not None


def test_every_cache_is_looked_at_when_it_is_new(seam):
    impl, (latent, rope) = fused(seam), up.new_caches()
    refusal = functools.partial(impl.known_caches.refusal, impl)
    assert refusal((latent, rope)) is None
    assert refusal((latent, rope.to(torch.int8))) is not None
    assert refusal((latent, rope)) is None
    assert refusal((latent,)) is not None
    assert refusal(()) is not None


def test_release_lets_go_of_weights_and_caches(seam):
    layers = [fused(seam, f"model.layers.{i}.self_attn.attn") for i in range(2)]
    before = [run(impl, up.decode_metadata(3), 3)[0] for impl in layers]
    kept = [weakref.ref(impl.o_proj.weight.untyped_storage()) for impl in layers]
    kept += [weakref.ref(impl.fused_qkv_a_proj.weight.untyped_storage()) for impl in layers]
    names = ("o_proj", "fused_qkv_a_proj")
    weights = [[getattr(impl, name).weight.clone() for name in names] for impl in layers]
    for impl in layers:
        for name in names:
            getattr(impl, name).weight = None
    gc.collect()
    assert all(ref() is not None for ref in kept)
    assert worker.Switchable().release_ascend_prefetch() is None
    gc.collect()
    assert [ref() for ref in kept] == [None] * 4
    assert regions.ledger.claims == []
    for impl, new in zip(layers, weights, strict=True):
        for name, weight in zip(names, new, strict=True):
            getattr(impl, name).weight = torch.nn.Parameter(weight, requires_grad=False)
    after = [run(impl, up.decode_metadata(3), 3)[0] for impl in layers]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for impl in layers:  # each knows its neighbour again
        run(impl, up.decode_metadata(3), 3)
    assert [impl.upstream_calls for impl in layers] == [0, 0]
    assert len(regions.ledger.claims) == 2


def test_known_caches_are_not_kept(seam):
    impl, caches = fused(seam), up.new_caches()
    assert impl.known_caches.refusal(impl, caches) is None
    memory = weakref.ref(caches[1])
    del caches
    assert memory() is None
