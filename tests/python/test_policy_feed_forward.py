"""Prefetches of experts' and dense layers' weights."""

import pytest
import torch

from ascend_prefetch.policy import PrefetchConfig, WindowPlanner
from policy_model import Holder, Model, dense_layer, moe_layer

X = torch.ones(16, 8)
WINDOW = 45 * 16384  # of two launches
LONG = WindowPlanner(
    idle_us={"MLP norm": 1000.0, "MLP activation": 1000.0, "select experts": 200.0}
)
MIB = 1 << 20


def rows(count):
    return torch.ones(1, 8).expand(count, 8)


# --- experts ---


def select_experts(model, count, path="quantised"):
    """The sites of an expert layer; paths other than quantised ones have no counterpart."""
    model.policy.maybe_prefetch_moe_weight_preprocess(rows(count), "gate_up")
    active = model.policy.moe.is_active_this_forward
    if path == "quantised":
        model.policy.maybe_prefetch_moe_weight_postprocess(X)
    return active


def moe_model(count=3, **options):
    return Model([moe_layer(i) for i in range(count)], is_moe=True, **options)


def test_present_layer():
    model = moe_model()
    select_experts(model, 128)  # where it is seen that a join follows
    assert model.engine.events == []
    for number in range(3):
        model.policy.enter_layer(number)
        assert select_experts(model, 128) is True
    experts = 67 * 16384  # three launches
    assert model.fetched() == [(f"{i}.mlp.experts.w13_weight", experts) for i in range(3)]
    assert model.engine.events[1::2] == ["join"] * 3
    assert [claim.layer for claim in model.policy.ledger.claims] == [0, 1, 2]


@pytest.mark.parametrize("known", ["by the context", "by name"])
def test_present_layer_otherwise(known):
    model = moe_model(caller_joins=True)
    if known == "by the context":
        model.next_step(layer=2)
    else:
        model.policy.enter_layer(2)
    for _ in range(2):
        select_experts(model, 96)
    assert [name for name, _ in model.fetched()] == ["2.mlp.experts.w13_weight"]


@pytest.mark.parametrize(("count", "active"), [(95, False), (96, True), (97, True)])
def test_least_rows(count, active):
    model = moe_model()
    model.policy.enter_layer(0)
    select_experts(model, count)
    assert select_experts(model, count) is active
    assert len(model.starts) == active


@pytest.mark.parametrize("name", ["mlp", "moe", "block_sparse_moe"])
def test_where_experts_are(name):
    model = Model([moe_layer(0, name)], is_moe=True)
    model.policy.enter_layer(0)
    for _ in range(2):
        select_experts(model, 96)
    assert [fetched for fetched, _ in model.fetched()] == [f"0.{name}.experts.w13_weight"]


@pytest.mark.parametrize("layer", [dense_layer(0), Holder(), Holder(mlp=Holder(experts=Holder()))])
def test_without_experts(layer):
    model = Model([layer], is_moe=True)
    model.policy.enter_layer(0)
    assert [select_experts(model, 96) for _ in range(3)] == [False] * 3
    assert model.engine.events == []


@pytest.mark.parametrize("number", [None, -1, 3, 1000])
def test_unknown_layer(number):
    """Upstream's own counter of layers stands still: it would fetch those of another layer."""
    model = moe_model()
    model.next_step(layer=number)
    assert [select_experts(model, 96) for _ in range(3)] == [False] * 3
    assert model.engine.events == []


@pytest.mark.parametrize(
    "settings",
    [
        PrefetchConfig(enabled=False),
        PrefetchConfig(enabled=True, prefetch_ratio={"moe": {"gate_up": 0}}),
    ],
)
def test_experts_disabled(settings):
    model = moe_model(settings=settings)
    model.policy.enter_layer(0)
    assert [select_experts(model, 96) for _ in range(3)] == [False] * 3
    assert model.engine.events == []


def test_experts_of_a_dense_model():
    model = moe_model()
    model.policy.moe.enable = False
    select_experts(model, 96)
    assert model.engine.events == []


@pytest.mark.parametrize("ratio", [0.125, 0.8, 1.0])
def test_ratio_of_experts(ratio):
    settings = PrefetchConfig(enabled=True, prefetch_ratio={"moe": {"gate_up": ratio}})
    model = moe_model(settings=settings, planner=LONG)
    model.policy.enter_layer(0)
    for _ in range(2):
        select_experts(model, 96)
    assert model.starts[0].bytes == int(4 * MIB * ratio)


def test_another_weight_of_experts():
    message = "weight prefetch: expected the name of a weight, one of gate_up, got 'down'"
    with pytest.raises(ValueError, match=message):
        moe_model().policy.maybe_prefetch_moe_weight_preprocess(rows(96), "down")


def test_nothing_is_left_unjoined_in_a_capture():
    """Unquantised experts and fused communication have no counterpart; captures come after."""
    model = moe_model()
    for _ in range(3):  # a warm-up before each capture, as vLLM has it
        for count, path in [(96, "quantised"), (128, "fused"), (512, "quantised"), (64, "fused")]:
            for capture in (False, True):
                model.next_step()
                with model.engine.capture() if capture else torch.no_grad():
                    for number in range(3):
                        model.policy.enter_layer(number)
                        select_experts(model, count, path)
                fetched = count >= 96 and path == "quantised"
                if capture:
                    assert len(model.starts) == 3 * fetched


def test_the_counterpart_of_another_step():
    model = moe_model()
    for _ in range(3):
        model.next_step()
        model.policy.enter_layer(0)
        model.policy.maybe_prefetch_moe_weight_preprocess(rows(96), "gate_up")
        model.next_step()
        model.policy.enter_layer(0)
        model.policy.maybe_prefetch_moe_weight_postprocess(X)
        assert model.engine.events == []


