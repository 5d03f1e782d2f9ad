"""Answers -> verdicts, in a file that loses nothing and can be gone on with.

Each verdict is appended as it comes; when all are there, the file is put in the samples' order.
A later run judges what is missing, what failed, and what has a new answer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from spy_plugin.benchmark.records import (
    Answer,
    Outcome,
    Sample,
    Verdict,
    last_records,
    to_json,
    verdict_of,
)
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.judging.base import Judge, Judgement, Question

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredVerdict(Verdict):
    """A verdict as this module writes it.

    Attributes:
        judge_fingerprint: Of the judge that gave it; a later run must go on with the same one.
    """

    judge_fingerprint: str = ""


@dataclass
class JudgeSummary:
    """What a run of the judge did.

    Attributes:
        judge, fingerprint, offline: Who judged; `offline` scores are not to be reported.
        samples: How many there are.
        kept: Verdicts of an earlier run that still hold.
        asked: Questions that were put to the judge.
        saved_by_equality: Samples that share a question with another.
        saved_by_cache: Questions that the cache answered.
        unanswered: Samples that have no answer, not even a failed one.
        outcomes: How many verdicts of each outcome the file has now.
    """

    judge: str
    fingerprint: str
    offline: bool
    samples: int = 0
    kept: int = 0
    asked: int = 0
    saved_by_equality: int = 0
    saved_by_cache: int = 0
    unanswered: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The summary for a person."""
        warning = " (offline judge: a quick look, not for reported scores)" if self.offline else ""
        return [
            f"judge {self.judge}{warning}",
            f"asked {self.asked}, saved by equality {self.saved_by_equality}, saved by cache "
            f"{self.saved_by_cache}, kept from an earlier run {self.kept}",
            ", ".join(f"{name} {count}" for name, count in self.outcomes.items())
            + f" of {self.samples} samples",
        ]


def question_of(sample: Sample, answer: Answer) -> Question:
    """What the judge sees of a sample and its answer; of several turns, the last."""
    return Question(sample.label, sample.label_words, sample.question, answer.scored)


def load_verdicts(path: Path) -> list[Verdict]:
    """Read a verdict file that may be unfinished: the last verdict of each sample.

    Raises:
        DataError: a line is not a verdict.
    """
    return list(last_records(path, StoredVerdict)[0].values())


@dataclass
class Plan:
    """What there is to do for a file of verdicts.

    Attributes:
        samples: In their order.
        earlier: What the file holds already, by sample_id.
        kept: Those of them that were judged and still hold.
        settled: Verdicts that need no judge: no answer, or one that was filtered.
        open: Questions to be asked, each with its samples.
        unanswered: How many of `settled` have no answer at all.
    """

    samples: list[Sample]
    earlier: dict[str, StoredVerdict]
    kept: dict[str, StoredVerdict] = field(default_factory=dict)
    settled: list[StoredVerdict] = field(default_factory=list)
    open: dict[Question, list[Sample]] = field(default_factory=dict)
    unanswered: int = 0


class OtherJudgeError(DataError):
    """The file of verdicts was begun by another judge."""


def make_plan(
    samples: Iterable[Sample], answers: Iterable[Answer], judge: Judge, out: Path | None
) -> Plan:
    """Find out what is to be judged; asks nothing, writes nothing.

    Args:
        out: The file of verdicts, which may exist; None to plan as if from nothing.

    Raises:
        OtherJudgeError: another judge began the file.
        DataError: an answer to no sample, two samples of one id, or a file that holds other
            samples.
    """
    by_id: dict[str, Sample] = {}
    for sample in samples:
        if sample.sample_id in by_id:
            raise DataError(
                "the sample stands there twice", "Give each once.", where=sample.sample_id
            )
        by_id[sample.sample_id] = sample
    answered = _answers(answers, by_id)
    plan = Plan(list(by_id.values()), {})
    if out is not None and out.exists():
        plan.earlier, _ = last_records(out, StoredVerdict)
    if out is not None:
        _check_earlier(plan.earlier.values(), by_id, judge, out)
    for sample in plan.samples:
        answer = answered.get(sample.sample_id)
        if answer is None:
            plan.unanswered += 1
            answer = Answer(sample.sample_id, "", Outcome.FAILED, "there is no answer")
        if answer.outcome is not None:
            reason = Judgement(answer.outcome, error=answer.error)
            plan.settled.append(_stored(sample, judge, reason))
            continue
        old = plan.earlier.get(sample.sample_id)
        if old and old.outcome is not Outcome.FAILED and old.answer == answer.scored:
            plan.kept[sample.sample_id] = old
        else:
            plan.open.setdefault(question_of(sample, answer), []).append(sample)
    return plan


