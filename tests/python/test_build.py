"""setup.py and the CMake files that look at the Python environment; nothing is compiled."""

import importlib.util
import sys
from pathlib import Path

import pytest
import setuptools

from test_device_build import ROOT, run_cmake


@pytest.fixture
def build(monkeypatch, tmp_path):
    """setup.py as a module, with an empty build tree and no tools."""
    spec = importlib.util.spec_from_file_location("ascend_prefetch_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(setuptools, "setup", lambda **options: None)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(module, "find_tool", lambda name: sys.executable)
    monkeypatch.setattr(module, "run", lambda *command: None)
    module.BUILD.mkdir()
    return module


# --- what goes beside the module ---


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)


def build_extension(build, project, **options):
    """Builds the extensions of a project that holds nothing else, from what CMake has made."""
    (project / "python" / "ascend_prefetch").mkdir(parents=True, exist_ok=True)
    extensions = [setuptools.Extension(f"ascend_prefetch.{name}", []) for name in build.MODULES]
    distribution = setuptools.Distribution(
        {
            "package_dir": {"": str(project / "python")},
            "packages": ["ascend_prefetch"],
            "ext_modules": extensions,
        }
    )
    command = build.CMakeBuild(distribution)
    command.build_lib, command.build_temp = str(project / "lib"), str(project / "temp")
    for name, value in options.items():
        setattr(command, name, value)
    command.ensure_finalized()
    for extension, folder in zip(extensions, build.MODULES.values(), strict=True):
        write(build.BUILD / folder / Path(command.get_ext_fullpath(extension.name)).name)
    command.run()


def device_files(folder):
    """What lies beside the modules."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    modules = {file for file in files if file.startswith(("_C.", "_lab."))}
    assert len(modules) == 2
    return files - modules


@pytest.mark.parametrize(
    ("options", "folder"), [({"inplace": True}, "python"), ({"inplace": False}, "lib")]
)
def test_the_device_backend_is_put_beside_the_module(build, tmp_path, options, folder):
    package = tmp_path / folder / "ascend_prefetch"
    library, kernels = build.BUILD / "csrc" / "npu" / "_C_npu.so", build.BUILD / "kernels"
    write(library)
    for name in ("ascend910b.o", "ascend910_93.o"):
        write(kernels / name)
    build_extension(build, tmp_path, **options)
    found = {"_C_npu.so", "kernels/ascend910b.o", "kernels/ascend910_93.o"}
    assert device_files(package) == found

    (kernels / "ascend910_93.o").unlink()
    build_extension(build, tmp_path, **options)
    assert device_files(package) == found - {"kernels/ascend910_93.o"}

    # A toolkit without torch_npu: nothing could launch the kernels.
    library.unlink()
    build_extension(build, tmp_path, **options)
    assert device_files(package) == set()


def test_a_build_without_the_laboratory_removes_that_of_an_earlier_one(
    build, monkeypatch, tmp_path
):
    """Both build trees are used again: a module of the last build would be installed."""
    build_extension(build, tmp_path, inplace=False)
    package = tmp_path / "lib" / "ascend_prefetch"
    assert {path.name.partition(".")[0] for path in package.iterdir()} == {"_C", "_lab"}
    monkeypatch.setattr(build, "MODULES", {"_C": "csrc/python"})
    build_extension(build, tmp_path, inplace=False)
    assert {path.name.partition(".")[0] for path in package.iterdir()} == {"_C"}


# --- when it is configured from the start ---


def test_another_toolkit_configures_from_the_start(build, monkeypatch):
    commands = []
    monkeypatch.setattr(build, "run", lambda *command: commands.append(command))
    device = build.BUILD / "device" / "build" / "CMakeCache.txt"

    def configures_afresh():
        write(device)
        build.configure(sys.executable)
        fresh = "--fresh" in commands[-1]
        assert device.exists() != fresh
        return fresh

    for name in ("ASCEND_HOME_PATH", "SOC_VERSION"):
        monkeypatch.delenv(name, raising=False)
    assert [configures_afresh(), configures_afresh()] == [True, False]
    for name in ("ASCEND_HOME_PATH", "SOC_VERSION"):
        monkeypatch.setenv(name, "one")
        assert [configures_afresh(), configures_afresh()] == [True, False]
        monkeypatch.setenv(name, "another")
        assert [configures_afresh(), configures_afresh()] == [True, False]


# --- CMake ---


def configure(project, text, *options):
    """Configures a project of these lines; returns its build tree."""
    header = "cmake_minimum_required(VERSION 3.22...4.0)\nproject(test LANGUAGES NONE)\n"
    write(project / "CMakeLists.txt")
    (project / "CMakeLists.txt").write_text(header + text)
    configured = run_cmake("-S", project, "-B", project / "build", *options)
    assert configured.returncode == 0, configured.stderr
    return configured.stdout


def test_the_npu_backend_goes_with_its_torch_npu(tmp_path):
    library = tmp_path / "build" / "npu" / "_C_npu.so"
    write(library)
    configure(tmp_path, f"add_subdirectory({ROOT}/csrc/npu npu)\n")
    assert not library.exists()


def test_looking_for_torch_does_not_load_torch_npu(tmp_path):
    """Whose start may fail or print."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        '[ "$TORCH_DEVICE_BACKEND_AUTOLOAD" = 0 ] || echo "no device"\n'
        "printf '%s\\n' 2.13.0 1 /torch/include /torch/lib\n"
    )
    python.chmod(0o755)
    said = configure(
        tmp_path,
        f"list(APPEND CMAKE_MODULE_PATH {ROOT}/cmake)\n"
        "find_package(TorchPython REQUIRED)\n"
        'message(STATUS "torch ${TorchPython_VERSION}")\n',
        f"-DPython_EXECUTABLE={python}",
    )
    assert "-- torch 2.13.0" in said.splitlines()
