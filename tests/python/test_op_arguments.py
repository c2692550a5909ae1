"""An op's arguments stand in its schema and in one struct, which are the same."""

import re

import pytest

from ascend_prefetch import _C
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
