"""What `spy-bench judge` would ask, and what that would cost."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from spy_plugin.cli.judge_work import Work
from spy_plugin.judging.base import Judge, Question
from spy_plugin.judging.cached_judge import CachedJudge
from spy_plugin.judging.cost import estimate
from spy_plugin.judging.disclosure import disclosure_judge, possible_questions
from spy_plugin.judging.judge_answers import make_plan, pair
from spy_plugin.judging.verdict_file import OtherJudgeError, StoredVerdict, earlier_verdicts
from spy_plugin.runs.submitted import submitted_keys


def print_estimate(args: argparse.Namespace, judge: Judge, work: Work, out: Path) -> list[Question]:
    """Print how many questions are open, and what they would cost; asks nothing.

    Returns:
        The open questions, also those that the cache knows.

    Raises:
        OtherJudgeError: another judge began `out`, and a batch is to be submitted.
    """
    earlier: dict[str, StoredVerdict] = {}
    try:
        earlier = earlier_verdicts(out, judge, other_server=args.other_server)
    except OtherJudgeError as error:
        if not args.dry_run:
            raise
        print(f"{error} Below, as if from nothing:")
    plan = make_plan(pair(work.samples, work.answers), judge, earlier)
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
        return questions
    price = tuple(args.price) if args.price else None
    print("\n".join(estimate(asked, work.benchmark.protocol, judge.name, price).lines()))
    if args.ask_disclosure:
        kept = {sample_id: earlier[sample_id] for sample_id in plan.kept}
        print("\n".join(_estimate_disclosures(judge, work, kept, price)))
    return questions


def _estimate_disclosures(
    judge: Judge,
    work: Work,
    kept: Mapping[str, StoredVerdict],
    price: tuple[float, float] | None,
) -> list[str]:
    protocol, asked = work.benchmark.protocol, disclosure_judge(judge)
    pairs = pair(work.samples, work.answers)
    questions = list(possible_questions(pairs, kept, asked, protocol.absolute_labels))
    known = asked.known(questions) if isinstance(asked, CachedJudge) else set()
    todo = [question for index, question in enumerate(questions) if index not in known]
    return [
        "about disclosures at most, if all of these answers are judged respond:",
        *estimate(todo, protocol, judge.name, price).lines(),
    ]
