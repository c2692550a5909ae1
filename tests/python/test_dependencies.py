"""Which folder may know which other: the arrows point one way, in csrc and in the package.

What serves (arch, plan, kernels, ops, npu, python; all of the package but lab) knows nothing of
what proves (twin, model, lab).
"""

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"

# Folder -> what it may include besides itself: folders of csrc, or single headers of them.
ALLOWED = {
    "arch": set(),
    "plan": {"arch"},
    "twin": {"arch"},
    "kernels": {"plan", "arch/dav_c220.h"},
    "model": {"arch", "twin/trace_format.h"},
    "ops": {"arch", "plan", "npu"},
    "npu": {"arch"},
    "python": {"arch", "plan", "npu", "ops"},
    "lab": {"arch", "plan", "twin", "kernels", "model", "npu"},
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


PACKAGE = CSRC.parent / "python" / "ascend_prefetch"
# The command line, which is the laboratory's, and the import that registers CPU tensors.
MAY_KNOW_THE_LAB = {"__main__.py", "backend.py"}


def lab_imports(text):
    """The lines that import the laboratory."""
    return re.findall(
        r"^\s*(?:from|import) (?=.*ascend_prefetch).*\b_?lab\b.*$", text, re.MULTILINE
    )


def test_what_serves_does_not_know_the_laboratory():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if not name.startswith("lab/") and name not in MAY_KNOW_THE_LAB:
            found += [f"{name}: {line}" for line in lab_imports(path.read_text())]
    assert found == []


def test_an_import_of_the_laboratory_is_found():
    lines = ["from ascend_prefetch.lab import twin", "from ascend_prefetch import _C, _lab"]
    assert lab_imports("\n".join([*lines, "import laboratory"])) == lines
