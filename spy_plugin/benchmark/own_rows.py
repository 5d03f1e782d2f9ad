"""The table of items of a form: one question per row, read and checked with its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from spy_plugin.benchmark.loading import below_the_root
from spy_plugin.benchmark.samples import AS_ASKED
from spy_plugin.errors import DataError
from spy_plugin.files.text import storable

ASKED = "asked"
NONE = "none"
"""A cell that says so names no distractor, or no scenario; an empty one lets them be drawn."""
SIDES = {"public": 0.0, "private": 1.0}
_SIDE_NAMES = {value: name for name, value in SIDES.items()} | {AS_ASKED: ASKED}

MAX_BYTES = 50_000_000
"""A larger file is refused."""
REMEDY = "See docs/own.md for the form, or write a new one with: spy-bench new DIR"


@dataclass(frozen=True)
class FormRow:
    """A line of the table of items; every cell is text, and empty where it is left out.

    Attributes:
        line: Where the row begins in the file.
        picture: Path below the folder of pictures.
        distractors: ``label=private; label=public``; empty to draw them, ``none`` for none.
        scenarios: Ids of roles, separated by ``;``; empty to draw one of each kind.
        respond, reject: An answer that tells, and one that declines, for training.
        question_id: By default the id.
        draft: Who drafted the row; empty once a person has confirmed it.
    """

    line: int = 0
    id: str = ""
    picture: str = ""
    label: str = ""
    question: str = ""
    ground_truth: str = ""
    distractors: str = ""
    scenarios: str = ""
    respond: str = ""
    reject: str = ""
    question_id: str = ""
    draft: str = ""


COLUMNS = tuple(f.name for f in fields(FormRow) if f.name != "line")
NEEDED_COLUMNS = ("id", "picture", "label", "question")


@dataclass(frozen=True)
class Problem:
    """Something in a form that is missing or wrong.

    Attributes:
        fatal: The form cannot be asked or scored with it; otherwise it is only doubtful.
    """

    path: Path
    line: int
    text: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def text_of(path: Path) -> str:
    """Return the text of a file of a form, without a byte order mark.

    Raises:
        DataError: it is missing, too large, or not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES:,} bytes", REMEDY, path=path)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", REMEDY, path=path) from error
    except UnicodeDecodeError as error:
        raise DataError(
            "is not UTF-8 text", "Save it again as UTF-8 (in Excel: CSV UTF-8).", path=path
        ) from error


def read_rows(path: Path) -> tuple[list[FormRow], str, list[Problem]]:
    """Return the table's rows, its delimiter, and what is wrong with its form.

    Raises:
        DataError: it cannot be read, is not CSV, or lacks a column.
    """
    text = text_of(path)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[FormRow] = []
    problems: list[Problem] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in NEEDED_COLUMNS if name not in header]
        known = [name for name in header if name]
        if missing or len(set(known)) < len(known):
            what = f"lacks the column {missing[0]!r}" if missing else "names a column twice"
            raise DataError(
                f"the first line {what}",
                f"It must name the columns: {','.join(COLUMNS)}",
                path=path,
                where="line 1",
            )
        problems += [
            Problem(path, 1, f"unknown column {name!r}; known: {', '.join(COLUMNS)}")
            for name in known
            if name not in COLUMNS
        ]
        begin = reader.line_num + 1
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                problems.append(
                    Problem(
                        path,
                        line,
                        f"has {len(cells)} cells for {len(header)} columns: put a text that "
                        "holds a comma between double quotes",
                    )
                )
            named = dict(zip(header, (storable(cell.strip()) for cell in cells), strict=False))
            rows.append(FormRow(line, **{n: t for n, t in named.items() if n in COLUMNS}))
    except csv.Error as error:
        raise DataError(
            f"is not CSV ({error})", REMEDY, path=path, where=f"line {reader.line_num}"
        ) from error
    if not rows:
        problems.append(Problem(path, 1, "holds no items: add a line per question"))
    return rows, delimiter, problems


