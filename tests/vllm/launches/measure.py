"""Runs cases of serve commands in a process of one release, which may be a rank of a group.

    measure.py FOLDER RANK SIZE

Reads FOLDER/cases.json, a list of cases.Case, and writes FOLDER/rank-RANK.json, a list of results
in the same order:

    outcome   "fused", "upstream", "refused" or "not run"
    why       the plugin's reasons, upstream's refusal of the server, or what the suite lacks
    ops       calls of fused ops in the step
    windows   what was prefetched under which op
    error     the largest difference from upstream's own path, over its tolerance

Upstream's own path is without MLAPO, whose op the double does not have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import logging
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import pydantic
import torch

import compare
import environment
import models
import steps
from ascend_prefetch.vllm.fallback import say_once
from double import AbsentError
from launches import TRACE
from launches.cases import Case
from layers import Layers

LAYERS = 2  # so that the window under o_proj has a next layer
_CACHED = (5, 130, 200, 31)
# Later releases do not split the rows of attention.
_SPLITS = version("vllm-ascend").startswith(("0.18.", "0.23.", "0.26."))
_UPSTREAM = inspect.signature(say_once).parameters["so"].default
_SETTINGS = {"ascend_prefetch": {"enabled": True}}


def main() -> None:
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if size > 1:
        environment.join_group(rank, size, folder / "store")
    environment.start()
    cases = [Case.from_json(case) for case in json.loads((folder / "cases.json").read_text())]
    results = []
    for case in cases:
        results.append(measure(case))
        (folder / f"rank-{rank}.json").write_text(json.dumps(results))


def measure(case: Case) -> dict:
    """The result of a case."""
    if not hasattr(models, case.model):
        return {"outcome": "not run", "why": [f"the suite has no small {case.model}"]}
    from ascend_prefetch.vllm.layer import FusedLayer

    with _settings(), _plugin_lines() as lines:
        try:
            fused = _layers(case, mlapo=True)
        except AbsentError as error:
            return {"outcome": "not run", "why": [_first_line(error)]}
        except Exception as error:
            return {"outcome": "refused", "why": [_first_line(error)]}
        found = None
        ops: list[tuple[str, dict]] = []
        broken: Exception | None = None
        try:
            # Layers of another class are upstream's alone.
            if all(isinstance(impl, FusedLayer) for impl in fused.impls):
                with compare.count_ops() as ops:
                    found = _step(fused, case)
        except Exception as error:
            broken = error
        counted = Counter(name for name, _ in ops)
    result = {"ops": dict(counted), "windows": _windows(ops)}
    if not counted:
        # Upstream's own path may run ops that the double does not have.
        if lines and (broken is None or isinstance(broken, _ABSENT)):
            return {"outcome": "upstream", "why": lines, **result}
        why = [*lines, _first_line(broken) if broken else "no reason given"]
        return {"outcome": "not run", "why": why, **result}
    if broken is not None:
        return {"outcome": "not run", "why": [_first_line(broken)], **result}
    with _settings():
        plain = _layers(case, mlapo=False)
        wanted = _step(plain, case)
    errors = compare.errors(found, wanted, _scenario(case))
    int8 = any(cache.dtype is torch.int8 for caches in wanted.caches for cache in caches)
    shares = {k: e / compare.tolerance(case.quantisation, k, int8) for k, e in errors.items()}
    worst = max(shares, key=lambda k: shares[k])
    result["error"] = shares[worst]
    if compare.beyond_tolerance(case.quantisation, errors, int8):
        return {
            "outcome": "not run",
            "why": [f"values differ: {worst} {errors[worst]:.1e}"],
        } | result
    return {"outcome": "fused", "why": lines, **result}


# Ops of torch.ops that the double does not register raise an AttributeError.
_ABSENT = (AbsentError, NotImplementedError, AttributeError)


def _first_line(error: Exception | None) -> str:
    if os.environ.get(TRACE):
        traceback.print_exception(error)
    text = str(error)
    if isinstance(error, pydantic.ValidationError):
        text = error.errors()[0]["msg"]
    return f"{type(error).__name__}: {(text.splitlines() or [''])[0]}"


def _windows(ops: list[tuple[str, dict]]) -> dict[str, int]:
    """Bytes that were prefetched, by the op under which they were."""
    found: Counter[str] = Counter()
    for name, arguments in ops:
        for weight in arguments.get("prefetch") or ():
            found[name] += weight.nbytes
    return dict(found)


def _scenario(case: Case) -> steps.Scenario:
    queries = (1 + case.speculative,) * len(_CACHED)
    return steps.Scenario("decode", _CACHED, queries, speculative=case.speculative)


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """An environment for one case, with nothing kept that upstream has read in another's."""
    before = {k: v for k, v in os.environ.items() if not k.startswith("VLLM_ASCEND_")}
    with mock.patch.dict(os.environ, before, clear=True):
        _forget_settings()
        yield
    _forget_settings()


