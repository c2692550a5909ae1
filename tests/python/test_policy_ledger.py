"""The ledger: a byte of a layer's weight once in a step, whoever asks, and nothing kept alive."""

import gc
import threading
import weakref

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ascend_prefetch.packing import nd_to_nz
from ascend_prefetch.policy import ByteRange, Claim, PrefetchLedger, Request, Totals


class Context:
    """As vLLM's forward context: compares by value and has no hash."""

    __hash__ = None

    def __eq__(self, other):
        return isinstance(other, Context)


@pytest.fixture
def ledger():
    ledger = PrefetchLedger()
    ledger.begin_step()
    return ledger


def claim(ledger, weight, *window, layer=3, site="mla_prolog", engine="MTE2", name="o_proj"):
    return ledger.claim(weight, *window, layer=layer, site=site, engine=engine, name=name)


# --- bytes ---


@pytest.mark.parametrize("dtype", [torch.int8, torch.bfloat16, torch.float32, torch.int64])
def test_all_of_a_weight_once(ledger, dtype):
    weight = torch.zeros(40, 25, dtype=dtype)
    assert claim(ledger, weight) == [(0, weight.nbytes)]
    assert claim(ledger, weight) == []
    assert claim(ledger, weight, 7, 10, site="o_proj", engine="SDMA") == []


def test_fractal_nz(ledger):
    weight = nd_to_nz(torch.zeros(64, 96, dtype=torch.int8))
    assert weight.dim() == 3
    assert claim(ledger, weight) == [(0, 64 * 96)]
    assert claim(ledger, weight.reshape(-1)) == []


@pytest.mark.parametrize(
    ("window", "granted"),
    [
        ((0, 100), [(0, 100)]),  # below both
        ((0, 200), [(0, 100)]),  # over the first
        ((100, 100), []),  # the first exactly
        ((150, 20), []),  # inside it
        ((150, 100), [(200, 50)]),  # over its end
        ((200, 100), [(200, 100)]),  # between the two
        ((90, 300), [(90, 10), (200, 100)]),  # over the first and into the second
        ((0, 1000), [(0, 100), (200, 100), (400, 600)]),
        ((399, None), [(400, 600)]),
        ((999, 5), [(999, 1)]),
        ((1000, 5), []),  # behind the end
        ((500, 0), []),
    ],
)
def test_overlaps(ledger, window, granted):
    weight = torch.zeros(1000, dtype=torch.int8)
    assert claim(ledger, weight, 300, 100) == [(300, 100)]
    assert claim(ledger, weight, 100, 100) == [(100, 100)]
    assert claim(ledger, weight, *window) == granted
    assert claim(ledger, weight, *window) == []


def test_random_claims_against_a_map_of_bytes(ledger):
    random = torch.Generator().manual_seed(1)
    weight = torch.zeros(257, dtype=torch.bfloat16)
    free = torch.ones(weight.nbytes, dtype=torch.bool)
    refused = 0
    for _ in range(200):
        offset, size = torch.randint(0, weight.nbytes, (2,), generator=random).tolist()
        size //= 16
        end = min(offset + size, weight.nbytes)
        granted = claim(ledger, weight, offset, size)
        expected = free[offset:end].nonzero().flatten() + offset
        bytes_granted = [torch.arange(first, first + count) for first, count in granted]
        assert torch.equal(torch.cat([torch.empty(0, dtype=int), *bytes_granted]), expected)
        assert all(count > 0 for _, count in granted)
        refused += end - offset - len(expected)
        free[offset:end] = False
    assert ledger.totals == (1, ledger.totals.claims, int((~free).sum()), refused)


def test_tensors_that_share_memory(ledger):
    weight = torch.nn.Parameter(torch.zeros(10, 100, dtype=torch.float16))
    assert claim(ledger, weight.data[2:4]) == [(0, 400)]
    assert claim(ledger, weight) == [(0, 400), (800, 1200)]
    assert claim(ledger, weight.detach().view(torch.int8)) == []


def test_weights_apart(ledger):
    first, second = torch.zeros(2, 50, dtype=torch.int8), torch.zeros(50, dtype=torch.int8)
    assert claim(ledger, first[0]) == [(0, 50)]
    assert claim(ledger, first[1]) == [(0, 50)]
    assert claim(ledger, second) == [(0, 50)]


def test_layers(ledger):
    shared = torch.zeros(10, dtype=torch.int8)
    assert claim(ledger, shared, layer=1) == [(0, 10)]
    assert claim(ledger, shared, layer=2) == [(0, 10)]
    assert claim(ledger, shared, layer=2) == []
    # Who knows no layer may mean any.
    assert claim(ledger, shared, layer=None) == []
    other = torch.zeros(10, dtype=torch.int8)
    assert claim(ledger, other, 0, 4, layer=None) == [(0, 4)]
    assert claim(ledger, other, layer=7) == [(4, 6)]


