"""Lengths of the windows between kernels: published, of a file, and of a profile."""

import json

import pytest

from ascend_prefetch import windows
from ascend_prefetch.lab.cli import main
from ascend_prefetch.lab.window_profile import lengths_of, read_window_profile
from ascend_prefetch.windows import Lengths, published

COLUMNS = ["Name", "Type", "Accelerator Core", "Start Time(us)", "Duration(us)"]


def profile_row(kernel, duration, name=None):
    return [name or f"{kernel}_17", kernel, "MIX_AIV", "12.5", str(duration)]


def write_profile(path, rows, columns=COLUMNS):
    lines = [columns, *rows]
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


# --- published lengths ---


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_all_reduce_of_few_ranks_is_the_default(ranks):
    window = windows.all_reduce(ranks, 16 * 7168 * 2)
    assert window.us == (4.3, 9.0, 15.0)
    assert (window.provenance, window.extrapolated) == ("derived", False)


def test_all_reduce_between_ranks_and_beyond():
    assert windows.all_reduce(16, 262_144).us == (14.6, 19.4, 30.0)
    # Half way from 8 to 16 ranks.
    assert windows.all_reduce(12, 1000).us == pytest.approx((9.45, 14.2, 22.5))
    # 32 ranks: long keeps the proportion of 16 ranks, 32.4 x 30 / 19.4.
    assert windows.all_reduce(32, 1000).us == pytest.approx((28.5, 32.4, 50.103), abs=1e-3)
    beyond = windows.all_reduce(64, 1000)
    assert beyond.us == windows.all_reduce(32, 1000).us
    assert beyond.extrapolated


def test_all_reduce_grows_with_its_message():
    # 8 ranks: 23.0 - 8.7 = 14.3 us more for 2 MiB, half of that half way there.
    half = (262_144 + (2 << 20)) // 2
    assert windows.all_reduce(8, half).us == pytest.approx((11.45, 16.15, 22.15))
    whole = windows.all_reduce(8, 2 << 20)
    assert whole.us == pytest.approx((18.6, 23.3, 29.3))
    assert (whole.provenance, whole.extrapolated) == ("derived", False)
    more = windows.all_reduce(8, (2 << 20) + 1)
    assert more.us == whole.us
    assert more.extrapolated
    # Nobody published 2 MiB on 4 ranks.
    assert windows.all_reduce(4, half).extrapolated


def test_all_gather_is_scaled_as_the_all_reduce():
    # 13.5 x 4.3 / 9 and 13.5 x 15 / 9; 31.8 x 14.6 / 19.4 and 31.8 x 30 / 19.4.
    assert windows.all_gather(8, 1000).us == pytest.approx((6.45, 13.5, 22.5))
    assert windows.all_gather(16, 1000).us == pytest.approx((23.932, 31.8, 49.175), abs=1e-3)
    assert not windows.all_gather(8, 1000).extrapolated
    nearest = windows.all_gather(4, 1000)
    assert nearest.us == windows.all_gather(8, 1000).us
    assert nearest.extrapolated
    assert windows.all_gather(8, 262_145).extrapolated


def test_exchange_of_few_tokens_is_the_default():
    for tokens in (1, 4, 7):
        assert windows.dispatch(16, tokens).us == (45.0, 63.0, 150.0)
        assert windows.combine(16, tokens).us == (27.0, 80.0, 140.0)
    assert not windows.dispatch(256, 4).extrapolated
    assert windows.combine(64, 4).extrapolated
    assert windows.dispatch(4, 4).extrapolated


def test_exchange_between_token_counts():
    # EP16 with 128 tokens: 139 and 135; short 116 / 132 and 118 / 126 of it, long 87 and 60 more.
    many = windows.dispatch(16, 128)
    assert many.us == pytest.approx((139 * 116 / 132, 139, 226))
    assert windows.combine(16, 128).us == pytest.approx((135 * 118 / 126, 135, 195))
    # 68 tokens are (68 - 7) / 121 of the way.
    share = 61 / 121
    between = windows.dispatch(16, 68)
    assert between.us.nominal == pytest.approx(63 + share * (139 - 63))
    assert between.us.short == pytest.approx(45 + share * (139 * 116 / 132 - 45))
    assert (between.provenance, between.extrapolated) == ("derived", False)
    assert windows.dispatch(16, 129).us == many.us
    assert windows.dispatch(16, 129).extrapolated


def test_sparse_attention():
    # The published point: 9 queries, 20,000 cached tokens, 2,048 of them selected.
    assert windows.indexer(9, 20_000).us.nominal == 67.98
    assert windows.sparse_attention(9, 2048).us == (86.0, 91.8, 115.1)
    # The indexer scales with cached tokens, attention with the selected ones.
    assert windows.indexer(9, 10_000).us.nominal == pytest.approx(33.99)
    assert windows.sparse_attention(9, 1024).us.nominal == pytest.approx(45.9)
    # 16 queries: a third of the way from 15 to 18.
    assert windows.sparse_attention(16, 2048).us.nominal == pytest.approx(93.7 - 0.3 / 3)
    assert not windows.sparse_attention(16, 2048).extrapolated
    assert windows.sparse_attention(9, 2048).provenance == "published"
    assert windows.sparse_attention(16, 2048).provenance == "derived"
    assert windows.sparse_attention(9, 1024).provenance == "derived"
    assert windows.sparse_attention(28, 2048).extrapolated
    assert windows.indexer(2, 20_000).extrapolated


