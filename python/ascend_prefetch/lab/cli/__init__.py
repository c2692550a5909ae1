"""Command line: python -m ascend_prefetch VERB ...

Each verb is a file of this folder, which is imported here and listed in VERBS.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ascend_prefetch.files import OutputFile, check_outputs, whole_file
from ascend_prefetch.lab.interrupts import Interrupted, interruptible
from ascend_prefetch.lab.plots.figure import require_matplotlib
from ascend_prefetch.shown import plain

from . import (
    bench,
    calibrate,
    collect_env,
    correlate,
    demo,
    first_hour,
    floors,
    info,
    layer,
    mutate,
    results,
    sanitize,
    sweep,
    timeline,
    windows,
)
from .common import Verb

VERBS = (
    info.VERB,
    demo.VERB,
    bench.VERB,
    layer.VERB,
    floors.VERB,
    sweep.VERB,
    results.VERB,
    windows.VERB,
    timeline.VERB,
    correlate.VERB,
    calibrate.VERB,
    first_hour.VERB,
    sanitize.VERB,
    mutate.VERB,
    collect_env.VERB,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns the exit status: 0, 1 if a check failed, 2 for bad input, or 128 plus the number of the
    signal that interrupted it. No partial output file is left behind.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may contain bytes that are not valid text.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    verb = options.verb
    try:
        with interruptible():
            _check_outputs(verb, options)
            result = verb.run(options)
            _write(result, options)
            sys.stdout.flush()
    except Interrupted as stop:
        print(f"ascend_prefetch {verb.name}: {stop}", file=sys.stderr)
        return stop.status
    except BrokenPipeError:
        # The reader has closed the pipe; the rest of the output is discarded silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        print(f"ascend_prefetch {verb.name}: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0 if verb.passed(result) else 1


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    whole = _Parser(
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


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without its usage.

    Options must be written in full: a new option could change the meaning of an abbreviation.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog.removeprefix('python -m ')}: {_one_line(message)}", file=sys.stderr)
        sys.exit(2)


# Maximum length of an error line, which may quote the bad input.
_LONGEST_LINE = 2000


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return plain(text, _LONGEST_LINE) if len(text) > _LONGEST_LINE else text


def _check_outputs(verb: Verb, options: argparse.Namespace) -> None:
    outputs = []
    for option in verb.outputs:
        path, name = getattr(options, option.name), option.name.replace("_", "-")
        if path is not None:
            outputs.append(OutputFile(name, path, option.suffixes))
            # A path without a name is refused with its suffix.
            beside = option.beside if path.name else ()
            outputs += [OutputFile(name, path.with_suffix(suffix)) for suffix in beside]
    if options.json not in (None, "-"):
        outputs.append(OutputFile("json", Path(options.json)))
    inputs = (getattr(options, name) for name in verb.inputs)
    check_outputs(outputs, [path for path in inputs if path is not None])
    # calibrate may overwrite the chip file that it starts from; --json may overwrite no input.
    results = [output for output in outputs if output.name == "json"]
    socs = getattr(options, "soc", None) or ()
    socs = (socs,) if isinstance(socs, str) else socs
    check_outputs(results, [Path(soc) for soc in socs if soc.endswith(".json")])
    models = (getattr(options, "model", None), *(getattr(options, "models", None) or ()))
    files = [Path(model) for model in models if model and os.path.exists(model)]
    check_outputs(outputs, [file / "config.json" if file.is_dir() else file for file in files])
    if any(".png" in output.suffixes and output.path.suffix == ".png" for output in outputs):
        require_matplotlib()


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
        return
    if options.json is not None:
        with whole_file(Path(options.json)) as part:
            part.write_text(text, encoding="utf-8")
    options.verb.show(result)