@pytest.mark.parametrize("window", [(-1, 5), (0, -1)])
def test_errors(ledger, window):
    message = f"claim of 'o_proj': expected an offset and bytes of at least 0, got {window[0]} and"
    with pytest.raises(ValueError, match=message):
        claim(ledger, torch.zeros(9), *window)


def test_without_data(ledger):
    with FakeTensorMode() as mode:
        assert claim(ledger, mode.from_tensor(torch.ones(9))) == [(0, 36)]
    assert claim(ledger, torch.ones(9, device="meta")) == [(0, 36)]


# --- weights that go away ---


def test_keeps_no_weight_alive(ledger):
    weight = torch.zeros(100)
    storage = weakref.ref(weight.untyped_storage())
    claim(ledger, weight)
    assert len(ledger.claims) == 1
    del weight
    gc.collect()
    assert storage() is None
    assert ledger.claims == []
    assert ledger.totals.bytes == 400


def test_a_view_may_die_before_the_weight(ledger):
    weight = torch.nn.Parameter(torch.zeros(100))
    assert claim(ledger, weight.data) == [(0, 400)]
    gc.collect()
    assert claim(ledger, weight) == []


def test_reloaded_weight(ledger):
    weight = torch.nn.Parameter(torch.zeros(100))
    claim(ledger, weight)
    weight.data = torch.ones(100)
    assert claim(ledger, weight) == [(0, 400)]
    assert len(ledger.claims) == 1


def test_freed_weight(ledger):
    assert claim(ledger, None) == []
    weight = torch.nn.Parameter(torch.zeros(100))
    weight.data = torch.empty(0)
    assert claim(ledger, weight) == []
    shrunk = torch.zeros(100)
    shrunk.untyped_storage().resize_(40)
    assert claim(ledger, shrunk) == [(0, 40)]
    shrunk.untyped_storage().resize_(0)
    assert claim(ledger, shrunk) == []


# --- steps ---


def test_steps(ledger):
    weight = torch.zeros(10)
    for step in range(3):
        assert claim(ledger, weight) == [(0, 40)]
        assert claim(ledger, weight) == []
        assert ledger.totals == Totals(step + 1, 2 * step + 2, 40 * step + 40, 40 * step + 40)
        ledger.begin_step()
        assert ledger.claims == []


def test_context_is_a_step(ledger):
    weight, first, second = torch.zeros(10), Context(), Context()
    ledger.enter(first)
    assert claim(ledger, weight) == [(0, 40)]
    ledger.enter(first)
    assert claim(ledger, weight) == []
    ledger.enter(second)  # equal, but another one
    assert claim(ledger, weight) == [(0, 40)]
    assert ledger.totals.steps == 3


def test_nested_contexts(ledger):
    weight, outer, inner = torch.zeros(10), Context(), Context()
    ledger.enter(outer)
    claim(ledger, weight)
    ledger.enter(inner)
    assert claim(ledger, weight) == [(0, 40)]
    ledger.enter(outer)
    assert claim(ledger, weight) == []
    assert ledger.totals.steps == 3


def test_a_layer_that_is_not_behind_the_last_begins_a_step(ledger):
    weight, first, second = torch.zeros(10), Context(), Context()
    granted = []
    for context, layer in [(first, 0), (second, 0), (first, 1), (first, None), (second, 1)]:
        ledger.enter(context, layer)
        granted.append(bool(claim(ledger, weight)))
    assert granted == [True, True, False, False, False]
    for layer in (1, 0):
        ledger.enter(first, layer)
        assert claim(ledger, weight) == [(0, 40)]
    ledger.enter(second, 2)
    assert claim(ledger, weight) == []


def test_no_context_changes_nothing(ledger):
    weight = torch.zeros(10)
    ledger.enter(None)
    assert claim(ledger, weight) == [(0, 40)]
    ledger.enter(None)
    assert claim(ledger, weight) == []
    assert ledger.totals.steps == 1


def test_a_new_context_at_an_old_address(ledger):
    weight = torch.zeros(10)
    addresses = set()
    for _ in range(50):
        context = Context()
        addresses.add(id(context))
        ledger.enter(context)
        assert claim(ledger, weight) == [(0, 40)]
        del context
    assert len(addresses) < 50
    assert ledger.totals.steps == 51


def test_contexts_that_cannot_be_held_weakly(ledger):
    weight = torch.zeros(10)
    for context in (object(), object()):
        with pytest.raises(TypeError):
            weakref.ref(context)
        ledger.enter(context)
        assert claim(ledger, weight) == [(0, 40)]
        ledger.enter(context)
        assert claim(ledger, weight) == []


