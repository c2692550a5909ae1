"""An op's arguments stand in its schema, in one struct and in one text, which are the same."""

import collections.abc
import inspect
import pydoc
import re

import pytest
import torch

import op_stubs
from ascend_prefetch import _C, documented, ops
from op_calls import OPS


def schema_of(name):
    return str(OPS[name].default._schema)


def refusal(schema):
    with pytest.raises(ValueError, match="expected") as raised:
        _C.check_schema(schema)
    return str(raised.value)


def arguments_of(name):
    return [argument.name for argument in OPS[name].default._schema.arguments]


EACH = [(name, argument) for name in OPS for argument in arguments_of(name)]


@pytest.mark.parametrize("name", OPS)
def test_struct_and_schema_are_the_same(name):
    _C.check_schema(schema_of(name))


@pytest.mark.parametrize(("name", "argument"), EACH)
def test_an_argument_of_the_struct_alone(name, argument):
    renamed = re.sub(rf"\b{argument}\b(?=[=,)])", "new_name", schema_of(name), count=1)
    assert refusal(renamed) == (
        f"ascend_prefetch::{name}: argument '{argument}': expected an argument of the schema for "
        "the struct's member, got none"
    )


@pytest.mark.parametrize("name", OPS)
def test_an_argument_of_the_schema_alone(name):
    more = schema_of(name).replace(") ->", ", Tensor? more=None) ->", 1)
    assert refusal(more) == (
        f"ascend_prefetch::{name}: argument 'more': expected a member of the struct for the "
        "schema's argument, got none"
    )


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("mla_prolog", "Tensor? q_a_norm_weight", "Tensor q_a_norm_weight", "Tensor?"),
        ("mla_prolog", "float eps=", "int eps=", "float"),
        ("sfa_prolog", "bool rope_interleaved=True", "int? rope_interleaved=1", "bool"),
        ("o_proj", "int[]? prefetch_passing_bytes", "int? prefetch_passing_bytes", "int[]?"),
        ("o_proj", "int? prefetch_bytes", "int prefetch_bytes=0", "int?"),
        ("prefetch", "Tensor[] weights", "Tensor weights", "Tensor[]"),
        ("prefetch", "str engine=", "str? engine=", "str"),
    ],
)
def test_types_that_do_not_fit(name, old, new, expected):
    schema = re.sub(rf"(?<!\w){re.escape(old)}(=None)?", new, schema_of(name), count=1)
    assert schema != schema_of(name)
    argument = re.search(r"\w+(?==|$)", new)[0]
    got = new.partition(" ")[0]
    assert refusal(schema) == (
        f"ascend_prefetch::{name}: argument '{argument}': expected type {expected} in the schema, "
        f"got {got}"
    )


def test_a_required_tensor_may_become_optional_without_a_change_of_the_struct():
    _C.check_schema(schema_of("mla_prolog").replace("Tensor w_uk", "Tensor? w_uk"))


def test_an_op_without_a_struct():
    with pytest.raises(ValueError, match=r"^no op ascend_prefetch::other$"):
        _C.check_schema("ascend_prefetch::other(Tensor x) -> Tensor")


# --- in Python ---


@pytest.mark.parametrize("name", op_stubs.OPS)
def test_the_documented_ops_are_the_registered_ones(name):
    op = getattr(torch.ops.ascend_prefetch, name)
    assert getattr(ops, name) is op
    assert op.__doc__.splitlines()[0].endswith(".")
    assert pydoc.render_doc(op, renderer=pydoc.plaintext).count(op.__doc__.splitlines()[0]) == 1


@pytest.mark.parametrize("name", OPS)
def test_every_argument_has_its_text_in_the_order_of_the_schema(name):
    text = OPS[name].__doc__.partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w[\w, ]*): ", text, re.MULTILINE)
    assert ", ".join(entries).split(", ") == arguments_of(name)


def test_every_text_has_its_argument():
    texts = documented._texts(ops._ARGUMENTS)
    assert set(texts) == {argument for name in OPS for argument in arguments_of(name)}


def test_defaults_are_documented():
    defaults = re.findall(r"Default: (.*)\.$", ops.mla_prolog.__doc__, re.MULTILINE)
    assert defaults == ["1e-06", "True", "False"]
    assert "Default: 'vector'." in ops.prefetch.__doc__


def test_an_argument_without_a_text():
    entry = "attn_output: [T, N].\no_proj_weight: linear weight."
    with pytest.raises(RuntimeError) as raised:
        documented.document("o_proj", "{arguments}", entry)
    assert str(raised.value) == (
        "ascend_prefetch::o_proj: argument 'w_uv': expected a text in ascend_prefetch.ops, got none"
    )
    assert ops.o_proj.__doc__.startswith("Value up-projection")


def test_signatures():
    parameters = inspect.signature(ops.sfa_prolog).parameters
    assert list(parameters) == arguments_of("sfa_prolog")
    assert parameters["hidden_states"].annotation is torch.Tensor
    assert parameters["hidden_states"].default is inspect.Parameter.empty
    assert parameters["indexer_wk"].annotation == torch.Tensor | None
    assert parameters["indexer_wk"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters["eps"].annotation is float
    assert parameters["eps"].default == 1e-6
    assert parameters["eps"].kind is inspect.Parameter.KEYWORD_ONLY
    tensors = collections.abc.Sequence[torch.Tensor]
    assert parameters["prefetch"].annotation == tensors | None
    assert inspect.signature(ops.mla_prolog).return_annotation == tuple[(torch.Tensor,) * 4]
    assert inspect.signature(ops.o_proj).return_annotation is torch.Tensor
    assert str(inspect.signature(ops.prefetch_join)) == "() -> None"


def test_the_stub_is_that_of_the_schemas():
    assert op_stubs.STUB.read_text() == op_stubs.stub(), "run make stubs"
