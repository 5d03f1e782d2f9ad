"""`spy-bench judge-check`: measure a judge on known examples, or the agreement of two judges."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.benchmark_options import add_benchmark_arguments, open_from_arguments
from spy_plugin.cli.model_options import JUDGE_NAMES, add_judge_arguments
from spy_plugin.errors import SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.scoring.agreement import Agreement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "answers",
        nargs="?",
        type=Path,
        help="answers on which to compare two judges (default: the known examples)",
    )
    parser.add_argument(
        "--judge",
        action="append",
        required=True,
        metavar="NAME",
        help=f"{JUDGE_NAMES}; twice to compare two",
    )
    parser.add_argument(
        "--part", choices=("blind", "train"), default="blind", help="part of the known examples"
    )
    add_benchmark_arguments(parser, required=False)
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    if len(args.judge) > 2:
        raise SpyBenchError("judge-check takes one or two judges. Remove the others.")
    if args.answers is None:
        _known_examples(args)
        return 0
    if len(args.judge) != 2:
        raise SpyBenchError("answers have no known verdicts. Name two judges to compare on them.")
    if args.benchmark is None and args.release is None:
        raise SpyBenchError(
            "the answers' benchmark is not named. Add --mini, --lab or --release DIR."
        )
    _agreement_on_answers(args)
    return 0


def _known_examples(args: argparse.Namespace) -> None:
    from spy_plugin.benchmark.protocol import BUILTIN, read_official_protocol
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.calibration import check, keep_score, read_calibration
    from spy_plugin.scoring.agreement import agreement

    protocol = BUILTIN if args.release is None else read_official_protocol(args.release)
    examples = read_calibration(args.part)
    judges = [judge_from_arguments(args, name, protocol) for name in args.judge]
    results = []
    for judge in judges:
        with judge:
            result = check(judge, examples, args.part)
        results.append(result)
        note = " (offline: not for reported scores)" if judge.offline else ""
        print(f"{judge.name}{note} on {len(examples)} {args.part} examples")
        print("\n".join(_lines(result.agreement, "right", "judge")))
        kinds = (f"{kind} {hits}/{n}" for kind, (hits, n) in result.by_kind.items())
        print("by kind: " + ", ".join(kinds) + "\n")
        if args.part == "blind" and result.agreement.n == len(examples):
            keep_score(result)
    if len(results) == 2:
        agreed = agreement(results[0].outcomes, results[1].outcomes)
        print("\n".join(_lines(agreed, judges[0].name, judges[1].name)))


def _agreement_on_answers(args: argparse.Namespace) -> None:
    from spy_plugin.cli.judge import open_answers
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.calibration import outcomes_of
    from spy_plugin.judging.judge_answers import question_of
    from spy_plugin.scoring.agreement import agreement

    work = open_answers(args.answers, open_from_arguments(args))
    by_id = {sample.sample_id: sample for sample in work.samples}
    questions = [
        question_of(by_id[answer.sample_id], answer)
        for answer in work.answers
        if answer.outcome is None
    ]
    protocol = work.benchmark.protocol
    judges = [judge_from_arguments(args, name, protocol) for name in args.judge]
    distinct = list(dict.fromkeys(questions))
    found = []
    for judge in judges:
        with judge:
            found.append(dict(zip(distinct, outcomes_of(judge, distinct), strict=True)))
    first, second = ([verdicts[q] for q in questions] for verdicts in found)
    print("\n".join(_lines(agreement(first, second), judges[0].name, judges[1].name)))


def _lines(found: Agreement, first: str, second: str) -> list[str]:
    """A table for a person, rows `first` and columns `second`, and the two figures."""
    names = [outcome for outcome in Outcome if any(outcome in pair for pair in found.table)]
    lines = [f"{first + ' / ' + second:<28}" + "".join(f"{name.value:>10}" for name in names)]
    for row in names:
        cells = [found.table.get((row, column), 0) for column in names]
        if any(cells):
            lines.append(f"{row.value:<28}" + "".join(f"{cell:>10}" for cell in cells))
    left_out = sum(found.table.values()) - found.n
    if left_out:
        lines.append(f"left out: {left_out} that were not judged (filtered or failed)")
    if found.observed is None:
        return [*lines, "agreement N/A: nothing was judged"]
    kappa = "N/A" if found.kappa is None else f"{found.kappa:.3f}"
    return [*lines, f"agreement {found.observed:.1%} of {found.n}, kappa {kappa}"]
