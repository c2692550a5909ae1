"""Builds ascend_prefetch's modules with CMake. Everything else about the package is in
pyproject.toml.

ASCEND_PREFETCH_LAB=OFF in the environment leaves the laboratory out: _lab, ascend_prefetch.lab and
with them the command line. The rest of the package still serves NPU tensors.
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
# For each module, the folder of the build tree that CMake puts it into.
MODULES = {"_C": "csrc/python"} | ({"_lab": "csrc/lab"} if LAB == "ON" else {})


def find_torch():
    """Lets an isolated build see the torch of the environment that it builds for.

    pip hides site-packages from such a build, and would compile the module against the newest
    torch. The module might then not load with the torch of this environment. Returns whether
    there is a torch.
    """
    if find_spec("torch") is not None:
        return True
    site_packages = Path(sysconfig.get_path("platlib"))
    isolated = find_spec("pybind11")
    if not (site_packages / "torch").is_dir() or isolated is None:
        return False
    sys.path.append(str(site_packages))
    # The interpreters that CMake starts need it too. It replaces pip's own PYTHONPATH, which hides
    # site-packages from them.
    os.environ["PYTHONPATH"] = str(Path(isolated.origin).parents[1])
    return True


def find_tool(name):
    """Returns the path of a build tool, preferably that of this environment."""
    # pip does not add the scripts of the environment that it installs into to PATH.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    tool = shutil.which(name, path=path)
    if tool is None:
        raise SystemExit(f"{name} not found: pip install {name}")
    return tool


def run(*command):
    """Runs a command, and ends the build if it fails."""
    if subprocess.call(command) != 0:
        raise SystemExit(f"failed: {shlex.join(map(str, command))}")


def configure(cmake):
    """Configures the build tree, from scratch if the tools have changed."""
    ninja = find_tool("ninja")
    # The CMake cache remembers these, and does not notice when they change.
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
        # The device build is a project of its own (cmake/AscendPrefetchDevice.cmake), to which
        # --fresh does not apply.
        shutil.rmtree(BUILD / "device", ignore_errors=True)
    run(cmake, "-S", ROOT, "-B", BUILD, "-G", "Ninja", *arguments)
    stamp.write_text(text)


def copy_device(folder):
    """Copies the device backend to the module's folder; removes an older one in any case.

    The library (csrc/npu/CMakeLists.txt) and the kernels (csrc/npu/kernel_launch.h) are copied
    only if both exist, because neither is of use alone. With a toolkit but without torch_npu, a
    build makes the kernels only.
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
        if "_lab" not in MODULES:
            # An earlier build may have left one there.
            for module in target.parent.glob("_lab.*.so"):
                module.unlink()
        copy_device(target.parent)

    def copy_extensions_to_source(self):
        """Copies the device backend too, in in-place and editable builds.

        The method of setuptools copies only the declared extensions.
        """
        super().copy_extensions_to_source()
        build_py = self.get_finalized_command("build_py")
        copy_device(Path(build_py.get_package_dir("ascend_prefetch")))


class ProductPackages(build_py):
    """build_py, which leaves the laboratory out if ASCEND_PREFETCH_LAB is OFF."""

    def finalize_options(self):
        """Removes the laboratory's packages from those that pyproject.toml finds."""
        super().finalize_options()
        if LAB == "OFF":
            lab = "ascend_prefetch.lab"
            self.packages = [
                name for name in self.packages if name != lab and not name.startswith(lab + ".")
            ]
            self.exclude_package_data.setdefault("ascend_prefetch", []).append("_lab.pyi")

    def run(self):
        """Removes what an earlier build with the laboratory has left in the same build tree."""
        if LAB == "OFF":
            built = Path(self.build_lib) / "ascend_prefetch"
            shutil.rmtree(built / "lab", ignore_errors=True)
            (built / "_lab.pyi").unlink(missing_ok=True)
        super().run()


setup(
    # torch is not among the [build-system] requirements of pyproject.toml, so that a torch that is
    # already there is used, whatever its version.
    setup_requires=[] if find_torch() else ["torch>=2.9,<3"],
    ext_modules=[Extension(f"ascend_prefetch.{name}", sources=[]) for name in MODULES],
    cmdclass={"build_ext": CMakeBuild, "build_py": ProductPackages},
)
