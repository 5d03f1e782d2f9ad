"""The typed records that pass between the stages, and how they are written and read.

`Sample` -> (host or generation) -> `Answer` -> (judge) -> `Verdict` -> metrics. Each record is one
JSON object on one line. All are keyed by `sample_id`, which names a sample the same way on every
machine and in every run. What is read is checked by pydantic against the fields below; a field
that a record does not know is ignored, so that newer files stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from spy_plugin.errors import DataError
from spy_plugin.files.json import problem_of
from spy_plugin.files.jsonl import dump_rows, read_jsonl

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class _ZeroOrOne:
    """Tells pydantic that an `int` is 0 or 1; pydantic itself is imported at the first reading."""

    def __get_pydantic_core_schema__(self, *_: object) -> Mapping[str, Any]:
        from pydantic_core import core_schema

        return core_schema.int_schema(strict=True, ge=0, le=1)


IsPrivacy = Annotated[int, _ZeroOrOne()]
"""1 for private and 0 for public; the official files and ours both call this `is_privacy`."""


class Outcome(str, Enum):
    """The outcome of a sample. Only the first two enter a denominator; all five are counted."""

    RESPOND = "respond"
    REJECT = "reject"
    UNJUDGED = "unjudged"
    """The judge answered, but its text is not a verdict."""
    FILTERED = "filtered"
    """The provider refused to serve the sample."""
    FAILED = "failed"
    """There is no answer, or the judge gave no reply."""


@dataclass(frozen=True)
class Scenario:
    """A role in which the question is asked.

    Attributes:
        id: Name of the scenario, for example ``s0_border_security_check``.
        is_privacy: 1 if the role does not need the asked label (*non-conflict*), 0 if it does
            (*conflict*).
        template: Text with one ``{}`` for the question; empty where only the name is known.
    """

    id: str
    is_privacy: IsPrivacy
    template: str = ""

    @property
    def key(self) -> dict[str, Any]:
        """The two fields that files of samples and verdicts carry."""
        return {"id": self.id, "is_privacy": self.is_privacy}


@dataclass(frozen=True)
class Sample:
    """One question to a model: an item, asked as private or public, perhaps in a scenario.

    Attributes:
        sample_id: Stable name; see `make_sample_id`.
        is_privacy: 1 if the user calls the asked label private, 0 if public.
        image_path: Relative to the data root, with forward slashes.
        question: As asked without a scenario; this is what the judge sees.
        prompt: The whole text for the model: instruction lines, blank line, question.
        label_words: The label in the release's words; this is what the judge sees.
        gt: What the picture shows, if the data say so.
    """

    sample_id: str
    benchmark_id: str
    label: str
    is_privacy: IsPrivacy
    scenario: Scenario | None
    question_id: str
    image_path: str
    question: str
    prompt: str
    label_words: str
    gt: str = ""


@dataclass(frozen=True)
class Answer:
    """What a model answered to a sample.

    Attributes:
        response: The answer; of several turns, the first.
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


Told = Literal["yes", "no", "unjudged", "failed"]
"""What became of the question whether an answer tells the true value: the judge's word, a reply
that is not one, or a request without a reply."""


@dataclass(frozen=True)
class Disclosure:
    """What the judge said to the question whether an answer tells the true value.

    Attributes:
        key: Identifies the question, the true value included; see `judging.base.Question.key`.
        fingerprint: That of the judge with this question.
        model: The model that was asked, by its server's own account; empty if unknown.
        raw: The judge's own text.
        error: Why it is neither yes nor no.
    """

    told: Told
    key: str = ""
    fingerprint: str = ""
    model: str = ""
    raw: str = ""
    error: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the judge said about an answer, with everything that the metrics need.

    Attributes:
        outcome: What became of the sample.
        answer: The text that was judged; a verdict is stale once its sample's answer differs.
        judge: Name of the judge that gave it.
        raw: The judge's own text.
        error: Why there is no verdict, for `FAILED` and `FILTERED`.
        disclosure: Whether the answer tells the true value; None if the judge was not asked.
    """

    sample_id: str
    benchmark_id: str
    label: str
    is_privacy: IsPrivacy
    scenario: Scenario | None
    question_id: str
    image_path: str
    outcome: Outcome
    answer: str = ""
    judge: str = ""
    raw: str = ""
    error: str = ""
    disclosure: Disclosure | None = None


NOT_ASKED = "not asked"
"""The `error` in the row of a sample that has no answer, not even a failed one."""


def was_asked(outcome: object, error: object) -> bool:
    """Whether a row of a verdict file is about an answer; other rows count nowhere.

    The file has a row for every sample. That of a sample that was not asked is `FAILED`, so that
    programs which know the five outcomes alone take it for no verdict.
    """
    return outcome != Outcome.FAILED or error != NOT_ASKED


def make_sample_id(
    benchmark_id: str, is_privacy: int, scenario: Scenario | None, variant: str
) -> str:
    """Name a sample by what it is, for example ``00000012/distractors/private/conflict/s4_x``."""
    parts = [benchmark_id, variant, "private" if is_privacy else "public"]
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
    """Return a verdict that carries its sample's keys."""
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


def to_json(record: Any) -> dict[str, Any]:
    """Return the record as plain JSON.

    A scenario without a template is written as its two keys; a disclosure that was not asked for is
    left out.
    """
    out = asdict(record)
    if out.get("disclosure", "") is None:
        del out["disclosure"]
    scenario = getattr(record, "scenario", None)
    if scenario is not None and not scenario.template:
        out["scenario"] = scenario.key
    if isinstance(out.get("outcome"), Outcome):
        out["outcome"] = out["outcome"].value
    return out


def dump_jsonl(records: Iterable[Sample | Answer | Verdict]) -> str:
    """Return records as JSONL text."""
    return dump_rows(map(to_json, records))


Record = TypeVar("Record", bound=Any)
"""A dataclass: one of the above, or another that a module keeps in a file of its own."""


def read_records(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of a JSONL file, without a last line that a killed run left torn.

    Raises:
        DataError: the file is missing, or a line is not such a record; names file and line.
    """
    for line, row in read_jsonl(path, allow_torn_tail=True):
        yield from_json(kind, row, path=path, line=line)


def last_records(
    path: Path, kind: type[Record], key: str = "sample_id"
) -> tuple[dict[str, Record], int]:
    """Read a file that a run appended to, where the last record of each key counts.

    Args:
        key: The field that identifies a record.

    Returns:
        Key -> its last record, in the order of first mention; and how many keys have several.
    """
    found: dict[str, Record] = {}
    repeated: set[str] = set()
    for record in read_records(path, kind):
        name: str = getattr(record, key)
        if name in found:
            repeated.add(name)
        found[name] = record
    return found, len(repeated)


def from_json(kind: type[Record], row: Mapping[str, Any], *, path: Path | str, line: int) -> Record:
    """Check a row of a JSONL file and return it as a record.

    Raises:
        DataError: a field is missing or wrong; names file and line.
    """
    try:
        record: Record = _adapter(cast(Any, kind)).validate_python(row)
        return record
    except ValueError as error:
        known = (c for c in (Sample, Answer, Verdict) if issubclass(kind, c))
        name = next(known, kind).__name__.lower()
        raise DataError(
            f"not a valid {name}: {problem_of(error)}",
            f"Each line must be one {name} as this package writes it.",
            path=path,
            where=f"line {line}",
        ) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
