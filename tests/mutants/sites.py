"""Where C++ source can be changed by one small mistake, and what it would then say.

Mistakes are those that people make in kernels and planners: a bound or a tail that is off by one, a
sign, a stride or an offset left out, the next slot of a ring, another core's share, an epsilon or a
rounding mode, a condition taken the other way or not asked, a statement left out.
Synchronisation is not among them: `python -m ascend_prefetch mutate` takes every call of it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_cpp
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_cpp.language()))

# Words of Ascend C that are no C++, by something of the same length that is.
_WORDS = {
    rb"__aicore__|__global__|__gm__": lambda match: b" " * len(match[0]),
    rb"ASCEND_IS_AI[CV]": lambda match: b"(1 == 1)".ljust(len(match[0])),
}

# Expressions here are constants of the compiler.
_CONSTANT = {
    "template_argument_list",
    "static_assert_declaration",
    "enumerator",
    "array_declarator",
    "optional_parameter_declaration",
    "template_parameter_list",
    "preproc_def",
    "preproc_if",
}
_OPERATORS = {
    "<": ["<="],
    "<=": ["<"],
    ">": [">="],
    ">=": [">"],
    "==": ["!="],
    "!=": ["=="],
    "+": ["-"],
    "-": ["+"],
    "&&": ["||"],
    "||": ["&&"],
}
_CALLS = {"Min": "Max", "Max": "Min", "std::min": "std::max", "std::max": "std::min"}
_SYNCHRONISES = re.compile(
    r"Barrier|Flag|HandOver|Await|Publish|Event|EnQue|DeQue|AllocTensor|FreeTensor|InitBuffer|"
    r"Require|Check|Open|Close"
)
_ROUND_MODES = {"CAST_RINT": "CAST_TRUNC", "CAST_TRUNC": "CAST_RINT", "CAST_ROUND": "CAST_TRUNC"}


@dataclass(frozen=True)
class Site:
    """One change of one place.

    Attributes:
        path: the file, relative to the root.
        begin, end: bytes of the file.
        statement: whether it is a statement to be left out; else an expression to be replaced.
        was: the text there.
        becomes: the text of the mutant; empty for a statement.
        mistake: the kind of change.
        line: for people; counted from 1.
        key: knows the change while its file stays as it is around it.
    """

    path: str
    begin: int
    end: int
    statement: bool
    was: str
    becomes: str
    mistake: str
    line: int
    key: str


def sites(root: Path, path: str) -> list[Site]:
    """Every change of a file, in its order."""
    source = (root / path).read_bytes()
    text = source
    for words, blank in _WORDS.items():
        text = re.sub(words, blank, text)
    found, times = [], {}
    for node, function in _inside_functions(_PARSER.parse(text).root_node):
        for statement, becomes, mistake in _changes(node):
            was = _squeezed(node)
            name = f"{path}:{function}: {mistake}: {was} -> {becomes}"
            times[name] = times.get(name, 0) + 1
            key = name if times[name] == 1 else f"{name} #{times[name]}"
            line = node.start_point[0] + 1
            place = (node.start_byte, node.end_byte)
            found.append(Site(path, *place, statement, was, becomes, mistake, line, key))
    return found


def _inside_functions(node: Node, function: str = "") -> Iterator[tuple[Node, str]]:
    if node.type in _CONSTANT or node.type == "ERROR":
        return
    if node.type in ("declaration", "field_declaration", "function_definition"):
        if any(child.text in (b"constexpr", b"static constexpr") for child in node.children):
            return
    if node.type == "if_statement" and any(child.type == "constexpr" for child in node.children):
        return
    if node.type == "function_definition":
        declarator = node.child_by_field_name("declarator")
        while declarator is not None and declarator.type != "function_declarator":
            declarator = declarator.child_by_field_name("declarator")
        name = declarator.child_by_field_name("declarator") if declarator else None
        function = name.text.decode() if name is not None else "?"
        body = node.child_by_field_name("body")
        if body is not None:
            yield from _inside_functions(body, function)
        return
    if function:
        yield node, function
    for child in node.children:
        # The value that a case compares with is a constant; what it does is not.
        if node.type == "case_statement" and child == node.child_by_field_name("value"):
            continue
        yield from _inside_functions(child, function)


def _squeezed(node: Node) -> str:
    return " ".join(node.text.decode().split())


def _changes(node: Node) -> Iterator[tuple[bool, str, str]]:
    """(a statement is left out, new text, mistake)."""
    kind, text = node.type, _squeezed(node)
    if kind == "binary_expression":
        yield from _binary(node)
    elif kind == "number_literal":
        yield from _number(text)
    elif kind in ("true", "false"):
        yield False, "false" if kind == "true" else "true", "the other truth value"
    elif kind == "conditional_expression":
        condition, yes, no = (
            _squeezed(node.child_by_field_name(name))
            for name in ("condition", "consequence", "alternative")
        )
        yield False, f"({condition}) ? ({no}) : ({yes})", "the other alternative"
    elif kind == "condition_clause" and node.parent.type == "if_statement":
        value = node.child_by_field_name("value")
        if value is not None and value.type != "declaration" and node.named_child_count == 1:
            yield False, "(false)", "never taken"
            yield False, "(true)", "not asked"
    elif kind == "call_expression":
        yield from _call(node)
    elif kind in ("identifier", "field_expression") and _is_value(node):
        name = text.rpartition(".")[2].rpartition("->")[2]
        if name in ("eps", "epsilon") or name.endswith("_eps"):
            yield False, "0.0f", "no epsilon"
        if name in ("core_", "core", "block"):
            yield False, f"({text} + 1)", "another core's share"
    elif kind == "qualified_identifier" and node.parent.type != kind and "RoundMode::" in text:
        mode = text.rpartition("::")[2]
        if mode in _ROUND_MODES:
            yield False, text.replace(mode, _ROUND_MODES[mode]), "another rounding"
    elif kind == "expression_statement" and not _SYNCHRONISES.search(text):
        inner = node.children[0]
        if inner.type in ("call_expression", "assignment_expression"):
            yield True, "", "left out"


def _binary(node: Node) -> Iterator[tuple[bool, str, str]]:
    left, right = (_squeezed(node.child_by_field_name(side)) for side in ("left", "right"))
    if '"' in left + right:
        return  # the text of an error
    operator = node.child_by_field_name("operator").text.decode()
    for other in _OPERATORS.get(operator, []):
        yield False, f"({left}) {other} ({right})", f"{other} for {operator}"
    if operator in ("+", "-"):
        yield False, f"({left}) {operator} ({right}) + 1", "off by one"
    if operator in ("+", "*"):
        yield False, f"({left})", f"without {operator}"
    if operator == "/":
        yield False, f"({left}) / ({right}) + 1", "rounded the other way"
    if operator == "%":
        yield False, f"(({left}) + 1) % ({right})", "the next slot"


def _number(text: str) -> Iterator[tuple[bool, str, str]]:
    if re.fullmatch(r"\d+[uUlL]*", text):
        digits = re.match(r"\d+", text)[0]
        yield False, f"{int(digits) + 1}{text[len(digits) :]}", "one more"
    elif re.fullmatch(r"[\d.]+(e-?\d+)?f?", text) and float(text.rstrip("f")) != 0:
        yield False, f"-{text}", "sign"


def _call(node: Node) -> Iterator[tuple[bool, str, str]]:
    name = _squeezed(node.child_by_field_name("function"))
    arguments = [_squeezed(a) for a in node.child_by_field_name("arguments").named_children]
    short = name.rpartition("::")[2]
    if name in _CALLS and len(arguments) == 2:
        yield False, f"{_CALLS[name]}({', '.join(arguments)})", "the other bound"
    if short == "CeilDiv" and len(arguments) == 2:
        yield False, f"({arguments[0]}) / ({arguments[1]})", "rounded down"
    if short in ("RoundUp", "RoundDown") and len(arguments) == 2:
        yield False, f"({arguments[0]})", "not rounded"
    if short in ("ShareBegin", "GetBlockIdx", "FirstRow"):
        yield False, f"({_squeezed(node)} + 1)", "another core's share"


def _is_value(node: Node) -> bool:
    """Whether a name is read here, not declared, written, called or selected from."""
    parent = node.parent
    if parent.type in ("argument_list", "return_statement", "initializer_list"):
        return True
    if parent.type == "binary_expression":
        return True
    if parent.type in ("assignment_expression", "init_declarator"):
        field = "right" if parent.type == "assignment_expression" else "value"
        return node == parent.child_by_field_name(field)
    return False
