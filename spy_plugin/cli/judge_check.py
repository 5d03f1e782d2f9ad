"""`spy-bench judge-check`: measure a judge on known examples, or the agreement of two judges."""

from __future__ import annotations

import argparse
import json
import logging
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    is_named,
    open_for_answers,
    open_from_arguments,
)
from spy_plugin.cli.model_options import JUDGE_NAMES, add_judge_arguments
from spy_plugin.cli.option_types import file_path
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import system_problem

if TYPE_CHECKING:
    from spy_plugin.benchmark.protocol import Protocol
    from spy_plugin.judging.base import Judge
    from spy_plugin.judging.calibration import Check
    from spy_plugin.scoring.agreement import Agreement

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "answers",
        nargs="?",
        type=file_path,
        help="answers on which to compare two judges (default: the known examples)",
    )
    parser.add_argument(
        "--judge",
        action="append",
        required=True,
        metavar="NAME",
        help=f"{JUDGE_NAMES}; twice to compare two",
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--part", choices=("blind", "train"), default="blind", help="part of the known examples"
    )
    known.add_argument(
        "--gold",
        type=file_path,
        metavar="FILE",
        help="examples of your own instead: label_text, question, answer and verdict per line",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_benchmark_arguments(parser, required=False)
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    if len(args.judge) > 2:
        raise SpyBenchError("judge-check takes one or two judges. Remove the others.")
    if args.answers is None:
        _known_examples(args)
        return 0
    if args.gold is not None:
        raise SpyBenchError("--gold replaces the answers. Leave out one of the two.")
    if len(args.judge) != 2:
        raise SpyBenchError("answers have no known verdicts. Name two judges to compare on them.")
    _agreement_on_answers(args)
    return 0


def _known_examples(args: argparse.Namespace) -> None:
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.calibration import check, keep_score, read_calibration, read_gold
    from spy_plugin.scoring.agreement import agreement

    name = args.gold.name if args.gold else args.part
    examples = read_gold(args.gold) if args.gold else read_calibration(args.part)
    judges = [judge_from_arguments(args, judge, _protocol(args)) for judge in args.judge]
    results = []
    for judge in judges:
        with judge:
            results.append(check(judge, examples, name))
        if name != "train" and results[-1].agreement.n == len(examples):
            try:
                keep_score(results[-1])
            except OSError as error:
                logger.warning("reports will not name this score: %s", system_problem(error))
    agreed = agreement(results[0].outcomes, results[1].outcomes) if len(results) == 2 else None
    if args.json:
        out = {"judges": [_as_json(*pair) for pair in zip(judges, results, strict=True)]}
        print(json.dumps(out | ({"agreement": _figures(agreed)} if agreed else {})))
        return
    for judge, result in zip(judges, results, strict=True):
        note = " (offline: not for reported scores)" if judge.offline else ""
        print(f"{judge.name}{note} on {len(examples)} {name} examples")
        print("\n".join(_lines(result.agreement, "right", "judge") + _accuracy(result)))
        kinds = (f"{kind} {hits}/{n}" for kind, (hits, n) in result.by_kind.items())
        print("by kind: " + ", ".join(kinds) + "\n")
    if agreed:
        print("\n".join(_lines(agreed, judges[0].name, judges[1].name)))


def _protocol(args: argparse.Namespace) -> Protocol:
    """Return the words of the benchmark that is named, else the built-in ones."""
    from spy_plugin.benchmark.protocol import BUILTIN

    return open_from_arguments(args).protocol if is_named(args) else BUILTIN


def _agreement_on_answers(args: argparse.Namespace) -> None:
    from spy_plugin.cli.judge_work import open_answers
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.calibration import outcomes_of
    from spy_plugin.judging.judge_answers import question_of
    from spy_plugin.scoring.agreement import agreement

    work = open_answers(args.answers, open_for_answers(args, args.answers))
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
    agreed, names = agreement(first, second), [judge.name for judge in judges]
    if args.json:
        print(json.dumps({"judges": names, "agreement": _figures(agreed)}))
    else:
        print("\n".join(_lines(agreed, *names)))


def _as_json(judge: Judge, result: Check) -> dict[str, Any]:
    from spy_plugin.judging.calibration import score_of

    return score_of(result) | {
        "fingerprint": judge.fingerprint,
        "offline": judge.offline,
        "right": result.right,
        "table": _figures(result.agreement)["table"],
        "by_kind": result.by_kind,
    }


def _figures(found: Agreement) -> dict[str, Any]:
    table = {f"{a.value}/{b.value}": count for (a, b), count in found.table.items()}
    return {"n": found.n, "observed": found.observed, "kappa": found.kappa, "table": table}


def _accuracy(result: Check) -> list[str]:
    """Return the interval of the accuracy and the two error rates, for a person."""
    from spy_plugin.judging.calibration import score_of
    from spy_plugin.scoring.rounding import rounded

    if result.agreement.observed is None:
        return []
    score, errors = score_of(result), result.errors
    share, low, high = (rounded(100 * score[name], 1) for name in ("accuracy", "low", "high"))
    return [
        f"right on {share}%, 95% interval {low}% to {high}%",
        f"answers that respond and were rejected: {errors.respond[0]} of {errors.respond[1]}; "
        f"that reject and were taken to respond: {errors.reject[0]} of {errors.reject[1]}",
    ]


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
