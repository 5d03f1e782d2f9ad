"""Folders of the official scripts: verdicts in `eval/MODEL__JUDGE.jsonl`, answers in `resp/`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.answers import ANSWERS_SUFFIX
from spy_plugin.benchmark.official_files import (
    VERDICT_KEYS,
    is_official,
    model_of_answers,
    name_of_verdicts,
)
from spy_plugin.benchmarks import OFFICIAL
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.report.results import Found, PrivacyResult, modified
from spy_plugin.runs.metadata import VERDICTS_SUFFIX

LOOKED_FOR = ("eval/*.jsonl of the official scripts",)
_OURS = (VERDICTS_SUFFIX, ANSWERS_SUFFIX)


def read(folder: Path, found: Found) -> None:
    """Add every verdict file of the scripts below the folder; note answers without verdicts.

    Of a folder `resp`, the verdicts are in `eval` beside it.
    """
    paths = sorted(folder.rglob("*.jsonl*"))
    if folder.resolve().name == "resp":
        paths += sorted((folder.resolve().parent / "eval").glob("*.jsonl*"))
    answers = []
    for path in paths:
        row = None if path.name.endswith(_OURS) else first_row(path)
        if row is None or not is_official(row):
            continue
        if any(key in row for key in VERDICT_KEYS.values()):
            found.privacy.append(PrivacyResult(name_of_verdicts(path).model, path, modified(path)))
        elif "response" in row:
            answers.append(path)
    judged = {result.model for result in found.privacy}
    found.notes += [
        f"{path.name} holds answers without verdicts. Judge them with: "
        + shlex.join(["spy-bench", "judge", str(path), "--benchmark", OFFICIAL])
        for path in answers
        if model_of_answers(path) not in judged
    ]


def first_row(path: Path) -> dict[str, Any] | None:
    """Return the first row of a JSONL file, plain or gzipped; None if it has none."""
    if not path.is_file() or path.suffix not in (".jsonl", ".gz"):
        return None
    try:
        return next((row for _, row in read_jsonl(path)), None)
    except DataError:
        return None
