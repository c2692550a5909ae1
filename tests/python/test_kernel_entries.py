"""Kernel entries and the structs they take are written so that every toolkit can read them.

CANN's kernel build does not compile signatures, it matches text: extract_host_stub.py and
struct_parser.py of tikcpp/ascendc_kernel_cmake/util in CANN 8.1.RC1, the same in
legacy_modules/util of 9.x (asc-devkit, cmake/asc). What follows is what their patterns accept.
"""

import re
from collections import Counter

import pytest

from kernel_entries import CSRC, KERNEL_FILES, entries, kernel_types, without_comments

# GM_ADDR is __gm__ uint8_t*; the host side of a stub knows none of our headers.
BUILT_IN = {"GM_ADDR", "float"} | {
    f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
MEMBER = re.compile(r"(\w+)\s+\w+(\[\d+\])?")


def structs(text):
    """(name, body) of what the toolkits' pattern finds: `struct Name {` at the start of a line."""
    for start in re.finditer(r"^\s*struct\s+(\w+)\s*\{", text, re.MULTILINE):
        depth, end = 1, start.end()
        while depth > 0:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield start[1], text[start.end() : end - 1]


def plan_structs():
    found = {}
    for header in sorted([*CSRC.glob("plan/*.h"), *CSRC.glob("lab/kernels/*_plan.h")]):
        # Namespaces do not count for the pattern; a struct of the planners' own is no plan.
        text = re.sub(
            r"namespace plan \{.*\}  // namespace plan", "", header.read_text(), flags=re.DOTALL
        )
        found |= dict(structs(without_comments(text)))
    return found


def all_entries():
    return [(file, *entry) for file in KERNEL_FILES for entry in entries(file.read_text())]


def headers_of(files):
    """Headers of the project that these files include, directly or not."""
    found, pending = set(), list(files)
    while pending:
        for include in re.findall(r'^#include "(.+)"$', pending.pop().read_text(), re.MULTILINE):
            header = CSRC / include
            if header.exists() and header not in found:
                found.add(header)
                pending.append(header)
    return found


def check_struct(name, known):
    """Raises AssertionError unless 8.1's struct_parser.py reads the types of all members."""
    for member in filter(None, map(str.strip, known[name].split(";"))):
        match = MEMBER.fullmatch(member)
        assert match, f"{name}: not `Type member` or `Type member[literal]`: {member}"
        if match[1] not in BUILT_IN:
            assert match[1] in known, f"{name}: {match[1]} is neither built in nor a plan struct"
            check_struct(match[1], known)


def test_every_kernel_is_found():
    found = Counter(name for _, name, _, _ in all_entries())
    marked = sum(file.read_text().count("__global__") for file in KERNEL_FILES)
    assert len(found) == marked == 26
    assert set(found.values()) == {1}


@pytest.mark.parametrize("file", KERNEL_FILES, ids=lambda file: file.stem)
def test_parameters_are_structs_or_built_in(file):
    known = plan_structs()
    for name, parameters, _ in entries(file.read_text()):
        for parameter in parameters:
            # Two words each: the generator takes the last but one for the type.
            assert len(parameter) == 2, f"{name}: {' '.join(parameter)}"
            if parameter[0] not in BUILT_IN:
                assert parameter[0] in known, f"{name}: {parameter[0]} is no plan struct"
                check_struct(parameter[0], known)


@pytest.mark.parametrize("file", KERNEL_FILES, ids=lambda file: file.stem)
def test_a_file_has_one_kernel_type(file):
    # find_kernel_type_by_source takes the first of a file for all of its kernels.
    assert len(set(kernel_types(file).values())) == 1


def test_struct_names_are_unique():
    # The generator keeps one struct of a name, whatever its namespace.
    names = Counter(
        name
        for header in headers_of(KERNEL_FILES)
        for name, _ in structs(without_comments(header.read_text()))
    )
    assert set(names.values()) == {1}


def test_kernels_are_not_used_as_other_names():
    # The generator compiles a kernel file with `#define name name_origin` in front of it.
    for file, name, _, _ in all_entries():
        for header in headers_of([file]):
            text = re.sub(r'"[^"]*"', "", without_comments(header.read_text()))
            assert not re.search(rf"\b{name}\b", text), f"{name} in {header.name}"


@pytest.mark.parametrize(
    "body, message",
    [
        ("uint32_t a; Kind kind;", "Plan: Kind is neither built in nor a plan struct"),
        ("uint32_t a = 0;", "Plan: not `Type member` or `Type member[literal]`: uint32_t a = 0"),
        ("uint32_t a, b;", "Plan: not `Type member` or `Type member[literal]`: uint32_t a, b"),
        (
            "uint32_t a[kMost];",
            "Plan: not `Type member` or `Type member[literal]`: uint32_t a[kMost]",
        ),
        (
            "plan::Inner inner;",
            "Plan: not `Type member` or `Type member[literal]`: plan::Inner inner",
        ),
    ],
)
def test_unreadable_members_are_refused(body, message):
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_struct("Plan", {"Plan": body, "Inner": "float x;"})
