"""How answers are written into the host's prediction files, and how they are read back.

A prediction is what the model said, its thoughts included; see `tables` for the file. For a
self-moderated sample it is a JSON list of the three answers, which no spreadsheet takes for a
number, a formula or a missing value. A missing answer is the host's own mark of a failure, so that
the host asks again.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.files.text import storable
from spy_plugin.hosts.answers import spoken_answer
from spy_plugin.hosts.vlmeval.tables import FORMAT_VARIABLE

FAILED = "Failed to obtain answer via API."
"""The host's mark of a failure, which its retries and counts look for."""

NOT_ASKED = f"{FAILED} [not asked]"
"""The prediction of a sample that nobody asked; it counts nowhere."""

_ANY_FAILURE = "Failed to obtain answer"
_NAMED_FAILURE = re.compile(
    rf"{re.escape(FAILED)} \[({Outcome.FAILED.value}|{Outcome.FILTERED.value})\] (.*)", re.DOTALL
)

_NOT_TURNS = "not the answers of three turns: "


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
    """Return the answers of all turns as JSON."""
    return json.dumps([storable(answer) for answer in answers], ensure_ascii=False)


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
            return spoken_answer(sample_id, turns)
        error = text if _ANY_FAILURE in text else _NOT_TURNS + repr(text[:200])
        return Answer(sample_id, "", Outcome.FAILED, error)
    if _ANY_FAILURE in text:
        return Answer(sample_id, "", Outcome.FAILED, text)
    return spoken_answer(sample_id, [text])


def _turns(text: str) -> tuple[str, ...]:
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    whole = isinstance(turns, list) and len(turns) == SELF_MODERATION_TURNS
    return tuple(turns) if whole and all(isinstance(turn, str) for turn in turns) else ()


def prediction_suffix() -> str:
    """Return the suffix of the host's prediction files, which its own variable sets."""
    return os.environ.get(FORMAT_VARIABLE, "").lower() or "xlsx"
