"""Which folder of csrc/ may include which other: the arrows point one way."""

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"

# Folder -> what it may include besides itself: folders of csrc, or single headers of them.
ALLOWED = {
    "arch": set(),
    "plan": {"arch"},
    "twin": {"arch"},
    "kernels": {"plan"},
    "model": {"arch", "twin/trace_format.h"},
    "device": {"arch"},
    "cpu_debug": {"plan", "npu"},
    "ops": {"arch", "plan", "twin", "kernels", "npu"},
    "npu": {"arch", "plan", "kernels"},
    "python": {"arch", "plan", "twin", "model", "ops"},
}
NPU_HEADER = re.compile(r"(torch_npu|acl|aclnn|aclnnop|hccl)/")


def violations(folder, includes):
    for include in includes:
        if include.startswith("../"):
            yield f"{include}: relative"
        if NPU_HEADER.match(include) and folder != "npu":
            yield f"{include}: only npu/ may include it"
        owner = include.split("/")[0]
        if owner in ALLOWED and owner != folder and not {owner, include} & ALLOWED[folder]:
            yield f"{include}: {folder} may not know {owner}"


def test_every_folder_has_a_rule():
    assert {path.name for path in CSRC.iterdir() if path.is_dir()} <= set(ALLOWED)


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_includes_follow_the_arrows(folder):
    found = []
    for path in sorted((CSRC / folder).rglob("*")):
        if path.suffix in {".h", ".cpp"}:
            includes = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)', path.read_text(), re.MULTILINE)
            found += [f"{path.relative_to(CSRC)}: {line}" for line in violations(folder, includes)]
    assert found == []


def test_a_wrong_arrow_is_found():
    assert list(violations("model", ["vector", "arch/chip.h", "twin/trace_format.h"])) == []
    assert list(violations("model", ["twin/a.h"])) == ["twin/a.h: model may not know twin"]
    assert list(violations("twin", ["kernels/a.h"])) == ["kernels/a.h: twin may not know kernels"]
    assert list(violations("ops", ["acl/acl.h"])) == ["acl/acl.h: only npu/ may include it"]
    assert list(violations("plan", ["../arch/chip.h"])) == ["../arch/chip.h: relative"]
