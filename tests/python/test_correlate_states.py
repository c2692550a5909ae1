"""What the model makes of points by type, size and what was in L2 before."""

from __future__ import annotations

import dataclasses

import pytest

from ascend_prefetch import _lab
from ascend_prefetch.lab.timing import correlate, read_points
from ascend_prefetch.lab.timing.point import Point, PointKernel
from ascend_prefetch.lab.timing.worth_of_l2 import worth_of_l2
from timing_points import GEMM, write_points


def modelled_points(tmp_path, *rows):
    """The modelled times of rows, us."""
    rows = [row | {"id": str(number)} for number, row in enumerate(rows)]
    points = read_points(write_points(tmp_path / "points.csv", *rows)).points
    return [point["modelled_us"] for point in correlate(points).points]


def test_what_is_in_l2_before_a_product(tmp_path):
    """A weight of 33.5 MB: six of them are as large as L2, and then most of it still hits."""
    shape = GEMM | {"soc": "Ascend910_9391", "m": "16", "n": "8192", "k": "2048"}
    states = ["cold", "", "warm", "rotate:1", "rotate:4", "rotate:6", "rotate:7", "rotate:12"]
    rows = [shape | {"l2_state": state} for state in states]
    cold, empty, warm, one, four, six, seven, twelve = modelled_points(tmp_path, *rows)
    assert cold == empty
    assert warm == one == pytest.approx(four, rel=0.001)
    assert 0.99 * warm < six < warm + (cold - warm) / 2
    assert six < seven < cold
    # Only the left matrix, which all launches share, is in L2.
    assert cold * 0.97 < twelve < cold


def test_weights_in_l2_are_worth_what_was_measured(tmp_path):
    """Cold less warm, per MB of a bf16 weight.

    Measured are 0.47 us/MB (weights in rotation, 16 rows; hudingyi688/aiconfigurator-npu
    @11bc0ae850bb, ascend_910b/vllm-ascend/0.18.0, gemm).
    """
    shape = GEMM | {"soc": "Ascend910_9391", "m": "16", "n": "4096", "k": "4096"}
    cold, warm = modelled_points(
        tmp_path, *[shape | {"l2_state": state} for state in ("cold", "warm")]
    )
    assert 0.3 < (cold - warm) / (4096 * 4096 * 2 / 1e6) < 0.6


def test_a_quantised_product_is_two_launches(tmp_path):
    row = GEMM | {"dtype": "int8", "weight_layout": "NZ"}
    product, whole = modelled_points(tmp_path, row, row | {"kernel": "quant_gemm"})
    quantise = _lab.trace_quantise("Ascend910B1", 16, 2048, bf16=True)
    alone = _lab.Timeline("Ascend910B1", "nominal", {}).run(quantise)["us"]
    assert whole == pytest.approx(product + alone, rel=1e-6)


def test_an_fp32_product_moves_the_bytes_of_fp32(tmp_path):
    half, full = modelled_points(
        tmp_path, GEMM | {"k": "4096"}, GEMM | {"k": "2048", "dtype": "fp32"}
    )
    assert full == half


def test_large_products_are_scaled(tmp_path, monkeypatch):
    """The planner streams the weight once for every 1,024 rows."""
    net = GEMM | {"launch_included": "no"}
    trace = _lab.trace_matmul("Ascend910B1", 4096, 1024, 2048, nz=False, dtype="bf16", cores=24)
    replay = _lab.Timeline("Ascend910B1", "nominal", {}).run(trace)
    (whole,) = modelled_points(tmp_path, net | {"m": "4096"})
    assert whole == replay["end"] - replay["start"]
    replays = "ascend_prefetch.lab.timing.replays"
    monkeypatch.setattr(f"{replays}._WHOLE_PRODUCTS", 0)
    monkeypatch.setattr(f"{replays}._REPLAYED_PRODUCTS", 2048 * 1024 * 2048)
    two, four = modelled_points(tmp_path, net | {"m": "2048"}, net | {"m": "4096"})
    assert four == pytest.approx(2 * two)
    assert four == pytest.approx(whole, rel=0.1)


def test_int8_weights_are_read_around_l2(tmp_path):
    """CANN's int8 product of one tile of rows finds nothing of its weight in L2."""
    row = GEMM | {"dtype": "int8", "weight_layout": "NZ", "k": "4096", "n": "4096"}
    for rows in ("16", "128"):
        cold, six = modelled_points(
            tmp_path, *[row | {"m": rows, "l2_state": state} for state in ("cold", "rotate:6")]
        )
        # The left matrix is in L2.
        assert 0.9 * cold < six < cold
    kernel = PointKernel("quant_gemm", "Ascend910_9391", 24, 128, 4096, 4096, "int8")
    assert kernel.around_l2
    assert not dataclasses.replace(kernel, m=129).around_l2
    assert not dataclasses.replace(kernel, name="gemm", dtype="bf16").around_l2


def rotating_point(m, megabytes, us, kind="gemm", weights=6):
    kernel = PointKernel(kind, "Ascend910_9391", 24, m, int(megabytes * 1e6 / 2048), 1024)
    kernel = dataclasses.replace(kernel, dtype="bf16", weights=weights)
    return Point("p", kernel, "task", us, True)


def test_what_a_byte_in_l2_is_worth():
    """Slopes of 0.3 and 0.8 us/MB measured, 0.35 and 0.75 modelled, and an outlier in each."""
    points, modelled = [], []
    for m, start in ((1, 6.0), (16, 11.0)):
        for size in range(9, 30, 3):
            points.append(rotating_point(m, size, start + 0.3 * size))
            modelled.append(5 + 0.35 * size)
        for size in range(51, 120, 9):
            points.append(rotating_point(m, size, start + 0.8 * size))
            modelled.append(5 + 0.75 * size)
    points += [rotating_point(1, 20, 900.0), rotating_point(16, 90, 9.0)]
    modelled += [5 + 0.35 * 20, 5 + 0.75 * 90]
    # None of these counts: rows of prefill, nothing in turn, neither in L2 nor out of it.
    others = [rotating_point(256, 20, 1.0), rotating_point(1, 20, 1.0, weights=1)]
    others.append(rotating_point(1, 40, 1.0))
    worth = worth_of_l2(points + others, modelled + [7.0] * 3)
    assert worth["points"] == (15, 17)
    assert worth["measured_fit"] == pytest.approx(0.3, rel=0.01)
    assert worth["measured_saved"] == pytest.approx(0.5, rel=0.02)
    assert worth["modelled_saved"] == pytest.approx(0.4, rel=0.02)
    assert worth_of_l2(others, [7.0] * 3) is None
