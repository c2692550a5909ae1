"""Command line: python -m ascend_prefetch VERB ...

Each verb is a file of this folder, which is imported here and listed in VERBS.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import (
    bench,
    calibrate,
    collect_env,
    correlate,
    demo,
    info,
    layer,
    mutate,
    results,
    sanitize,
    sweep,
    timeline,
)

VERBS = (
    info.VERB,
    demo.VERB,
    bench.VERB,
    layer.VERB,
    sweep.VERB,
    results.VERB,
    timeline.VERB,
    correlate.VERB,
    calibrate.VERB,
    sanitize.VERB,
    mutate.VERB,
    collect_env.VERB,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns the exit status: 0, 1 when a check failed, 2 for bad input."""
    options = parser().parse_args(arguments)
    verb = options.verb
    try:
        result = verb.run(options)
        _write(result, options)
    except (ValueError, RuntimeError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"ascend_prefetch {verb.name}: {message}", file=sys.stderr)
        return 2
    return 0 if verb.passed(result) else 1


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    whole = argparse.ArgumentParser(
        prog="python -m ascend_prefetch",
        description="Fused Ascend C decode kernels that prefetch the next weights into L2.",
    )
    parsers = whole.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb_parser = parsers.add_parser(verb.name, help=verb.help, description=verb.description)
        verb.add_arguments(verb_parser)
        verb_parser.add_argument(
            "--json", metavar="FILE", help="write the result as JSON; - for stdout"
        )
        verb_parser.set_defaults(verb=verb)
    return whole


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
        return
    if options.json is not None:
        Path(options.json).write_text(text, encoding="utf-8")
    options.verb.show(result)
