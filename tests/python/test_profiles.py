"""Profiles as databases and as the directories that the profilers write."""

import json
import sqlite3
from contextlib import closing

import pytest

from ascend_prefetch.lab.cli import main
from ascend_prefetch.lab.timing import read_points
from ascend_prefetch.lab.timing.profiles import open_table
from ascend_prefetch.lab.window_profile import read_window_profile

SOC = "Ascend910B3"
COLUMNS = (
    "Name,Type,Accelerator Core,Duration(us),Block Num,Input Shapes,Input Data Types,Input Formats,"
    "Output Shapes"
)
GEMM = ("MatMulV3", "AI_CORE", "16,2048;4096,2048", "DT_BF16;DT_BF16", "ND;ND", "16,4096")
INT8 = (
    "QuantBatchMatmulV3",
    "MIX_AIC",
    "16,7168;66,448,16,32;2112;16",
    "INT8;INT8;FLOAT;FLOAT",
    "ND;FRACTAL_NZ;ND;ND",
    "16,2112",
)
NORM = ("AddRmsNorm", "AI_VECTOR_CORE", "16,7168;16,7168", "DT_BF16;DT_BF16", "ND;ND", "16,7168")
TABLES = {
    "COMPUTE_TASK_INFO": (
        "name, globalTaskId, blockNum, taskType, opType, inputFormats, inputDataTypes, "
        "inputShapes, outputShapes"
    ),
    "TASK": "startNs, endNs, globalTaskId",
    "COMMUNICATION_OP": "opName, startNs, endNs, opType",
    "STRING_IDS": "id, value",
}


