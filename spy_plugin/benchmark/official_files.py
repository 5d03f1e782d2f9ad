"""Rows of the official scripts' files: which sample a row is, and what its model said.

`generate.py` writes `resp/MODEL.jsonl`, `generate_self_mod.py` the same with two more turns, and
`evaluate.py` writes `eval/MODEL__JUDGE.jsonl`, or `eval/MODEL__JUDGE_resp_3.jsonl` for a later
turn. Every row repeats the keys of its sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Answer, IsPrivacy, Outcome, Scenario, make_sample_id
from spy_plugin.benchmark.samples import AS_ASKED, DISTRACTORS, NO_DISTRACTORS
from spy_plugin.errors import DataError
from spy_plugin.files.json import checked

if TYPE_CHECKING:
    from pydantic import TypeAdapter

OFFICIAL_SCRIPTS = "official scripts"
"""As a run's host, and as the name of a benchmark that only their files tell of."""

FAILED_REQUEST = "Request failed after"
"""How the scripts begin the text that they store in place of an answer."""

VERDICT_KEYS = {"response": "eval_resp", "resp_2": "eval_2", "resp_3": "eval_3"}
"""Answer of a turn -> the field of the verdict on it."""

_REMEDY = "Give resp/MODEL.jsonl as the official scripts wrote it."
_SUFFIX = re.compile(r"_(resp_[23])$")


@dataclass(frozen=True)
class OfficialRow:
    """One row of `resp/*.jsonl`: a sample and its answers.

    Attributes:
        other_labels: Present in the condition with distractors.
        input_question: The prompt; empty until the sample was asked.
        response, resp_2, resp_3: The answers of the turns; the later ones are of self-moderation.
    """

    benchmark_id: str
    is_privacy: IsPrivacy
    scenario: Scenario | None = None
    other_labels: dict[str, Any] | None = None
    input_question: str = ""
    response: str = ""
    resp_2: str | None = None
    resp_3: str | None = None

    @property
    def sample_id(self) -> str:
        """The sample's name in this package."""
        variant = NO_DISTRACTORS if self.other_labels is None else DISTRACTORS
        return make_sample_id(self.benchmark_id, self.is_privacy, self.scenario, variant)

    def answer(self) -> Answer | None:
        """Return the answer; None if the sample was not asked yet, in one of its turns.

        The scripts write every row before they ask, with empty texts, and store a failed request
        as the answer's text.
        """
        if not (self.response or self.input_question):
            return None
        turns = () if self.resp_3 is None else (self.resp_2 or "", self.resp_3)
        if turns and not any(turns):
            return None
        for text in (self.response, *turns):
            if text.startswith(FAILED_REQUEST):
                return Answer(self.sample_id, "", Outcome.FAILED, text)
        return Answer(self.sample_id, self.response, turns=turns)


def is_official(row: Mapping[str, Any]) -> bool:
    """Return whether the official scripts wrote a row: their rows have no `sample_id`."""
    return "sample_id" not in row and "benchmark_id" in row and "is_privacy" in row


def read_official_row(row: Mapping[str, Any], *, path: Path, line: int) -> OfficialRow:
    """Check a row of `resp/*.jsonl`.

    Raises:
        DataError: a field is missing or wrong; names file and line.
    """
    validate = _adapter().validate_python
    found: OfficialRow = checked(validate, row, _REMEDY, path=path, where=f"line {line}")
    return found


@cache
def _adapter() -> TypeAdapter[OfficialRow]:
    from pydantic import TypeAdapter

    return TypeAdapter(OfficialRow)


@dataclass(frozen=True)
class FileName:
    """What the name of a file of the official scripts says.

    Attributes:
        model: Name of the model that answered.
        judge: Name of the judge; empty for a file of answers.
        verdict_key: Field of the verdicts on a later turn; empty for the first one.
    """

    model: str
    judge: str = ""
    verdict_key: str = ""


def name_of_verdicts(path: Path) -> FileName:
    """Read `MODEL__JUDGE.jsonl` or `MODEL__JUDGE_resp_3.jsonl`, gzipped or not."""
    stem = _stem(path)
    turn = _SUFFIX.search(stem)
    model, _, judge = _SUFFIX.sub("", stem).partition("__")
    return FileName(model, judge, VERDICT_KEYS[turn[1]] if turn else "")


def model_of_answers(path: Path) -> str:
    """Read `MODEL.jsonl`; of `ORGANIZATION__MODEL.jsonl` the scripts take the second part, too."""
    first, *rest = _stem(path).split("__")
    return rest[0] if rest else first


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def entries_of_rows(rows: Iterable[tuple[int, Mapping[str, Any]]], path: Path) -> list[Any]:
    """Put the rows of a file of the scripts together to the entries of a `questions.json`.

    The scripts take such a file, which they write before they ask, in place of questions.json.

    Args:
        rows: Line number and row; of one item several.
        path: The file, for errors.

    Raises:
        DataError: a row lacks what an entry needs.
    """
    entries: dict[str, dict[str, Any]] = {}
    for line, row in rows:
        try:
            entry = entries.setdefault(row["benchmark_id"], _begin(row))
            scenario = row.get("scenario")
            if scenario:
                kind = "privacy_scenarios" if scenario["is_privacy"] else "non_privacy_scenarios"
                told = {
                    "scenario": scenario["id"],
                    "2nd_person_template": scenario["2nd_template"],
                }
                if told not in entry[kind]:
                    entry[kind].append(told)
        except (KeyError, TypeError) as error:
            raise DataError(
                f"not a row of the official scripts: {error} is missing or wrong",
                "Give the file that generate.py wrote, or questions.json.",
                path=path,
                where=f"line {line}",
            ) from error
    return list(entries.values())


def _begin(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a row's item, without scenarios yet."""
    # The side of the asked label is the row's own; the entry keeps its place.
    labels = {**row.get("other_labels", {}), row["label"]: AS_ASKED}
    optional = {name: row[name] for name in ("label2text", "instruct_templates") if name in row}
    question = {name: row[name] for name in ("question_id", "image_path", "question")}
    return optional | {
        "benchmark_id": row["benchmark_id"],
        "label": row["label"],
        "other_labels": labels,
        "question_item": question | {"gt": row.get("ref_answer")},
        "non_privacy_scenarios": [],
        "privacy_scenarios": [],
    }