def test_experts_twice_in_a_step():
    model = moe_model()
    model.policy.enter_layer(1)
    for _ in range(4):
        select_experts(model, 96)
    assert len(model.starts) == 1


# --- dense layers ---


def mlp(model, numbers=(0, 1), gate_up=True):
    policy = model.policy
    for number in numbers:
        if gate_up:
            prefix = f"model.layers.{number}.self_attn.o_proj"
            policy.maybe_prefetch_mlp_weight_preprocess(policy.MLP_GATE_UP, X, prefix)
            # Upstream's norm joins only without a residual.
        policy.maybe_prefetch_mlp_weight_preprocess(policy.MLP_DOWN, X)
        policy.maybe_prefetch_mlp_weight_postprocess(X)


def dense_model(**options):
    return Model([dense_layer(i) for i in range(2)], **options)


def test_gate_up_and_down():
    model = dense_model()
    mlp(model)  # where it is seen that a join follows
    model.next_step()
    mlp(model)
    names = [f"{i}.mlp.{name}_proj.weight" for i in range(2) for name in ("gate_up", "down")]
    assert model.fetched() == [(name, WINDOW) for name in names]
    assert [type(event).__name__ for event in model.engine.events] == ["Start", "Start", "str"] * 2
    assert all(start.after is X for start in model.starts)
    assert [claim.layer for claim in model.policy.ledger.claims] == [0, 0, 1, 1]


def test_down_alone_counts_layers():
    model = dense_model()
    for first, names in [(0, ["0.mlp.down_proj.weight", "1.mlp.down_proj.weight"]), (1, None)]:
        model.next_step(first_layer=first)
        mlp(model, range(first, 2), gate_up=False)
        assert [name for name, _ in model.fetched()] == (names or ["1.mlp.down_proj.weight"])


@pytest.mark.parametrize(
    ("tokens", "active"), [(0, True), (499, True), (500, False), (None, False)]
)
def test_most_tokens(tokens, active):
    model = dense_model(num_tokens=tokens)
    for _ in range(2):
        model.next_step()
        mlp(model)
    assert len(model.starts) == 4 * active
    assert model.policy.mlp.is_active_this_forward is active


@pytest.mark.parametrize(
    "prefix",
    ["model.layers.0.mlp.down_proj", "self_attn.o_proj", "model.layers.0.attn.o_proj", "x"],
)
def test_gate_up_behind_other_layers(prefix):
    model = dense_model()
    for _ in range(2):
        model.policy.maybe_prefetch_mlp_weight_preprocess("gate_up", X, prefix)
        model.policy.maybe_prefetch_mlp_weight_postprocess(X)
    assert model.engine.events == []


@pytest.mark.parametrize(
    "settings",
    [
        PrefetchConfig(enabled=False),
        PrefetchConfig(enabled=True, prefetch_ratio={"mlp": {"gate_up": 0, "down": 0}}),
    ],
)
def test_dense_layers_disabled(settings):
    model = dense_model(settings=settings)
    for _ in range(2):
        mlp(model)
    model.policy.maybe_prefetch_mlp_weight_preprocess("anything", X)
    assert model.engine.events == []
    assert model.policy.mlp.is_active_this_forward is False


def test_ratio_0_of_gate_up_leaves_down():
    ratios = {"mlp": {"gate_up": 0, "down": 1.0}}
    model = dense_model(settings=PrefetchConfig(enabled=True, prefetch_ratio=ratios))
    for _ in range(2):
        model.next_step()
        mlp(model)
    assert [name for name, _ in model.fetched()] == [f"{i}.mlp.down_proj.weight" for i in range(2)]


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [(20, 1.0, 18), (20, 0.5, 10), (40, 0.5, 18), (17, 1.0, 17)],
)
def test_caps_of_dense_layers(size, ratio, expected):
    ratios = {"mlp": {"gate_up": ratio, "down": ratio}}
    model = Model(
        [dense_layer(0, size * MIB)],
        PrefetchConfig(enabled=True, prefetch_ratio=ratios),
        planner=LONG,
    )
    for _ in range(2):
        model.next_step()
        mlp(model, [0])
    assert [start.bytes for start in model.starts] == [expected * MIB] * 2


def test_layers_without_an_mlp():
    model = Model([Holder(), Holder(mlp=Holder(down_proj=Holder(weight=None)))])
    for _ in range(2):
        mlp(model)
    assert model.engine.events == []


def test_errors_of_dense_layers():
    policy = dense_model().policy
    with pytest.raises(
        ValueError, match="expected the name of a weight, one of gate_up, down, got"
    ):
        policy.maybe_prefetch_mlp_weight_preprocess("up", X)
    message = "expected curr_layer_prefix, the name of the linear layer, with 'gate_up', got None"
    with pytest.raises(ValueError, match=message):
        policy.maybe_prefetch_mlp_weight_preprocess("gate_up", X)


def test_an_activation_without_sites():
    """GELU has none, so nothing would join gate_up."""
    model = dense_model()
    for capture in (False, True):
        model.next_step()
        with model.engine.capture() if capture else torch.no_grad():
            for number in range(2):
                prefix = f"model.layers.{number}.self_attn.o_proj"
                model.policy.maybe_prefetch_mlp_weight_preprocess("gate_up", X, prefix)
    assert model.engine.events == []


def test_no_growth_over_steps():
    model = Model([moe_layer(0)], is_moe=True)
    for count in range(10_000):
        select_experts(model, count)
    assert 0 < len(model.policy._joins["moe"]._followed) <= 4096
