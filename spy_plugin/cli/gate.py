"""`spy-bench gate`: stop a release whose figures got worse."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.option_types import any_path, file_path, non_negative_float, positive_int
from spy_plugin.cli.resampling_options import add_resampling_arguments
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import system_problem

if TYPE_CHECKING:
    from spy_plugin.report.gate.rules import Gate, Kind

PASSED, WORSE, CANNOT_TELL = 0, 1, 2
"""Exit codes. Whatever keeps the gate from measuring is `CANNOT_TELL`: only a figure that is worse
than allowed gives `WORSE`."""

_LIMITS = {
    "min": "privacy=60: the figure must not be below this",
    "max": "leakage=20: the error rate must not be above this",
    "max-drop": "privacy=2: points that the figure may be below the baseline's",
    "max-rise": "leakage=2: points that the error rate may be above the baseline's",
}
_EPILOG = (
    "A figure of one label is FIGURE[LABEL], as in leakage[a49_phone]. Exit code: 0 passed, "
    "1 worse than allowed, 2 cannot tell (or the gate could not run). See docs/gate.md."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "run", type=any_path, metavar="RUN", help="results, as for spy-bench report"
    )
    for kind, text in _LIMITS.items():
        parser.add_argument(
            f"--{kind}",
            dest=f"limit_{kind}",
            type=_limit,
            action="append",
            default=[],
            metavar="FIGURE=LIMIT",
            help=f"{text}; may be repeated",
        )
    parser.add_argument("--rules", type=file_path, metavar="FILE", help="a YAML file of rules")
    parser.add_argument(
        "--baseline", type=any_path, metavar="RUN", help="results of the earlier model"
    )
    parser.add_argument("--model", default="", metavar="NAME", help="only this model of RUN")
    parser.add_argument(
        "--baseline-model", default="", metavar="NAME", help="only this model of the baseline"
    )
    parser.add_argument(
        "--confidence",
        type=non_negative_float,
        metavar="LEVEL",
        help="level of the intervals, from 0.5 to below 1 (default: 0.95)",
    )
    parser.add_argument(
        "--precision",
        type=non_negative_float,
        metavar="POINTS",
        help="widest interval that may lie across a limit and pass; 0 lets none pass (default: 10)",
    )
    parser.add_argument(
        "--min-pictures",
        type=positive_int,
        metavar="N",
        help="with fewer pictures, a figure is not told (default: 30)",
    )
    parser.add_argument(
        "--max-missing",
        type=non_negative_float,
        metavar="PERCENT",
        help="samples that may lack a verdict (default: 5)",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        default=None,
        help="also judge a run that did not ask every sample",
    )
    parser.add_argument(
        "--junit", type=file_path, metavar="FILE", help="write JUnit XML; replaces an earlier one"
    )
    parser.add_argument(
        "--summary", type=file_path, metavar="FILE", help="append a Markdown table to this file"
    )
    add_resampling_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Apply the rules; returns the exit code."""
    try:
        return _run(args)
    except SpyBenchError as error:
        problem = str(error)
    except OSError as error:
        problem = system_problem(error)
    print(f"spy-bench: error: {problem}", file=sys.stderr)
    return CANNOT_TELL


def _run(args: argparse.Namespace) -> int:
    from spy_plugin.report.gate.decide import Status, apply_gate
    from spy_plugin.report.gate.render import as_junit, as_markdown, as_text

    gate = _gate(args)
    if args.junit:
        _refuse_other_file(args.junit)
    result = apply_gate(
        gate,
        args.run,
        args.baseline,
        model=args.model,
        baseline_model=args.baseline_model,
        resamples=args.resamples,
        seed=args.seed,
    )
    if args.junit:
        from spy_plugin.files.writing import write_atomically

        write_atomically(args.junit, as_junit(result))
    if args.summary:
        args.summary.parent.mkdir(parents=True, exist_ok=True)
        with args.summary.open("a", encoding="utf-8") as file:
            file.write(as_markdown(result))
    codes = {Status.PASSED: PASSED, Status.FAILED: WORSE, Status.CANNOT_TELL: CANNOT_TELL}
    _say(as_text(result))
    return codes[result.status]


def _say(text: str) -> None:
    """Print, also where the reader (`head`) has gone: the exit code must not change."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _gate(args: argparse.Namespace) -> Gate:
    """Put the rules of the file and of the command line together; the latter win."""
    from pydantic import ValidationError

    from spy_plugin.files.json import problem_of
    from spy_plugin.report.gate.rules import (
        KINDS,
        Gate,
        Rule,
        Settings,
        combine,
        make_rule,
        read_rules,
    )

    in_file: list[Rule] = []
    settings = Settings()
    if args.rules:
        in_file, settings = read_rules(args.rules)
    given: list[Rule] = []
    kinds: tuple[Kind, ...] = KINDS
    for kind in kinds:
        for limit in getattr(args, f"limit_{kind}"):
            rule = make_rule(kind, *limit)
            if (kind, rule.name) in [(each.kind, each.name) for each in given]:
                raise SpyBenchError(f"--{kind} is given twice for {rule.name}. Give one limit.")
            given.append(rule)
    names = ("confidence", "precision", "min_pictures", "max_missing", "allow_partial")
    named = {
        name.replace("_", "-"): value
        for name in names
        if (value := getattr(args, name)) is not None
    }
    try:  # by the names that the options have, for the message
        settings = Settings.model_validate(settings.model_dump(by_alias=True) | named)
    except ValidationError as error:
        raise SpyBenchError(f"an option is out of range: {problem_of(error)}.") from error
    return Gate(combine(in_file, given), settings)


def _refuse_other_file(path: Path) -> None:
    """Refuse to replace a file that is not XML.

    Raises:
        SpyBenchError: the file holds something else.
    """
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(5) == b"<?xml":
                raise SpyBenchError(f"{path} is not JUnit XML. Name another file with --junit.")


def _limit(text: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    if not (equals and name):
        raise argparse.ArgumentTypeError(f"must be FIGURE=LIMIT, as in privacy=60, not {text!r}")
    return name, non_negative_float(number)
