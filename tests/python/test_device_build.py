"""The device build's CMake logic, on a generated tree in place of a CANN toolkit.

No compiler of CANN runs here: what is held is which toolkits are taken, what is said about others,
and what the toolkit's own build is asked for.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_entries import CSRC, KERNEL_FILES, entries, kernel_types
from stub_toolkit import commands, make_toolkit, write

ROOT = CSRC.parent
CMAKE = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run_cmake(*arguments, home=None, soc=None):
    environment = {k: v for k, v in os.environ.items() if k not in ("SOC_VERSION", "MAKEFLAGS")}
    environment.pop("ASCEND_HOME_PATH", None)
    if home is not None:
        environment["ASCEND_HOME_PATH"] = str(home)
    if soc is not None:
        environment["SOC_VERSION"] = soc
    return subprocess.run([CMAKE, *arguments], env=environment, capture_output=True, text=True)


def configure(build, *options, **environment):
    options = [
        f"-D{option}"
        for option in ("ASCEND_PREFETCH_BUILD_TORCH=OFF", "CMAKE_BUILD_TYPE=Debug", *options)
    ]
    return run_cmake(
        "-S", ROOT, "-B", build, "-DASCEND_PREFETCH_BUILD_TESTS=OFF", *options, **environment
    )


def status(configured):
    """The line that a configure run says about its backends."""
    assert configured.returncode == 0, configured.stderr
    lines = [line for line in configured.stdout.splitlines() if "ascend_prefetch: " in line]
    assert len(lines) == 1
    return lines[0].removeprefix("-- ascend_prefetch: ")


def refusal(configured):
    """The message of a configure run that fails, unwrapped."""
    assert configured.returncode == 1
    message = configured.stderr.split("(message):\n")[1].split("Call Stack")[0]
    return " ".join(message.split())


HOST_ONLY = "or build the host backend alone with -DASCEND_PREFETCH_DEVICE=OFF"


def test_without_a_toolkit_the_host_backend_is_built(tmp_path):
    said = status(configure(tmp_path))
    assert said == "host backend only (no CANN toolkit: ASCEND_HOME_PATH and CANN_ROOT are not set)"


def test_a_toolkit_can_be_left_alone(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "9.1.0")
    said = status(configure(tmp_path / "build", "ASCEND_PREFETCH_DEVICE=OFF", home=toolkit))
    assert said == "host backend only (ASCEND_PREFETCH_DEVICE=OFF)"


@pytest.mark.parametrize("version", ["8.1.RC1", "9.1.0"])
def test_kernels_go_through_the_toolkits_build(tmp_path, version):
    toolkit = make_toolkit(tmp_path / "cann", version)
    build = tmp_path / "build"
    said = status(configure(build, "SOC_VERSION=ascend910b4-1", home=toolkit))
    assert said == f"host and device backend (CANN {version}, dav-c220, Ascend910B4-1)"

    built = run_cmake("--build", build, "--target", "ascend_prefetch_kernels", "kernel_sizes")
    assert built.returncode == 0, built.stdout + built.stderr
    device = build / "device"
    cores = {"cube": "dav-c220-cube", "vec": "dav-c220-vec"}
    folders = {"ascend_prefetch_kernels": "kernels", "ascend_prefetch_lab_kernels": "lab_kernels"}
    objects = {
        name: [
            device / "build" / f"{file.stem}_{core}.o"
            for file in KERNEL_FILES
            if (file.parent.parent.name == "lab") == ("lab" in name)
            for core in cores
        ]
        for name in folders
    }
    fatbins = {name: device / "fatbin" / name / f"{name}.o" for name in folders}
    assert commands(toolkit, "bisheng") == sorted(
        [
            f"--cce-aicore-arch={arch}",
            f"-I{CSRC}",
            "-DASCENDC_DUMP=0",
            *("-o", str(device / "build" / f"{file.stem}_{core}.o")),
            *("-c", str(file)),
        ]
        for file in KERNEL_FILES
        for core, arch in cores.items()
    )
    assert commands(toolkit, "ld.lld") == sorted(
        ["-m", "aicorelinux", *map(str, objects[name]), "-o", str(fatbins[name])]
        for name in folders
    )
    for name, folder in folders.items():
        made = {file.name: file.read_bytes() for file in (build / folder).iterdir()}
        families = ["ascend910b.o", "ascend910_93.o"]
        assert made == dict.fromkeys(families, fatbins[name].read_bytes())
    lines = [line.strip() for line in built.stdout.splitlines()]
    assert "mla_prolog_bf16              aic       20480  62 % of 32 KiB" in lines
    assert "mla_prolog_bf16              aiv       12288  75 % of 16 KiB" in lines
    assert "copy_gm_l1                   aic       20480  62 % of 32 KiB" in lines
    assert "prefetch                     aiv       12288  75 % of 16 KiB" in lines
    assert "prefetch_cube                aic       20480  62 % of 32 KiB" in lines
    assert sum("KiB" in line for line in lines) == 26 + 13


def test_the_toolkit_can_be_given(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "8.5.0")
    said = status(configure(tmp_path / "build", f"CANN_ROOT={toolkit}", home=tmp_path))
    assert said == "host and device backend (CANN 8.5.0, dav-c220, Ascend910B1)"


def test_the_environment_counts_at_every_configure(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "8.5.0")
    build = tmp_path / "build"
    assert status(configure(build)).startswith("host backend only (no CANN toolkit")
    device = "host and device backend (CANN 8.5.0, dav-c220, {})"
    assert status(configure(build, home=toolkit)) == device.format("Ascend910B1")
    said = status(configure(build, home=toolkit, soc="Ascend910_9391"))
    assert said == device.format("Ascend910_9391")
    assert status(configure(build)).startswith("host backend only (no CANN toolkit")


@pytest.mark.parametrize("version", ["8.0.RC3", "7.0.0", "10.0.0"])
def test_other_versions_are_refused(tmp_path, version):
    toolkit = make_toolkit(tmp_path / "cann", version)
    assert refusal(configure(tmp_path / "build", home=toolkit)) == (
        f"CANN_ROOT={toolkit} is CANN {version}, supported are 8.1.RC1 to 9.x: "
        f"install one of them, {HOST_ONLY}"
    )


def test_a_home_without_a_toolkit_is_refused(tmp_path):
    assert refusal(configure(tmp_path / "build", home=tmp_path)) == (
        f"CANN_ROOT={tmp_path} holds no CANN toolkit (no compiler/version.info): "
        f"source its set_env.sh, {HOST_ONLY}"
    )


def test_a_toolkit_without_its_build_files_is_refused(tmp_path):
    write(tmp_path / "cann" / "compiler" / "version.info", "version_dir=8.1.RC1\n")
    assert refusal(configure(tmp_path / "build", home=tmp_path / "cann")) == (
        f"CANN_ROOT={tmp_path / 'cann'} has no tikcpp/ascendc_kernel_cmake/ascendc.cmake: "
        f"install the toolkit package, not only the runtime, {HOST_ONLY}"
    )


def test_a_toolkit_without_a_compiler_is_refused(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "8.1.RC1")
    shutil.rmtree(toolkit / "tools" / "ccec_compiler")
    assert refusal(configure(tmp_path / "build", home=toolkit)) == (
        f"CANN_ROOT={toolkit} has no bisheng or ccec under ccec_compiler/bin: "
        f"install the toolkit package of {os.uname().machine}, {HOST_ONLY}"
    )


def test_a_device_build_needs_a_toolkit(tmp_path):
    assert refusal(configure(tmp_path, "ASCEND_PREFETCH_DEVICE=ON")) == (
        "ASCEND_PREFETCH_DEVICE=ON needs a CANN toolkit: "
        "source its set_env.sh or give -DCANN_ROOT=..."
    )


def test_unknown_architectures_are_refused(tmp_path):
    assert refusal(configure(tmp_path, "ASCEND_PREFETCH_ARCH=dav-c310")) == (
        "ASCEND_PREFETCH_ARCH=dav-c310: the kernels are written for dav-c220 alone "
        "(dav-2201 in CANN 9.x: Atlas A2 and A3); leave it out"
    )


def test_unknown_chips_are_refused(tmp_path):
    assert refusal(configure(tmp_path, "SOC_VERSION=Ascend310P3")).startswith(
        "SOC_VERSION=Ascend310P3: unknown chip, known are Ascend910B1, Ascend910B2, "
    )


def test_the_cpu_debug_library_runs_every_kernel(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "8.1.RC1")
    status(configure(tmp_path / "build", home=toolkit))
    table = tmp_path / "build" / "csrc" / "lab" / "kernel_table.inc"
    modes = {"AIV_ONLY": "AIV_MODE", "AIC_ONLY": "AIC_MODE", "MIX_AIC_1_2": "MIX_MODE"}
    assert sorted(table.read_text().splitlines()) == sorted(
        f"KERNEL({name}, {modes[kernel_types(file)[name].removeprefix('KERNEL_TYPE_')]}, "
        f"{', '.join(kind for kind, _ in parameters)})"
        for file in KERNEL_FILES
        for name, parameters, _ in entries(file.read_text())
    )


def test_the_cpu_debug_library_needs_a_toolkit(tmp_path):
    status(configure(tmp_path))
    built = run_cmake("--build", tmp_path, "--target", "ascend_prefetch_cpu_debug")
    assert built.returncode != 0
    assert (
        "the CPU-debug library needs a CANN toolkit: source its set_env.sh or give -DCANN_ROOT=..."
    ) in built.stdout.splitlines()


def test_a_toolkit_may_lack_the_cpu_debug_library(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "9.1.0")
    shutil.rmtree(toolkit / "tools" / "tikicpulib")
    status(configure(tmp_path / "build", home=toolkit))
    target = ["--target", "ascend_prefetch_cpu_debug"]
    built = run_cmake("--build", tmp_path / "build", *target)
    assert built.returncode != 0
    problem = f"CANN_ROOT={toolkit} has no tools/tikicpulib: install the toolkit package"
    assert problem in built.stdout.splitlines()


def test_the_cpu_debug_library_may_not_know_a_chip(tmp_path):
    toolkit = make_toolkit(tmp_path / "cann", "9.1.0")
    status(configure(tmp_path / "build", "SOC_VERSION=Ascend910B4-1", home=toolkit))
    target = ["--target", "ascend_prefetch_cpu_debug"]
    built = run_cmake("--build", tmp_path / "build", *target)
    assert built.returncode != 0
    problem = "the toolkit's CPU-debug library does not know Ascend910B4-1"
    assert f"{problem}: choose another SOC_VERSION" in built.stdout.splitlines()
