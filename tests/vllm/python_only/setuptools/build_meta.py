"""A build backend that builds nothing: the Python files of a source archive, as a wheel.

    PYTHONPATH=tests/vllm/python_only pip install --no-build-isolation --use-pep517 --no-deps \
        --no-binary :all: --no-cache-dir --target FOLDER vllm-ascend==X vllm==Y

Both name setuptools.build_meta as their backend, whose build wants a toolkit and minutes. The cache
is kept out of it: pip would take these wheels for real ones.
"""

from __future__ import annotations

import email
import zipfile
from pathlib import Path

_WHEEL = "Wheel-Version: 1.0\nGenerator: python_only\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# What a build of vllm-ascend writes, as in its published wheels.
_BUILD_INFO = "__device_type__ = 'A2'\n"


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(directory: str, config_settings: object = None) -> str:
    package, version, files = _metadata()
    for path, text in files.items():
        target = Path(directory, path)
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return f"{package}-{version}.dist-info"


def build_wheel(
    directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    package, version, files = _metadata()
    sources = [str(path) for path in sorted(Path(package).rglob("*.py"))]
    if package == "vllm_ascend":
        files[f"{package}/_build_info.py"] = _BUILD_INFO
    record = f"{package}-{version}.dist-info/RECORD"
    lines = [f'"{path}",,\n' for path in (*sources, *files, record)]
    name = f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, name), "w") as wheel:
        for path in sources:
            wheel.write(path)
        for path, text in {**files, record: "".join(lines)}.items():
            wheel.writestr(path, text)
    return name


def _metadata() -> tuple[str, str, dict[str, str]]:
    """Package, version, and the files of its dist-info by path."""
    text = Path("PKG-INFO").read_text(encoding="utf-8")
    fields = email.message_from_string(text)
    package, version = fields["Name"].replace("-", "_"), fields["Version"]
    folder = f"{package}-{version}.dist-info"
    files = {f"{folder}/METADATA": text, f"{folder}/WHEEL": _WHEEL}
    # By it vLLM finds its platform.
    entry_points = Path(f"{package}.egg-info", "entry_points.txt")
    if entry_points.exists():
        files[f"{folder}/{entry_points.name}"] = entry_points.read_text(encoding="utf-8")
    return package, version, files
