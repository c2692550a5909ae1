"""What a bug report needs to know about the machine, and nothing about its user.

Imports neither torch nor the package's modules at its top: it is asked for most where those do not
load.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ascend_prefetch.files import whole_file
from ascend_prefetch.version import __version__

_PACKAGES = (
    "torch", "torch-npu", "vllm", "vllm-ascend", "transformers", "safetensors", "numpy",
    "matplotlib", "pybind11",
)  # fmt: skip

# Where CANN and the driver state their versions (hiascend.com, "Querying the Software Package
# Version"); set_env.sh of CANN sets the variables.
_CANN_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
_CANN = Path("/usr/local/Ascend/ascend-toolkit/latest")
_DRIVER = Path("/usr/local/Ascend/driver/version.info")
DEV = Path("/dev")
"""Where device files are."""

_PLUGIN_GROUP = "vllm.general_plugins"
_PLUGIN = "ascend_prefetch"

# Variables that decide how NPUs, vLLM and this package run; none holds addresses, interfaces or
# tokens.
_VARIABLE_PREFIXES = ("ASCEND_", "VLLM_ASCEND_")
_VARIABLES = (
    "VLLM_PLUGINS", "VLLM_USE_V1", "VLLM_WORKER_MULTIPROC_METHOD", "COMPILE_CUSTOM_KERNELS",
    "SOC_VERSION", "PYTORCH_NPU_ALLOC_CONF", "TASK_QUEUE_ENABLE", "CPU_AFFINITY_CONF",
    "TORCH_DEVICE_BACKEND_AUTOLOAD", "HCCL_OP_EXPANSION_MODE", "HCCL_BUFFSIZE",
    "HCCL_DETERMINISTIC", "OMP_NUM_THREADS", "OMP_PROC_BIND", "LD_PRELOAD",
)  # fmt: skip

# Paths that are the same on every machine; other paths may contain names of users.
_PUBLIC_PATHS = ("/usr/", "/opt/")

_SECONDS = 20

Probes = Mapping[str, Callable[[], Any]]


def probe(probes: Probes) -> dict[str, Any]:
    """The result of each probe, or one line that says that it failed.

    The line leaves out the message of the error, which may contain paths.
    """
    found: dict[str, Any] = {}
    for name, function in probes.items():
        try:
            found[name] = function()
        except Exception as error:
            found[name] = f"failed: {type(error).__name__}"
    return found


def collect() -> dict[str, dict[str, Any]]:
    """The results of all probes, by section."""
    return {
        "ascend_prefetch": probe(
            {
                "version": lambda: __version__,
                "build": _build,
                "backends": _backends,
            }
        ),
        "python": probe(
            {
                "version": platform.python_version,
                "implementation": platform.python_implementation,
                "torch threads": lambda: import_module("torch").get_num_threads(),
                "torch C++11 ABI": lambda: import_module("torch").compiled_with_cxx11_abi(),
            }
        ),
        "packages": probe({name: _version_of(name) for name in _PACKAGES}),
        "ascend": probe(
            {
                "CANN": _cann_version,
                "driver": lambda: _version_in(_DRIVER),
                "npu-smi": _npu_smi,
                "devices": _devices,
                "torch of torch-npu": _torch_of_torch_npu,
                "torch.npu": _torch_npu,
            }
        ),
        "vllm plugin": probe(
            {
                "entry point": _entry_point,
                "VLLM_PLUGINS": _allowed_by_vllm,
                "vllm-ascend": _seam,
                "switch": _switch,
            }
        ),
        "tools": probe(
            {name: _first_line(name, "--version") for name in ("g++", "cmake", "ninja")}
        ),
        "host": probe(
            {
                "os": lambda: platform.freedesktop_os_release()["PRETTY_NAME"],
                "kernel": platform.release,
                "libc": lambda: " ".join(platform.libc_ver()),
                "machine": platform.machine,
                "cpu": _cpu_name,
                "cpus": lambda: len(os.sched_getaffinity(0)),
                "memory_gb": _memory_gb,
            }
        ),
        "environment": probe(
            {
                name: partial(public_value, value)
                for name, value in sorted(os.environ.items())
                if name.startswith(_VARIABLE_PREFIXES) or name in _VARIABLES
            }
        ),
    }


def public_value(value: str) -> str:
    """A variable's value with the paths hidden that may contain names; colons separate paths."""
    parts = value.split(":")
    hidden = ["/" in part and not part.startswith(_PUBLIC_PATHS) for part in parts]
    return ":".join("<path>" if hide else part for part, hide in zip(parts, hidden, strict=True))


