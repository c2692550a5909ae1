"""Says what is missing in an sdist and a wheel, and what does not belong there.

Usage: check_archives.py DIRECTORY, which holds one of each; run in a checkout, whose files they
should be.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# Of the checkout, and of no use without it.
NOT_IN_SDIST = re.compile(r"\.ci/|\.gitignore$|\.editorconfig$|\.pre-commit-config\.yaml$")
PACKAGE = "python/ascend_prefetch/"
MODULE = re.compile(r"ascend_prefetch/_(C|lab)\.[\w-]+\.so")
# Of a build with a toolkit and torch_npu.
DEVICE_LIBRARY = "ascend_prefetch/_C_npu.so"
KERNELS = re.compile(r"ascend_prefetch/(lab/)?kernels/\w+\.o")


def differences(name: str, expected: set[str], found: set[str]) -> list[str]:
    """A line for every file of one set alone."""
    missing = [f"{name}: {path} is missing" for path in sorted(expected - found)]
    return missing + [f"{name}: {path} does not belong there" for path in sorted(found - expected)]


def check_sdist(archive: Path, tracked: set[str]) -> list[str]:
    """The files of the checkout, and setuptools' own."""
    with tarfile.open(archive) as tar:
        members = [member.name for member in tar if member.isfile()]
    found = {name.partition("/")[2] for name in members}
    added = {
        name for name in found if re.match(r"PKG-INFO$|setup\.cfg$|python/.*\.egg-info/", name)
    }
    return differences(
        archive.name, {path for path in tracked if not NOT_IN_SDIST.match(path)}, found - added
    )


def check_wheel(archive: Path, tracked: set[str]) -> list[str]:
    """The package's files, its modules, a whole device backend or none, and a wheel's own."""
    names = set(zipfile.ZipFile(archive).namelist())
    modules = {name for name in names if MODULE.fullmatch(name)}
    added = {name for name in names if re.match(r"ascend_prefetch-[\w.]+\.dist-info/", name)}
    package = {path.removeprefix("python/") for path in tracked if path.startswith(PACKAGE)}
    kernels = {name for name in names if KERNELS.fullmatch(name)}
    device = kernels | names & {DEVICE_LIBRARY}
    wrong = [] if len(modules) == 2 else [f"{archive.name}: expected two modules, got {modules}"]
    if (DEVICE_LIBRARY in names) != bool(kernels):
        wrong.append(f"{archive.name}: half a device backend, {', '.join(sorted(device))}")
    return wrong + differences(archive.name, package, names - added - modules - device)


def main(directory: Path) -> int:
    """Prints what is wrong; the exit status."""
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True)
    tracked = set(listed.stdout.splitlines())
    (sdist,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    wrong = check_sdist(sdist, tracked) + check_wheel(wheel, tracked)
    print("\n".join(wrong) or f"{sdist.name} and {wheel.name} hold what they should")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
