"""Kernel entries, read as the toolkits read them: by pattern."""

import re
from pathlib import Path

CSRC = Path(__file__).resolve().parents[2] / "csrc"
KERNEL_FILES = sorted([*CSRC.glob("kernels/*.cpp"), *CSRC.glob("lab/kernels/*.cpp")])

ENTRY = re.compile(r'extern "C" __global__ __aicore__ (.*?)\s*\{\n(.*?\n)\}', re.DOTALL)
SIGNATURE = re.compile(r"void (\w+)\(([^()]+)\)", re.DOTALL)
KERNEL_TYPE = re.compile(r"\s*KERNEL_TASK_TYPE_DEFAULT\((KERNEL_TYPE_\w+)\);")


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def entries(text):
    """(name, [[type, parameter]], statements) of every kernel of a file."""
    for signature, statements in ENTRY.findall(without_comments(text)):
        match = SIGNATURE.fullmatch(signature)
        assert match, f"not `void name(Type parameter, ...)`: {signature}"
        parameters = [parameter.split() for parameter in match[2].split(",")]
        yield match[1], parameters, statements


def kernel_types(file):
    """The kernel type of every kernel of a file, by name."""
    types = {}
    for name, _, statements in entries(file.read_text()):
        match = KERNEL_TYPE.match(statements)
        assert match, f"{name} does not begin with its kernel type"
        types[name] = match[1]
    return types
