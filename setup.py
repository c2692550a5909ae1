"""Builds ascend_prefetch._C with CMake; everything else about the package is in pyproject.toml."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build"


def find_torch():
    """Lets an isolated build see the torch of the environment that it builds for.

    pip hides site-packages from such a build, and would compile the module against the newest
    torch, with which it may not load here. Returns whether there is a torch.
    """
    if find_spec("torch") is not None:
        return True
    site_packages = Path(sysconfig.get_path("platlib"))
    isolated = find_spec("pybind11")
    if not (site_packages / "torch").is_dir() or isolated is None:
        return False
    sys.path.append(str(site_packages))
    # For the interpreters that CMake starts. pip's own entry there is what hides site-packages.
    os.environ["PYTHONPATH"] = str(Path(isolated.origin).parents[1])
    return True


def find_tool(name):
    """The path of a build tool, of this environment if it has one."""
    # pip does not put the scripts of the environment it installs into on PATH.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    tool = shutil.which(name, path=path)
    if tool is None:
        raise SystemExit(f"{name} not found: pip install {name}")
    return tool


def run(*command):
    """Runs a command, or ends the build with it."""
    if subprocess.call(command) != 0:
        raise SystemExit(f"failed: {shlex.join(map(str, command))}")


def configure(cmake):
    """Configures the build tree, from the start where the tools have changed."""
    ninja = find_tool("ninja")
    # What a CMake cache remembers and does not notice when it changes.
    toolchain = [
        subprocess.run([cmake, "--version"], check=True, capture_output=True, text=True).stdout,
        cmake,
        ninja,
        sys.executable,
        *(f"{name} {version(name)} {find_spec(name).origin}" for name in ("torch", "pybind11")),
    ]
    text = "\n".join(toolchain)
    stamp = BUILD / "toolchain.txt"
    known = stamp.exists() and stamp.read_text() == text
    arguments = [f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DPython_EXECUTABLE={sys.executable}"]
    arguments += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    arguments += [] if known else ["--fresh"]
    run(cmake, "-S", ROOT, "-B", BUILD, "-G", "Ninja", *arguments)
    stamp.write_text(text)


class CMakeBuild(build_ext):
    """build_ext by CMake."""

    def build_extension(self, ext):
        """Builds _C in the build tree and puts it where setuptools wants it."""
        cmake = find_tool("cmake")
        configure(cmake)
        run(cmake, "--build", BUILD, "--target", "_C", "_C_npu", "ascend_prefetch_kernels")
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(BUILD / "csrc" / "python" / target.name, target)
        # The device backend, where there are a toolkit and torch_npu: csrc/npu/CMakeLists.txt.
        npu = target.with_name("_C_npu.so")
        npu.unlink(missing_ok=True)
        if (BUILD / "csrc" / "npu" / npu.name).exists():
            shutil.copy2(BUILD / "csrc" / "npu" / npu.name, npu)
        # Device code, where there is a toolkit: csrc/npu/kernel_launch.h.
        kernels = target.parent / "kernels"
        shutil.rmtree(kernels, ignore_errors=True)
        for file in (BUILD / "kernels").glob("*.o"):
            kernels.mkdir(exist_ok=True)
            shutil.copy2(file, kernels)


setup(
    # Not among the requirements of pyproject.toml: what is there is taken, whatever its version.
    setup_requires=[] if find_torch() else ["torch>=2.9"],
    ext_modules=[Extension("ascend_prefetch._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
