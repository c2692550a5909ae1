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
    from ascend_prefetch.vllm import regions

    layers = compare.Pair(model, quantisation, count=3)
    regions.ledger.reset()
    _, _, on, calls = layers.run(_STEP)

    claims = regions.ledger.claims
    prolog = "sfa_prolog" if model.sparse else "mla_prolog"
    wanted = []
    for layer, module in enumerate(layers.fused.modules):
        wanted.append((layer, "o_proj", prolog, module.o_proj.weight.nbytes, 0))
        if layer > 0:
            weight = module.fused_qkv_a_proj.weight
            wanted.append((layer, "fused_qkv_a_proj", "o_proj", weight.nbytes, 0))
    found = [(c.layer, c.weight, c.site, c.bytes, c.refused) for c in claims]
    assert sorted(found) == sorted(wanted)

    # What the ops were given is what the ledger says, and upstream's own prefetches are gone.
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
