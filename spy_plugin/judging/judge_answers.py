"""Answers -> verdicts, in a file that is appended as they come and can be resumed.

A later run judges what is missing, what failed, and what has a new answer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from spy_plugin.benchmark.records import NOT_ASKED, Answer, Outcome, Sample, Verdict, was_asked
from spy_plugin.errors import DataError
from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.verdict_file import (
    StoredVerdict,
    open_verdicts,
    refuse_other_model,
    stored_verdict,
)
from spy_plugin.runs.resumable_file import RefusedStart

logger = logging.getLogger(__name__)

_UNASKED = (Outcome.FAILED, Outcome.FILTERED)
"""Outcomes that no judge gave an answer: it is asked again, if there is one by now."""
_NOT_ASKED = Judgement(Outcome.FAILED, error=NOT_ASKED)


@dataclass
class JudgeSummary:
    """What a run of the judge did.

    Attributes:
        judge, fingerprint, offline: Who judged; `offline` scores must not be reported.
        samples: How many samples there are.
        kept: Verdicts of an earlier run that still hold.
        asked: Questions that were put to the judge.
        saved_by_equality: Samples that share a question with another.
        saved_by_cache: Questions that the cache answered.
        not_asked: Samples without an answer, not even a failed one; they count nowhere.
        outcomes: How many verdicts of each outcome the file holds now.
        servers: Addresses of the servers that gave its verdicts, without secrets.
        answered_by: The models that gave them, by their servers' account.
    """

    judge: str
    fingerprint: str
    offline: bool
    samples: int = 0
    kept: int = 0
    asked: int = 0
    saved_by_equality: int = 0
    saved_by_cache: int = 0
    not_asked: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)
    answered_by: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The summary for a person."""
        warning = " (offline judge: a quick look, not for reported scores)" if self.offline else ""
        return [
            f"judge {self.judge}{warning}",
            f"asked {self.asked}, saved by equality {self.saved_by_equality}, saved by cache "
            f"{self.saved_by_cache}, kept from an earlier run {self.kept}",
            ", ".join(f"{name} {count}" for name, count in self.outcomes.items())
            + (f", not asked {self.not_asked}" if self.not_asked else "")
            + f" of {self.samples} samples",
        ]


def question_of(sample: Sample, answer: Answer) -> Question:
    """What the judge sees of a sample and its answer; of several turns, the last."""
    return Question(sample.label, sample.label_words, sample.question, answer.scored)


def pair(
    samples: Iterable[Sample], answers: Iterable[Answer]
) -> dict[str, tuple[Sample, Answer | None]]:
    """Each sample with its answer, by sample_id, in the samples' order; of two answers the last.

    Raises:
        DataError: two samples share an id, or an answer belongs to no sample.
    """
    found: dict[str, tuple[Sample, Answer | None]] = {}
    for sample in samples:
        if sample.sample_id in found:
            raise DataError("duplicate sample", "Give each once.", where=sample.sample_id)
        found[sample.sample_id] = sample, None
    for answer in answers:
        if answer.sample_id not in found:
            raise DataError(
                "the answer belongs to no sample of this benchmark",
                "Judge answers with the benchmark and the variant (with or without distractors) "
                "that they were given to.",
                where=answer.sample_id,
            )
        found[answer.sample_id] = found[answer.sample_id][0], answer
    return found


@dataclass
class Plan:
    """What there is to do for a file of verdicts.

    Attributes:
        kept: The `sample_id` of each earlier verdict that was judged and still holds -> the model
            that gave it, by its server's account; empty if unknown.
        settled: Verdicts that need no judge: the answer was filtered, or its request failed.
        open: Questions to be asked, each with its samples.
        not_asked: The `sample_id` of each sample without an answer.
    """

    kept: dict[str, str] = field(default_factory=dict)
    settled: list[StoredVerdict] = field(default_factory=list)
    open: dict[Question, list[Sample]] = field(default_factory=dict)
    not_asked: set[str] = field(default_factory=set)


def make_plan(
    pairs: Mapping[str, tuple[Sample, Answer | None]],
    judge: Judge,
    earlier: Mapping[str, StoredVerdict],
) -> Plan:
    """Find out what is to be judged; asks nothing, writes nothing.

    Args:
        pairs: See `pair`.
        earlier: Verdicts of this judge that a file holds already.
    """
    plan = Plan()
    for old in earlier.values():  # in one pass: each look-up may open a file
        _, answer = pairs.get(old.sample_id, (None, None))
        same = answer is not None and answer.outcome is None and old.answer == answer.scored
        if same and old.outcome not in _UNASKED:
            plan.kept[old.sample_id] = old.judge_model
    for sample, answer in pairs.values():
        if answer is None:
            plan.not_asked.add(sample.sample_id)
            continue
        if answer.outcome is not None:
            reason = Judgement(answer.outcome, error=answer.error)
            plan.settled.append(stored_verdict(sample, judge, reason))
        elif sample.sample_id not in plan.kept:
            plan.open.setdefault(question_of(sample, answer), []).append(sample)
    return plan


