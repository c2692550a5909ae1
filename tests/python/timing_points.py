"""Points files and profiles for tests of the timing model."""

from ascend_prefetch.lab.timing import COLUMNS

GEMM = {
    "id": "a",
    "kernel": "gemm",
    "soc": "Ascend910B1",
    "aic": "24",
    "aiv": "0",
    "dtype": "bf16",
    "m": "16",
    "n": "1024",
    "k": "2048",
    "weight_layout": "ND",
    "metric": "task",
    "value_us": "10",
    "launch_included": "yes",
}
COPY = GEMM | {
    "id": "copy",
    "kernel": "copy_gm_ub",
    "aic": "0",
    "aiv": "48",
    "m": "1024",
    "n": "4096",
    "k": "",
    "tile": "128KB rows of 2KB",
    "metric": "mte2",
    "launch_included": "no",
}


def write_points(path, *rows):
    lines = [",".join(COLUMNS)]
    lines += [",".join(str(row.get(column, "")) for column in COLUMNS) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


# As msprof of CANN 8 writes it: shapes in quotes of their own, a tab after the start.
OP_SUMMARY_COLUMNS = (
    "Device_id,Model ID,Task ID,Stream ID,Op Name,OP Type,OP State,Task Type,Task Start Time(us),"
    "Task Duration(us),Task Wait Time(us),Block Dim,Mix Block Dim,HF32 Eligible,Input Shapes,"
    "Input Data Types,Input Formats,Output Shapes,Output Data Types,Output Formats,Context ID"
)


def op_summary_row(
    op="MatMulV2",
    core="AI_CORE",
    us="120.0",
    blocks="24",
    shapes="16,5120;17408,5120",
    types="DT_BF16;DT_BF16",
    formats="ND;ND",
    output="16,17408",
):
    return (
        f"0,4294967295,7,2,aclnnMm_{op},{op},dynamic,{core},1719392030.10\t,{us},0.1,{blocks},0,NO,"
        f'"""{shapes}""",{types},{formats},"""{output}""",DT_BF16,ND,N/A'
    )


def write_op_summary(path, *rows, columns=OP_SUMMARY_COLUMNS):
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path