def test_a_launch_is_not_scaled():
    # 4.2 us of 67.98 are a launch, of the rest half remains; 91.8 likewise.
    assert windows.indexer(9, 10_000, 4.2).us.nominal == pytest.approx(4.2 + 63.78 / 2)
    assert windows.sparse_attention(9, 1024, 4.2).us.nominal == pytest.approx(4.2 + 87.6 / 2)
    assert windows.sparse_attention(9, 2048, 4.2).us == (86.0, 91.8, 115.1)
    # More than the shortest of all lengths, 38.02.
    assert windows.indexer(9, 10_000, 50.0).us.short == 50.0


def test_a_25th_query_needs_a_second_round():
    second = windows.sparse_attention(27, 2048)
    assert second.us == (150.4, 155.1, 165.7)
    assert second.provenance == "published"
    for queries in (25, 26):
        window = windows.sparse_attention(queries, 2048)
        assert (window.us, window.provenance) == (second.us, "derived")
        assert not window.extrapolated
    assert windows.sparse_attention(24, 2048).us.nominal == 93.6


def test_what_is_not_published_as_it_is_is_derived():
    # Nobody published how long they take at the longest with more than 8 ranks.
    for ranks in (9, 12, 16, 32):
        assert windows.all_reduce(ranks, 1000).provenance == "assumed"
        assert windows.all_gather(ranks, 1000).provenance == "assumed"
    assert windows.all_gather(8, 1000).provenance == "derived"
    assert windows.norm(9).provenance == windows.top_k(3).provenance == "published"
    assert windows.norm(10).provenance == windows.top_k(8).provenance == "derived"
    for tokens in (1, 7, 128):
        assert windows.dispatch(16, tokens).provenance == "derived"
        assert windows.combine(16, tokens).provenance == "derived"


def test_top_k_has_minimum_median_and_maximum():
    assert windows.top_k(1).us == (3.38, 3.86, 7.20)
    assert windows.top_k(256).us == (19.66, 23.76, 32.04)


def test_dense_attention_reads_at_the_published_share():
    window = windows.dense_attention(75_497_472)
    assert window.us.nominal == pytest.approx(75_497_472 / (0.841 * 1.6e6))
    assert window.us.short == window.us.long == window.us.nominal
    assert window.hbm == "published"
    launched = windows.dense_attention(75_497_472, launch_us=4.2)
    assert launched.us.nominal == pytest.approx(4.2 + window.us.nominal)
    assert windows.dense_attention(75_497_472, 0.5).us.nominal == 2 * window.us.nominal


def test_every_published_length_is_ordered():
    tables = [value for name, value in vars(published).items() if name.isupper()]
    found = [one for value in tables for one in (value.values() if isinstance(value, dict) else [])]
    found += [value for value in tables if isinstance(value, Lengths)]
    lengths = [one for one in found if isinstance(one, Lengths)]
    assert len(lengths) > 30
    for short, nominal, long in lengths:
        assert 0 < short <= nominal <= long


# --- a profile ---


def test_lengths_of_few_and_of_many_rows():
    assert lengths_of([3.0, 1.0, 2.0]) == {"short": 1.0, "nominal": 2.0, "long": 3.0, "count": 3}
    many = lengths_of([float(us) for us in range(1, 21)])
    assert many == {"short": 2.0, "nominal": 10.5, "long": 18.0, "count": 20}


