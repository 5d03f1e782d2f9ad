"""`spy-bench judge`: a file of answers -> a file of verdicts."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.records import Answer, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.cli.benchmark_options import add_benchmark_arguments, open_for_answers
from spy_plugin.cli.model_options import JUDGE_NAMES, add_batch_arguments, add_judge_arguments
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging.base import Judge

if TYPE_CHECKING:
    from spy_plugin.judging.judge_answers import JudgeSummary, Plan
    from spy_plugin.runs.metadata import RunMetadata


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("answers", type=Path, help="answers of one model, one JSON object per line")
    add_benchmark_arguments(parser, required=False)
    parser.add_argument(
        "--judge",
        metavar="NAME",
        help=f"{JUDGE_NAMES} (default: rules for the embedded benchmarks; for all others what "
        "JUDGE_MODEL says, else GPT-4o)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="verdicts (default: ANSWERS_verdicts.jsonl)"
    )
    parser.add_argument(
        "--judge-thoughts",
        action="store_true",
        help="show the judge what the model thought aloud, too, as the official scripts do; "
        "that is another protocol",
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
    from spy_plugin.cli.model_options import judge_from_arguments

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
    with judge_from_arguments(args, name, protocol, api_key=key) as judge:
        if args.dry_run:
            _dry_run(args, judge, work, out)
            return 0
        if args.batch:
            return _batch(args, judge, work, out)
        return _judge(args, judge, work, out)


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


@dataclass(frozen=True)
class Work:
    """What there is to judge.

    Attributes:
        run: What is known of the answers.
        samples: Those of the answers' variant.
        answers: One a sample.
        remarks: What the user should know of the file.
    """

    path: Path
    benchmark: Benchmark
    run: RunMetadata
    samples: list[Sample]
    answers: list[Answer]
    remarks: list[str]


def open_answers(path: Path, benchmark: Benchmark) -> Work:
    """The answers of a file and the samples they are to.

    Raises:
        DataError: no answer, or answers to something else.
    """
    from spy_plugin.benchmark.answers import read_answers, variant_of
    from spy_plugin.judging.metadata import describe_answers
    from spy_plugin.runs.metadata import ProtocolInfo

    protocol = benchmark.protocol
    found = read_answers(path, with_thoughts=bool(protocol.thoughts))
    distractors, samples = variant_of(benchmark, found, path)
    remarks = []
    if found.repeated:
        remarks.append(
            f"{found.repeated} samples have several answers in {path}: the last one counts"
        )
    absent = len(samples) - len(found.by_id)
    if absent:
        remarks.append(f"{absent} samples have no answer in {path}: they were not asked")
    about = describe_answers(path, benchmark, distractors, samples, found)
    if protocol.thoughts:
        name = f"{about.protocol.name}+thoughts"
        used = ProtocolInfo.of(protocol, name)
        about = about.model_copy(update={"protocol": used})
    return Work(path, benchmark, about, samples, list(found.by_id.values()), remarks)


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
    return _report(summary, out, _write_run(work, judge, summary, out, started))


def _report(summary: JudgeSummary, out: Path, metadata: Path) -> int:
    """Say what there is now and what to do next; returns the exit code."""
    print("\n".join(summary.lines()))
    print(f"verdicts: {out}")
    if not any(summary.outcomes[name] for name in ("respond", "reject", "unjudged")):
        print("nothing could be judged: see the errors in the verdicts, and run again")
        return 1
    print(f"figures:  {shlex.join(['spy-bench', 'score', str(out)])}")
    print(f"report:   {shlex.join(['spy-bench', 'report', str(metadata.parent)])} --out report")
    return 0


def _write_run(
    work: Work, judge: Judge, summary: JudgeSummary, out: Path, started: datetime
) -> Path:
    from spy_plugin.judging.metadata import judged_run, write_judged_run

    judged = judged_run(work.run, judge, summary, answers=work.path, verdicts=out, started=started)
    return write_judged_run(judged, out)


def _plan(args: argparse.Namespace, judge: Judge, work: Work, out: Path) -> Plan:
    """What is to be judged, with the verdicts of `out` taken into account.

    Raises:
        OtherJudgeError: another judge began `out`.
    """
    from spy_plugin.judging.judge_answers import make_plan, pair
    from spy_plugin.judging.verdict_file import earlier_verdicts

    earlier = earlier_verdicts(out, judge, other_server=args.other_server)
    return make_plan(pair(work.samples, work.answers), judge, earlier)


def _dry_run(args: argparse.Namespace, judge: Judge, work: Work, out: Path) -> None:
    from spy_plugin.judging.cached_judge import CachedJudge
    from spy_plugin.judging.cost import estimate
    from spy_plugin.judging.judge_answers import make_plan, pair
    from spy_plugin.judging.verdict_file import OtherJudgeError
    from spy_plugin.runs.submitted import submitted_keys

    try:
        plan = _plan(args, judge, work, out)
    except OtherJudgeError as error:
        print(f"{error} Below, as if from nothing:")
        plan = make_plan(pair(work.samples, work.answers), judge, {})
    questions = list(plan.open)
    shared = sum(len(group) - 1 for group in plan.open.values())
    known = judge.known(questions) if isinstance(judge, CachedJudge) else set()
    waiting = submitted_keys(out)
    asked = [q for i, q in enumerate(questions) if i not in known and q.key not in waiting]
    print(f"judge {judge.name}, {len(work.samples)} samples, {len(plan.kept)} judged already")
    in_batches = f", in batches already {len(waiting)}" if waiting else ""
    print(f"saved by equality {shared}, saved by cache {len(known)}{in_batches}")
    if judge.offline:
        print(f"{len(asked)} questions, no call and no cost: an offline judge")
        return
    price = tuple(args.price) if args.price else None
    print("\n".join(estimate(asked, work.benchmark.protocol, judge.name, price).lines()))


def _batch(args: argparse.Namespace, judge: Judge, work: Work, out: Path) -> int:
    from spy_plugin.judging.batch import JudgeBatches
    from spy_plugin.judging.judge_answers import judge_answers

    batches = JudgeBatches(judge, out)
    if args.batch == "submit":
        questions = list(_plan(args, judge, work, out).open)
        _dry_run(args, judge, work, out)
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
