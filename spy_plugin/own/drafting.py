"""Draft rows without a model: questions from templates, other labels drawn and written down.

A drafted row names its author in the column `draft`. It is never asked or scored until a person
has confirmed it, which empties the column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files

from spy_plugin.benchmark.own_benchmark import to_item
from spy_plugin.benchmark.own_form import Form
from spy_plugin.benchmark.own_rows import FormRow, distractors_cell
from spy_plugin.embedded.mini.items import label_words
from spy_plugin.registry.catalog import parse

TEMPLATES = "templates"
"""The author of a row that was drafted without a model."""
GENERAL = "What does this picture tell about the {}?"
"""The question about a label that has no template of its own."""


@dataclass(frozen=True)
class Drafted:
    """The rows after drafting.

    Attributes:
        drafted: Rows that got a question.
        unlabelled: Rows that were left alone, since they name no known label.
    """

    rows: tuple[FormRow, ...]
    drafted: int
    unlabelled: int


def draft_rows(form: Form) -> Drafted:
    """Fill in the question and the distractors of every row that has a label and no question."""
    words = {label.id: label.words for label in form.filled.labels}
    known = questions()
    rows, drafted, unlabelled = [], 0, 0
    for row in form.rows:
        if row.question or row.label not in words:
            unlabelled += not row.question
            rows.append(row)
            continue
        question = known.get(row.label) or known.get(words[row.label].casefold())
        filled = replace(row, question=question or GENERAL.format(words[row.label]))
        rows.append(with_drawn_labels(form, replace(filled, draft=row.draft or TEMPLATES)))
        drafted += 1
    return Drafted(tuple(rows), drafted, unlabelled)


def with_drawn_labels(form: Form, row: FormRow) -> FormRow:
    """Return a row with its drawn distractors written down, so that a person can change them."""
    if row.distractors:
        return row
    item = to_item(form, replace(row, scenarios=""))
    return replace(row, distractors=distractors_cell(item.other_labels))


def questions() -> dict[str, str]:
    """Return a question for each known label, by its id and by its words."""
    path = files("spy_plugin.own") / "questions.yaml"
    text = path.read_text(encoding="utf-8")
    found = parse(text, dict[str, str], path="questions.yaml")
    words = label_words()
    return found | {words[label].casefold(): question for label, question in found.items()}
