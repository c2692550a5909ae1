"""collect-env: every probe is guarded, and nothing tells who runs it."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ascend_prefetch
from ascend_prefetch import __version__
from ascend_prefetch.lab import cli
from ascend_prefetch.lab import environment as collect_env
from ascend_prefetch.vllm.switch import switch

NPU_SMI = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc3                 Version: 24.1.rc3                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 90.1        36                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3345 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | OK            | 91.0        37                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          3345 / 65536         |
+===========================+===============+====================================================+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 4711          | secret                   | 3345                    |
"""


def collected(capsys):
    assert cli.main(["collect-env", "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def installed(monkeypatch, versions, requires=None):
    """Lets importlib.metadata know these distributions and no others."""

    def look_up(table):
        def find(name):
            if name not in table:
                raise importlib.metadata.PackageNotFoundError(name)
            return table[name]

        return find

    monkeypatch.setattr(importlib.metadata, "version", look_up(versions))
    monkeypatch.setattr(importlib.metadata, "requires", look_up(requires or {}))


def test_what_there_is(capsys):
    result = collected(capsys)
    assert result["ascend_prefetch"]["version"] == __version__
    assert result["ascend_prefetch"]["backends"] == {"twin": True, "npu": False}
    assert result["python"]["version"] == platform.python_version()
    # torch adds "+cu130" to a version that its package has without.
    assert torch.__version__.partition("+")[0] == result["packages"]["torch"].partition("+")[0]
    assert result["host"]["memory_gb"] > 0
    assert result["host"]["cpus"] > 0
    facts = [fact for section in result.values() for fact in section.values()]
    assert not [fact for fact in facts if str(fact).startswith("failed")]
    assert cli.main(["collect-env"]) == 0
    assert f"  version: {__version__}\n" in capsys.readouterr().out


def test_without_an_npu(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(collect_env, "_CANN", tmp_path)
    monkeypatch.setattr(collect_env, "_DRIVER", tmp_path / "version.info")
    monkeypatch.setattr(collect_env, "DEV", tmp_path)
    installed(monkeypatch, {})
    result = collected(capsys)
    assert result["ascend"] == {
        "CANN": "not found",
        "driver": "not found",
        "npu-smi": "not found",
        "devices": "none",
        "torch of torch-npu": "torch-npu is not installed",
        "torch.npu": "torch-npu is not installed",
    }
    assert set(result["tools"].values()) == {"not found"}


def test_with_an_npu(capsys, monkeypatch, tmp_path):
    home = tmp_path / "toolkit" / f"{platform.machine()}-linux"
    home.mkdir(parents=True)
    text = "package_name=Ascend-cann-toolkit\nversion=8.1.RC1\npath=/home/secret\n"
    (home / "ascend_toolkit_install.info").write_text(text)
    driver = tmp_path / "version.info"
    driver.write_text("Version=24.1.rc3\nascendhal_version=7.35.23\n")
    npu_smi = tmp_path / "npu-smi"
    npu_smi.write_text(
        f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'E'\n{NPU_SMI}E\n"
    )
    npu_smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "toolkit"))
    monkeypatch.setattr(collect_env, "_DRIVER", driver)
    devices = tmp_path / "dev"
    devices.mkdir()
    for name in ("davinci10", "davinci2", "davinci_manager", "null"):
        (devices / name).touch()
    monkeypatch.setattr(collect_env, "DEV", devices)
    stand_in = tmp_path / "torch_npu.py"
    stand_in.write_text(
        "import torch, types\nprint('a banner')\n"
        "torch.npu = types.SimpleNamespace("
        "device_count=lambda: 2, get_device_name=lambda i: 'Ascend910_9391')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    installed(monkeypatch, {"torch-npu": "2.9.0"}, {"torch-npu": ["torch==2.9.0", "pyyaml"]})
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    result = collected(capsys)
    assert result["packages"]["torch-npu"] == "2.9.0"
    assert result["ascend"] == {
        "CANN": "8.1.RC1",
        "driver": "24.1.rc3",
        "npu-smi": "24.1.rc3, NPUs: 910B3, 910B3",
        "devices": "davinci2, davinci10",
        "torch of torch-npu": "2.9.0, but 2.13.0 is installed",
        "torch.npu": "2 devices Ascend910_9391",
    }
    assert "secret" not in json.dumps(result)
    assert str(tmp_path) not in json.dumps(result)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("0.23.0", "0.23.0, known"),
        ("0.26.0rc1", "0.26.0rc1, known"),
        ("0.30.0rc2", "0.30.0rc2, known"),
        (
            "0.99.1",
            "0.99.1, told by its modules, among 0.18, 0.23, 0.26, 0.27, 0.28, 0.29, 0.30",
        ),
    ],
)
def test_the_plugin(capsys, monkeypatch, version, line):
    point = importlib.metadata.EntryPoint(
        "ascend_prefetch", "ascend_prefetch.vllm:register", "vllm.general_plugins"
    )

    def entry_points(group, name):
        return [point] if (group, name) == ("vllm.general_plugins", "ascend_prefetch") else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    installed(monkeypatch, {"vllm-ascend": version})
    monkeypatch.setenv("VLLM_PLUGINS", "ascend,ascend_prefetch")
    monkeypatch.setattr(switch, "on", False)
    assert collected(capsys)["vllm plugin"] == {
        "entry point": "ascend_prefetch.vllm:register",
        "VLLM_PLUGINS": "loads ascend_prefetch",
        "vllm-ascend": line,
        "switch": "off",
    }


