"""Recognises the profilers' other files, to name a file that holds no matrix products.

The columns are from the exporters' own lists (Ascend/msprof msconfig/msprof_export_data_config.py,
Ascend/pytorch torch_npu/profiler/analysis) and the pages on each file beside
https://www.hiascend.com/document/detail/en/canncommercial/850/devaids/profiling/
atlasprofiling_16_0057.html.
"""

from __future__ import annotations

from collections.abc import Sequence

WANTED = (
    "op_summary_*.csv of msprof, kernel_details.csv of torch_npu, the .db or directory of either"
)

# For each file: its name, what it holds, and columns that the files above it do not have.
_TABLES = (
    ("step_trace_time.csv", "the times of steps", ("Computing", "Communication(Not Overlapped)")),
    ("step_trace_*.csv", "the times of iterations", ("Iteration ID", "Iteration Time(us)")),
    ("api_statistic_*.csv", "sums over the calls of host functions", ("Level", "API Name")),
    (
        "op_statistic_*.csv",
        "sums over the calls of each op type",
        ("OP Type", "Core Type", "Count"),
    ),
    ("communication_statistic_*.csv", "sums over collectives", ("OP Type", "Count")),
    ("task_time_*.csv", "tasks without their ops", ("kernel_name", "kernel_type")),
    ("task_time_*.csv", "tasks without their shapes", ("Waiting(us)", "Pending(us)")),
    ("operator_details.csv", "ops of the framework", ("Host Self Duration(us)",)),
    ("fusion_op_*.csv", "which ops were fused", ("Fusion Op", "Original Ops")),
    ("operator_memory_*.csv", "the memory of ops", ("Name", "Allocation Time(us)")),
    ("memory_record_*.csv", "memory over time", ("Component", "Timestamp(us)")),
    ("npu_mem_*.csv", "memory over time", ("event", "timestamp(us)")),
    ("aicpu_*.csv", "ops of the AI CPU", ("Node", "Compute_time(us)")),
    ("msprof_tx_*.csv", "the user's own ranges", ("event_type", "message_type")),
    ("l2_cache_*.csv", "hits in L2", ("Hit Rate", "Victim Rate")),
)

# The first bytes of files that are not tables, and their formats.
_FORMATS = (
    (b"PK\x03\x04", "a ZIP archive or a workbook"),
    (b"\x1f\x8b", "compressed by gzip: unpack it"),
    (b"\xff\xfe", "text in UTF-16: save it in UTF-8"),
    (b"\xfe\xff", "text in UTF-16: save it in UTF-8"),
    (b"\x89PNG", "a picture"),
)


def what_format(start: bytes) -> str:
    """The format of a file that is not a table, by its first bytes; "" if unknown."""
    for magic, name in _FORMATS:
        if start.startswith(magic):
            return name
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        return "JSON, such as the profilers' trace_view.json and msprof_*.json"
    return ""


def what_table(columns: Sequence[str]) -> str:
    """The other file of a profile that has these columns, and its content; "" if unknown."""
    for name, holds, own in _TABLES:
        if all(column in columns for column in own):
            return f"{name}, which holds {holds}"
    return ""
