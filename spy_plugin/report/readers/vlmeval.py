"""General scores in a VLMEvalKit work folder: MMMU, OCRBench and MME, by the host's file names."""

from __future__ import annotations

import ast
import csv
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from spy_plugin.errors import DataError
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

HOST = "vlmeval"
EXACT = "exact_matching"
_REMEDY = "Give the work folder as VLMEvalKit wrote it."


class _Kind(NamedTuple):
    set: GeneralSet
    dataset: str
    suffix: str


# Of two suffixes that fit, the longer comes first.
_KINDS = (
    _Kind("mmmu", "MMMU_DEV_VAL", "_MMMU_DEV_VAL_exact_matching_acc.csv"),
    _Kind("mmmu", "MMMU_DEV_VAL", "_MMMU_DEV_VAL_acc.csv"),
    _Kind("ocrbench", "OCRBench", "_OCRBench_score.json"),
    _Kind("mme", "MME", "_MME_exact_matching_score.csv"),
    _Kind("mme", "MME", "_MME_score.csv"),
)
# Of a host's table whose cells are not what they should be.
_ODD_ROWS = (
    *(KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError),
    *(RecursionError, MemoryError),  # what `ast.literal_eval` raises for a deep one
)
LOOKED_FOR = ("*_MMMU_DEV_VAL_acc.csv", "*_OCRBench_score.json", "*_MME_score.csv")

_RUN_FOLDER = re.compile(r"^T(\d{8})(?:-(\d{6}))?")


def read(folder: Path, found: Found) -> None:
    """Add the folder's general scores; a file and links to it count once.

    A file that is empty, cut short or without a number counts as not run.
    """
    seen: set[Path] = set()
    for path in sorted(folder.rglob("*")):
        kind = next((kind for kind in _KINDS if path.name.endswith(kind.suffix)), None)
        if kind is None or not path.is_file() or path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            found.general.append(_read(path.resolve(), kind))
        except DataError as error:
            model = path.name.removesuffix(kind.suffix)
            found.broken.append(BrokenResult(model, kind.set, str(error), path.resolve()))


def _read(path: Path, kind: _Kind) -> GeneralResult:
    model = path.name.removesuffix(kind.suffix)
    raw = {"mmmu": _mmmu, "ocrbench": _ocrbench, "mme": _mme}[kind.set](path)
    score = {
        "mmmu": lambda: raw["validation"] * 100,
        "ocrbench": lambda: raw["Final Score Norm"],
        "mme": lambda: (raw["perception"] + raw["reasoning"]) / 28,
    }[kind.set]()
    if wrong := out_of_range(score):
        raise DataError(wrong, _REMEDY, path=path)
    status = _status(path.parent, kind.dataset)
    judge = EXACT if EXACT in kind.suffix else str(status.get("judge_model") or "")
    # OCRBench is always matched by rules.
    rules = True if kind.set == "ocrbench" else (judge == EXACT if judge else None)
    stem = path.parent / f"{model}_{kind.dataset}"
    return GeneralResult(
        model=model,
        set=kind.set,
        score=score,
        raw=raw,
        host=HOST,
        finished=_time(path, status),
        source=path,
        judge=judge,
        rules=rules,
        items=_items(kind.set, stem, judge, score),
    )


def _mmmu(path: Path) -> dict[str, float]:
    for row in _csv(path):
        if row.get("split") == "validation":
            return {"validation": _number(row.get("Overall"), path, "Overall of validation")}
    raise DataError("has no row of split validation", _REMEDY, path=path)


def _mme(path: Path) -> dict[str, float]:
    row = next(iter(_csv(path)), {})
    return {name: _number(row.get(name), path, name) for name in ("perception", "reasoning")}


def _ocrbench(path: Path) -> dict[str, float]:
    values = _json(path)
    name = "Final Score Norm"
    return {name: _number(values.get(name), path, name)}


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", _REMEDY, path=path) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not JSON, or cut short ({error})", _REMEDY, path=path) from error
    if not isinstance(values, dict):
        raise DataError("not a JSON object", _REMEDY, path=path)
    return values


