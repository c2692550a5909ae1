"""The serve commands of upstream's tutorials, as data: see launches/table.py for their runs."""

from collections import Counter

from launches import cases, rows


def test_commands_that_count():
    """Workers that decode, in formats that the ops read, but for a model of another attention."""
    counted = Counter(row.release for row in rows.read() if row.counted)
    assert counted == {"0.18.0": 38, "0.23.0": 51, "main": 52, "0.30.0rc2": 61}


def test_placeholders_take_the_model_of_their_page():
    models = {row.model for row in rows.read()}
    assert not [model for model in models if "$" in model or "<" in model or "PATH" in model]


def test_commands_share_a_case():
    counted = [row for row in rows.read() if row.counted]
    of_rows = [cases.of_row(row) for row in counted]
    assert len(set(of_rows)) < len(counted) / 2
    for case in of_rows:
        assert cases.Case.from_json(case.as_json()) == case


def test_a_command_becomes_a_case():
    page = "DeepSeek-V3.1.md:696"
    row = next(row for row in rows.read() if (row.release, row.page) == ("0.23.0", page))
    case = cases.of_row(row)
    assert (case.model, case.quantisation, case.heads) == ("DEEPSEEK_V3", "W8A8 static", 32)
    assert (case.kv_role, case.max_tokens, case.speculative) == ("kv_consumer", 512, 1)
