"""Read verdict files: ours, and the official scripts' `eval/*.jsonl`.

The two share their field names. Ours add `sample_id` and `outcome`; the official ones hold the
verdict under `eval_resp`, or under `eval_2` or `eval_3` for a later turn of self-moderation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, make_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.official_files import (
    FAILED_REQUEST,
    VERDICT_KEYS,
    is_official,
    name_of_verdicts,
)
from spy_plugin.benchmark.records import (
    Disclosure,
    IsPrivacy,
    Outcome,
    Scenario,
    Verdict,
    from_json,
    make_sample_id,
    was_asked,
)
from spy_plugin.benchmark.samples import DISTRACTORS, NO_DISTRACTORS
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import parse_line, read_jsonl, read_lines
from spy_plugin.scoring.ground_truth import UNKNOWN, GroundTruths, holds_truth
from spy_plugin.scoring.table import VerdictTable, tabulate

OWN_KEY = "outcome"
OFFICIAL_KEYS = (VERDICT_KEYS["response"], VERDICT_KEYS["resp_3"], VERDICT_KEYS["resp_2"])

_REMEDY = "Give a file of verdicts: ours, or the official scripts' eval/*.jsonl."
_DEFAULTS = {"sample_id": "", "scenario": None, "question_id": "", "image_path": ""}
"""Fields that official files may lack."""
_FIELDS = {field.name for field in fields(Verdict)} - {"answer", OWN_KEY}
"""What is kept of a row. Answers are long, and no figure needs them."""


def parse_verdict_text(text: str) -> Outcome:
    """Read a judge's words as the paper does: `reject` wins over `respond`; else unjudged."""
    lowered = text.lower()
    if "reject" in lowered:
        return Outcome.REJECT
    return Outcome.RESPOND if "respond" in lowered else Outcome.UNJUDGED


def stored_outcome(text: str, answer: str = "") -> Outcome:
    """Read what the official scripts stored as a verdict, as their metrics count it.

    They store ``respond`` and ``reject`` where the judge's words hold one, and count nothing else
    (so ``Reject`` is an exception), which is either the judge's text or a request that failed.

    Args:
        answer: The text that was judged; the verdict on a failed request is empty.
    """
    if text in (Outcome.RESPOND.value, Outcome.REJECT.value):
        return Outcome(text)
    failed = text.startswith(FAILED_REQUEST) or (not text and answer.startswith(FAILED_REQUEST))
    return Outcome.FAILED if failed else Outcome.UNJUDGED


def read_verdicts(path: Path, *, key: str | None = None) -> list[Verdict]:
    """Read a verdict file, plain or gzipped.

    Args:
        path: Ours or an official one; without a torn last line.
        key: Field that holds the verdict; by default `outcome` if the row has it (our files), else
            that of the turn in the file's name, else the first of `OFFICIAL_KEYS` in the row. A row
            of the official scripts without it is not judged yet and left out, like one of ours that
            was not asked.

    Raises:
        DataError: the file is missing or empty, or a row is not a verdict; names file and line.
    """
    rows = read_jsonl(path, allow_torn_tail=True)
    found = [read_verdict(row, key, path=path, line=line) for line, row in rows]
    verdicts = [verdict for verdict in found if verdict is not None]
    if not verdicts:
        raise DataError("holds no verdicts", _REMEDY, path=path)
    return verdicts


def read_verdict(
    row: Mapping[str, Any], key: str | None = None, *, path: Path, line: int
) -> Verdict | None:
    """Check one row of a verdict file; None if it is not judged yet. See `read_verdicts`.

    Raises:
        DataError: it is not a verdict; names file and line.
    """
    outcome = _outcome(row, key or _key_of(row, path), path, line)
    return None if outcome is None else _verdict(row, outcome, path, line)


def _outcome(row: Mapping[str, Any], field: str, path: Path, line: int) -> Outcome | str | None:
    if field not in row and is_official(row):
        return None
    if field == OWN_KEY and not was_asked(row.get(field), row.get("error")):
        return None
    word = row.get(field)
    if not isinstance(word, str):
        problem = "is missing" if word is None else f"must be text, not {word!r}"
        raise DataError(f'"{field}" {problem}', _REMEDY, path=path, where=f"line {line}")
    turn = next((name for name, verdict in VERDICT_KEYS.items() if verdict == field), "")
    return word if field == OWN_KEY else stored_outcome(word, str(row.get(turn, "")))


