"""A program around mla_prolog or sfa_prolog, and its compiled form against the eager one."""

from __future__ import annotations

from dataclasses import replace

import torch

from mla_cases import MlaCase, MlaInputs, cache_arguments, same_bits

# Whose dimension 0 counts tokens.
PER_TOKEN = ("hidden_states", "cos", "sin", "slot_mapping")


class Program(torch.nn.Module):
    """A caller of the op: work before it, and work after it that reads the caches."""

    def __init__(self, op, options: dict) -> None:
        super().__init__()
        self.op, self.options = op, options

    def forward(self, per_token: dict, weights: dict, caches: dict):
        per_token = {**per_token, "hidden_states": per_token["hidden_states"] * 2}
        results = self.op(**per_token, **weights, **caches, **self.options)
        return results, {name: cache.flatten(1).clone() for name, cache in caches.items()}


def program_of(inputs: MlaInputs, **options) -> tuple[Program, tuple[dict, dict, dict]]:
    """The program that calls the op as `inputs` has it, and its arguments."""
    tensors = {k: v for k, v in inputs.arguments.items() if isinstance(v, torch.Tensor)}
    others = {k: v for k, v in inputs.arguments.items() if not isinstance(v, torch.Tensor)}
    caches = {name: cache.fill_(1) for name, cache in cache_arguments(inputs).items()}
    per_token = {name: tensors.pop(name) for name in PER_TOKEN}
    return Program(inputs.op, {**others, **options}), (per_token, tensors, caches)


def check_compiled(case: MlaCase, backend: str, inputs_type: type[MlaInputs] = MlaInputs) -> None:
    """One graph for all token counts but 1, which gives the results of the eager program.

    Bit for bit, caches included.
    """
    compiled = None
    for tokens in (5, 17, 2, 129):
        # One number of blocks for all token counts.
        inputs = inputs_type(replace(case, tokens=tokens, skip=0.0, block_size=1000))
        (eager, first), (_, second) = program_of(inputs), program_of(inputs)
        if compiled is None:
            compiled = torch.compile(eager, fullgraph=True, backend=backend, dynamic=True)
        expected = eager(*first)
        with torch._dynamo.config.patch(error_on_recompile=tokens != 5):
            actual = compiled(*second)
        for output, wanted in zip(actual[0], expected[0], strict=True):
            assert same_bits(output, wanted)
        for name, cache in second[2].items():
            assert (cache != 1).any(), f"{name}: the op did not write it"
            assert same_bits(cache, first[2][name])
            assert same_bits(actual[1][name], cache.flatten(1)), f"{name}: read before the op"
