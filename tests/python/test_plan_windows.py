"""The planner of the windows between kernels: every rule, by hand-made layers."""

import pytest

from ascend_prefetch import _C, planning
from ascend_prefetch.planning import LayerPart, LayerWeight, Window, plan_windows

CHIP = "Ascend910_9391"
MEGABYTE = 1_000_000
USABLE = _C.l2_room(CHIP, 0)
PIECE = 32 * 1024
LOSS = 100.0
"""us that a window may lose: more than any."""


def cost(engine):
    return _C.engine_cost(CHIP, engine)


def window(name, us, cube=True, vector=False, passing=0):
    lengths = us if isinstance(us, tuple) else (us, us, us)
    made = Window(name, lengths, 0, vector_cores=vector, cube_cores=cube)
    return LayerPart(name, passing, [], made)


def weight(name="qkv_a", nbytes=10 * MEGABYTE, warmed=0, worth=0.4, least=0.4):
    return LayerWeight(name, nbytes, warmed, worth, least)


def plan(parts, weights, loss=LOSS):
    return plan_windows(CHIP, parts, weights, loss)


def reader(*weights, passing=0):
    return LayerPart("prolog", passing, list(weights))


def test_costs_of_engines():
    cube, sdma = cost("cube"), cost("sdma")
    assert (cube.start_us, cube.join_us, cube.slowing) == (1.0, 1.0, 1.0)
    assert (cube.spike_us, cube.spike_share) == (0.0, 0.0)
    # Contiguous loads into L1 reach nearly the chip's HBM rate.
    assert 0.9 * 1.49e6 < cube.rate <= 1.49e6
    assert cost("vector").rate == pytest.approx(1.49e6, rel=0.1)
    assert (sdma.start_us, sdma.rate, sdma.join_us) == (20.0, 0.285e6, 1.0)
    assert sdma.slowing == pytest.approx(0.285 / 1.49)
    assert (sdma.spike_us, sdma.spike_share) == (250.0, 0.0135)
    assert sdma.busy_us(2_850_000) == pytest.approx(10.0)
    # What a window covers of a spike costs nothing.
    assert sdma.expected_spike_us(50.0) == pytest.approx(0.0135 * 200.0)
    assert sdma.expected_spike_us(-5.0) == pytest.approx(0.0135 * 250.0)
    assert sdma.expected_spike_us(300.0) == cube.expected_spike_us(0.0) == 0.0
    with pytest.raises(ValueError, match="engine: expected vector, cube or sdma, got 'dma'"):
        _C.engine_cost(CHIP, "dma")
    with pytest.raises(ValueError, match="level: expected low, nominal or high, got 'mean'"):
        _C.engine_cost(CHIP, "cube", "mean")


def test_as_many_bytes_as_the_engine_brings():
    """From the fork to the join, at the short length."""
    (found,) = plan([window("combine", (12.0, 80.0, 140.0)), reader(0)], [weight(nbytes=10**8)])
    assert found.engine == "cube"
    assert found.bytes == int(10.0 * cost("cube").rate) // PIECE * PIECE
    assert (found.window, found.weight, found.short_us, found.offset) == (
        "combine", "qkv_a", 12.0, 0,
    )  # fmt: skip
    assert found.passing_bytes == 0
    slowed = 0.15 / cost("cube").rate
    assert found.saved_us == pytest.approx(found.bytes * (0.4e-6 - slowed) - 1.0)
    whole = 12.0 * cost("cube").rate
    assert found.bound_us == pytest.approx(whole * (0.4e-6 - slowed) - 1.0, rel=1e-3)
    assert found.reason == "as much as cube brings in 10.0 us"


def test_all_of_a_weight_to_its_last_byte():
    (found,) = plan([window("combine", 27.0), reader(0)], [weight(nbytes=10 * MEGABYTE + 7)])
    assert found.bytes == 10 * MEGABYTE + 7
    assert found.reason.startswith("all that is left of it, in 6.7 of 25.0 us")


def test_weights_in_the_order_of_their_use():
    weights = [weight("a", 20 * MEGABYTE), weight("b", 20 * MEGABYTE), weight("c")]
    parts = [window("combine", 27.0), reader(1), reader(0, 2)]
    second, first, third = plan(parts, weights)
    assert (second.weight, second.bytes) == ("b", 20 * MEGABYTE)
    assert first.weight == "a"
    budget = int(25.0 * cost("cube").rate)
    assert first.bytes == (budget - 20 * MEGABYTE) // PIECE * PIECE
    assert third.bytes == 0
    taken = f"weights that are read earlier take the {budget / 1e6:.1f} MB of the window"
    assert third.reason == taken


