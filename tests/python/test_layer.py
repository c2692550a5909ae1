"""layer: a layer's attention part, modelled in all forms."""

import json

import pytest

from ascend_prefetch import _C, planning
from ascend_prefetch.lab.bench.layer import (
    FORMS,
    Layer,
    LayerConfig,
    TwoLayerOps,
    attention_readers,
    model_layer,
)
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.cli import main
from ascend_prefetch.lab.timing import LEVELS
from ascend_prefetch.models import get_model

MEGABYTE = 1_000_000


def test_keys(capsys):
    command = ["layer", "--model", "deepseek-v3", "--tp", "16", "--batch", "3", "--kv-len", "100"]
    command += ["--windows", "none"]
    assert main([*command, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    forms = {*FORMS, "planned", "mlapo"} - {"cmo_duplicate"}
    assert set(result["modelled_us"]) == forms | {"floor"}
    assert set(result["gain_pct"]) == forms - {"none"}
    assert result["modelled_us"]["windows"] == result["modelled_us"]["in_kernel"]
    assert result["modelled_us"]["planned"] == result["modelled_us"]["windows"]
    assert set(result["prefetch"]) == {"cmo_best", "in_kernel", "windows", "planned"}
    assert result["prefetch"]["planned"] == result["prefetch"]["windows"]
    # Without windows their length makes no difference.
    cases = result["windows_case"]
    assert cases["short"] == cases["nominal"] == cases["long"]
    for times in (*result["modelled_us"].values(), *result["gain_pct"].values()):
        assert tuple(times) == LEVELS
    for name in forms - {"none"}:
        none, us = (result["modelled_us"][form]["high"] for form in ("none", name))
        assert result["gain_pct"][name]["high"] == pytest.approx(100 * (none - us) / none)
    assert main(command) == 0
    assert "fused_no_prefetch" in capsys.readouterr().out


def test_duplicate_only_with_static_w8a8():
    def forms(quant):
        config = LayerConfig("deepseek-v2-lite", batch=2, kv_len=16, quant=quant)
        return model_layer(config)["modelled_us"]

    assert "cmo_duplicate" in forms("w8a8")
    assert "cmo_duplicate" not in forms("w8a8_dynamic")


def test_what_attention_reads():
    config = LayerConfig("deepseek-v3", batch=16, kv_len=4096)
    (attention,) = attention_readers(config, get_model("deepseek-v3"), 0)
    assert attention.nbytes == 16 * 4096 * 1152
    sparse = LayerConfig("deepseek-v3.2", batch=16, kv_len=4096)
    indexer, attention = attention_readers(sparse, get_model("deepseek-v3.2"), 0)
    assert indexer.nbytes == 16 * 4096 * 256
    assert attention.nbytes == 16 * 2048 * 1152
    short = LayerConfig("deepseek-v3.2", batch=16, kv_len=10)
    assert attention_readers(short, get_model("deepseek-v3.2"), 0)[1].nbytes == 160 * 1152


def test_floor_is_every_byte_once():
    config = LayerConfig("deepseek-v3", tp=16, batch=16, kv_len=4096, moe_bytes=428 * MEGABYTE)
    weights = 2 * (7168 * (1536 + 576) + 8 * 192 * 1536 + 2 * 8 * 128 * 512 + 7168 * 8 * 128)
    cache = 16 * 4096 * 1152
    floor = Layer(config, 0, LayerOps(config.bench())).floor_bytes
    assert 0 < floor - (weights + cache + 428 * MEGABYTE) < 300_000  # activations, tables, norms
    result = model_layer(config)["modelled_us"]
    assert result["floor"]["nominal"] == pytest.approx(floor / 1.49e6)
    for name in set(FORMS) - {"cmo_duplicate"}:
        assert all(result[name][level] > result["floor"][level] for level in LEVELS)


def test_experts_add_their_bytes():
    config = LayerConfig("deepseek-v3", tp=16, launch_us=0.0)
    experts = LayerConfig("deepseek-v3", tp=16, launch_us=0.0, moe_bytes=149 * MEGABYTE)
    without, with_experts = (model_layer(case)["modelled_us"]["none"] for case in (config, experts))
    assert with_experts["nominal"] - without["nominal"] == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--soc", "Ascend910_9362"], "no source says how fast the HBM of Ascend910_9362 is"),
        (["--soc", "Ascend1"], "unknown chip 'Ascend1'"),
        (["--tp", "3"], "tp: expected a positive divisor of the 128 heads of deepseek-v3, got 3"),
    ],
)
def test_bad_input(arguments, message, capsys):
    assert main(["layer", "--model", "deepseek-v3", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# --- what SDMA brings ---

CHIP = "Ascend910_9391"
USABLE = int(0.7 * (192 << 20))


def pieces(nbytes, warmed, windows):
    gaps = [planning.Window(name, (us, 2 * us, 3 * us), passing) for name, us, passing in windows]
    return _C.plan_sdma(CHIP, "o_proj", nbytes, warmed, gaps)


def test_sdma_fills_a_window_from_the_end_of_the_weight():
    [(offset, nbytes, reason)] = pieces(10 * MEGABYTE, 0, [("gap", 4.0, 0)])
    assert nbytes == int(4.0 * 0.285e6) // 16384 * 16384
    assert offset + nbytes == 10 * MEGABYTE
    assert reason == "HBM idles for 4.0 us, in which SDMA brings 1.14 MB"


def test_windows_share_a_weight_and_leave_what_is_warmed():
    first, second, third = pieces(
        2 * MEGABYTE, 500_000, [("a", 4.0, 0), ("b", 4.0, 0), ("c", 4.0, 0)]
    )
    assert second[0] + second[1] == first[0]
    assert second[0] == 507_904  # the next 16 KiB behind what is warmed
    assert third[1:] == (0, "nothing is left of it")


def test_nothing_across_what_nobody_knows():
    unknown, known = pieces(MEGABYTE, 0, [("a", 4.0, None), ("b", 4.0, 0)])
    assert unknown[1:] == (0, "nobody knows what passes through L2 before its use")
    assert known[1] == MEGABYTE


def test_room_in_l2_beside_what_is_in_flight():
    assert _C.l2_room(CHIP, 0) == USABLE
    assert _C.l2_room(CHIP, 1000, in_flight_bytes=200) == USABLE - 1200
    assert _C.l2_room(CHIP, USABLE, in_flight_bytes=1) == _C.l2_room(CHIP, None) == 0


def test_a_window_says_what_it_was_made_of():
    window = planning.Window(
        "all_reduce", (4.3, 9.0, 15.0), None, begins="a", ends="b", cube_cores=True
    )
    assert (window.name, window.us, window.passing_bytes) == ("all_reduce", (4.3, 9.0, 15.0), None)
    assert (window.begins, window.ends) == ("a", "b")
    assert (window.vector_cores, window.cube_cores) == (False, True)


def test_nothing_that_would_be_evicted():
    gone, kept = pieces(MEGABYTE, 0, [("a", 4.0, USABLE), ("b", 4.0, USABLE - MEGABYTE)])
    assert gone[1:] == (0, "141 MB pass through L2 before its use, which holds 141")
    assert kept[1] > 900_000


def test_what_is_in_flight_takes_room():
    """What is warmed, in whole pieces, and what earlier windows bring stays until the use."""
    warmed, (_, first, _) = 2 * 16384, pieces(8 * MEGABYTE, 16385, [("a", 4.0, 0)])[0]
    for room, expected in ((3 * 16384, 3), (3 * 16384 - 1, 2), (16384, 1), (16383, 0)):
        passing = USABLE - warmed - first - room
        _, (_, second, reason) = pieces(8 * MEGABYTE, 16385, [("a", 4.0, 0), ("b", 4.0, passing)])
        assert second == expected * 16384
        assert reason.startswith("HBM idles" if expected else "140 MB pass through L2")


def test_a_window_without_time():
    ((offset, nbytes, _),) = pieces(MEGABYTE, 0, [("a", 0.0, 0)])
    assert (offset, nbytes) == (MEGABYTE, 0)


def test_contradictions():
    with pytest.raises(ValueError, match="expected at most its 5 bytes to be warmed, got 6"):
        pieces(5, 6, [])
    with pytest.raises(ValueError, match="window 'a': expected 0 or more us, got -1.0"):
        pieces(5, 0, [("a", -1.0, 0)])


def test_without_the_prologs_of_others():
    config = LayerConfig("deepseek-v2-lite", batch=2, kv_len=16)
    whole, without = model_layer(config), model_layer(config, rivals=False)
    assert [row["name"] for row in whole["rivals"]] == ["mla_preprocess", "mla_prolog_v3"]
    assert without["rivals"] == []
    assert without["modelled_us"]["mlapo"] is without["gain_pct"]["mlapo"] is None
    assert without["modelled_us"]["windows"] == whole["modelled_us"]["windows"]


def test_ops_can_be_shared():
    shared = TwoLayerOps(LayerConfig("deepseek-v2-lite", batch=2).bench())
    for kv_len in (16, 300):
        config = LayerConfig("deepseek-v2-lite", batch=2, kv_len=kv_len)
        once, again = (model_layer(config, shared) for _ in range(2))
        assert once == again
        assert model_layer(config) == once
    other = LayerConfig("deepseek-v2-lite", batch=3)
    with pytest.raises(ValueError, match="layer_ops: expected those of BenchConfig.*tokens=3"):
        model_layer(other, shared)
