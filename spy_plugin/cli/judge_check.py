"""`spy-bench judge-check`: how good a judge is on known examples, or how far two judges agree."""

from __future__ import annotations

import argparse
from pathlib import Path

from spy_plugin.cli.benchmark_options import add_benchmark_arguments, open_from_arguments
from spy_plugin.cli.model_options import JUDGE_NAMES, add_judge_arguments
from spy_plugin.errors import SpyBenchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "answers",
        nargs="?",
        type=Path,
        help="answers on which two judges are compared (default: the known examples)",
    )
    parser.add_argument(
        "--judge",
        action="append",
        required=True,
        metavar="NAME",
        help=f"{JUDGE_NAMES}; twice to compare two",
    )
    parser.add_argument(
        "--part", choices=("blind", "train"), default="blind", help="which of the known examples"
    )
    add_benchmark_arguments(parser, required=False)
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    if len(args.judge) > 2:
        raise SpyBenchError("judge-check takes one or two judges. Leave the others out.")
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
    from spy_plugin.benchmark.protocol import BUILTIN, read_official
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.calibration import agreement, check, keep_score, read_calibration

    protocol = BUILTIN if args.release is None else read_official(args.release)
    examples = read_calibration(args.part)
    judges = [judge_from_arguments(args, name, protocol) for name in args.judge]
    results = []
    for judge in judges:
        with judge:
            result = check(judge, examples, args.part)
        results.append(result)
        note = " (offline: not for reported scores)" if judge.offline else ""
        print(f"{judge.name}{note} on {len(examples)} {args.part} examples")
        print("\n".join(result.agreement.lines("right", "judge")))
        kinds = (f"{kind} {hits}/{n}" for kind, (hits, n) in result.by_kind.items())
        print("by kind: " + ", ".join(kinds) + "\n")
        if args.part == "blind":
            keep_score(result)
    if len(results) == 2:
        agreed = agreement(results[0].outcomes, results[1].outcomes)
        print("\n".join(agreed.lines(judges[0].name, judges[1].name)))


def _agreement_on_answers(args: argparse.Namespace) -> None:
    from spy_plugin.cli.judge import open_answers
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.calibration import agreement, outcomes_of
    from spy_plugin.judging.judge_answers import question_of

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
    print("\n".join(agreement(first, second).lines(judges[0].name, judges[1].name)))
