"""kernel_sizes: code bytes of kernels against the instruction caches, from generated binaries."""

import os
import subprocess
from pathlib import Path

import pytest

from elf_file import K_TYPE_AIC, K_TYPE_AIV, K_TYPE_MIX_AIC_MAIN, X86_64, Function, device_binary

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ASCEND_PREFETCH_BUILD_DIR", ROOT / "build"))
TOOL = BUILD / "csrc" / "lab" / "device" / "ascend_prefetch_kernel_sizes"

BINARY = device_binary(
    [
        Function("o_proj_mix_aiv", 12 * 1024, K_TYPE_MIX_AIC_MAIN),
        Function("o_proj_mix_aic", 16 * 1024, K_TYPE_MIX_AIC_MAIN),
        Function("matmul", 40 * 1024, K_TYPE_AIC),
        Function("Gemm::Run", 3000),
        Function("prefetch", 16 * 1024 + 1, K_TYPE_AIV),
    ]
)


def run(file, content):
    file.write_bytes(content)
    return subprocess.run([TOOL, file], capture_output=True, text=True)


def test_kernels_are_listed_against_the_cache_of_their_core(tmp_path):
    assert run(tmp_path / "kernels.o", BINARY).stdout.splitlines() == [
        "kernel                       core code bytes  instruction cache",
        "matmul                       aic       40960  125 % of 32 KiB: does not fit",
        "o_proj                       aic       16384  50 % of 32 KiB",
        "o_proj                       aiv       12288  75 % of 16 KiB",
        "prefetch                     aiv       16385  100 % of 16 KiB: does not fit",
        "3000 bytes more in functions that kernels call",
    ]


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "truncated ELF file"),
        (b"\x00" * 64, "not an ELF file"),
        (BINARY[:-1], "truncated ELF file"),
        (BINARY[:4] + b"\x01" + BINARY[5:], "not a 64-bit little-endian ELF file"),
        (
            device_binary([Function("matmul", 100, K_TYPE_AIC)], machine=X86_64),
            "compiled for ELF machine 62, not for an AI core (4137)",
        ),
        (device_binary([Function("Gemm::Run", 100)]), "no kernel in it"),
        (device_binary([Function("matmul", 100, 9)]), "kernel matmul: unknown kernel type 9"),
        (
            device_binary([Function("o_proj", 100, K_TYPE_MIX_AIC_MAIN)]),
            "kernel o_proj: unknown kernel type 4",
        ),
    ],
)
def test_what_is_no_device_binary_is_refused(tmp_path, content, problem):
    file = tmp_path / "kernels.o"
    refused = run(file, content)
    assert (refused.returncode, refused.stderr) == (2, f"{file}: {problem}\n")


def test_damaged_binaries_are_read_or_refused(tmp_path):
    # Each byte of headers and tables turned over: no crash, which would be a negative status.
    text = len(BINARY) - 64 * 9
    for at in [*range(64), *range(64, text, 7), *range(text, len(BINARY), 5)]:
        damaged = bytearray(BINARY)
        damaged[at] ^= 0xFF
        assert run(tmp_path / "kernels.o", bytes(damaged)).returncode in (0, 2)


def test_a_missing_file_is_named(tmp_path):
    missing = tmp_path / "none.o"
    refused = subprocess.run([TOOL, missing], capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (2, f"{missing}: cannot be read\n")
