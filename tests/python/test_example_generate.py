"""examples/generate.py on a small checkpoint, the way a user starts it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import small_models as small

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "generate.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint")
    # A seed with wide margins between the best logits: see test_transformers_generate.py.
    small.save_small_model("deepseek_v3", directory, seed=159, num_hidden_layers=2)
    return directory


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("generate", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generates_the_same_tokens(checkpoint):
    prompt = ["--prompt-ids", "5", "17", "9"]
    command = [sys.executable, EXAMPLE, "--checkpoint", checkpoint, *prompt]
    done = subprocess.run(
        [*command, "--max-new-tokens", "4", "--compare"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    without, with_ops, tokens, compare = done.stdout.splitlines()
    assert without.startswith("without the ops: 4 tokens in ")
    assert with_ops.startswith("with the ops: 4 tokens in ")
    assert tokens == "tokens: 24 20 14 20"
    assert compare == "compare: the same 4 tokens without the ops"


def test_other_tokens_are_told(checkpoint, example, monkeypatch, capsys):
    """As generation without the ops would be, were they wrong."""
    monkeypatch.setattr(example, "_generate", lambda *args: [1, 2] if "out" in args[3] else [1, 3])
    prompt = ["--prompt-ids", "5"]
    assert example.main(["--checkpoint", str(checkpoint), *prompt, "--compare"]) == 1
    assert (
        "compare: other tokens from new token 1 on, without the ops: 1 2" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--prompt", "hello"], "--prompt: found no tokenizer in {}; give --prompt-ids instead"),
        (["--prompt-ids", "32"], "--prompt-ids: expected 0 <= id < 32, got 32"),
        (["--prompt-ids", "1", "--max-new-tokens", "0"], "--max-new-tokens: expected at least 1"),
    ],
)
def test_errors(checkpoint, example, arguments, line, capsys):
    assert example.main(["--checkpoint", str(checkpoint), *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"generate.py: error: {line.format(checkpoint)}")


def test_no_checkpoint(tmp_path, example, capsys):
    assert example.main(["--checkpoint", str(tmp_path), "--prompt-ids", "1"]) == 2
    line = f"generate.py: error: --checkpoint: there is no config.json in {tmp_path}\n"
    assert capsys.readouterr().err == line