def test_in_another_thread(ledger):
    weight, granted = torch.zeros(10), []
    claim(ledger, weight)
    thread = threading.Thread(target=lambda: granted.append(claim(ledger, weight)))
    thread.start()
    thread.join()
    assert granted == [[]]


def size(ledger):
    """Objects that the ledger holds, in all of its steps."""
    steps = {id(step): step for step in [ledger._step, *ledger._steps.values()]}
    memories = [memory for step in steps.values() for memory in step.memories.values()]
    return len(memories) + sum(len(memory.rows) + len(memory.taken) for memory in memories)


def test_no_growth_over_steps(ledger):
    weights = [torch.zeros(10) for _ in range(5)]
    contexts = []
    sizes = set()
    for _ in range(100):
        contexts.append(Context())  # as if somebody kept them all
        ledger.enter(contexts[-1])
        for weight in weights * 3:
            claim(ledger, weight)
        sizes.add(size(ledger))
    assert max(sizes) == 4 * 15
    assert len(ledger._steps) == 4


def test_no_growth_without_steps(ledger):
    weights = [torch.zeros(10) for _ in range(5)]
    for _ in range(1000):
        for weight in weights:
            claim(ledger, weight)
        claim(ledger, torch.zeros(10))
    assert size(ledger) <= 3 * 256
    assert ledger.claims == [Claim(3, "o_proj", "mla_prolog", "MTE2", 0, 40, 999 * 40)] * 5


def test_reset(ledger):
    weight = torch.zeros(10)
    claim(ledger, weight)
    ledger.reset()
    assert ledger.claims == []
    assert ledger.totals == Totals(0, 0, 0, 0)
    assert claim(ledger, weight) == [ByteRange(0, 40)]


# --- for people ---


def test_claims_and_table(ledger):
    o_proj, qkv_a = torch.zeros(1000), torch.zeros(500, dtype=torch.int8)
    claim(ledger, o_proj, 0, 1600)
    claim(ledger, o_proj, 1000, site="forward", engine="SDMA")
    claim(ledger, qkv_a, layer=None, site="o_proj", name="qkv_a")
    assert ledger.claims == [
        Claim(3, "o_proj", "mla_prolog", "MTE2", 0, 1600, 0),
        Claim(3, "o_proj", "forward", "SDMA", 1000, 2400, 600),
        Claim(None, "qkv_a", "o_proj", "MTE2", 0, 500, 0),
    ]
    assert str(ledger) == ledger.table()
    assert ledger.table().splitlines() == [
        "layer  weight  site        engine  offset  bytes  refused",
        "    3  o_proj  mla_prolog  MTE2         0  1,600        0",
        "    3  o_proj  forward     SDMA     1,000  2,400      600",
        "    -  qkv_a   o_proj      MTE2         0    500        0",
        "1 steps, 3 claims: 4,500 bytes granted, 600 refused",
    ]


def test_empty_table():
    assert PrefetchLedger().table().splitlines() == [
        "layer  weight  site  engine  offset  bytes  refused",
        "0 steps, 0 claims: 0 bytes granted, 0 refused",
    ]


def test_a_repeated_request_is_granted_once_in_a_step():
    ledger, weight = PrefetchLedger(), torch.zeros(64, 16)
    about = {"layer": 3, "site": "mla_prolog", "engine": "MTE2", "name": "o_proj"}
    request = Request(weight, **about)
    for _ in range(3):
        ledger.begin_step()
        assert ledger.ask(request) and not ledger.ask(request)
        assert ledger.claim(weight, **about) == []
        assert ledger.claims == [Claim(3, "o_proj", "mla_prolog", "MTE2", 0, 4096, 4096)]
    assert ledger.totals == (3, 6, 3 * 4096, 3 * 4096)


def test_a_request_after_a_claim_is_for_claim_to_settle():
    ledger, weight = PrefetchLedger(), torch.zeros(64, 16)
    about = {"layer": 3, "site": "mla_prolog", "engine": "MTE2"}
    ledger.claim(weight, 0, 1024, layer=3, site="before", engine="SDMA")
    assert not ledger.ask(Request(weight, **about))
    assert ledger.claim(weight, **about) == [ByteRange(1024, 3072)]


def test_a_request_keeps_no_weight_alive(ledger):
    about = {"layer": 0, "site": "here", "engine": "MTE2", "name": "w"}
    addresses = set()
    for _ in range(20):
        weight = torch.zeros(10)
        request = Request(weight, **about)
        addresses.add(request.key)
        assert ledger.ask(request) and not ledger.ask(request)
        del weight
        assert request.storage() is None
    assert len(addresses) < 20  # others came at the address of one that was gone
    assert ledger.claims == []
