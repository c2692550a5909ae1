"""Compares the parameters of transformers' attention, and its call, with the known ones.

The patched forward replaces another project's function, which may change with any release. It takes
only the arguments that are named here: `patch` refuses a release with another parameter, and a call
with another argument is an error.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import transformers

WRITTEN_FOR = "transformers 5.23 and 5.24"
"""The releases whose modelling code was read and is tested."""

CACHE_NAMES = ("past_key_values", "cache")
"""Names of the cache argument: up to 5.23, and from 5.24 on."""

_TAKEN = {
    "hidden_states",
    "position_embeddings",
    "attention_mask",
    *CACHE_NAMES,
    "prev_topk_indices",
}

WITHOUT_EFFECT = {
    "position_ids": "position_embeddings and the mask have been made from them",
    "cache_position": "the same, of releases before 5.23; modelling code no longer reads it",
    "use_cache": "tells the model whether to make a cache, which arrives as the cache",
    "output_hidden_states": "hooks of the decoder layers record them",
    "output_router_logits": "hooks of the routers record them",
    "num_items_in_batch": "divides the loss, which is computed behind the layers",
    "token_type_ids": "tokenizers return them; no supported model has embeddings for them",
    "cu_seq_lens_q": "flash attention alone reads it",
    "cu_seq_lens_k": "flash attention alone reads it",
    "max_length_q": "flash attention alone reads it",
    "max_length_k": "flash attention alone reads it",
    "seq_idx": "state space layers alone read it",
}
"""Arguments that eager and sdpa attention of these models ignore, each with the reason."""


def refuse_arguments(where: str, arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of a call that are unknown or change what attention returns.

    Args:
        where: the layer.
        arguments: those that the patched forward does not take itself, by name.

    Raises:
        TypeError: names the argument.
    """
    for name, value in arguments.items():
        if name in WITHOUT_EFFECT:
            continue
        if name == "output_attentions":
            if value:
                raise TypeError(
                    f"{where}: expected output_attentions False, got {value}: the ops keep no "
                    "attention weights; unpatch the model for them"
                )
        elif name == "is_causal":
            if value is not None and not value:
                raise TypeError(f"{where}: expected is_causal True, got {value}")
        else:
            raise TypeError(
                f"{where}: got an argument that is not known, {name}, from transformers "
                f"{transformers.__version__}; the patched forward was written for {WRITTEN_FOR}"
            )


def check_signature(
    attention: type[Any],
    decoder: type[Any],
    results: int,
    leading: tuple[str, ...],
    *,
    all_alike: bool,
) -> None:
    """Refuses classes whose code differs from what the patched forward was written for.

    If the decoder layer's source is not available, its call of attention is not checked; an unknown
    argument is then refused when it is passed.

    Args:
        attention: class of the attention modules.
        decoder: class of the layers that call them.
        results: how many values the patched forward returns.
        leading: the first parameters of attention's forward, in this order.
        all_alike: whether all layers have this attention. A call whose result is taken whole then
            is an error, otherwise that of another module.

    Raises:
        TypeError: a parameter, an argument or the number of results differs, or the decoder layer
            does not call attention.
    """
    forward = f"{attention.__name__}.forward"
    written = (
        f"transformers {transformers.__version__}; the patched forward was written for "
        f"{WRITTEN_FOR}: ({', '.join(leading)}, {' or '.join(CACHE_NAMES)}, position_ids, "
        "prev_topk_indices, **kwargs)"
    )
    parameters = list(inspect.signature(attention.forward).parameters.values())[1:]  # not self
    for parameter in parameters:
        named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.kind == parameter.VAR_KEYWORD or (named and _known(parameter.name)):
            continue
        raise TypeError(f"{forward}: parameter {parameter.name} is not known, {written}")
    names = [parameter.name for parameter in parameters]
    if tuple(names[: len(leading)]) != leading or not set(CACHE_NAMES) & set(names):
        raise TypeError(
            f"{forward}: expected parameters {', '.join(leading)} and {' or '.join(CACHE_NAMES)}, "
            f"got {', '.join(names)}, {written}"
        )
    tree = _source(decoder.forward)
    calls = [] if tree is None else list(_calls_of_attention(tree))
    if not all_alike:
        calls = [(call, targets) for call, targets in calls if targets > 1]
    if tree is not None and not calls:
        raise TypeError(
            f"{decoder.__name__}: expected its forward to assign what self.self_attn(...) returns, "
            f"found no such call, {written}"
        )
    for call, targets in calls:
        if len(call.args) > 1:
            raise TypeError(
                f"{decoder.__name__}: passes {len(call.args)} arguments by position, expected "
                f"hidden_states alone, {written}"
            )
        passed = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
        for name in passed:
            if not _known(name):
                raise TypeError(f"{decoder.__name__}: passes {name}, which is not known, {written}")
        if targets != results:
            raise TypeError(
                f"{decoder.__name__}: expected to take {results} results of attention, takes "
                f"{targets}, {written}"
            )


def configuration_keys(*classes: type) -> set[str] | None:
    """The configuration keys that the code of some modules reads.

    Args:
        classes: module classes, which keep the configuration as `self.config` or get it as
            `config`.

    Returns:
        Names of keys; None if the source of a class is not available.
    """
    keys: set[str] = set()
    for each in classes:
        tree = _source(each)
        if tree is None:
            return None
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_configuration(node.value):
                keys.add(node.attr)
            elif isinstance(node, ast.Call) and _reads_by_name(node):
                name = node.args[1]
                keys.add(ast.unparse(name).strip("'\""))
    return keys


def rotations(module: type) -> set[str] | None:
    """The functions by which the code of a module applies rope.

    Args:
        module: the module's class.

    Returns:
        Names of functions; None if the source of the class is not available.
    """
    tree = _source(module)
    if tree is None:
        return None
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    # Of a call of a method the method's own name: config.rope_parameters.get(...) rotates nothing.
    return {
        ast.unparse(function)
        for function in called
        if any(word in ast.unparse(function).rpartition(".")[2] for word in ("rotary", "rope"))
    }


def _known(name: str) -> bool:
    return name in _TAKEN or name in WITHOUT_EFFECT or name in ("output_attentions", "is_causal")


def _source(of: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(of))))
    except (OSError, TypeError):  # no source file, as in a frozen application
        return None


def _calls_of_attention(tree: ast.AST) -> Iterator[tuple[ast.Call, int]]:
    """The calls of attention, each with the number of names that its result is assigned to."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        called = node.value.func
        if isinstance(called, ast.Subscript):  # one of several attentions of a layer
            called = called.value
        if ast.unparse(called) == "self.self_attn":
            target = node.targets[0]
            yield node.value, len(target.elts) if isinstance(target, ast.Tuple) else 1


def _is_configuration(node: ast.AST) -> bool:
    return ast.unparse(node) in ("config", "self.config")


def _reads_by_name(node: ast.Call) -> bool:
    """Whether a call is getattr(config, name) or hasattr(config, name)."""
    called = isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
    return called and len(node.args) > 1 and _is_configuration(node.args[0])
