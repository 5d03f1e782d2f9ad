"""What a run's model and judge said, in chunks that the page loads when they are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.official_files import VERDICT_KEYS, is_official
from spy_plugin.models.thoughts import split_thoughts
from spy_plugin.report.browser.columns import CHUNK
from spy_plugin.report.browser.lines import LineFile
from spy_plugin.report.browser.scripts import columns_of, write_script
from spy_plugin.report.provenance import cut_paths
from spy_plugin.scoring.table import Ints

_TURNS = tuple(VERDICT_KEYS)
"""Fields of the official scripts' answers, turn by turn."""


@dataclass(frozen=True)
class Job:
    """The texts of one run.

    Attributes:
        number: The run's place in the index.
        verdicts: Its file of verdicts.
        answers: Its file of answers, if this package wrote one: it keeps thoughts and all turns.
        lines: Line of each sample in the file of verdicts; 0 for none.
        turn: The turn of the official scripts that was judged; 0 for the last.
        folder: Where the chunks go.
    """

    number: int
    verdicts: Path
    answers: Path | None
    lines: Ints
    turn: int
    folder: Path


def write_answers(job: Job) -> list[int]:
    """Write a run's texts, one chunk in memory at a time; return the chunks that hold thoughts."""
    thoughtful = []
    with ExitStack() as stack:
        verdicts = stack.enter_context(LineFile(job.verdicts))
        told = stack.enter_context(LineFile(job.answers)) if job.answers else None
        places = _places(told) if told else {}
        for chunk, start in enumerate(range(0, len(job.lines), CHUNK)):
            said: list[dict[str, Any] | None] = []
            thoughts: list[dict[str, Any] | None] = []
            for line in job.lines[start : start + CHUNK].tolist():
                row = verdicts.row(line) if line else {}
                more = told.row(places[name]) if told and (name := _id(row)) in places else {}
                said.append(_said(row, more, job.turn) | {"line": line} if row else None)
                thoughts.append(_thoughts(row, more, job.turn))
            write_script(job.folder, f"answers-{job.number}-{chunk}", columns_of(said))
            if any(thoughts):
                write_script(job.folder, f"thoughts-{job.number}-{chunk}", columns_of(thoughts))
                thoughtful.append(chunk)
    return thoughtful


def _id(row: Mapping[str, Any]) -> str:
    return str(row.get("sample_id", ""))


def _places(told: LineFile) -> dict[str, int]:
    """Return the line of each sample's last record in a file of answers."""
    places = {}
    for number in range(1, len(told) + 1):
        try:
            places[str(json.loads(told.line(number))["sample_id"])] = number
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # torn, or not ours: the verdicts hold the answer itself
    return places


def _said(row: Mapping[str, Any], more: Mapping[str, Any], turn: int) -> dict[str, Any]:
    """Return the texts of a row that are shown at once; empty ones are left out."""
    answer, earlier = _answer(row, turn)
    later = more.get("turns")
    every = [more.get("response"), *(later if isinstance(later, list) else ())]
    turns = every[:-1] if more else earlier
    texts = {
        "answer": split_thoughts(answer)[0] or answer,
        "judge": row.get("raw", "") if "raw" in row else _stored_verdict(row, turn),
        "error": cut_paths(str(row.get("error") or "")),
    }
    found: dict[str, Any] = {name: str(text) for name, text in texts.items() if text}
    before = [str(text) for text in turns if text]
    return found | ({"turns": before} if before else {})


def _answer(row: Mapping[str, Any], turn: int) -> tuple[str, list[str]]:
    """Return the text that was judged, and those of the turns before it."""
    if not is_official(row):
        return str(row.get("answer") or ""), []
    texts = [str(row.get(name) or "") for name in _TURNS]
    if turn:
        return texts[turn - 1], texts[: turn - 1]
    last = max((place for place, text in enumerate(texts) if text), default=0)
    return texts[last], texts[:last]


def _stored_verdict(row: Mapping[str, Any], turn: int) -> str:
    keys = tuple(VERDICT_KEYS.values())
    wanted = keys[turn - 1 : turn] if turn else reversed(keys)
    return next((str(row[key]) for key in wanted if row.get(key)), "")


def _thoughts(row: Mapping[str, Any], more: Mapping[str, Any], turn: int) -> dict[str, str] | None:
    """Return what the model and the judge thought aloud; None if nothing is known of it."""
    said, inside = split_thoughts(_answer(row, turn)[0])
    found = {
        "model": str(more.get("thoughts") or (inside if said else "")),
        "judge": str(row.get("judge_thoughts") or ""),
    }
    return {name: text for name, text in found.items() if text} or None
