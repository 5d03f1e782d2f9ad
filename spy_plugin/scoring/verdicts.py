"""Read verdict files: ours, and the official release's `eval/*.jsonl`.

The two share their field names. Ours add `sample_id` and `outcome`; the official ones hold the
judge's words under `eval_resp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.records import Outcome, Verdict, from_json
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.scoring.metrics import VerdictTable, tabulate

OFFICIAL_KEY = "eval_resp"
OWN_KEY = "outcome"

_REMEDY = "Give a file of verdicts: ours, or the official release's eval/*.jsonl."
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


def read_verdicts(path: Path, *, key: str | None = None) -> list[Verdict]:
    """Read a verdict file, plain or gzipped.

    Args:
        path: Ours or an official one; without a torn last line.
        key: Field that holds the verdict; by default `outcome` if the row has it (our files), else
            `eval_resp` (official files).

    Raises:
        DataError: the file is missing or empty, or a row is not a verdict; names file and line.
    """
    return list(read_numbered_verdicts(path, key=key).values())


def read_numbered_verdicts(path: Path, *, key: str | None = None) -> dict[int, Verdict]:
    """Read a verdict file as `read_verdicts` does: line number -> verdict."""
    numbered = {
        line: _verdict(row, key, path=path, line=line)
        for line, row in read_jsonl(path, allow_torn_tail=True)
    }
    if not numbered:
        raise DataError("holds no verdicts", _REMEDY, path=path)
    return numbered


def read_table(
    path: Path,
    *,
    key: str | None = None,
    absolute_labels: frozenset[str] = ABSOLUTE_LABELS,
    known_labels: frozenset[str] | tuple[str, ...] = LABELS,
) -> VerdictTable:
    """Read a verdict file into columns; see `read_verdicts` and `tabulate`."""
    numbered = read_numbered_verdicts(path, key=key)
    return tabulate(
        numbered.values(),
        absolute_labels=absolute_labels,
        known_labels=known_labels,
        source=str(path),
        lines=numbered,
    )


def _verdict(row: Mapping[str, Any], key: str | None, *, path: Path, line: int) -> Verdict:
    field = key or (OWN_KEY if OWN_KEY in row else OFFICIAL_KEY)
    kept = {name: row[name] for name in _FIELDS & row.keys() if row[name] not in (None, "")}
    word = row.get(field)
    if not isinstance(word, str):
        problem = "is missing" if word is None else f"must be text, not {word!r}"
        raise DataError(f'"{field}" {problem}', _REMEDY, path=path, where=f"line {line}")
    outcome = word if field == OWN_KEY else parse_verdict_text(word)
    return from_json(Verdict, _DEFAULTS | kept | {"outcome": outcome}, path=path, line=line)
