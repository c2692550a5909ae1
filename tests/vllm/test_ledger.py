"""What is prefetched in a step of three layers: every weight once, and those that are to be."""

from collections import Counter

import pytest

import compare
import models
from steps import Scenario

_STEP = Scenario("decode", (5, 130, 200), (1, 1, 1))


@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.GLM_5], ids=lambda model: model.name)
@pytest.mark.parametrize("quantisation", models.QUANTISATIONS)
def test_every_weight_is_prefetched_once(model, quantisation):
    from ascend_prefetch import planning
    from ascend_prefetch.vllm import regions

    layers = compare.Pair(model, quantisation, count=3)
    regions.ledger.reset()
    layers.run(_STEP)
    first = regions.ledger.claims

    # What the planners in the ops bring, no more, in the first step and in later ones; the ops are
    # given just that, and upstream's own prefetches are gone.
    with planning.logging_plans() as plans:
        _, _, on, calls = layers.run(_STEP)
    brought = [
        sum(one.bytes for one in plan.decisions if one.weight.startswith("prefetch"))
        for plan in plans
    ]
    prolog = "sfa_prolog" if model.sparse else "mla_prolog"
    wanted = []
    for layer in range(3):
        of_o_proj, of_next = brought[2 * layer : 2 * layer + 2]
        wanted.append((layer, "o_proj", prolog, of_o_proj, 0))
        if layer < 2 and of_next:
            wanted.append((layer + 1, "fused_qkv_a_proj", "o_proj", of_next, 0))
    claims = regions.ledger.claims
    found = [(c.layer, c.weight, c.site, c.bytes, c.refused) for c in claims]
    assert sorted(found) == sorted(wanted)
    assert len(first) == len(claims) and sum(c.bytes for c in first) == sum(c.bytes for c in claims)
    given = [weight for _, arguments in calls for weight in arguments.get("prefetch") or ()]
    memory = Counter(weight.data_ptr() for weight in given)
    assert set(memory.values()) == {1} and len(memory) == len(wanted)
    assert sum(weight.nbytes for weight in given) == sum(claim.bytes for claim in claims)
    assert on.calls.prefetched == []


def test_nothing_is_claimed_while_it_is_switched_off():
    import steps
    from ascend_prefetch.vllm import regions, turn

    layers = compare.Pair(models.DEEPSEEK_V3, "bf16", count=2)
    regions.ledger.reset()
    layers.fused.enter()
    before = turn(False)
    steps.run(layers.fused, _STEP)
    turn(before)
    assert regions.ledger.claims == []
