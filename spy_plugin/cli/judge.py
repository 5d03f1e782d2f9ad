"""`spy-bench judge`: a file of answers -> a file of verdicts."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.benchmark_options import add_benchmark_arguments, open_for_answers
from spy_plugin.cli.judge_work import Work, open_answers
from spy_plugin.cli.model_options import JUDGE_NAMES, add_batch_arguments, add_judge_arguments
from spy_plugin.cli.option_types import file_path
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging.base import Judge

if TYPE_CHECKING:
    from spy_plugin.judging.disclosure import DisclosureSummary
    from spy_plugin.judging.judge_answers import JudgeSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "answers", type=file_path, help="answers of one model, one JSON object per line"
    )
    add_benchmark_arguments(parser, required=False)
    parser.add_argument(
        "--judge",
        metavar="NAME",
        help=f"{JUDGE_NAMES} (default: rules for the embedded benchmarks; for all others what "
        "JUDGE_MODEL says, else GPT-4o)",
    )
    parser.add_argument(
        "--out", type=file_path, metavar="FILE", help="verdicts (default: ANSWERS_verdicts.jsonl)"
    )
    parser.add_argument(
        "--judge-thoughts",
        action="store_true",
        help="show the judge what the model thought aloud, too, as the official scripts do; "
        "that is another protocol",
    )
    parser.add_argument(
        "--ask-disclosure",
        action="store_true",
        help="then ask the same model, yes or no, whether each private answer that was judged "
        "respond tells the true value, where that is known; a judge that is not a model is refused",
    )
    parser.add_argument(
        "--other-server",
        action="store_true",
        help="resume verdicts of the judge at another address, or of another model by its server's "
        "account; the run file names both",
    )
    add_batch_arguments(parser)
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge, or say what judging would take."""
    from spy_plugin.cli.judge_estimate import print_estimate
    from spy_plugin.cli.model_options import judge_from_arguments
    from spy_plugin.judging.disclosure import disclosure_judge

    benchmark = open_for_answers(args, args.answers)
    if args.judge_thoughts:
        benchmark = replace(benchmark, protocol=benchmark.protocol.with_thoughts_judged())
    work = open_answers(args.answers, benchmark)
    out = args.out or default_out(args.answers)
    for line in work.remarks:
        print(line)
    # A dry run asks nobody, so it needs no key.
    key = "dry-run" if args.dry_run else None
    protocol = work.benchmark.protocol
    name = args.judge or _default_judge(args, benchmark.name)
    if args.ask_disclosure:
        _check_disclosure(args, name, work)
    with judge_from_arguments(args, name, protocol, api_key=key) as judge:
        if args.ask_disclosure:
            disclosure_judge(judge)  # refuses one that is not a model
        if args.dry_run:
            print_estimate(args, judge, work, out)
            return 0
        if args.batch:
            return _batch(args, judge, work, out)
        return _judge(args, judge, work, out)


def _check_disclosure(args: argparse.Namespace, name: str | None, work: Work) -> None:
    """Refuse, before anything is loaded or asked, what --ask-disclosure cannot do.

    Raises:
        SpyBenchError: a batch, a judge that is not a model, or a benchmark without true values.
    """
    from spy_plugin.judging.build import OFFLINE
    from spy_plugin.judging.disclosure import not_a_model

    if name in OFFLINE:
        raise not_a_model(name)
    if args.batch:
        raise SpyBenchError(
            "--ask-disclosure has no batches, as it needs the verdicts first. Collect them, then "
            "run the same command with --ask-disclosure and without --batch: it asks only that."
        )
    if not any(sample.gt for sample in work.samples):
        raise SpyBenchError(
            f"--ask-disclosure needs true values (gt), and no item of {work.benchmark.name} has "
            "one. Leave it out."
        )


def _default_judge(args: argparse.Namespace, benchmark: str) -> str | None:
    """Say who judges where no judge is named.

    Raises:
        SpyBenchError: an option names a server, and the default is not asked through one.
    """
    from spy_plugin.judging.build import default_judge

    name = default_judge(benchmark)
    if name is None:
        return None
    for option in ("base_url", "key_variable", "ray", "batch"):
        if getattr(args, option):
            raise SpyBenchError(
                f"--{option.replace('_', '-')} is given without a judge, and {benchmark} is judged "
                f"by {name} by default. Add --judge NAME ({JUDGE_NAMES})."
            )
    print(f"judge: {name}, the default of {benchmark}", file=sys.stderr)
    return name