def test_no_byte_twice():
    parts = [window("combine", 5.0), window("all_gather", 50.0), reader(0)]
    first, second = plan(parts, [weight(nbytes=20 * MEGABYTE, warmed=3 * MEGABYTE)])
    assert first.offset == 3 * MEGABYTE
    assert second.offset == first.offset + first.bytes
    assert second.offset + second.bytes == 20 * MEGABYTE
    (first, second) = plan(parts, [weight(warmed=10 * MEGABYTE)])
    assert first.bytes == second.bytes == 0
    assert first.reason == "kernels and earlier windows bring all of it"


def test_what_passes_evicts():
    def bytes_across(passing):
        parts = [window("dispatch", 27.0), LayerPart("experts", passing), reader(0)]
        (found,) = plan(parts, [weight()])
        return found.bytes, found.reason

    assert bytes_across(USABLE - 10 * MEGABYTE)[0] == 10 * MEGABYTE
    some, reason = bytes_across(USABLE - 4 * MEGABYTE)
    assert some == 4 * MEGABYTE // PIECE * PIECE
    assert reason.startswith("as much as L2 holds until its use")
    assert bytes_across(USABLE) == (0, "141 MB pass through L2 before its use, which holds 141")
    assert bytes_across(None) == (0, "nobody knows what passes through L2 before its use")


def test_what_a_window_and_other_readers_pass():
    """The window's own bytes and other weights that are read before the use count too."""
    parts = [window("dispatch", 27.0, passing=USABLE - 16 * MEGABYTE), reader(1), reader(0)]
    decisions = {one.weight: one for one in plan(parts, [weight("late"), weight("early", worth=0)])}
    assert decisions["late"].bytes == 6 * MEGABYTE // PIECE * PIECE


def test_later_windows_do_not_evict_what_waits():
    """What a window brings for a later use leaves less room in the windows after it."""
    flood = USABLE - 12 * MEGABYTE
    experts = LayerPart("experts", flood)
    parts = [window("a", 27.0), window("b", 27.0), reader(1), experts, reader(0)]
    decisions = plan(parts, [weight("late", 10 * MEGABYTE), weight("early", 10 * MEGABYTE)])
    brought = {}
    for one in decisions:
        brought[one.weight] = brought.get(one.weight, 0) + one.bytes
    # Early passes too before late is read, whoever fetches it.
    assert brought["late"] <= 2 * MEGABYTE
    assert brought["early"] == 10 * MEGABYTE
    assert brought["late"] + brought["early"] + flood <= USABLE


def test_cores_before_sdma():
    weights = [weight(nbytes=30 * MEGABYTE, worth=0.6)]
    for cube, vector, engine in (
        (True, True, "cube"), (True, False, "cube"), (False, True, "vector"),
        (False, False, "sdma"),
    ):  # fmt: skip
        found = plan([window("w", 600.0, cube, vector), reader(0)], weights)
        assert [one.engine for one in found] == [engine]
        assert found[0].bytes == 30 * MEGABYTE


def test_spikes_of_sdma():
    """A round that may be late costs its share of the lateness that the window does not cover."""
    parts = [window("attention", (130.0, 150.0, 160.0), cube=False), reader(0)]
    (found,) = plan(parts, [weight(nbytes=30 * MEGABYTE, worth=0.6, least=0.6)])
    took = 20.0 + found.bytes / 0.285e6
    late = 0.0135 * (250.0 - (150.0 - took - 1.0))
    slowed = 0.15 / 1.49e6
    assert found.bytes == 30 * MEGABYTE
    assert found.saved_us == pytest.approx(found.bytes * (0.6e-6 - slowed) - 1.0 - late)
    (none,) = plan(parts, [weight(nbytes=9 * MEGABYTE)])
    assert none.bytes == 0
    assert none.reason == "2.7 us saved, but the join and spikes of SDMA cost 3.1"


