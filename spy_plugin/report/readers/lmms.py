"""General scores in an lmms-eval output folder: `<time>_results.json` and its samples files."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.report.items import ItemScores, checked, mme_points
from spy_plugin.report.results import (
    BrokenResult,
    Found,
    GeneralResult,
    GeneralSet,
    as_number,
    modified,
    out_of_range,
)

logger = logging.getLogger(__name__)

HOST = "lmms-eval"
LOOKED_FOR = ("*_results.json",)
RULES = "lmms-eval's rules"

_TIME = re.compile(r"^(\d{8}_\d{6})_results\.json$")
# The host names its files by the time in Singapore unless it is configured otherwise.
_HOST_ZONE = timezone(timedelta(hours=8))
_MME = ("mme_perception_score", "mme_cognition_score")
_ODD_ROWS = (
    *(KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError),
    *(StopIteration, ZeroDivisionError),
)
Row = dict[str, Any]
_REMEDY = "Give the output folder as lmms-eval wrote it."


def read(folder: Path, found: Found) -> None:
    """Add the general scores of every results file below the folder.

    A file that is empty, cut short or not a JSON object counts as not run, as does a score that is
    not a number.
    """
    for path in sorted(folder.rglob(LOOKED_FOR[0])):
        if not path.is_file():
            continue
        try:
            results = _results(path)
        except DataError as error:
            found.broken.append(BrokenResult("", "", str(error), path))
            continue
        if results is not None:
            _add_scores(path, results, _model(path, results, found), found)


def _results(path: Path) -> dict[str, Any] | None:
    """Return the content of a results file, or None if another program wrote it."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not JSON, or cut short ({error})", _REMEDY, path=path) from error
    tasks = values.get("results") if isinstance(values, dict) else None
    return values if isinstance(tasks, dict) else None


def _model(path: Path, results: dict[str, Any], found: Found) -> str:
    """Return the model's name in our own task of this folder, else its name in the host."""
    ours = {r.model for r in found.privacy if r.verdicts.parent.resolve() == path.parent.resolve()}
    if len(ours) == 1:
        return ours.pop()
    # A run under a name of our registry has no model_name.
    config = results.get("config")
    named = results.get("model_name") or (config.get("model") if isinstance(config, dict) else "")
    return str(named or path.parent.name)


_TASKS: tuple[tuple[GeneralSet, str, tuple[str, ...]], ...] = (
    ("mmmu", "mmmu_val", ("mmmu_acc",)),
    ("ocrbench", "ocrbench", ("ocrbench_accuracy",)),
    ("mme", "mme", _MME),
)
"""(set, the host's task, its metrics)."""


def _add_scores(path: Path, results: dict[str, Any], model: str, found: Found) -> None:
    for set_, task, metrics in _TASKS:
        entry = results["results"].get(task)
        told = [entry.get(f"{name},none") for name in metrics] if isinstance(entry, dict) else []
        if not told or None in told:
            continue
        try:
            raw = _numbers(dict(zip(metrics, told, strict=True)), path)
            score = sum(raw.values()) / 28 if set_ == "mme" else sum(raw.values()) * 100
            if wrong := out_of_range(score):
                raise DataError(wrong, _REMEDY, path=path)
        except DataError as error:
            found.broken.append(BrokenResult(model, set_, str(error), path))
            continue
        found.general.append(
            GeneralResult(
                model=model,
                set=set_,
                score=score,
                raw=raw,
                host=HOST,
                finished=_time(path),
                source=path,
                judge=RULES,
                rules=True,
                items=_items(path, task, _ITEMS[set_], score),
            )
        )


def _numbers(told: dict[str, Any], path: Path) -> dict[str, float]:
    """Return a task's metrics.

    Raises:
        DataError: one is not a number.
    """
    numbers = {name: as_number(v) for name, v in told.items() if not isinstance(v, str)}
    found = {name: number for name, number in numbers.items() if number is not None}
    if len(found) < len(told):
        said = ", ".join(f"{name} is {str(value)[:50]!r}" for name, value in told.items())
        raise DataError(f"{said}, not a number", _REMEDY, path=path)
    return found


def _time(path: Path) -> datetime:
    match = _TIME.match(path.name)
    if match:
        with suppress(ValueError):  # digits that are not a date
            return datetime.strptime(match[1], "%Y%m%d_%H%M%S").replace(tzinfo=_HOST_ZONE)
    return modified(path)


def _items(
    results: Path, task: str, points: Callable[[list[Row], float], ItemScores | None], score: float
) -> ItemScores | None:
    """Return points of single items from the run's samples file, if `--log_samples` was given."""
    path = results.with_name(results.name.replace("_results.json", f"_samples_{task}.jsonl"))
    if not path.is_file():
        return None
    try:
        return points([row for _, row in read_jsonl(path)], score)
    except (*_ODD_ROWS, DataError) as error:
        logger.info("%s: its items cannot be read (%r)", path, error)
        return None


def _mmmu(samples: list[Row], score: float) -> ItemScores | None:
    hits = []
    for sample in samples:
        item = sample["mmmu_acc"]
        if item["question_type"] == "multiple-choice":
            hits.append(float(item["answer"] in item["parsed_pred"]))
        else:
            answers = item["answer"] if isinstance(item["answer"], list) else [item["answer"]]
            texts = [str(text) for texts in item["parsed_pred"] for text in texts]
            hits.append(float(any(str(a).lower() in text for a in answers for text in texts)))
    return checked([hits], 100, score)


def _ocrbench(samples: list[Row], score: float) -> ItemScores | None:
    points = [float(sample["ocrbench_accuracy"]["score"]) for sample in samples]
    # The host always divides by 1,000, for any number of items.
    return checked([points], len(points) / 10, score)


def _mme(samples: list[Row], score: float) -> ItemScores | None:
    pictures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        item = next(sample[name] for name in _MME if isinstance(sample.get(name), dict))
        pictures[item["category"]][item["question_id"]].append(float(item["score"]))
    return checked(mme_points(pictures), 100 / 28, score)


_ITEMS = {"mmmu": _mmmu, "ocrbench": _ocrbench, "mme": _mme}
