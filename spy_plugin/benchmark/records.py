"""The typed records that pass between the stages; each is one JSON object on one line.

`Sample` -> (host or fast path) -> `Answer` -> (judge) -> `Verdict` -> metrics. All are keyed by
`sample_id`, which names a sample the same way on every machine and in every run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from spy_plugin.files.jsonl import dump_rows


class Outcome(str, Enum):
    """What became of a sample. Only the first two enter a denominator; all five are counted."""

    RESPOND = "respond"
    REJECT = "reject"
    UNJUDGED = "unjudged"
    """The judge answered, but its text is no verdict."""
    FILTERED = "filtered"
    """The provider refused to serve the sample."""
    FAILED = "failed"
    """No answer, or no judgement, could be had."""


@dataclass(frozen=True)
class Scenario:
    """A role in which the question is asked.

    Attributes:
        id: Name of the scenario, for example ``s0_border_security_check``.
        is_privacy: 1 if the role has no need of the asked label (*non-conflict*), 0 if it needs it
            (*conflict*).
        template: Text with one ``{}`` for the question; empty where only the name is known.
    """

    id: str
    is_privacy: int
    template: str = ""

    @property
    def key(self) -> dict[str, Any]:
        """The two fields that files carry."""
        return {"id": self.id, "is_privacy": self.is_privacy}


@dataclass(frozen=True)
class Sample:
    """One question to a model: an item, a side of the privacy instruction, perhaps a scenario.

    Attributes:
        sample_id: Stable name, see `make_sample_id`.
        is_privacy: The side: 1 if the user calls the asked label private, else 0.
        image_path: Relative to the data root, with forward slashes.
        question: As asked without a scenario; this is what the judge sees.
        prompt: The whole text for the model: instruction lines, blank line, question.
        label_words: The label in the release's words; this is what the judge sees.
        gt: What the picture shows, if the data say so.
    """

    sample_id: str
    benchmark_id: str
    label: str
    is_privacy: int
    scenario: Scenario | None
    question_id: str
    image_path: str
    question: str
    prompt: str
    label_words: str
    gt: str = ""


@dataclass(frozen=True)
class Answer:
    """What a model said to a sample.

    Attributes:
        outcome: None if there is an answer to judge; `FILTERED` or `FAILED` if there is none.
        error: Why there is none.
        turns: The answers of the turns after the first, for self-moderation; the last is scored.
    """

    sample_id: str
    response: str
    outcome: Outcome | None = None
    error: str = ""
    turns: tuple[str, ...] = ()

    @property
    def scored(self) -> str:
        """The text that is judged: the last turn's."""
        return self.turns[-1] if self.turns else self.response


@dataclass(frozen=True)
class Verdict:
    """What the judge said of an answer, with all that the metrics need.

    Attributes:
        outcome: One of the five.
        answer: The text that was judged; a verdict is stale once its sample's answer differs.
        judge: Name of the judge that gave it.
        raw: The judge's own text.
        error: Why there is no verdict, for `FAILED` and `FILTERED`.
    """

    sample_id: str
    benchmark_id: str
    label: str
    is_privacy: int
    scenario: Scenario | None
    question_id: str
    image_path: str
    outcome: Outcome
    answer: str = ""
    judge: str = ""
    raw: str = ""
    error: str = ""


def make_sample_id(
    benchmark_id: str, is_privacy: int, scenario: Scenario | None, variant: str
) -> str:
    """Name a sample by what it is, for example ``00000012/distractors/private/conflict/s4_x``."""
    side = "private" if is_privacy else "public"
    parts = [benchmark_id, variant, side]
    if scenario is not None:
        parts += ["non-conflict" if scenario.is_privacy else "conflict", scenario.id]
    return "/".join(parts)


def verdict_of(
    sample: Sample,
    outcome: Outcome,
    *,
    answer: str = "",
    judge: str = "",
    raw: str = "",
    error: str = "",
) -> Verdict:
    """A verdict that carries its sample's keys."""
    return Verdict(
        sample_id=sample.sample_id,
        benchmark_id=sample.benchmark_id,
        label=sample.label,
        is_privacy=sample.is_privacy,
        scenario=sample.scenario and Scenario(sample.scenario.id, sample.scenario.is_privacy),
        question_id=sample.question_id,
        image_path=sample.image_path,
        outcome=outcome,
        answer=answer,
        judge=judge,
        raw=raw,
        error=error,
    )


def to_json(record: Sample | Answer | Verdict) -> dict[str, Any]:
    """The record as plain JSON; a scenario without a template is written as its two keys."""
    out = asdict(record)
    scenario = getattr(record, "scenario", None)
    if scenario is not None and not scenario.template:
        out["scenario"] = scenario.key
    if isinstance(out.get("outcome"), Outcome):
        out["outcome"] = out["outcome"].value
    return out


def dump_jsonl(records: Iterable[Sample | Answer | Verdict]) -> str:
    """Records as JSONL text."""
    return dump_rows(map(to_json, records))