def judge_answers(
    samples: Iterable[Sample],
    answers: Iterable[Answer],
    judge: Judge,
    out: Path,
    *,
    progress: Callable[[Verdict], None] | None = None,
) -> JudgeSummary:
    """Judge every sample's answer and write one verdict for each to `out`.

    Equal questions are asked once. A sample without an answer has failed; answers that were
    filtered or failed keep that outcome. An empty answer is an answer: the judge gets it as it is.
    Of two answers to one sample the last counts, as in a file of answers that was gone on with.

    Args:
        progress: Called with each new verdict.

    Raises:
        DataError: an answer to no sample; `out` was begun by another judge or cannot be written.
        JudgeSetupError: the judge cannot be reached; what was judged before is kept.
    """
    plan = make_plan(samples, answers, judge, out)
    summary = JudgeSummary(
        judge.name,
        judge.fingerprint,
        judge.offline,
        samples=len(plan.samples),
        kept=len(plan.kept),
        unanswered=plan.unanswered,
    )
    done = dict(plan.kept)
    try:
        with JsonlWriter(out) as writer:

            def write(verdict: StoredVerdict) -> None:
                writer.write(to_json(verdict))
                done[verdict.sample_id] = verdict
                if progress is not None:
                    progress(verdict)

            for verdict in plan.settled:
                done[verdict.sample_id] = verdict
                if verdict != plan.earlier.get(verdict.sample_id):
                    write(verdict)
            for question, judgement in _ask(plan.open, judge, summary):
                for sample in plan.open[question]:
                    write(_stored(sample, judge, judgement, question.answer))
            verdicts = [done[sample.sample_id] for sample in plan.samples]
            writer.replace(map(to_json, verdicts))
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror or error}); verdicts up to here are kept",
            "Make room, or make the folder writable, and run again.",
            path=out,
        ) from error
    counts = Counter(verdict.outcome for verdict in verdicts)
    summary.outcomes = {outcome.value: counts[outcome] for outcome in Outcome}
    return summary


def _ask(
    questions: Mapping[Question, list[Sample]], judge: Judge, summary: JudgeSummary
) -> Iterable[tuple[Question, Judgement]]:
    """Each question once with its judgement, even where a judge forgot some."""
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


def _stored(sample: Sample, judge: Judge, judgement: Judgement, answer: str = "") -> StoredVerdict:
    verdict = verdict_of(
        sample,
        judgement.outcome,
        answer=answer,
        judge=judge.name,
        raw=judgement.raw,
        error=judgement.error,
    )
    return StoredVerdict(**vars(verdict), judge_fingerprint=judge.fingerprint)


def _answers(answers: Iterable[Answer], samples: Mapping[str, Sample]) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for answer in answers:
        if answer.sample_id not in samples:
            raise DataError(
                "the answer belongs to no sample of this benchmark",
                "Judge answers with the benchmark and the variant (with or without distractors) "
                "that they were given to.",
                where=answer.sample_id,
            )
        found[answer.sample_id] = answer
    return found


def _check_earlier(
    verdicts: Iterable[StoredVerdict], samples: Mapping[str, Sample], judge: Judge, out: Path
) -> None:
    for verdict in verdicts:
        where = f"sample {verdict.sample_id}"
        if verdict.judge_fingerprint != judge.fingerprint:
            other = f"{verdict.judge or 'another judge'} ({verdict.judge_fingerprint or 'unknown'})"
            raise OtherJudgeError(
                f"was begun by {other}; this is {judge.name} ({judge.fingerprint})",
                "To keep both, name another file with --out FILE. To go on with this one, use the "
                "judge, protocol and judge options that it was begun with.",
                path=out,
                where=where,
            )
        if verdict.sample_id not in samples:
            raise DataError(
                "holds verdicts on other samples than these",
                "Go on with the same benchmark and variant, or write to another file.",
                path=out,
                where=where,
            )
