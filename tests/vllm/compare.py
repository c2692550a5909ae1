"""A step with the plugin against the same step without it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import torch

import environment
import formats
import models
import steps
from layers import Layers

# Each side is within 4e-3 of the exact result of bf16 layers, norm-wise (tests/python holds the ops
# to it; upstream rounds between its ops where the fused ones do not): at most twice that apart.
BF16 = 8e-3
# A difference of a rounding moves int8 activations to the next step here and there. Quantised
# independently of each other, the worst of it, two activations are sqrt(2 / 12) steps apart; a step
# is 1 / 127 of the largest of some hundred numbers, which is 3.8 times as large as they are.
STEP = 3.8 / 127 * (2 / 12) ** 0.5


def tolerance(quantisation: str, compared: str, int8_caches: bool = False) -> float:
    """How far apart a step with the plugin may be from one without.

    Args:
        quantisation: of the model.
        compared: "outputs", which are behind two layers whose inputs may differ, q_b and o_proj;
            "caches", behind none; else inputs of attention, behind one.
        int8_caches: whether the layers have such, whose rows are quantised once more.
    """
    steps = 1 if int8_caches else 0
    if quantisation != "bf16" and compared != "caches":
        steps += 2 if compared == "outputs" else 1
    return BF16 + steps * STEP


@contextlib.contextmanager
def count_ops(
    tell: Callable[[str], None] = lambda name: None,
) -> Iterator[list[tuple[str, dict]]]:
    """The calls of torch.ops.ascend_prefetch, name and keyword arguments each.

    Args:
        tell: called with the name of each call, when it is made.
    """
    calls: list[tuple[str, dict]] = []

    def counting(call, name_of):
        def counted(self, /, *args, **kwargs):
            namespace, name = name_of(self).split("::")
            if namespace == "ascend_prefetch":
                calls.append((name, kwargs))
                tell(name)
            return call(self, *args, **kwargs)

        return counted

    overload, packet = torch._ops.OpOverload, torch._ops.OpOverloadPacket
    with (
        mock.patch.object(
            overload, "__call__", counting(overload.__call__, lambda op: op._schema.name)
        ),
        mock.patch.object(
            packet, "__call__", counting(packet.__call__, lambda op: op._qualified_op_name)
        ),
    ):
        yield calls


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """|found - wanted| / |wanted|, both norms over the whole tensor; infinite for NaN."""
    found, wanted = found.double(), wanted.double()
    if found.shape != wanted.shape:
        raise AssertionError(f"shapes {tuple(found.shape)} and {tuple(wanted.shape)}")
    if torch.equal(found, wanted):
        return 0.0
    error = ((found - wanted).norm() / wanted.norm()).item()
    return float("inf") if error != error else error


class Pair:
    """The same layers built with and without the plugin, on equal weights."""

    def __init__(
        self,
        model: models.Model,
        quantisation: str,
        *,
        count: int = 1,
        additional: dict | None = None,
        fused: dict | None = None,
        **settings,
    ):
        """
        Args:
            model: whose layers they are.
            quantisation: one of models.QUANTISATIONS.
            count: number of layers.
            additional: --additional-config of both.
            fused: settings of the layers with the plugin alone.
            settings: of both; see Layers.
        """
        self.plain, self.fused = (
            Layers(
                model,
                quantisation,
                count=count,
                additional={**(additional or {}), **plugin},
                **settings,
                **more,
            )
            for plugin, more in (
                ({}, {}),
                ({"ascend_prefetch": {"enabled": True}}, fused or {}),
            )
        )

    def run(self, scenario: steps.Scenario, seed: int = 0):
        """The step without the plugin, with it switched off, and with it, and its calls."""
        from ascend_prefetch.vllm import turn

        self.plain.enter()
        plain = steps.run(self.plain, scenario, seed)
        self.fused.enter()
        before = turn(False)
        off = steps.run(self.fused, scenario, seed)
        turn(True)
        with count_ops() as calls:
            on = steps.run(self.fused, scenario, seed)
        turn(before)
        return plain, off, on, calls


def errors(found: steps.Result, wanted: steps.Result, scenario: steps.Scenario) -> dict[str, float]:
    """How far apart two steps are, by what is compared.

    Outputs count where a token is: rows behind the tokens are undefined in some releases.

    Raises:
        AssertionError: another set of attention calls, or bytes of a cache that differ where no
            token of the step was written.
    """
    rows = sum(scenario.queries) or None
    pairs = zip(found.outputs, wanted.outputs, strict=True)
    result = {"outputs": max(distance(f[:rows], w[:rows]) for f, w in pairs)}
    inputs = [name for name, _ in wanted.calls.inputs]
    assert [name for name, _ in found.calls.inputs] == inputs
    for (name, tensors), (_, others) in zip(wanted.calls.inputs, found.calls.inputs, strict=True):
        for key, tensor in tensors.items():
            error = distance(others[key][:rows], tensor[:rows])
            label = f"{name}.{key}"
            result[label] = max(error, result.get(label, 0.0))
    result["caches"] = max(
        _cache_error(f, w, scenario)
        for caches, others in zip(found.caches, wanted.caches, strict=True)
        for f, w in zip(caches, others, strict=True)
    )
    return result


def beyond_tolerance(
    quantisation: str, found: dict[str, float], int8_caches: bool = False
) -> dict[str, float]:
    """Of errors() those that are too large."""
    return {k: e for k, e in found.items() if not e <= tolerance(quantisation, k, int8_caches)}


def table_row(
    attention: str,
    quantisation: str,
    scenario: str,
    fused: int,
    found: dict[str, float],
    int8_caches: bool = False,
) -> dict[str, object]:
    """A row of the table that run.py prints.

    Args:
        attention: name of the model.
        quantisation: of the model.
        scenario: its name in the table.
        fused: calls of fused ops.
        found: errors().
        int8_caches: whether the layers have int8 caches.
    """
    equal = not beyond_tolerance(quantisation, found, int8_caches)
    return {
        "vllm-ascend": environment.start(),
        "attention": attention,
        "quantisation": quantisation,
        "scenario": scenario,
        "fused calls": fused,
        "equal": equal,
        "result": f"{'equal' if equal else 'DIFFERENT'} {max(found.values()):.1e}",
    }


def _cache_error(found: torch.Tensor, wanted: torch.Tensor, scenario: steps.Scenario) -> float:
    written = steps.written_rows(scenario)
    step = environment.BLOCK * (2 if scenario.strided else 1)
    flat_found, flat_wanted = (cache.flatten(0, 2) for cache in (found, wanted))
    rows = torch.tensor(
        [slot // environment.BLOCK * step + slot % environment.BLOCK for slot in written],
        dtype=torch.long,
    )
    untouched = torch.ones(flat_found.shape[0], dtype=torch.bool)
    untouched[rows] = False
    bits = (cache[untouched].view(torch.int16) for cache in (flat_found, flat_wanted))
    assert torch.equal(*bits), "bytes of a cache differ where nothing was to be written"
    if not written:
        return 0.0
    parts = zip(formats.parts(flat_found[rows]), formats.parts(flat_wanted[rows]), strict=True)
    return max(distance(f, w) for f, w in parts)