def test_a_profile_becomes_a_file(tmp_path, capsys):
    rows = [profile_row("hcom_allReduce_", us) for us in (9.5, 4.5, 30.0)]
    rows += [profile_row("N/A", 8.5, "hcom_allReduce__417_3_1")]
    rows += [profile_row("MoeDistributeDispatchV2", 60.0), profile_row("MatMulV2", 12.0)]
    rows += [profile_row("LightningIndexer", 0), profile_row("AddRmsNormBias", 4.0)]
    path = write_profile(tmp_path / "kernel_details.csv", rows)
    out = tmp_path / "windows.json"
    command = ["windows", "--profile", str(path), "--out", str(out), "--json", "-"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["windows"] == {
        "all_reduce": {
            "short": 4.5, "nominal": 9.0, "long": 30.0, "count": 4,
            "kernels": {"hcom_allReduce_": 4},
        },
        "dispatch": {
            "short": 60.0, "nominal": 60.0, "long": 60.0, "count": 1,
            "kernels": {"MoeDistributeDispatchV2": 1},
        },
        "norm": {
            "short": 4.0, "nominal": 4.0, "long": 4.0, "count": 1,
            "kernels": {"AddRmsNormBias": 1},
        },
    }  # fmt: skip
    assert json.loads(out.read_text())["windows"] == result["windows"]
    assert windows.read_window_file(out).us["all_reduce"] == (4.5, 9.0, 30.0)
    assert main(command[:-2]) == 0
    assert "hcom_allReduce_ 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "window", "kernel"),
    [
        ("aclnnMoeDistributeDispatchV2_MoeDistributeDispatchV2_MoeDistributeDispatchV2",
         "dispatch", "MoeDistributeDispatchV2"),
        ("aclnnAddRmsNorm_AddRmsNormAiCore_AddRmsNorm", "norm", "AddRmsNorm"),
        ("aclnnX_MoeGatingTopK_42", "top_k", "MoeGatingTopK"),
        ("LightningIndexer_17", "indexer", "LightningIndexer"),
        ("hcom_allGather__417_3_1", "all_gather", "hcom_allGather_"),
        ("aclnnAddRmsNormQuant_AddRmsNormQuantAiCore_AddRmsNormQuant", None, None),
        ("aclnnMoeGatingTopKSoftmax_MoeGatingTopKSoftmax", None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("typed", ["N/A", None])
def test_kernels_by_name(name, window, kernel, typed, tmp_path):
    """Level0 has no op types: a name has the type as a part, first, last or between."""
    columns = COLUMNS if typed else [column for column in COLUMNS if column != "Type"]
    rows = [
        profile_row(typed or "", 5.0, name),
        profile_row(typed or "", 8.0, "SparseFlashAttention"),
    ]
    if not typed:
        rows = [[row[0], *row[2:]] for row in rows]
    found = read_window_profile(write_profile(tmp_path / "p.csv", rows, columns)).windows
    assert found.pop("sparse_attention")["nominal"] == 8.0
    assert {key: row["kernels"] for key, row in found.items()} == (
        {window: {kernel: 1}} if window else {}
    )


def test_a_type_begins_with_its_kernel(tmp_path):
    rows = [profile_row("hcom_allReduce_", 7.0), profile_row("Fused_LightningIndexer", 9.0)]
    found = read_window_profile(write_profile(tmp_path / "p.csv", rows))
    assert set(found.windows) == {"all_reduce"}


def test_a_damaged_line_costs_that_line(tmp_path):
    rows = [profile_row("hcom_allReduce_", "12us"), profile_row("hcom_allReduce_", 7.0)]
    found = read_window_profile(write_profile(tmp_path / "p.csv", [*rows, ["cut", "off"]]))
    assert found.windows["all_reduce"]["count"] == 1
    assert set(found.damaged) == {2, 4}
    assert "expected us from 0.001" in found.damaged[2]
    assert found.damaged[4] == "expected 5 cells, got 2"


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (COLUMNS, [profile_row("MatMulV2", 5.0)], "no kernel of a window in its 1 row: expected"),
        (["Name", "Type"], [["a", "b"]], "with the columns Type or Name, and Duration(us)"),
        (["Step", "Computing", "Communication(Not Overlapped)"], [], "step_trace_time.csv"),
        (
            [*COLUMNS, "Task Duration(us)"],
            [],
            "expected one of the columns Task Duration(us) and Dur",
        ),
        ([*COLUMNS, "Type"], [], "the column Type is there twice"),
    ],
)
def test_other_profiles_are_refused(columns, rows, message, tmp_path, capsys):
    path = write_profile(tmp_path / "p.csv", rows, columns)
    out = tmp_path / "windows.json"
    assert main(["windows", "--profile", str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_profiles_that_are_no_tables(tmp_path, capsys):
    path, out = tmp_path / "p.csv", str(tmp_path / "windows.json")
    for content, message in ((b"", "it is empty"), (b'{"a": 1}', "but it is JSON")):
        path.write_bytes(content)
        assert main(["windows", "--profile", str(path), "--out", out]) == 2
        assert message in capsys.readouterr().err
    assert main(["windows", "--profile", str(tmp_path / "none.csv"), "--out", out]) == 2
    assert "none.csv" in capsys.readouterr().err


# --- a file of lengths ---


def lengths(short=1.0, nominal=2.0, long=3.0):
    return {"short": short, "nominal": nominal, "long": long, "count": 5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected the lengths of windows, as the verb windows writes them"),
        ({"windows": {}}, "expected the lengths of windows"),
        ({"windows": {"lunch": lengths()}}, "windows: expected names of all_reduce, all_gather"),
        ({"windows": {"combine": 5}}, "combine: expected short, nominal, long in us, got 5"),
        ({"windows": {"combine": lengths(short=0)}}, "combine: short: expected us, above 0"),
        ({"windows": {"combine": lengths(long=True)}}, "combine: long: expected us"),
        ({"windows": {"combine": {"short": 1}}}, "combine: nominal: expected us"),
        (
            {"windows": {"combine": lengths(short=9)}},
            "combine: expected short <= nominal <= long, got 9 / 2 / 3 us",
        ),
    ],
)
def test_contradictory_files_are_refused(content, message, tmp_path, capsys):
    path = tmp_path / "windows.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert main(["layer", "--model", "deepseek-v3", "--windows", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error
    assert error.count("\n") == 1
