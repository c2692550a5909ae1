"""Builds ascend_prefetch's modules with CMake; the rest about the package is in pyproject.toml.

ASCEND_PREFETCH_LAB=OFF in the environment leaves the laboratory out: _lab, ascend_prefetch.lab and
with them the command line. What is left serves NPU tensors.
"""

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
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build"
LAB = os.environ.get("ASCEND_PREFETCH_LAB", "ON").upper()
if LAB not in ("ON", "OFF"):
    raise SystemExit(f"ASCEND_PREFETCH_LAB: expected ON or OFF, got {LAB}")
# Module and where CMake puts it.
MODULES = {"_C": "csrc/python"} | ({"_lab": "csrc/lab"} if LAB == "ON" else {})


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
        *(f"{name}={os.environ.get(name, '')}" for name in ("ASCEND_HOME_PATH", "SOC_VERSION")),
    ]
    text = "\n".join(toolchain)
    stamp = BUILD / "toolchain.txt"
    known = stamp.exists() and stamp.read_text() == text
    arguments = [f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DPython_EXECUTABLE={sys.executable}"]
    arguments.append(f"-DASCEND_PREFETCH_BUILD_LAB={LAB}")
    arguments += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    if not known:
        arguments.append("--fresh")
        # A build of its own, which --fresh does not reach: cmake/AscendPrefetchDevice.cmake.
        shutil.rmtree(BUILD / "device", ignore_errors=True)
    run(cmake, "-S", ROOT, "-B", BUILD, "-G", "Ninja", *arguments)
    stamp.write_text(text)


def copy_device(folder):
    """Puts the device backend beside the module in a folder, or takes away what is left of one.

    Library (csrc/npu/CMakeLists.txt) and kernels (csrc/npu/kernel_launch.h) are of no use alone:
    a toolkit without torch_npu makes kernels only.
    """
    library = folder / "_C_npu.so"
    library.unlink(missing_ok=True)
    binaries = {"kernels": folder / "kernels", "lab_kernels": folder / "lab" / "kernels"}
    for kernels in binaries.values():
        shutil.rmtree(kernels, ignore_errors=True)
    built = BUILD / "csrc" / "npu" / library.name
    if not built.exists() or not list((BUILD / "kernels").glob("*.o")):
        return
    shutil.copy2(built, library)
    for name, kernels in binaries.items():
        files = list((BUILD / name).glob("*.o"))
        if files:
            kernels.mkdir(parents=True)
        for file in files:
            shutil.copy2(file, kernels)


class CMakeBuild(build_ext):
    """build_ext by CMake."""

    def build_extensions(self):
        """Builds the modules in the build tree and puts them where setuptools wants them."""
        cmake = find_tool("cmake")
        configure(cmake)
        run(cmake, "--build", BUILD, "--target", *MODULES, "_C_npu", "ascend_prefetch_kernels")
        for ext in self.extensions:
            target = Path(self.get_ext_fullpath(ext.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(BUILD / MODULES[ext.name.rpartition(".")[2]] / target.name, target)
        copy_device(target.parent)

    def copy_extensions_to_source(self):
        """For in-place and editable builds, which copy the declared extension and nothing else."""
        super().copy_extensions_to_source()
        build_py = self.get_finalized_command("build_py")
        copy_device(Path(build_py.get_package_dir("ascend_prefetch")))


class ProductPackages(build_py):
    """build_py, without the laboratory where it is left out."""

    def finalize_options(self):
        """Leaves out what pyproject.toml finds."""
        super().finalize_options()
        if LAB == "OFF":
            lab = "ascend_prefetch.lab"
            self.packages = [
                name for name in self.packages if name != lab and not name.startswith(lab + ".")
            ]
            self.exclude_package_data.setdefault("ascend_prefetch", []).append("_lab.pyi")


setup(
    # Not among the requirements of pyproject.toml: what is there is taken, whatever its version.
    setup_requires=[] if find_torch() else ["torch>=2.9,<3"],
    ext_modules=[Extension(f"ascend_prefetch.{name}", sources=[]) for name in MODULES],
    cmdclass={"build_ext": CMakeBuild, "build_py": ProductPackages},
)
