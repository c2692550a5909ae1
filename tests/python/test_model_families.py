"""The table of model types in the documentation, and every one of them on the command line."""

import json
import re
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

import small_models as small
from ascend_prefetch.lab import cli
from ascend_prefetch.models import MODEL_TYPES
from ascend_prefetch.models.model_types import INEXPRESSIBLE
from ascend_prefetch.transformers.families import FAMILIES, NESTING

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
COLUMNS = ("Ops", "Loader", "`patch`", "vLLM plugin")
# Nested models are read by their text_config, which has a type of its own.
NESTED = ("kimi_k25", "mistral3")
# Configurations of the same attention, for types that this transformers has no class for.
ALIKE = {"kimi_k2": "deepseek_v3", "longcat_flash_ngram": "longcat_flash"}


def tables():
    """The rows of the page's tables, each as {column: cell} by the first column's names."""
    found = []
    for lines in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        header, _, *rows = (
            [cell.strip() for cell in x.strip("|").split("|")] for x in lines.split("\n")[:-1]
        )
        found.append(
            {
                name: dict(zip(header, row, strict=True))
                for row in rows
                for name in re.findall(r"`(\w+)`", row[0])
            }
        )
    return found


TABLE = next(table for table in tables() if "deepseek_v3" in table)
REFUSED = next(table for table in tables() if "bailing_hybrid" in table)


def test_every_type_has_a_row():
    assert set(TABLE) == {*MODEL_TYPES, *NESTED}
    assert {name: row["Why"] for name, row in REFUSED.items()} == INEXPRESSIBLE


def test_ops_and_loader():
    """Which the first column of every known type has; MiniCPM3's published size no op takes."""
    for name, row in TABLE.items():
        expected = "rope 64" if name == "minicpm3" else "yes"
        assert (row["Ops"], row["Loader"]) == (expected, "yes"), name


@pytest.mark.parametrize("name", TABLE)
def test_patched(name):
    """As the class that transformers makes of the type decides."""
    if name not in CONFIG_MAPPING and name not in ALIKE:
        pytest.skip("a type of another release of transformers")
    classes = {f"{family.prefix}Model" for family in FAMILIES.values()}
    classes |= {model for _, model in NESTING}
    expected = "yes" if MODEL_MAPPING_NAMES.get(name) in classes else "no class"
    assert TABLE[name]["`patch`"] == ("rope 64" if name == "minicpm3" else expected)


def test_plugin():
    """The plugin takes MLA layers whose rope part has 64 elements, where vLLM builds such."""
    cells = {name: row["vLLM plugin"] for name, row in TABLE.items()}
    assert set(cells.values()) == {"yes", "no class", "no MLA", "refused"}
    without_rope = {name for name, form in MODEL_TYPES.items() if not form.use_rope}
    assert {name for name, cell in cells.items() if cell == "refused"} == without_rope


def write(directory, config):
    text = json.dumps(config)
    (directory / "config.json").write_text(text, encoding="utf-8")
    return str(directory)


@pytest.mark.parametrize("name", TABLE)
def test_bench_takes_every_family(capsys, tmp_path, name):
    """The op computes what its reference does, with the sizes of the configuration."""
    alike = ALIKE.get(name, name)
    if alike not in small.EVERY:
        pytest.skip("a type of another release of transformers")
    config = small.configuration(alike).to_dict()
    config["model_type"] = name
    op = "sfa_prolog" if name in small.SPARSE else "mla_prolog"
    model = write(tmp_path, config)
    assert cli.main(["bench", op, "--model", model, "--tokens", "2", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["check"]["ok"]


@pytest.mark.parametrize("name", [*INEXPRESSIBLE, "minicpm3"])
def test_bench_refuses_the_others(capsys, tmp_path, name):
    """In one line, which has the type's name; in its language model where it has several parts."""
    whole = name.removesuffix("_text")
    if whole not in CONFIG_MAPPING:
        pytest.skip("a type of another release of transformers")
    model = write(tmp_path, AutoConfig.for_model(whole).to_dict())
    assert cli.main(["bench", "mla_prolog", "--model", model]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    reason = "no op takes this model" if name == "minicpm3" else INEXPRESSIBLE[name]
    assert name in line and reason in line