def write_database(path, ops=(), collectives=(), tables=TABLES):
    """A database with the tables and columns that msprof documents.

    Args:
        path: the file.
        ops: (op type, core, shapes, types, formats, output shapes) and us of each.
        collectives: op type and us of each.
        tables: columns by table.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    strings = {}

    def number(text):
        return strings.setdefault(text, len(strings) + 100)

    with closing(sqlite3.connect(path)) as database:
        for table, columns in tables.items():
            database.execute(f"CREATE TABLE {table} ({columns})")

        def insert(table, **values):
            there = [name.strip() for name in tables[table].split(",")]
            kept = {name: value for name, value in values.items() if name in there}
            marks = ", ".join("?" * len(kept))
            database.execute(
                f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({marks})", [*kept.values()]
            )

        start = 1_000_000
        for task, ((op, core, shapes, types, formats, output), us) in enumerate(ops):
            texts = {"name": f"aclnn_{op}", "opType": op, "taskType": core, "inputShapes": shapes}
            texts |= {"inputDataTypes": types, "inputFormats": formats, "outputShapes": output}
            keys = {name: number(text) for name, text in texts.items()}
            insert("COMPUTE_TASK_INFO", globalTaskId=task, blockNum=20, blockDim=20, **keys)
            # A duration that is no number leaves a row without one.
            end = None if us is None else start + round(us * 1000)
            insert("TASK", startNs=start, endNs=end, globalTaskId=task)
            start += 100_000
        for op, us in collectives:
            insert(
                "COMMUNICATION_OP",
                opName=number(f"{op}_428_0_1"),
                opType=number(op),
                startNs=start,
                endNs=start + round(us * 1000),
            )
            start += 100_000
        for text, key in strings.items():
            if "STRING_IDS" in tables:
                database.execute("INSERT INTO STRING_IDS VALUES (?, ?)", (key, text))
        database.commit()
    return path


def write_details(path, ops):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [COLUMNS]
    for (op, core, shapes, types, formats, output), us in ops:
        lines.append(f'aclnn_{op},{op},{core},{us},20,"{shapes}",{types},{formats},"{output}"')
    path.write_text("\n".join(lines) + "\n")
    return path


OPS = [(GEMM, 30.0), (INT8, 42.5), (GEMM, 32.0), (NORM, 4.125)]


def test_a_database_is_the_table_that_would_be_written(tmp_path):
    database = write_database(tmp_path / "msprof_1.db", OPS)
    table = write_details(tmp_path / "kernel_details.csv", OPS)
    found, expected = read_points(database, SOC), read_points(table, SOC)
    assert found == expected
    assert [(point.id, point.measured_us) for point in found.points] == [
        ("MatMulV3 16x4096x2048 bf16 ND", 31.0),
        ("QuantBatchMatmulV3 16x2112x7168 int8 NZ MIX_AIC", 42.5),
    ]
    assert found.skipped == {"another op": 1}


def test_older_columns_and_missing_ones(tmp_path):
    older = TABLES | {
        "COMPUTE_TASK_INFO": TABLES["COMPUTE_TASK_INFO"]
        .replace("blockNum", "blockDim")
        .replace(", inputFormats", "")
    }
    (point, _) = read_points(write_database(tmp_path / "a.db", OPS, tables=older), SOC).points
    assert point.id == "MatMulV3 16x4096x2048 bf16 ND"
    # Level0: ops without shapes.
    level0 = {**TABLES, "COMPUTE_TASK_INFO": "name, globalTaskId, taskType, opType"}
    with pytest.raises(ValueError, match="a profile without shapes: it was taken at Level0"):
        read_points(write_database(tmp_path / "b.db", OPS, tables=level0), SOC)


def test_rows_of_a_database_without_time(tmp_path):
    path = write_database(tmp_path / "msprof.db", [(GEMM, 30.0), (GEMM, None), (GEMM, 0.0)])
    found = read_points(path, SOC)
    assert [point.measured_us for point in found.points] == [30.0]
    assert found.skipped == {"a product without a duration": 2}


def test_windows_of_a_database(tmp_path):
    collectives = [("hcom_allReduce_", 9.5), ("hcom_allReduce_", 4.5), ("hcom_send_", 1.0)]
    path = write_database(tmp_path / "msprof.db", OPS, collectives)
    found = read_window_profile(path)
    assert found.windows["all_reduce"] == {
        "short": 4.5,
        "nominal": 7.0,
        "long": 9.5,
        "count": 2,
        "kernels": {"hcom_allReduce_": 2},
    }
    assert found.windows["norm"]["nominal"] == 4.125
    assert (found.rows, found.skipped, found.damaged) == (7, {"a kernel of no window": 4}, {})


def test_what_is_no_profile_in_a_database(tmp_path):
    def refuses(path, message):
        with pytest.raises(ValueError) as error:
            read_points(path, SOC)
        assert str(error.value).startswith(f"{path}: {message}")

    others = {"STRING_IDS": "id, value", "TASK": "startNs, endNs, globalTaskId"}
    path = write_database(tmp_path / "analysis.db", tables=others)
    refuses(
        path, "expected op_summary_*.csv of msprof, kernel_details.csv of torch_npu, the .db or"
    )
    with pytest.raises(
        ValueError, match="it is a database without COMPUTE_TASK_INFO: expected msp"
    ):
        read_points(path, SOC)
    path = write_database(tmp_path / "c.db", tables=TABLES | {"TASK": "startNs, globalTaskId"})
    refuses(path, "table TASK: expected a column endNs, got globalTaskId, startNs")
    path = write_database(tmp_path / "empty.db")
    refuses(path, "there is no row in it")
    path = tmp_path / "header.db"
    path.write_bytes(b"SQLite format 3\0\x10\0")
    refuses(path, "a damaged database: ")


def test_a_database_that_is_cut_off(tmp_path):
    path = write_database(tmp_path / "msprof.db", [(GEMM, 30.0 + us) for us in range(2000)])
    path.write_bytes(path.read_bytes()[: 5 * 4096])
    with pytest.raises(ValueError, match=f"^{path}: a damaged database: "):
        read_points(path, SOC)
    with pytest.raises(ValueError, match=f"^{path}: a damaged database: "):
        read_window_profile(path)


def test_reading_writes_nothing(tmp_path):
    path = write_database(tmp_path / "odd name?#%41.db", OPS)
    before = path.read_bytes()
    assert len(read_points(path, SOC).points) == 2
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


# --- directories ---


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("run_ascend_pt/ASCEND_PROFILER_OUTPUT/kernel_details.csv", write_details),
        ("PROF_1/mindstudio_profiler_output/op_summary_2026.csv", write_details),
        ("PROF_1/msprof_2026.db", write_database),
        ("ASCEND_PROFILER_OUTPUT/ascend_pytorch_profiler_0.db", write_database),
    ],
)
def test_the_profile_of_a_directory(tmp_path, name, write):
    path = write(tmp_path / name, OPS)
    # What lies beside it: raw data, and other tables.
    (path.parent / "op_statistic_1.csv").write_text("OP Type,Core Type,Count\n")
    write_database(path.parent / "analysis.db", tables={"SESSION": "a"})
    (path.parent / "raw.db").write_bytes(b"\x01\x02")
    for directory in (path.parent, tmp_path):
        with open_table(directory) as table:
            assert table.path == path
        assert read_points(directory, SOC) == read_points(path, SOC)
        assert read_window_profile(directory) == read_window_profile(path)


def test_a_run_is_read_once(tmp_path):
    """The tables of torch_npu come before those of msprof, and tables before databases."""
    write_database(tmp_path / "PROF_1" / "msprof_1.db", OPS)
    summary = write_details(tmp_path / "PROF_1" / "out" / "op_summary_1.csv", OPS)
    with open_table(tmp_path) as table:
        assert table.path == summary
    details = write_details(tmp_path / "ASCEND_PROFILER_OUTPUT" / "kernel_details.csv", OPS)
    with open_table(tmp_path) as table:
        assert table.path == details


def test_directories_that_are_no_profile(tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path}: expected op_summary_.* in it, found none$"):
        read_window_profile(tmp_path)
    for rank in range(4):
        write_details(tmp_path / f"rank{rank}" / "kernel_details.csv", OPS)
    message = (
        f"^{tmp_path}: expected the profile of one device, found 4: rank0/kernel_details.csv, "
        "rank1/kernel_details.csv, rank2/kernel_details.csv, ...; name one of them$"
    )
    with pytest.raises(ValueError, match=message):
        read_points(tmp_path, SOC)


# --- the command line ---


def test_a_served_w8a8_model_calibrates(capsys, tmp_path):
    """Every product of a step is a QuantBatchMatmul."""
    directory = tmp_path / "PROF_1"
    small = ("QuantBatchMatmulV3", "AI_CORE", "16,2048;64,128,16,32", *INT8[3:5], "16,2048")
    write_database(directory / "msprof.db", [(INT8, 30.0), (small, 9.0), (NORM, 4.0)] * 3)
    points = ["--points", str(directory), "--soc", SOC]
    assert main(["correlate", *points, "--json", "-"]) == 0
    correlation = json.loads(capsys.readouterr().out)
    assert [point["id"] for point in correlation["points"]] == [
        "QuantBatchMatmulV3 16x2112x7168 int8 NZ MIX_AIC",
        "QuantBatchMatmulV3 16x2048x2048 int8 NZ",
    ]
    assert correlation["skipped"] == {"another op": 3}
    out = tmp_path / "chip.json"
    assert main(["calibrate", *points, "--out", str(out), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mape_after"] <= result["mape_before"] == correlation["mape"]
    assert result["skipped"] == {"another op": 3}
    assert main(["correlate", "--points", str(directory), "--soc", str(out)]) == 0


def test_windows_says_what_it_skipped(capsys, tmp_path):
    write_database(tmp_path / "PROF_1" / "msprof.db", OPS, [("hcom_allReduce_", 9.5)])
    out = tmp_path / "windows.json"
    assert main(["windows", "--profile", str(tmp_path / "PROF_1"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("windows of PROF_1, us")
    assert "3 rows skipped: 3 of a kernel of no window" in printed
    assert json.loads(out.read_text())["skipped"] == {"a kernel of no window": 3}