def test_without_the_plugin(capsys, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: [])
    installed(monkeypatch, {})
    monkeypatch.setenv("VLLM_PLUGINS", "ascend")
    monkeypatch.setattr(switch, "on", True)
    assert collected(capsys)["vllm plugin"] == {
        "entry point": "not installed",
        "VLLM_PLUGINS": "does not load ascend_prefetch",
        "vllm-ascend": "not installed",
        "switch": "on",
    }
    monkeypatch.delenv("VLLM_PLUGINS")
    assert collected(capsys)["vllm plugin"]["VLLM_PLUGINS"] == "not set, loads every plugin"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("/home/secret"), "failed: OSError"),
        (subprocess.TimeoutExpired(["npu-smi"], 20), "failed: TimeoutExpired"),
        (subprocess.CalledProcessError(1, ["npu-smi"]), "failed: CalledProcessError"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), "failed: UnicodeDecodeError"),
    ],
)
def test_a_failing_probe_is_a_line(capsys, monkeypatch, error, line):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(Path, "read_text", fail)
    monkeypatch.setattr(Path, "iterdir", fail)
    monkeypatch.setattr(importlib.metadata, "entry_points", fail)
    installed(monkeypatch, {"torch-npu": "2.9.0"}, {"torch-npu": None})
    result = collected(capsys)
    assert result["ascend"]["devices"] == result["ascend"]["torch.npu"] == line
    assert result["ascend"]["torch of torch-npu"] == "not named"
    assert result["vllm plugin"]["entry point"] == line
    assert result["ascend"]["npu-smi"] == result["tools"]["g++"] == line
    assert result["host"]["cpu"] == result["host"]["memory_gb"] == line
    assert result["ascend_prefetch"]["version"] == __version__


def test_the_environment_names_nobody(capsys, monkeypatch):
    monkeypatch.setenv("ASCEND_TEST_A", "/home/secret/a")
    monkeypatch.setenv("ASCEND_TEST_B", "/usr/local/Ascend:/data/secret:relative/secret:0,1")
    monkeypatch.setenv("ASCEND_PREFETCH_SANITIZE", "full")
    monkeypatch.setenv("TEST_TOKEN", "secret")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    monkeypatch.setenv("HCCL_IF_IP", "secret")
    monkeypatch.setenv("VLLM_ASCEND_ENABLE_NZ", "2")
    monkeypatch.setenv("TASK_QUEUE_ENABLE", "1")
    result = collected(capsys)
    assert result["environment"]["ASCEND_TEST_A"] == "<path>"
    assert result["environment"]["ASCEND_TEST_B"] == "/usr/local/Ascend:<path>:<path>:0,1"
    assert result["environment"]["ASCEND_PREFETCH_SANITIZE"] == "full"
    assert result["environment"]["VLLM_ASCEND_ENABLE_NZ"] == "2"
    assert result["environment"]["TASK_QUEUE_ENABLE"] == "1"
    text = json.dumps(result)
    assert "secret" not in text
    assert platform.node() not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize("broken", ["torch", "_C"])
def test_it_runs_where_torch_or_the_module_is_broken(broken, tmp_path):
    """Which is when it is asked for; the report says what failed."""
    package = tmp_path / "ascend_prefetch"
    left_out = shutil.ignore_patterns("_C.*so" if broken == "_C" else "", "__pycache__")
    shutil.copytree(Path(ascend_prefetch.__file__).parent, package, ignore=left_out)
    if broken == "torch":
        (tmp_path / "torch.py").write_text("raise OSError('libtorch.so: no such file')\n")
    command = [sys.executable, "-m", "ascend_prefetch", "collect-env", "--json", "-"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ascend_prefetch"]["version"] == __version__
    assert found["ascend_prefetch"]["build"].startswith("failed: ")
    assert found["packages"]["torch"] == importlib.metadata.version("torch")

    command[3:] = ["collect-env", "--json", str(tmp_path / "none" / "x.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)

    command[3:] = ["info"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert re.match("OSError: libtorch" if broken == "torch" else "ImportError: ", lastline(done))


def lastline(done):
    return done.stderr.splitlines()[-1]
