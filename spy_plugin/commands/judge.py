"""`spy-bench judge`: a file of answers -> a file of verdicts."""

from __future__ import annotations

import argparse
from pathlib import Path

from spy_plugin.errors import DataError
from spy_plugin.judge.base import Judge
from spy_plugin.judge.options import add_judge_arguments
from spy_plugin.protocol import Protocol
from spy_plugin.records import Answer, Sample, Verdict

_BATCH_ACTIONS = ("submit", "status", "collect")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("answers", type=Path, help="answers of one model, one JSON object a line")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--release", type=Path, metavar="DIR", help="root of an official release")
    source.add_argument("--mini", action="store_true", help="the embedded benchmark")
    parser.add_argument(
        "--judge",
        metavar="NAME",
        help="rules, minilm, openai:MODEL, vllm:MODEL (default: JUDGE_MODEL, else GPT-4o)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="verdicts (default: ANSWERS_verdicts.jsonl)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="calls, tokens and cost; ask nothing"
    )
    parser.add_argument(
        "--price",
        nargs=2,
        type=float,
        metavar=("IN", "OUT"),
        help="dollars for a million tokens, for --dry-run",
    )
    parser.add_argument(
        "--batch", choices=_BATCH_ACTIONS, help="OpenAI's Batch API: half the price, within a day"
    )
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge, or say what judging would take."""
    from spy_plugin.judge.options import judge_from_arguments

    protocol, samples, answers = open_answers(args.answers, args.release)
    out = args.out or default_out(args.answers)
    # A dry run asks nobody, so it needs no key.
    key = "dry-run" if args.dry_run else None
    judge = judge_from_arguments(args, args.judge, protocol, api_key=key)
    if args.dry_run:
        _dry_run(args, judge, protocol, samples, answers, out)
        return 0
    if args.batch:
        return _batch(args.batch, judge, samples, answers, out)
    return _judge(judge, samples, answers, out)


def open_answers(path: Path, release: Path | None) -> tuple[Protocol, list[Sample], list[Answer]]:
    """The protocol, the samples of the answers' variant, and the answers.

    Args:
        release: Root of the official release; None for the embedded benchmark.

    Raises:
        DataError: no answer, or answers to something else.
    """
    from spy_plugin.benchmarks import MINI, open_benchmark
    from spy_plugin.questions import load_release
    from spy_plugin.records import read_records

    answers = list(read_records(Answer, path))
    if not answers:
        raise DataError("holds no answer", "Give a file of answers.", path=path)
    benchmark = open_benchmark(MINI) if release is None else load_release(release)
    for distractors in (True, False):
        samples = list(benchmark.samples(distractors=distractors))
        known = {sample.sample_id for sample in samples}
        stranger = next((a.sample_id for a in answers if a.sample_id not in known), None)
        if stranger is None:
            return benchmark.protocol, samples, answers
    raise DataError(
        "the answer belongs to no sample of this benchmark",
        "Name the benchmark that the answers were given to, and keep one variant a file.",
        path=path,
        where=f"sample {stranger}",
    )


def default_out(answers: Path) -> Path:
    """`x_answers.jsonl` or `x.jsonl` -> `x_verdicts.jsonl`, in the same folder."""
    stem = answers.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix("_answers")
    return answers.with_name(f"{stem}_verdicts.jsonl")


def _judge(judge: Judge, samples: list[Sample], answers: list[Answer], out: Path) -> int:
    from tqdm import tqdm

    from spy_plugin.judge.judging import judge_answers

    with tqdm(total=len(samples), unit="sample", desc=judge.name, disable=None) as bar:
        failures = 0

        def progress(verdict: Verdict) -> None:
            nonlocal failures
            failures += verdict.outcome.value == "failed"
            bar.set_postfix(failed=failures, refresh=False)
            bar.update()

        summary = judge_answers(samples, answers, judge, out, progress=progress)
    print("\n".join(summary.lines()))
    print(f"verdicts: {out}")
    judged = summary.samples - summary.outcomes["failed"] - summary.outcomes["filtered"]
    if not judged:
        print("nothing could be judged: see the errors in the verdicts, and run again")
        return 1
    print(f"figures:  spy-bench score {out}")
    return 0


def _dry_run(
    args: argparse.Namespace,
    judge: Judge,
    protocol: Protocol,
    samples: list[Sample],
    answers: list[Answer],
    out: Path,
) -> None:
    from spy_plugin.judge.cache import CachedJudge
    from spy_plugin.judge.cost import estimate
    from spy_plugin.judge.judging import make_plan

    plan = make_plan(samples, answers, judge, out)
    questions = list(plan.open)
    shared = sum(len(group) - 1 for group in plan.open.values())
    known = judge.known(questions) if isinstance(judge, CachedJudge) else set()
    asked = [question for index, question in enumerate(questions) if index not in known]
    print(f"judge {judge.name}, {len(samples)} samples, {len(plan.kept)} judged already")
    print(f"saved by equality {shared}, saved by cache {len(known)}")
    if judge.offline:
        print(f"{len(asked)} questions, no call and no cost: an offline judge")
        return
    price = tuple(args.price) if args.price else None
    print("\n".join(estimate(asked, protocol, judge.name, price).lines()))


def _batch(
    action: str, judge: Judge, samples: list[Sample], answers: list[Answer], out: Path
) -> int:
    from spy_plugin.judge.batch import Batches
    from spy_plugin.judge.judging import judge_answers, make_plan

    batches = Batches.of(judge, out)
    if action == "submit":
        plan = make_plan(samples, answers, judge, out)
        print("\n".join(batches.submit(list(plan.open))))
        return 0
    if action == "status":
        print("\n".join(batches.status()))
        return 0
    summary = judge_answers(samples, answers, batches.results(), out)
    batches.forget()
    print("\n".join(summary.lines()))
    if summary.outcomes["failed"]:
        print("for what failed: run --batch submit again, or judge without --batch")
    return 0