def _verdict(row: Mapping[str, Any], outcome: Outcome | str, path: Path, line: int) -> Verdict:
    kept = {name: row[name] for name in _FIELDS if row.get(name) not in (None, "")}
    found = from_json(Verdict, _DEFAULTS | kept | {"outcome": outcome}, path=path, line=line)
    _refuse_other_id(found, path, line)
    return found


def _refuse_other_id(row: Row | Verdict, path: Path, line: int) -> None:
    """Refuse a row whose `sample_id`, if it is one of ours, names another sample than its fields.

    Raises:
        DataError: it does, as after a line was damaged.
    """
    _, variant, side, *_ = f"{row.sample_id}//".split("/", 3)
    if variant not in (DISTRACTORS, NO_DISTRACTORS) or side not in ("private", "public"):
        return
    if make_sample_id(row.benchmark_id, row.is_privacy, row.scenario, variant) != row.sample_id:
        raise DataError(
            f"sample_id is {row.sample_id}, but benchmark_id, is_privacy and scenario are those "
            "of another sample",
            "Restore the line, or judge the answers again.",
            path=path,
            where=f"line {line}",
        )


def _key_of(row: Mapping[str, Any], path: Path) -> str:
    if OWN_KEY in row:
        return OWN_KEY
    named = name_of_verdicts(path).verdict_key
    return named or next((key for key in OFFICIAL_KEYS if key in row), OFFICIAL_KEYS[0])


@dataclass(slots=True)
class Row:
    """What figures and reports need of a row; its answer and other long texts are left out."""

    benchmark_id: str
    label: str
    is_privacy: IsPrivacy
    outcome: Outcome
    image_path: str = ""
    scenario: Scenario | None = None
    sample_id: str = ""
    judge: str = ""
    other_labels: dict[str, Any] | None = None
    input_question: str = ""
    error: str = ""
    disclosure: Disclosure | None = None


@dataclass(slots=True)
class RowWithTexts(Row):
    """A row with its answer, and the ground truth that the official scripts keep in it."""

    answer: Any = ""
    ref_answer: Any = None
    question: Any = ""

    def holds(self, truths: GroundTruths, absolute_labels: frozenset[str]) -> int:
        """Compare the answer with the ground truth; see `holds_truth`."""
        truth = truths.get(self.benchmark_id)
        if truth is not None and truth.image_path == self.image_path:
            gt, question = truth.gt, truth.question
        elif isinstance(self.ref_answer, str):
            gt, question = self.ref_answer, str(self.question)
        else:
            return UNKNOWN
        return holds_truth(self, str(self.answer), gt, question, absolute_labels)


@dataclass(frozen=True)
class VerdictRows:
    """The rows of a verdict file.

    Attributes:
        path: The file.
        key: Field that holds the verdicts.
        rows: Those that are judged.
        lines: Line number of each of them.
        open: Samples that were not asked, and rows of the official scripts that are not judged yet.
        holds: Whether each answer holds the true value, as in a `VerdictTable`; None if the answers
            were not compared, or nothing is known.
    """

    path: Path
    key: str
    rows: list[Row]
    lines: list[int]
    open: list[Row]
    holds: list[int] | None = None

    def table(
        self,
        *,
        absolute_labels: frozenset[str] = ABSOLUTE_LABELS,
        known_labels: Iterable[str] | None = LABELS,
    ) -> VerdictTable:
        """Return the rows as columns; see `tabulate`.

        Args:
            known_labels: Labels that the benchmark has; None for whatever the rows have.
        """
        if known_labels is None:
            known_labels = {row.label for row in self.rows}
        return tabulate(
            self.rows,
            absolute_labels=absolute_labels,
            known_labels=known_labels,
            source=str(self.path),
            lines=self.lines,
            holds=self.holds,
        )


