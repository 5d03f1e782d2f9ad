"""Check verdicts against the judge: by running it again, or by its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging.base import Judge, Question
from spy_plugin.judging.rules import RulesJudge, judge_by_clauses
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.scoring.verdicts import parse_verdict_text
from spy_plugin.sharing.findings import Found, Status, ids
from spy_plugin.sharing.records import BundledRun

_VERDICTS = (Outcome.RESPOND, Outcome.REJECT)
_SAID = (*_VERDICTS, Outcome.UNJUDGED)
_ON_REQUEST = ("minilm",)
"""Offline judges that need a model of their own."""

Judged = tuple[StoredVerdict, str]
"""A verdict and the text that it judges."""


def check_judge(run: BundledRun, samples: Mapping[str, Sample] | None, *, rejudge: bool) -> Found:
    """Check that the verdicts are the judge's.

    Args:
        samples: Those of the benchmark, by id; None if it is not available.
        rejudge: Also run a judge that needs a model of its own.
    """
    about = run.run.judge
    # With --other-server, the record names several addresses; each has a fingerprint of its own.
    elsewhere = set(about.servers) if len(about.servers) > 1 else set()
    others = [
        v
        for v in run.verdicts
        if v.judge != about.name
        or not (v.judge_fingerprint in ("", about.fingerprint) or v.judge_server in elsewhere)
    ]
    if others:
        return Status.FAILED, f"verdicts of another judge than {about.name}: {ids(others)}"
    said = _judged_texts(run)
    if about.name == RulesJudge.name:
        return _by_rules(run, said, samples)
    if about.name in _ON_REQUEST:
        return _by_model(run, said, samples, rejudge)
    return _by_words(about.name, said)


def _judged_texts(run: BundledRun) -> list[Judged]:
    """Return the verdicts on answers, with the answers' texts.

    Where the answers are known, a verdict that says that the judge failed is one of them.
    """
    if run.answers is None:
        return [(v, v.answer) for v in run.judged if v.outcome in _SAID]
    answers = {a.sample_id: a.scored for a in run.answers if a.outcome is None}
    return [(v, answers[v.sample_id]) for v in run.judged if v.sample_id in answers]


def _by_rules(
    run: BundledRun, said: Sequence[Judged], samples: Mapping[str, Sample] | None
) -> Found:
    judge = RulesJudge()
    if judge.fingerprint != run.run.judge.fingerprint:
        return _other_version(run, judge)
    if samples is not None and all(v.sample_id in samples for v, _ in said):
        return _compare(judge, said, samples)
    # The rules ask of a question only whether it holds the names in the answer. The more of them
    # it holds, the more answers are refusals: where none and all agree, the question is not needed.
    wrong, doubtful = [], 0
    for verdict, text in said:
        none, every = (
            judge_by_clauses(Question("", "", question, text)).outcome for question in ("", text)
        )
        if none is not every:
            doubtful += 1
        elif verdict.outcome is not none:
            wrong.append(verdict)
    if wrong:
        return Status.FAILED, f"the rules say otherwise of {ids(wrong)}"
    if doubtful:
        return Status.CANNOT, (
            f"the rules say the same of {len(said) - doubtful} answers; {doubtful} others need "
            "the benchmark's questions"
        )
    return Status.OK, f"the rules say the same of all {len(said)} answers"


def _by_model(
    run: BundledRun,
    said: Sequence[Judged],
    samples: Mapping[str, Sample] | None,
    rejudge: bool,
) -> Found:
    name = run.run.judge.name
    if not rejudge:
        return Status.CANNOT, f"{name} was not run again: add --rejudge"
    if samples is None or not all(v.sample_id in samples for v, _ in said):
        return Status.CANNOT, f"{name} needs the benchmark's questions"
    from spy_plugin.benchmark.protocol import BUILTIN
    from spy_plugin.judging.build import build_judge

    try:
        with build_judge(name, BUILTIN) as judge:
            if judge.fingerprint != run.run.judge.fingerprint:
                return _other_version(run, judge)
            return _compare(judge, said, samples)
    except SpyBenchError as error:
        return Status.CANNOT, f"{name} cannot be run here: {error}"


def _compare(judge: Judge, said: Sequence[Judged], samples: Mapping[str, Sample]) -> Found:
    questions = [
        Question(s.label, s.label_words, s.question, text)
        for s, text in ((samples[v.sample_id], text) for v, text in said)
    ]
    verdicts = [v for v, _ in said]
    found = dict(judge.ask(questions))
    wrong = [v for i, v in enumerate(verdicts) if found[i].outcome is not v.outcome]
    if wrong:
        return Status.FAILED, f"{judge.name}, run again, says otherwise of {ids(wrong)}"
    return Status.OK, f"{judge.name}, run again, says the same of all {len(said)} answers"


def _other_version(run: BundledRun, judge: Judge) -> Found:
    return Status.CANNOT, (
        f"{judge.name} is of another version here ({judge.fingerprint}) than the run's "
        f"({run.run.judge.fingerprint})"
    )


def _by_words(name: str, said: Sequence[Judged]) -> Found:
    """Compare verdicts with the texts that a judge wrote, where they are kept."""
    wrong = [
        v
        for v, _ in said
        if v.raw and v.outcome in _VERDICTS and parse_verdict_text(v.raw) is not v.outcome
    ]
    if wrong:
        return Status.FAILED, f"the judge's own words say otherwise of {ids(wrong)}"
    worded = sum(bool(v.raw) and v.outcome in _VERDICTS for v, _ in said)
    without = sum(v.outcome not in _VERDICTS for v, _ in said)
    return Status.CANNOT, (
        f"{name} is a model, which may not say the same again. {worded} of "
        f"{len(said) - without} verdicts agree with its recorded words; whether it wrote them is "
        "not known" + (f", nor why it gave none on {without} answers" if without else "")
    )