def device_files(dev: Path = DEV) -> list[Path]:
    """What the driver shows of NPUs, by number: davinci0, davinci1 and so on.

    Args:
        dev: where device files are.
    """
    numbered = [(re.fullmatch(r"davinci(\d+)", path.name), path) for path in dev.iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


def _build() -> dict[str, Any]:
    from ascend_prefetch import _C

    return _C.build_info()


def _backends() -> dict[str, bool]:
    from ascend_prefetch.backend import backends

    return {name: found.available for name, found in backends().items()}


def _version_of(package: str) -> Callable[[], str]:
    def version() -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    return version


def _cann_version() -> str:
    homes = [Path(os.environ[name]) for name in _CANN_VARIABLES if name in os.environ]
    for home in [*homes, _CANN]:
        info = home / f"{platform.machine()}-linux" / "ascend_toolkit_install.info"
        if info.exists():
            return _version_in(info)
    return "not found"


def _version_in(info: Path) -> str:
    """The line `version=...` of an information file, whose other lines contain paths."""
    if not info.exists():
        return "not found"
    match = re.search(r"^version=(.*)$", info.read_text(), re.IGNORECASE | re.MULTILINE)
    return match[1].strip() if match else "no version"


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except FileNotFoundError:
        return None
    return done.stdout


def _first_line(*command: str) -> Callable[[], str]:
    def line() -> str:
        output = _output(*command)
        return "not found" if output is None else output.partition("\n")[0]

    return line


def _npu_smi() -> str:
    """The version and NPUs that npu-smi lists, without the processes and addresses in its table."""
    table = _output("npu-smi", "info")
    if table is None:
        return "not found"
    version = re.search(r"Version: (\S+)", table)
    # Rows of processes look alike, but have the number of a chip where NPUs have a name: 910B3.
    npus = re.findall(r"^\|\s*\d+\s+(\w*\d{3}\w*)\s*\|", table, re.MULTILINE)
    return f"{version[1] if version else 'no version'}, NPUs: {', '.join(npus) or 'none'}"


def _devices() -> str:
    return ", ".join(path.name for path in device_files(DEV)) or "none"


def _torch_of_torch_npu() -> str:
    """The torch that torch_npu was built for; with another torch it fails to load, or crashes."""
    try:
        requirements = importlib.metadata.requires("torch-npu") or []
    except importlib.metadata.PackageNotFoundError:
        return "torch-npu is not installed"
    wanted = [match[1] for r in requirements if (match := re.match(r"torch\s*==\s*([\d.]+)", r))]
    if not wanted:
        return "not named"
    installed = import_module("torch").__version__.partition("+")[0]
    return f"{wanted[0]}, " + (
        "installed" if installed == wanted[0] else f"but {installed} is installed"
    )


def _torch_npu() -> str:
    """The NPUs that torch sees, from a separate process, as it may occupy a device or crash."""
    if _version_of("torch-npu")() == "not installed":
        return "torch-npu is not installed"
    code = (
        "import torch, torch_npu; n = torch.npu.device_count(); "
        "print(n, 'devices', *{torch.npu.get_device_name(i) for i in range(n)})"
    )
    output = _output(sys.executable, "-c", code) or ""
    return output.strip().rpartition("\n")[2] or "no output"


def _entry_point() -> str:
    points = importlib.metadata.entry_points(group=_PLUGIN_GROUP, name=_PLUGIN)
    return ", ".join(sorted({point.value for point in points})) or "not installed"


def _allowed_by_vllm() -> str:
    """Whether vLLM may load the plugin: it loads all, or only those that VLLM_PLUGINS names."""
    value = os.environ.get("VLLM_PLUGINS")
    if value is None:
        return "not set, loads every plugin"
    return f"loads {_PLUGIN}" if _PLUGIN in value.split(",") else f"does not load {_PLUGIN}"


def _seam() -> str:
    """Whether the plugin knows the installed version, without importing vllm_ascend."""
    from ascend_prefetch.vllm.seams import known_versions

    installed = _version_of("vllm-ascend")()
    if installed == "not installed":
        return installed
    known = ".".join(installed.split(".")[:2]) in known_versions()
    unknown = f"told by its modules, among {', '.join(known_versions())}"
    return f"{installed}, {'known' if known else unknown}"


def _switch() -> str:
    from ascend_prefetch.vllm.switch import switch

    return "on" if switch.on else "off"


def _cpu_name() -> str:
    text = Path("/proc/cpuinfo").read_text(errors="replace")
    match = re.search(r"^(?:model name|Model|CPU part)\s*:\s*(.*)$", text, re.MULTILINE)
    return match[1] if match else "unknown"


def _memory_gb() -> float:
    text = Path("/proc/meminfo").read_text()
    return round(int(text.partition("MemTotal:")[2].split()[0]) * 1024 / 1e9, 1)


def show(result: dict[str, dict[str, Any]]) -> None:
    """Prints what `collect` found, section by section."""
    for section, facts in result.items():
        print(f"{section}:")
        for name, fact in facts.items():
            if isinstance(fact, dict):
                fact = ", ".join(f"{key} {value}" for key, value in fact.items())
            print(f"  {name}: {fact}")
        if not facts:
            print("  none")


def main(arguments: Sequence[str]) -> int:
    """`collect-env` by itself, where the command line cannot be imported.

    Args:
        arguments: without the verb.
    """
    parser = argparse.ArgumentParser(prog="python -m ascend_prefetch collect-env")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for stdout")
    options = parser.parse_args(arguments)
    found = collect()
    text = json.dumps(found, indent=2) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
        return 0
    if options.json is not None:
        try:
            with whole_file(Path(options.json)) as part:
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            print(f"ascend_prefetch collect-env: {error}", file=sys.stderr)
            return 2
    show(found)
    return 0