def default_out(answers: Path) -> Path:
    """`x_answers.jsonl` or `x.jsonl` -> `x_verdicts.jsonl`, in the same folder."""
    from spy_plugin.benchmark.answers import answers_stem
    from spy_plugin.runs.metadata import VERDICTS_SUFFIX

    return answers.with_name(answers_stem(answers) + VERDICTS_SUFFIX)


def _judge(args: argparse.Namespace, judge: Judge, work: Work, out: Path) -> int:
    from spy_plugin.cli.progress import progress_bar, say_if_paid_twice
    from spy_plugin.judging.judge_answers import judge_answers

    started = datetime.now(timezone.utc)
    say_if_paid_twice(out, "questions")

    def stopped() -> str:
        kept = out.is_file() and out.stat().st_size > 0
        return f"The verdicts so far are kept in {out}. " if kept else ""

    with progress_bar(
        judge.name, len(work.samples), stopped=stopped, status=judge.status
    ) as progress:
        summary = judge_answers(
            work.samples,
            work.answers,
            judge,
            out,
            progress=progress,
            other_server=args.other_server,
        )
    metadata, told = _write_run(work, judge, summary, out, started), None
    if args.ask_disclosure:  # the verdicts have their run file now, whatever becomes of this
        told = _ask_disclosure(args, judge, work, out, stopped)
        metadata = _write_run(work, judge, summary, out, started, told)
    return _report(summary, out, metadata, told)


def _ask_disclosure(
    args: argparse.Namespace, judge: Judge, work: Work, out: Path, stopped: Callable[[], str]
) -> DisclosureSummary:
    from spy_plugin.cli.progress import progress_bar
    from spy_plugin.judging.disclosure import judge_disclosures

    with progress_bar(
        "disclosures", None, stopped=stopped, status=judge.status, unit="answer"
    ) as progress:
        return judge_disclosures(
            work.samples,
            judge,
            out,
            absolute_labels=work.benchmark.protocol.absolute_labels,
            progress=progress,
            other_server=args.other_server,
        )


def _report(
    summary: JudgeSummary, out: Path, metadata: Path, told: DisclosureSummary | None = None
) -> int:
    """Say what there is now and what to do next; returns the exit code."""
    print("\n".join(summary.lines()))
    if told is not None:
        print("\n".join(told.lines()))
    print(f"verdicts: {out}")
    if not any(summary.outcomes[name] for name in ("respond", "reject", "unjudged")):
        print("nothing could be judged: see the errors in the verdicts, and run again")
        return 1
    print(f"figures:  {shlex.join(['spy-bench', 'score', str(out)])}")
    print(f"report:   {shlex.join(['spy-bench', 'report', str(metadata.parent)])} --out report")
    return 0


def _write_run(
    work: Work,
    judge: Judge,
    summary: JudgeSummary,
    out: Path,
    started: datetime,
    told: DisclosureSummary | None = None,
) -> Path:
    from spy_plugin.judging.metadata import judged_run, write_judged_run

    judged = judged_run(
        work.run,
        judge,
        summary,
        answers=work.path,
        verdicts=out,
        started=started,
        disclosures=told,
    )
    return write_judged_run(judged, out)


def _batch(args: argparse.Namespace, judge: Judge, work: Work, out: Path) -> int:
    from spy_plugin.cli.judge_estimate import print_estimate
    from spy_plugin.judging.batch import JudgeBatches
    from spy_plugin.judging.judge_answers import judge_answers

    batches = JudgeBatches(judge, out)
    if args.batch == "submit":
        questions = print_estimate(args, judge, work, out)
        print("\n".join(batches.submit(questions)), flush=True)
        return 0
    if args.batch == "status":
        print("\n".join(batches.batches.status()))
        return 0
    started = datetime.now(timezone.utc)
    summary = judge_answers(
        work.samples, work.answers, batches.results(), out, other_server=args.other_server
    )
    metadata = _write_run(work, judge, summary, out, started)
    batches.batches.forget()
    code = _report(summary, out, metadata)
    if summary.outcomes["failed"]:
        print("to judge what failed: run --batch submit again, or judge without --batch")
    return code