def _forget_settings() -> None:
    from vllm_ascend import ascend_config, utils

    ascend_config.clear_ascend_config()
    for name, value in list(vars(utils).items()):
        if name.startswith("enable_") and hasattr(value, "cache_clear"):
            value.cache_clear()
        if name in ("_ENABLE_SP", "_IS_MOE_MODEL", "_IS_VL_MODEL"):
            setattr(utils, name, None)


@contextlib.contextmanager
def _plugin_lines() -> Iterator[list[str]]:
    """Why the plugin leaves a case to upstream; it forgets what it has said of others."""
    import ascend_prefetch.vllm as plugin
    from ascend_prefetch.vllm import fallback, patch

    fallback.forget()
    patch._classes.clear()
    plugin._seam.cache_clear()
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            consequence, *reason = record.args if isinstance(record.args, tuple) else ("",)
            line = str(reason[0]) if reason else record.getMessage()
            # One reason may be that of both parts of a layer.
            line = re.sub("^(prolog|o_proj): ", "", line)
            upstream = record.levelno > logging.INFO or consequence == _UPSTREAM
            if upstream and line not in lines:
                lines.append(line)

    listener = Listener(logging.INFO)
    before = fallback.logger.level, fallback.logger.propagate
    fallback.logger.setLevel(logging.INFO)
    fallback.logger.propagate = False
    fallback.logger.addHandler(listener)
    try:
        yield lines
    finally:
        fallback.logger.removeHandler(listener)
        fallback.logger.setLevel(before[0])
        fallback.logger.propagate = before[1]


def _layers(case: Case, *, mlapo: bool) -> Layers:
    additional = json.loads(case.additional)
    if mlapo:
        additional |= _SETTINGS
    else:
        additional["enable_mlapo"] = False
    heads = case.heads * case.ranks
    model: models.Model = getattr(models, case.model)
    dimensions = {"num_attention_heads": heads, "num_key_value_heads": heads}
    return Layers(
        dataclasses.replace(model, dimensions={**model.dimensions, **dimensions}),
        case.quantisation,
        count=LAYERS,
        additional=additional,
        speculative=case.speculative,
        overrides=dict(case.overrides),
        mlapo=mlapo,
        int8_latents=case.int8_latents,
        prepare=lambda config: _prepare(config, case),
    )


def _prepare(config, case: Case) -> None:
    """The environment, and the parts of a configuration that are options of vllm serve."""
    # Not before: when a configuration is made, it does not yet know how many ranks there are.
    os.environ.update(case.environ)
    _forget_settings()
    config.scheduler_config.max_num_batched_tokens = case.max_tokens
    config.parallel_config.enable_expert_parallel = True
    if case.kv_role:
        from vllm.config import KVTransferConfig

        config.kv_transfer_config = KVTransferConfig(
            kv_connector=case.kv_connector, kv_role=case.kv_role
        )
    if case.kv_cache_dtype:
        config.cache_config.cache_dtype = case.kv_cache_dtype
    if case.indexer_kv_dtype:
        config.attention_config.indexer_kv_dtype = case.indexer_kv_dtype
        models.int8_keys(config.quant_config.quant_description, LAYERS)
    config.parallel_config.decode_context_parallel_size = case.context_parallel


def _step(layers: Layers, case: Case) -> steps.Result:
    """A decode step, with rows split over ranks where upstream splits them."""
    layers.enter()
    result = steps.run(layers, _scenario(case))
    if "VLLM_ASCEND_ENABLE_FLASHCOMM1" in dict(case.environ) and _SPLITS:
        rows = _scenario(case).rows // case.ranks
        assert set(result.shares) == {rows}, "the step does not have the case's settings"
    return result


if __name__ == "__main__":
    main()