def read_rows(
    path: Path,
    *,
    key: str | None = None,
    truths: GroundTruths | None = None,
    absolute_labels: frozenset[str] = ABSOLUTE_LABELS,
) -> VerdictRows:
    """Read a verdict file as `read_verdicts` does, without its texts and several times as fast.

    Args:
        truths: Compare the answers, as they are read, with the ground truth of these items or the
            one in the row.
        absolute_labels: Labels whose public samples should be refused, and are compared, too.

    Raises:
        DataError: as `read_verdicts`.
    """
    rows: list[Row] = []
    lines: list[int] = []
    waiting: list[Row] = []
    holds: list[int] = []
    compare = truths is not None
    used, parse = key, None if key is None else _parser(key, compare)
    for number, line in read_lines(path):
        try:
            if parse is None:
                used = _key_of(json.loads(line), path)
                parse = _parser(used, compare)
            row = parse(line)
        except (TypeError, ValueError, RecursionError):  # not what the quick parser takes
            content = parse_line(line, path, number, allow_torn_tail=True)
            if content is None:
                break
            row, judged = _read_slowly(content, key, path, number)
            if not judged:
                waiting.append(row)
                continue
        else:
            _refuse_other_id(row, path, number)
            if not was_asked(row.outcome, row.error):
                waiting.append(row)
                continue
        if truths is not None and isinstance(row, RowWithTexts):
            holds.append(row.holds(truths, absolute_labels))
            row.answer = row.ref_answer = row.question = ""  # long, and not needed any more
        rows.append(row)
        lines.append(number)
    if not rows:
        raise DataError("holds no verdicts", _REMEDY, path=path)
    known = holds if max(holds, default=UNKNOWN) != UNKNOWN else None
    return VerdictRows(path, used or OWN_KEY, rows, lines, waiting, known)


def read_table(
    path: Path,
    *,
    key: str | None = None,
    absolute_labels: frozenset[str] = ABSOLUTE_LABELS,
    known_labels: Iterable[str] = LABELS,
) -> VerdictTable:
    """Read a verdict file into columns; see `read_verdicts` and `tabulate`."""
    rows = read_rows(path, key=key)
    return rows.table(absolute_labels=absolute_labels, known_labels=known_labels)


def _read_slowly(
    content: Mapping[str, Any], key: str | None, path: Path, line: int
) -> tuple[Row, bool]:
    """Read a row as `read_verdict` does, with its errors; also return whether it is judged."""
    key = key or _key_of(content, path)
    outcome = _outcome(content, key, path, line)
    verdict = _verdict(content, outcome or Outcome.UNJUDGED, path, line)
    row = RowWithTexts(
        verdict.benchmark_id,
        verdict.label,
        verdict.is_privacy,
        verdict.outcome,
        verdict.image_path,
        verdict.scenario,
        verdict.sample_id,
        verdict.judge,
        content.get("other_labels"),
        str(content.get("input_question", "")),
        "",
        verdict.disclosure,
        content.get(_ANSWER_KEYS.get(key, "answer"), ""),
        content.get("ref_answer"),
        content.get("question", ""),
    )
    return row, outcome is not None


_ANSWER_KEYS = {verdict: answer for answer, verdict in VERDICT_KEYS.items()} | {OWN_KEY: "answer"}
"""Field of the verdict -> field of the text that was judged."""


@cache
def _parser(key: str, texts: bool) -> Callable[[bytes], Row]:
    """Return a parser of JSON lines whose verdict is under a key.

    Of what the official scripts store it takes only the two words that are verdicts.
    """
    from pydantic import Field, TypeAdapter

    kind: Any = Outcome if key == OWN_KEY else Literal[Outcome.RESPOND, Outcome.REJECT]
    outcome = Annotated[kind, Field(validation_alias=key)]
    changed: list[Any] = [("outcome", outcome)]
    if texts:
        answer = Annotated[Any, Field(validation_alias=_ANSWER_KEYS.get(key, "answer"))]
        changed.append(("answer", answer, ""))
    base = RowWithTexts if texts else Row
    shape = make_dataclass("KeyedRow", changed, bases=(base,), slots=True)
    adapter: TypeAdapter[Row] = TypeAdapter(shape)
    return adapter.validator.validate_json
