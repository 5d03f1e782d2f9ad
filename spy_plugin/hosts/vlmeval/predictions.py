"""How answers are written into the host's prediction files, and how they are read back.

A prediction is the model's answer, unchanged. For a self-moderated sample it is a JSON list of the
three answers, which no spreadsheet takes for a number, a formula or a missing value. A missing
answer is the host's own mark of a failure, so that the host asks again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.errors import DataError

FORMAT_VARIABLE = "PRED_FORMAT"

FAILED = "Failed to obtain answer via API."
"""The host's mark of a failure, which its retries and counts look for."""

NOT_ASKED = f"{FAILED} [not asked]"
"""A sample that an exported run did not ask. The host counts it as failed; we do not judge it."""

_ANY_FAILURE = "Failed to obtain answer"
_NAMED_FAILURE = re.compile(
    rf"{re.escape(FAILED)} \[({Outcome.FAILED.value}|{Outcome.FILTERED.value})\] (.*)", re.DOTALL
)

_CUT = (
    "not the answers of three turns (where they were too long for a cell of an Excel file, set "
    f"{FORMAT_VARIABLE}=json): "
)

# Characters that XML cannot hold: one of them makes the Excel file of all answers unreadable.
UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def row_of(number: int, sample: Sample) -> dict[str, Any]:
    """Return a sample's row in the host's table of a data set, without the path of its picture.

    Args:
        number: Position in protocol order, from 1; the host keys its answers by it.
    """
    return {
        "index": number,
        "sample_id": sample.sample_id,
        "question": sample.prompt,  # the whole prompt, for models that build their own from it
        "label": sample.label,
        "is_privacy": sample.is_privacy,
        "scenario": sample.scenario.id if sample.scenario else "",
        "asked": sample.question,
    }


def prediction_of(answer: Answer) -> str:
    """Return the text of an answer in the column `prediction`."""
    if answer.outcome is not None:
        return f"{FAILED} [{answer.outcome.value}] {answer.error}"
    return turns_text((answer.response, *answer.turns)) if answer.turns else answer.response


def turns_text(answers: tuple[str, ...]) -> str:
    """Return the answers of all turns as JSON that an Excel file can hold."""
    text = json.dumps(answers, ensure_ascii=False)
    return UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def answer_of(sample_id: str, text: str, *, self_moderation: bool) -> Answer:
    """Return the answer that a prediction holds.

    Args:
        self_moderation: The data set is self-moderated, so anything but a list of three answers is
            a failure.
    """
    named = _NAMED_FAILURE.fullmatch(text)
    if named:
        return Answer(sample_id, "", Outcome(named[1]), named[2])
    if self_moderation:
        turns = _turns(text)
        if turns:
            return Answer(sample_id, turns[0], turns=turns[1:])
        error = text if _ANY_FAILURE in text else _CUT + repr(text[:200])
        return Answer(sample_id, "", Outcome.FAILED, error)
    if _ANY_FAILURE in text:
        return Answer(sample_id, "", Outcome.FAILED, text)
    return Answer(sample_id, text)


def _turns(text: str) -> tuple[str, ...]:
    try:
        turns = json.loads(text)
    except ValueError:
        return ()
    whole = isinstance(turns, list) and len(turns) == SELF_MODERATION_TURNS
    return tuple(turns) if whole and all(isinstance(turn, str) for turn in turns) else ()


def read_predictions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (sample_id, prompt, prediction) from the host's prediction file.

    Excel files are read cell by cell, since pandas would turn an answer such as ``N/A`` or ``None``
    into NaN, and one that begins with ``=`` into the empty result of a formula.

    Raises:
        DataError: the file lacks a column.
    """
    if path.suffix == ".xlsx":
        from openpyxl import load_workbook

        rows = load_workbook(path, read_only=True).active.iter_rows(values_only=True)
        header = [str(cell) for cell in next(rows, ())]
    else:
        import pandas as pd

        if path.suffix == ".tsv":
            frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        elif path.suffix == ".json":
            frame = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")), dtype=object)
        else:
            from vlmeval.smp import load

            frame = pd.DataFrame(load(str(path)))
        header, rows = list(frame.columns), frame.itertuples(index=False, name=None)
    wanted = ("sample_id", "question", "prediction")
    missing = set(wanted) - set(header)
    if missing:
        raise DataError(
            f"has no column {', '.join(sorted(missing))}",
            "Name a prediction file that the host wrote for a SPY-Bench data set.",
            path=path,
        )
    columns = [header.index(name) for name in wanted]
    plain = _without_escapes if path.suffix == ".xlsx" else str
    for row in rows:
        sample_id, prompt, text = ("" if row[c] is None else plain(row[c]) for c in columns)
        yield sample_id, prompt, text


def _without_escapes(cell: Any) -> str:
    """Return a cell's text with the control characters that Excel files write as ``_x000D_``."""
    return re.sub("_x(00[01][0-9A-F]|FFF[EF])_", lambda found: chr(int(found[1], 16)), str(cell))


def prediction_suffix() -> str:
    """Return the suffix of the host's prediction files, which its own variable sets."""
    return os.environ.get(FORMAT_VARIABLE, "").lower() or "xlsx"