@dataclass(frozen=True)
class RowCheck:
    """What is checked of each row by itself."""

    labels: set[str]
    scenarios: set[str]
    image_root: Path
    known_pictures: dict[str, str] = field(default_factory=dict)

    def problems(self, row: FormRow) -> Iterator[tuple[str, bool]]:
        """Yield (problem, whether it is fatal)."""
        if not re.fullmatch(r"\w[\w.+-]{0,79}", row.id):
            yield f"the id {row.id!r} is not 1 to 80 letters, digits and _ . + -", True
        picture = self.known_pictures.setdefault(row.picture, self._picture(row.picture))
        if picture:
            yield picture, True
        empty = [n for n in ("label", "question", "ground_truth") if not getattr(row, n)]
        if empty and empty != ["ground_truth"]:
            yield f"{' and '.join(empty)} {'are' if len(empty) > 1 else 'is'} empty", True
        if row.label and row.label not in self.labels:
            yield f"unknown label {row.label!r}; known: {_listed(self.labels)}", True
        if empty == ["ground_truth"]:
            yield "ground_truth is empty: say what the picture shows", False
        elif row.ground_truth and holds(row.question, row.ground_truth):
            yield (f"the ground truth {row.ground_truth!r} stands in the question", False)
        yield from ((text, True) for text in self._lists(row))
        yield from ((text, True) for text in _answers(row))
        if row.draft:
            yield f"is a draft ({row.draft}): confirm it with spy-bench new DIR --review", True

    def _picture(self, name: str) -> str:
        if not name:
            return "picture is empty"
        try:
            below_the_root(name)
        except ValueError as error:
            return f"picture {error}"
        try:
            found = (self.image_root / name).is_file()
        except OSError as error:  # a name that no file can have
            return f"the picture {name[:40]!r} cannot be read ({error.strerror})"
        if not found:
            return f"the picture {name!r} is missing in {self.image_root}"
        return ""

    def _lists(self, row: FormRow) -> Iterator[str]:
        try:
            chosen = list(read_distractors(row.distractors))
        except ValueError as error:
            yield str(error)
            chosen = []
        for label, value in chosen:
            if label not in self.labels:
                yield f"unknown label {label!r} among the distractors"
            if (label == row.label) != (value == ASKED):
                yield (
                    f"distractors gives {label} the side {value!r}: private or public, and "
                    f"{ASKED!r} for the asked label alone"
                )
        names = [label for label, _ in chosen]
        if len(set(names)) < len(names):
            yield "names a distractor twice"
        roles = split(row.scenarios)
        for role in roles:
            if role not in self.scenarios:
                yield f"unknown scenario {role!r}; known: {_listed(self.scenarios)}"
        if len(set(roles)) < len(roles):
            yield "names a scenario twice"


def _answers(row: FormRow) -> Iterator[str]:
    if bool(row.respond) != bool(row.reject):
        missing = "reject" if row.respond else "respond"
        yield f"{missing} is empty, but the other answer is given: training needs both or none"
    elif row.respond and row.respond.casefold() == row.reject.casefold():
        yield "the two answers, respond and reject, are equal"


def holds(question: str, truth: str) -> bool:
    """Return whether a ground truth stands in the question, as whole words."""
    return bool(re.search(rf"(?<!\w){re.escape(truth.casefold())}(?!\w)", question.casefold()))


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:20]
    return (", ".join(shown) or "none") + (", ..." if len(names) > len(shown) else "")


def split(cell: str) -> list[str]:
    """Return the parts of a cell that ``;`` separates; ``none`` has no parts."""
    if cell == NONE:
        return []
    return [part.strip() for part in cell.split(";") if part.strip()]


def read_distractors(cell: str) -> Iterator[tuple[str, str]]:
    """Yield (label, ``private``, ``public`` or ``asked``) for each distractor that a cell names.

    Raises:
        ValueError: a part is not ``label=side``.
    """
    for part in split(cell):
        label, equals, side = (word.strip() for word in part.partition("="))
        if not equals or side not in (*SIDES, ASKED):
            raise ValueError(f"the distractor {part!r} is not LABEL=private or LABEL=public")
        yield label, side


def read_other_labels(cell: str) -> tuple[tuple[str, float], ...]:
    """Return an item's other labels from the cell that names them.

    Raises:
        ValueError: a part is not ``label=side``.
    """
    values = SIDES | {ASKED: AS_ASKED}
    return tuple((label, values[side]) for label, side in read_distractors(cell))


def distractors_cell(other_labels: Iterable[tuple[str, float]]) -> str:
    """Return an item's other labels as `read_other_labels` reads them; empty if there are none."""
    return "; ".join(f"{label}={_SIDE_NAMES[value]}" for label, value in other_labels)