def test_what_does_not_pay():
    parts = [window("combine", 27.0), reader(0)]
    (found,) = plan(parts, [weight(worth=0.1)])
    assert (found.bytes, found.reason) == (0, "its reader gains 0.10 us per MB, less than it costs")
    # 0.05 us per MB is the least even where the slowdown costs less.
    slow = [window("attention", 600.0, cube=False), reader(0)]
    (found,) = plan(slow, [weight(worth=0.049, least=0.049)])
    assert found.bytes == 0
    (found,) = plan(parts, [weight(nbytes=2 * MEGABYTE)])
    assert (found.bytes, found.saved_us) == (0, 0.0)
    assert found.reason == "0.6 us saved, but the join costs 1.0"


def test_short_windows():
    parts = [window("all_reduce", 1.5), reader(0)]
    (found,) = plan(parts, [weight()])
    assert found.reason == "1.5 us at the short length, of which fork and join take 2.0"
    (found,) = plan([window("norm", 0.0), reader(0)], [weight()])
    assert found.reason == "it is not known to leave HBM idle"
    # SDMA needs 20 us until its first byte.
    (found,) = plan([window("attention", 20.5, cube=False), reader(0)], [weight(worth=0.9)])
    assert found.reason == "20.5 us at the short length, of which fork and join take 21.0"


def test_unfavourable_constants_limit_the_loss():
    parts = [window("combine", 27.0), reader(0)]
    high = _C.engine_cost(CHIP, "cube", "high")
    slowed = 0.15 / high.rate
    (found,) = plan(parts, [weight(least=0.0)], loss=3.0)
    assert found.bytes == int((3.0 - high.join_us) / slowed) // PIECE * PIECE
    assert found.reason.startswith("as much as may be risked")
    (found,) = plan(parts, [weight(least=0.0)], loss=1.9)
    assert found.bytes == 0
    assert found.reason == "where constants are the least favourable more than 1.9 us would be lost"
    # What pays at all constants is no risk.
    (found,) = plan(parts, [weight(least=0.4)], loss=0.0)
    assert found.bytes == 10 * MEGABYTE


def test_windows_share_the_loss():
    """The one that saves least is given up, until the rest is within the limit."""
    high = _C.engine_cost(CHIP, "cube", "high")
    small, large = weight("small", 4 * MEGABYTE, least=0.0), weight("large", least=0.0)
    experts = LayerPart("experts", USABLE)
    parts = [window("a", 27.0), reader(0), experts, window("b", 27.0), reader(1)]
    lost = [high.join_us + 0.15 * one.bytes / high.rate for one in (small, large)]
    both = plan(parts, [small, large], loss=sum(lost) + 0.1)
    assert {one.window: one.bytes for one in both if one.bytes} == {
        "a": 4 * MEGABYTE, "b": 10 * MEGABYTE,
    }  # fmt: skip
    found = plan(parts, [small, large], loss=sum(lost) - 0.1)
    assert {one.window: one.bytes for one in found if one.bytes} == {"b": 10 * MEGABYTE}
    assert "least favourable" in found[0].reason


def test_nothing_behind_the_last_use():
    assert plan([reader(0), window("combine", 27.0)], [weight()]) == []


def test_a_decision_prints_as_a_line():
    (found,) = plan([window("combine", 27.0), reader(0)], [weight()])
    assert str(found).split()[:5] == ["combine", "27.0", "us", "cube", "qkv_a"]
    assert "10.00 MB" in str(found)


@pytest.mark.parametrize(
    ("parts", "weights", "message"),
    [
        ([reader(3)], [weight()], "prolog: expected reads of 1 weights, got 3"),
        ([reader(0)], [weight(nbytes=5, warmed=6)], "at most its 5 bytes to be warmed, got 6"),
        (
            [window("combine", (3.0, 2.0, 4.0)), reader(0)],
            [weight()],
            "window 'combine': expected 0 <= short <= nominal <= long us, got 3 / 2 / 4",
        ),
        ([window("combine", -1.0), reader(0)], [weight()], "got -1 / -1 / -1"),
    ],
)
def test_contradictions(parts, weights, message):
    with pytest.raises(ValueError, match=message):
        plan(parts, weights)


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown chip 'Ascend1'"):
        plan_windows("Ascend1", [], [], LOSS)
    with pytest.raises(ValueError, match="there is no constant 'hbm'"):
        plan_windows(CHIP, [], [], LOSS, {"hbm": 1.0})


def test_slowdown_is_told():
    assert planning.SLOWED_SHARES == (0.15, 0.05, 0.0)