def _number(value: Any, path: Path, name: str) -> float:
    number = as_number(value)
    if number is None:
        raise DataError(f"{name} is {value!r}, not a number", _REMEDY, path=path)
    return number


def _status(folder: Path, dataset: str) -> dict[str, Any]:
    """Return what the host's status.json says about the data set; empty if it says nothing."""
    path = folder / "status.json"
    if not path.is_file():
        return {}
    try:
        datasets = _json(path).get("datasets")
    except DataError as error:
        logger.info("the judge and the time are not known: %s", error)
        return {}
    entry = datasets.get(dataset) if isinstance(datasets, dict) else None
    return entry if isinstance(entry, dict) else {}


def _time(path: Path, status: dict[str, Any]) -> datetime:
    """Return the time of the result: from status.json, the run folder's name, or the file."""
    try:
        time = datetime.fromisoformat(str(status["updated_at"]))
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (KeyError, ValueError, OverflowError):
        match = _RUN_FOLDER.match(path.parent.name)
    if match:
        text = match[1] + (match[2] or "000000")
        with suppress(ValueError, OverflowError, OSError):  # digits that are not a date
            # The host names its folders by local time.
            return datetime.strptime(text, "%Y%m%d%H%M%S").astimezone()
    return modified(path)


def _items(kind: GeneralSet, stem: Path, judge: str, score: float) -> ItemScores | None:
    """Return points of single items from the host's files, if they reproduce the score."""
    try:
        if kind == "mmmu":
            rows = _table(stem, f"_{judge or EXACT}_result")
            hits = [float(r["hit"]) for r in rows if r.get("split", "validation") == "validation"]
            return checked([hits], 100, score)
        if kind == "ocrbench":
            # The host always divides by ten: the real set has 1,000 items.
            points = [_ocr_point(row) for row in _table(stem, "")]
            return checked([points], len(points) / 10, score)
        pictures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in _table(stem, "_auxmatch"):
            hit = str(row["score"]).lower() in ("true", "1", "1.0")
            pictures[str(row["category"])][str(row["image_path"])].append(float(hit))
        return checked(mme_points(pictures), 100 / 28, score)
    except (*_ODD_ROWS, SyntaxError, csv.Error, DataError) as error:
        logger.info("%s: its items cannot be read (%s)", stem, error)
        return None


def _ocr_point(row: dict[str, Any]) -> float:
    """Return 1 if the prediction contains one of the answers, as OCRBench matches them."""
    formula = row["category"] == "Handwritten Mathematical Expression Recognition"

    def clean(text: Any) -> str:
        flat = str(text).strip().replace("\n", " ")
        return flat.replace(" ", "") if formula else flat.lower()

    prediction = clean(row["prediction"])
    answers = ast.literal_eval(str(row["answer"]))
    return float(any(clean(answer) in prediction for answer in answers))


def _table(stem: Path, suffix: str) -> list[dict[str, Any]]:
    """Return the rows of `{stem}{suffix}` as .xlsx or .tsv; none if there is no such file."""
    tsv = stem.with_name(f"{stem.name}{suffix}.tsv")
    if tsv.is_file():
        with tsv.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    workbook = stem.with_name(f"{stem.name}{suffix}.xlsx")
    return list(read_xlsx(workbook)) if workbook.is_file() else []


def read_xlsx(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a workbook's first sheet by its header; none without openpyxl.

    Raises:
        DataError: the file is not a workbook.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        logger.info("%s is not read: openpyxl is not installed (extra vlmeval)", path)
        return
    from zipfile import BadZipFile
    from zlib import error as UnpackError

    try:
        rows = load_workbook(path, read_only=True, data_only=False).active.iter_rows(
            values_only=True
        )
        header = [str(cell) for cell in next(rows, ())]
        for row in rows:
            yield dict(zip(header, row, strict=False))
    except (BadZipFile, InvalidFileException, UnpackError, EOFError, *_ODD_ROWS) as error:
        raise DataError(f"not a workbook ({error})", _REMEDY, path=path) from error
