"""Answers in the host's prediction files: how they stand there, and how they are read back.

A prediction is the model's answer as it is. Of a self-moderated sample it is a JSON list of the
three answers, which no spreadsheet takes for a number, a formula or a missing value. Where there
is no answer, the host's own mark of a failure stands there, so that the host asks again.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.errors import DataError

FORMAT_VARIABLE = "PRED_FORMAT"

FAILED = "Failed to obtain answer via API."
"""The host's mark, which its retries and counts look for."""

_ANY_FAILURE = "Failed to obtain answer"
_NAMED_FAILURE = re.compile(
    rf"{re.escape(FAILED)} \[({Outcome.FAILED.value}|{Outcome.FILTERED.value})\] (.*)", re.DOTALL
)

_CUT = (
    "not the answers of three turns (where they were too long for a cell of an Excel file, set "
    f"{FORMAT_VARIABLE}=json): "
)

# What XML cannot hold: one such character and the host's Excel file of all answers is lost.
UNSTORABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def row_of(number: int, sample: Sample) -> dict[str, Any]:
    """What the host's table of a data set says of a sample, the picture's place aside.

    Args:
        number: From 1, in protocol order; the host keeps its answers by it.
    """
    return {
        "index": number,
        "sample_id": sample.sample_id,
        "question": sample.prompt,  # the whole, as models want it that build their own prompts
        "label": sample.label,
        "is_privacy": sample.is_privacy,
        "scenario": sample.scenario.id if sample.scenario else "",
        "asked": sample.question,
    }


def prediction_of(answer: Answer) -> str:
    """The text that stands for an answer in the column `prediction`."""
    if answer.outcome is not None:
        return f"{FAILED} [{answer.outcome.value}] {answer.error}"
    return turns_text((answer.response, *answer.turns)) if answer.turns else answer.response


def turns_text(answers: tuple[str, ...]) -> str:
    """The answers of all turns as JSON that an Excel file can hold."""
    text = json.dumps(answers, ensure_ascii=False)
    return UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def answer_of(sample_id: str, text: str, *, self_moderation: bool) -> Answer:
    """The answer that a prediction stands for.

    Args:
        self_moderation: The data set is a self-moderated one: what is no list of three answers is
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

    Excel files are read cell by cell, since pandas would turn an answer like ``N/A`` or ``None``
    into nothing and one that begins with ``=`` into a formula's empty result.

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
            "Give the host's own prediction file of a SPY-Bench data set.",
            path=path,
        )
    columns = [header.index(name) for name in wanted]
    plain = _without_escapes if path.suffix == ".xlsx" else str
    for row in rows:
        sample_id, prompt, text = ("" if row[c] is None else plain(row[c]) for c in columns)
        yield sample_id, prompt, text


def _without_escapes(cell: Any) -> str:
    """A cell's text with the control characters that Excel files write as ``_x000D_``."""
    return re.sub("_x(00[01][0-9A-F]|FFF[EF])_", lambda found: chr(int(found[1], 16)), str(cell))


def keep_reloaded_answers() -> None:
    """Have the host take up our prediction files as they were written.

    It reads a file that is there already through pandas, which makes answers such as ``N/A``,
    ``None`` or an empty one into NaN, and then writes the text ``nan`` in their place.
    """
    for name in ("vlmeval.inference", "vlmeval.inference_mt", "vlmeval.inference_api"):
        module = importlib.import_module(name)
        if hasattr(module, "load"):
            replace_once(module, "load", _keeping_answers)


def _keeping_answers(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def load_whole(file: str, *args: Any, **kwargs: Any) -> Any:
        import pandas as pd

        data = original(file, *args, **kwargs)
        ours = isinstance(data, pd.DataFrame) and {"sample_id", "prediction"} <= set(data.columns)
        if ours and Path(file).suffix in (".xlsx", ".tsv"):
            data["prediction"] = [text for _, _, text in read_predictions(Path(file))]
        return data

    return load_whole


def replace_once(module: Any, name: str, wrap: Callable[[Callable[..., Any]], Any]) -> None:
    """Put a function of ours around one of the host's, unless it is there already."""
    original = getattr(module, name)
    if not getattr(original, "knows_spy_bench", False):
        replacement = wrap(original)
        replacement.knows_spy_bench = True
        setattr(module, name, replacement)


def prediction_suffix() -> str:
    """Ending of the host's prediction files, as its own variable says."""
    return os.environ.get(FORMAT_VARIABLE, "").lower() or "xlsx"
