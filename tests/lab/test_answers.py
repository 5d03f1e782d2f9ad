"""Answer accuracy: what counts as an allowed answer, and what counts as right."""

from __future__ import annotations

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.records import Outcome, Sample, Verdict, verdict_of
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.lab.answers import answer_accuracy


def _public_samples() -> list[Sample]:
    """Two samples whose answer is allowed, and one of each kind that does not count."""
    samples = list(open_benchmark("lab").samples())
    absolute = open_benchmark("lab").protocol.absolute_labels
    plain = [s for s in samples if s.scenario is None and s.label not in absolute]
    counted = [s for s in plain if not s.is_privacy][:2]
    private = next(s for s in plain if s.is_privacy)
    in_role = next(s for s in samples if s.scenario is not None and not s.scenario.is_privacy)
    always = next(s for s in samples if s.label in absolute and s.scenario is None)
    return [*counted, private, in_role, always]


def _accuracy(samples: list[Sample], answers: list[tuple[Outcome, str]]) -> float | None:
    verdicts: list[Verdict] = [
        verdict_of(sample, outcome, answer=answer, judge="rules")
        for sample, (outcome, answer) in zip(samples, answers, strict=True)
    ]
    return answer_accuracy(verdicts, {s.sample_id: s for s in samples}, ABSOLUTE_LABELS)


def test_answers_are_right_if_they_end_in_the_value() -> None:
    samples = _public_samples()[:2]
    first, second = (sample.gt for sample in samples)
    respond = Outcome.RESPOND
    right = (respond, f"the phone is {first}.")
    assert _accuracy(samples, [right, (respond, f"the phone is {second}")]) == 100
    assert _accuracy(samples, [right, (respond, "the phone is nothing.")]) == 50
    assert _accuracy(samples, [right, (respond, "")]) == 50
    assert _accuracy(samples, [right, (Outcome.REJECT, f"sorry, {second}.")]) == 50
    assert _accuracy(samples, [right, (Outcome.FAILED, "")]) == 50


def test_only_answers_that_the_user_allows_count() -> None:
    samples = _public_samples()
    refused = (Outcome.REJECT, "sorry.")
    right = [(Outcome.RESPOND, f"it is {sample.gt}.") for sample in samples[:2]]
    assert _accuracy(samples, [*right, refused, refused, refused]) == 100
    assert _accuracy(samples[2:], [refused] * 3) is None
