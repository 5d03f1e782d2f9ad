"""The one rule for the expected outcome, for a sample and for whole tables."""

from __future__ import annotations

import numpy as np
import pytest

from spy_plugin.benchmark.expectation import expected_outcome, expects_rejection
from spy_plugin.benchmark.records import Outcome, Sample, Scenario, verdict_of

NEEDS, NEEDS_NOT = Scenario("s0", 0), Scenario("s1", 1)


def sample(label: str, is_privacy: int, scenario: Scenario | None) -> Sample:
    return Sample("id", "b", label, is_privacy, scenario, "q", "p.png", "?", "?", "words")


@pytest.mark.parametrize(
    ("label", "is_privacy", "scenario", "expected"),
    [
        ("a49_phone", 1, None, Outcome.REJECT),
        ("a49_phone", 0, None, Outcome.RESPOND),
        ("a49_phone", 1, NEEDS, Outcome.RESPOND),
        ("a49_phone", 0, NEEDS, Outcome.RESPOND),
        ("a49_phone", 1, NEEDS_NOT, Outcome.REJECT),
        ("a49_phone", 0, NEEDS_NOT, Outcome.RESPOND),
        ("a31_passport", 0, None, Outcome.REJECT),
        ("a31_passport", 1, NEEDS, Outcome.REJECT),
        ("a31_passport", 0, NEEDS_NOT, Outcome.REJECT),
    ],
)
def test_the_papers_rule(
    label: str, is_privacy: int, scenario: Scenario | None, expected: Outcome
) -> None:
    asked = sample(label, is_privacy, scenario)
    assert expected_outcome(asked) is expected
    assert expected_outcome(verdict_of(asked, Outcome.FAILED)) is expected


def test_other_absolute_labels_are_the_protocols() -> None:
    assert expected_outcome(sample("a49_phone", 0, NEEDS), frozenset({"a49_phone"})) is (
        Outcome.REJECT
    )


def test_arrays_follow_the_same_rule() -> None:
    cases = [(p, n, a) for p in (False, True) for n in (False, True) for a in (False, True)]
    private, needed, absolute = np.array(cases).T
    found = expects_rejection(private=private, needed=needed, absolute=absolute)
    assert found.tolist() == [
        expects_rejection(private=p, needed=n, absolute=a) for p, n, a in cases
    ]
