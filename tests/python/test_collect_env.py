"""collect-env: every probe is guarded, and nothing tells who runs it."""

import json
import platform
import subprocess
from pathlib import Path

import pytest
import torch

from ascend_prefetch import __version__, cli
from ascend_prefetch.cli import collect_env

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


def test_what_there_is(capsys):
    result = collected(capsys)
    assert result["ascend_prefetch"]["version"] == __version__
    assert result["ascend_prefetch"]["backends"] == {"twin": True, "npu": False}
    assert result["python"]["version"] == platform.python_version()
    assert result["packages"]["torch"] == torch.__version__
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
    result = collected(capsys)
    assert result["ascend"] == {"CANN": "not found", "driver": "not found", "npu-smi": "not found"}
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
    result = collected(capsys)
    assert result["ascend"] == {
        "CANN": "8.1.RC1",
        "driver": "24.1.rc3",
        "npu-smi": "24.1.rc3, NPUs: 910B3, 910B3",
    }
    assert "secret" not in json.dumps(result)
    assert str(tmp_path) not in json.dumps(result)


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
    result = collected(capsys)
    assert result["ascend"]["npu-smi"] == result["tools"]["g++"] == line
    assert result["host"]["cpu"] == result["host"]["memory_gb"] == line
    assert result["ascend_prefetch"]["version"] == __version__


def test_the_environment_names_nobody(capsys, monkeypatch):
    monkeypatch.setenv("ASCEND_TEST_A", "/home/secret/a")
    monkeypatch.setenv("ASCEND_TEST_B", "/usr/local/Ascend:/data/secret:relative/secret:0,1")
    monkeypatch.setenv("ASCEND_PREFETCH_SANITIZE", "full")
    monkeypatch.setenv("TEST_TOKEN", "secret")
    result = collected(capsys)
    assert result["environment"]["ASCEND_TEST_A"] == "<path>"
    assert result["environment"]["ASCEND_TEST_B"] == "/usr/local/Ascend:<path>:<path>:0,1"
    assert result["environment"]["ASCEND_PREFETCH_SANITIZE"] == "full"
    text = json.dumps(result)
    assert "secret" not in text
    assert platform.node() not in text
    assert str(Path.home()) not in text
