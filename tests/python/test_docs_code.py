"""The code that README and docs show runs as it stands, and prints what they say."""

import sys
from pathlib import Path

import pytest
import torch

from ascend_prefetch.lab import reference

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import code_blocks

PAGES = [
    page
    for page in code_blocks.pages()
    if any(block.language in ("python", "sh") for block in code_blocks.blocks(page))
]


@pytest.mark.parametrize("page", PAGES)
def test_runs_as_it_stands(page):
    code_blocks.run_page(page)


def test_the_pages_that_show_a_call_are_among_them():
    for page in (
        "README.md",
        "docs/ops.md",
        "docs/quickstart.md",
        "docs/policy.md",
        "docs/sanitizer.md",
    ):
        shown = [block for block in code_blocks.blocks(page) if block.language == "python"]
        assert shown and all(block.not_run is None and block.needs is None for block in shown)
        assert code_blocks.run_page(page) == len(shown)


def test_only_what_needs_somebody_elses_software_is_not_run():
    marked = {
        (block.page, block.not_run)
        for page in PAGES
        for block in code_blocks.blocks(page)
        if block.not_run is not None
    }
    assert marked == {("docs/vllm-ascend.md", "a server of vLLM Ascend")}


def test_the_step_of_the_quick_start_is_right():
    names = {}
    blocks = code_blocks.blocks("docs/quickstart.md")
    exec(next(block.text for block in blocks if block.language == "python"), names)
    layers = ("qkv_a_weight", "q_a_norm_weight", "q_b_weight", "w_uk", "kv_a_norm_weight")
    prolog = reference.mla_prolog(
        *(names[name] for name in ("hidden_states", *layers, "cos", "sin")), eps=1e-6
    )
    rows = [names[name].flatten(0, 2).double() for name in ("kv_cache", "rope_cache")]
    outputs = []
    for token, (blocks, slot) in enumerate(
        zip(names["blocks"], names["slot_mapping"], strict=True)
    ):
        slots = (blocks[:, None] * 128 + torch.arange(128)).flatten()
        assert slots[-1] == slot
        latents, ropes = (cache[slots] for cache in rows)
        latents[-1], ropes[-1] = prolog.kv_c[token], prolog.k_rope[token]
        one = slice(token, token + 1)
        outputs.append(
            reference.attention(
                prolog.q_nope[one], prolog.q_rope[one], latents, ropes, 192**-0.5, causal=True
            )
        )
    values = reference.value_up_projection(torch.cat(outputs), names["w_uv"])
    expected = reference.o_proj(values, names["o_proj_weight"])
    # q_c, queries, absorbed queries, attention, values and results are rounded to bfloat16, by
    # 2^-9 at most each.
    assert reference.relative_error(names["out"], expected) < 6 * 2**-9


def page_of(*parts):
    return "\n".join(parts) + "\n"


def test_blocks_of_a_page_share_their_names():
    page = page_of("```python", "a = 2", "```", "text", "```python", "assert a == 2", "```")
    assert code_blocks.run_page("page.md", page) == 2


def test_code_behind_a_directive_is_run():
    page = page_of(
        "```{eval-rst}", ".. autofunction:: f", "```", "```python", "no_such_name", "```"
    )
    assert [block.language for block in code_blocks.blocks("page.md", page)] == [
        "{eval-rst}",
        "python",
    ]
    with pytest.raises(NameError, match="no_such_name"):
        code_blocks.run_page("page.md", page)


@pytest.mark.parametrize("mark", ["not run: no such thing", "needs: no_such_module"])
def test_marked_blocks_are_left_out(mark):
    page = page_of(f"<!-- {mark} -->", "```python", "no_such_name", "```")
    assert code_blocks.run_page("page.md", page) == 0
    installed = page_of("<!-- needs: json -->", "```python", "import json", "```")
    assert code_blocks.run_page("page.md", installed) == 1


def test_a_block_that_raises_names_its_page_and_line():
    page = page_of("one", "", "```python", "a = 1", "no_such_name", "```")
    with pytest.raises(NameError, match="no_such_name") as raised:
        code_blocks.run_page("page.md", page)
    last = raised.traceback[-1]
    assert (Path(last.path).name, last.lineno + 1) == ("page.md", 5)


def test_what_is_printed_is_compared_with_the_text_behind_the_block():
    page = page_of("```python", "print(1 + 1)", "```", "", "```text", "{}", "```")
    assert code_blocks.run_page("page.md", page.format(2)) == 1
    with pytest.raises(ValueError, match=r"^page\.md:2: expected the block to print\n3\n\ngot\n2"):
        code_blocks.run_page("page.md", page.format(3))


def test_commands_are_those_that_the_command_line_takes():
    page = page_of(
        "```sh",
        "for tp in 1 16; do",
        "    .venv/bin/python -m ascend_prefetch bench {} --tp $tp  # all",
        "done",
        "```",
    )
    code_blocks.run_page("page.md", page.format("o_proj"))
    with pytest.raises(ValueError, match=r"page\.md:2: .* (?s:.*)invalid choice: 'no_op'"):
        code_blocks.run_page("page.md", page.format("no_op"))