def judge_answers(
    samples: Iterable[Sample],
    answers: Iterable[Answer],
    judge: Judge,
    out: Path,
    *,
    progress: Callable[[Verdict], None] | None = None,
    other_server: bool = False,
) -> JudgeSummary:
    """Judge every answer and write one verdict for each to `out`.

    Equal questions are asked once. A sample without an answer was not asked: its row says so;
    answers that were filtered or failed keep that outcome. An empty answer is an answer, and the
    judge sees it as it is. Of two answers to one sample the last counts, as in a file of answers
    that was resumed.

    Args:
        progress: Called with each new verdict.
        other_server: `out` may hold verdicts of the judge at another address, or of another model
            by its server's account.

    Raises:
        DataError: an answer to no sample; `out` was begun by another judge or cannot be written.
        JudgeSetupError: the judge cannot be reached; what was judged before is kept. A new `out`
            is removed if nothing was.
    """
    pairs = pair(samples, answers)
    order = (sample for sample, _ in pairs.values())
    with (
        open_verdicts(out, judge, order, other_server=other_server) as file,
        RefusedStart(file) as start,
    ):
        plan = make_plan(pairs, judge, file.records)
        summary = JudgeSummary(
            judge.name,
            judge.fingerprint,
            judge.offline,
            samples=len(pairs),
            kept=len(plan.kept),
            not_asked=len(plan.not_asked),
        )

        check = refuse_other_model(() if other_server else plan.kept.values(), out)

        def write(verdict: StoredVerdict) -> None:
            check(verdict.judge_model)
            file.add(verdict)
            if progress is not None:
                progress(verdict)

        for sample_id in plan.not_asked:
            plan.settled.append(stored_verdict(pairs[sample_id][0], judge, _NOT_ASKED))
        settled = {verdict.sample_id: verdict for verdict in plan.settled}
        for old in file.records.read([each for each in settled if each in file.records]):
            if old == settled[old.sample_id]:
                del settled[old.sample_id]
        for verdict in settled.values():
            write(verdict)
        judge.worked_before = bool(plan.kept)
        for question, judgement in ask_each(plan.open, judge, summary):
            start.answered |= judgement.outcome is not Outcome.FAILED
            for sample in plan.open[question]:
                write(stored_verdict(sample, judge, judgement, question.answer))
        _summarize(file.records.values(), summary)
    return summary


def _summarize(verdicts: Iterable[StoredVerdict], summary: JudgeSummary) -> None:
    """Say what the file holds now."""
    counts: Counter[Outcome] = Counter()
    servers, models = {""}, {""}
    for verdict in verdicts:
        counts[verdict.outcome] += was_asked(verdict.outcome, verdict.error)
        if verdict.raw:
            servers.add(verdict.judge_server)
            models.add(verdict.judge_model)
    summary.outcomes = {outcome.value: counts[outcome] for outcome in Outcome}
    summary.servers, summary.answered_by = sorted(servers - {""}), sorted(models - {""})


class Asked(Protocol):
    """What `ask_each` counts."""

    asked: int
    saved_by_equality: int
    saved_by_cache: int


def ask_each(
    questions: Mapping[Question, Sized], judge: Judge, summary: Asked
) -> Iterator[tuple[Question, Judgement]]:
    """Yield each question once with its judgement, even where a judge left some out.

    Args:
        questions: Question -> the samples that share it.
    """
    todo = list(questions)
    summary.saved_by_equality = sum(len(group) - 1 for group in questions.values())
    open_ones = set(range(len(todo)))
    for index, judgement in judge.ask(todo) if todo else ():
        if index not in open_ones:
            logger.warning("judge %s judged question %d twice", judge.name, index)
            continue
        open_ones.remove(index)
        summary.saved_by_cache += judgement.cached
        summary.asked += not judgement.cached
        yield todo[index], replace(judgement, cached=False)
    for index in sorted(open_ones):
        yield todo[index], Judgement(Outcome.FAILED, error="the judge gave no judgement")
