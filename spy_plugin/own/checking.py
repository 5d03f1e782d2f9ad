"""Everything that is missing or wrong in a form, its pictures included, and what it will ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spy_plugin.benchmark.loading import below_the_root
from spy_plugin.benchmark.own_benchmark import open_form, protocol_of, to_item
from spy_plugin.benchmark.own_form import Form, read_form
from spy_plugin.benchmark.own_rows import FormRow, Problem
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark, expand
from spy_plugin.data.pictures import MAX_RATIO, open_rgb, picture_file, refuse_narrow
from spy_plugin.errors import DataError
from spy_plugin.own.writing import pictures_in

SPREAD = 3
"""A picture whose brightest and darkest values differ by less in every channel shows nothing."""


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        benchmark: What the form describes; None while it has a fatal problem.
        unused: Pictures of the folder that no row names.
    """

    form: Form
    problems: tuple[Problem, ...]
    benchmark: Benchmark | None
    unused: tuple[str, ...]


def check(folder: Path) -> Checked:
    """Check a form and every picture that it names.

    Raises:
        DataError: a file of the form is missing, or is not YAML or CSV at all.
    """
    form = read_form(folder)
    if form.content is None:
        return Checked(form, form.problems, None, ())
    problems = [*form.problems, *_problems_of_pictures(form)]
    problems.sort(key=lambda problem: (str(problem.path), problem.line))
    fatal = any(problem.fatal for problem in problems)
    named = {row.picture for row in form.rows}
    present = pictures_in(form.image_root) if form.image_root.is_dir() else []
    unused = tuple(name for name in present if name not in named)
    return Checked(form, tuple(problems), None if fatal else open_form(folder).benchmark, unused)


def _problems_of_pictures(form: Form) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for row in form.rows:
        first.setdefault(row.picture, row.line)
    wrong = {problem.line for problem in form.problems if "picture" in problem.text}
    for name, line in first.items():
        problem = "" if line in wrong else problem_of_picture(form.image_root, name)
        if problem:
            yield Problem(form.items_file, line, f"the picture {name!r} {problem}")


def problem_of_picture(root: Path, name: str) -> str:
    """Return why nothing can be asked about a picture below a folder, or an empty text."""
    try:
        below_the_root(name)
    except ValueError as error:
        return str(error)
    try:
        picture = open_rgb(picture_file(root.resolve(), name, where=name))
        refuse_narrow(*picture.size)
    except DataError:
        return f"is missing, or a link that leaves {root}"
    except OSError as error:
        return f"cannot be decoded ({error.__cause__ or error})"
    except ValueError:
        return f"is too narrow: one side is more than {MAX_RATIO} times the other"
    extrema = picture.getextrema()
    if all(high - low < SPREAD for low, high in extrema):  # type: ignore[misc]
        return "shows nothing: it has one colour"
    return ""


def preview(form: Form, count: int) -> list[tuple[FormRow, list[Sample]]]:
    """Return the first items with their samples, as far as the rows have no fatal problem."""
    wrong = {problem.line for problem in form.problems if problem.fatal}
    right = [row for row in form.rows if row.line not in wrong][:count]
    words = {label.id: label.words for label in form.filled.labels}
    templates = protocol_of(form).instruct_templates
    return [
        (row, list(expand(to_item(form, row), words, templates, distractors=True))) for row in right
    ]
