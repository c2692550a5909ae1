"""Generates from a checkpoint directory with the ops in every attention layer."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
import transformers

import ascend_prefetch.transformers

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, 1 for other tokens than without the ops, 2 for an error."""
    args = _arguments(argv)
    try:
        return _run(args)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"generate.py: error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Loads a checkpoint of a model that patch supports with transformers, "
        "puts the ops of ascend_prefetch into its attention layers, and generates greedily. On a "
        "CPU the ops run on the twin, which is exact and slow: take a small checkpoint."
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory with config.json and safetensors files, nothing is downloaded",
    )
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="needs a tokenizer in the directory")
    prompt.add_argument("--prompt-ids", type=int, nargs="+", metavar="ID", help="token ids")
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=16,
        metavar="N",
        help="tokens to generate (%(default)s)",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="bf16", help="of the model (%(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or npu (%(default)s)")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="generate without the ops as well; exit status 1 if the tokens differ, which they may "
        "where two logits are closer than the dtype rounds",
    )
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> int:
    if not (args.checkpoint / "config.json").is_file():
        raise ValueError(f"--checkpoint: there is no config.json in {args.checkpoint}")
    if args.max_new_tokens < 1:
        raise ValueError(f"--max-new-tokens: expected at least 1, got {args.max_new_tokens}")
    tokenizer = _tokenizer(args.checkpoint) if args.prompt is not None else None
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.checkpoint, dtype=DTYPES[args.dtype], local_files_only=True
    )
    model = model.to(args.device).eval()
    prompt = args.prompt_ids if tokenizer is None else tokenizer(args.prompt)["input_ids"]
    wrong = [token for token in prompt if not 0 <= token < model.config.vocab_size]
    if wrong:
        raise ValueError(
            f"--prompt-ids: expected 0 <= id < {model.config.vocab_size}, got {wrong[0]}"
        )

    expected = _generate(model, prompt, args, "without the ops") if args.compare else None
    ascend_prefetch.transformers.patch(model)
    tokens = _generate(model, prompt, args, "with the ops")
    print("tokens:", *tokens)
    if tokenizer is not None:
        print("text:", tokenizer.decode(tokens))
    if expected is None:
        return 0
    if tokens == expected:
        print(f"compare: the same {len(tokens)} tokens without the ops")
        return 0
    pairs = zip(tokens, expected, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(tokens), len(expected)))
    print(f"compare: other tokens from new token {first} on, without the ops:", *expected)
    return 1


def _tokenizer(checkpoint: Path) -> transformers.PreTrainedTokenizerBase:
    try:
        return transformers.AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(
            f"--prompt: found no tokenizer in {checkpoint}; give --prompt-ids instead"
        ) from error


def _generate(
    model: transformers.PreTrainedModel, prompt: list[int], args: argparse.Namespace, name: str
) -> list[int]:
    """The new tokens; prints how long they took."""
    input_ids = torch.tensor([prompt], device=model.device)
    start = time.perf_counter()
    sequences = model.generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        max_new_tokens=args.max_new_tokens,
        do_sample=False,
    )
    seconds = time.perf_counter() - start
    tokens = sequences[0, len(prompt) :].tolist()
    print(f"{name}: {len(tokens)} tokens in {seconds:.2f} s, wall time on {model.device.type}")
    return tokens


if __name__ == "__main__":
    sys.exit(main())
