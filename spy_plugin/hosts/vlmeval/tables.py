"""The host's tables of predictions, written and read so that every answer survives.

The host's own writer leaves a long URL out, cuts a text at 32,767 units, and fails at half an
emoji. Its reader takes ``N/A`` for a missing value, and ``=1+1`` for the result of a formula.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.text import storable
from spy_plugin.files.writing import replacing

FORMAT_VARIABLE = "PRED_FORMAT"
"""The host's variable that sets the format of its prediction files."""

PREDICTION = "prediction"
_CONTINUED = "prediction_{}"
"""Further columns of an Excel file, for what does not fit into the first one."""
_CELL = 16_383
"""Characters that fit into a cell of an Excel file: 32,767 units, of which an emoji takes two."""
_WANTED = ("sample_id", "question", PREDICTION)
_REMEDY = "Name a prediction file that the host wrote for a SPY-Bench data set."

Row = Mapping[str, Any]


def write_predictions(path: Path, rows: Sequence[Row]) -> None:
    """Write a table with a column `prediction` in the format of the path's suffix, in one step.

    Raises:
        SpyBenchError: as `check_format`.
    """
    suffix = path.suffix.removeprefix(".")
    check_format(suffix)
    stored = [
        {name: storable(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in rows
    ]
    with replacing(path, private=True) as temporary:
        FORMATS[suffix](temporary, stored)


def check_format(suffix: str) -> None:
    """Refuse a format in which no table can be written.

    Raises:
        SpyBenchError: no such format, or xlsxwriter is not installed.
    """
    if suffix not in FORMATS:
        raise SpyBenchError(
            f"{FORMAT_VARIABLE} must be one of {', '.join(FORMATS)}, not {suffix!r}."
        )
    if suffix == "xlsx" and find_spec("xlsxwriter") is None:
        raise SpyBenchError(
            "VLMEvalKit's prediction files need xlsxwriter. Install it with: pip install "
            f"xlsxwriter, or set {FORMAT_VARIABLE}=json here and for the host."
        )


def _write_xlsx(path: Path, rows: list[dict[str, Any]]) -> None:
    xlsxwriter = import_module("xlsxwriter")
    columns = list(rows[0])
    lines = [_cells(row) for row in rows]
    columns += [_CONTINUED.format(n) for n in range(2, max(map(len, lines)) - len(columns) + 2)]
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    # The temporary file does not end in .xlsx, so the library gets the open file.
    with path.open("wb") as file, xlsxwriter.Workbook(file, options) as workbook:
        sheet = workbook.add_worksheet()
        for number, cells in enumerate([columns, *lines]):
            for column, cell in enumerate(cells):
                if isinstance(cell, str):
                    sheet.write_string(number, column, cell)
                else:
                    sheet.write(number, column, cell)


def _cells(row: dict[str, Any]) -> list[Any]:
    """Return a row's cells, and the rest of a long prediction in cells of its own.

    Any other text that is too long is cut, with a mark.
    """
    text = str(row[PREDICTION])
    first, *more = [text[start : start + _CELL] for start in range(0, len(text), _CELL)] or [""]
    cells = (row | {PREDICTION: first}).values()
    return [*(storable(c, _CELL) if isinstance(c, str) else c for c in cells), *more]


def _write_tsv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)


def _write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    text = json.dumps(rows, ensure_ascii=False, indent=1, default=int)  # numpy's whole numbers
    path.write_text(text, encoding="utf-8")


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "xlsx": _write_xlsx,
    "tsv": _write_tsv,
    "json": _write_json,
}
"""Suffix of a prediction file -> what writes it."""


def read_predictions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (sample_id, prompt, prediction) from the host's prediction file.

    Excel files are read cell by cell, since pandas would turn an answer such as ``N/A`` or ``None``
    into NaN, and one that begins with ``=`` into the empty result of a formula.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    try:
        header, rows = _read(path)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(f"cannot be read ({error})", _REMEDY, path=path) from error
    missing = set(_WANTED) - set(header)
    if missing:
        raise DataError(f"has no column {', '.join(sorted(missing))}", _REMEDY, path=path)
    columns = [header.index(name) for name in _WANTED]
    further = [n for n, name in enumerate(header) if re.fullmatch(r"prediction_\d+", name)]
    plain = _without_escapes if path.suffix == ".xlsx" else str
    for row in rows:
        cells = ["" if row[c] is None else plain(row[c]) for c in [*columns, *further]]
        yield cells[0], cells[1], "".join(cells[2:])


def _read(path: Path) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """Return the header and the rows of a table."""
    import pandas as pd

    if path.suffix == ".xlsx":
        from openpyxl import load_workbook

        rows = load_workbook(path, read_only=True).active.iter_rows(values_only=True)
        return [str(cell) for cell in next(rows, ())], rows
    if path.suffix == ".tsv":
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    elif path.suffix == ".json":
        frame = pd.DataFrame(json.loads(path.read_text(encoding="utf-8-sig")), dtype=object)
    else:
        from vlmeval.smp import load

        frame = pd.DataFrame(load(str(path)))
    return list(frame.columns), frame.itertuples(index=False, name=None)


def _without_escapes(cell: Any) -> str:
    """Return a cell's text with the control characters that Excel files write as ``_x000D_``."""
    return re.sub("_x(00[01][0-9A-F]|FFF[EF])_", lambda found: chr(int(found[1], 16)), str(cell))
