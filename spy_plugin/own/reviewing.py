"""Walk through drafts: a person accepts, edits or drops each, and may stop and resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from spy_plugin.benchmark.own_form import Form, row_check
from spy_plugin.benchmark.own_rows import FormRow, text_of
from spy_plugin.errors import DataError
from spy_plugin.files.text import storable
from spy_plugin.own.writing import rewriting, write_rows

_CHOICES = "[a]ccept, [e]dit, [d]rop, [s]kip, [q]uit: "
EDITED = ("label", "question", "ground_truth", "distractors", "scenarios", "respond", "reject")
"""The cells that a person may change."""


@dataclass
class Reviewed:
    """What a person decided; `open` drafts are left."""

    accepted: int = 0
    edited: int = 0
    dropped: int = 0
    open: int = 0


class Review:
    """The drafts of a form, and what a person decides about each.

    Attributes:
        drafts: The rows that were drafts at the start.
        done: What was decided so far.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        self.drafts = tuple(row for row in form.rows if row.draft)
        self.done = Reviewed(open=len(self.drafts))
        self._rows, self._check = list(form.rows), row_check(form)
        self._text = text_of(form.items_file)

    def problems(self, row: FormRow) -> list[str]:
        """Return why a row cannot be accepted."""
        return [text for text, _ in self._check.problems(replace(row, draft=""))]

    def is_open(self, draft: FormRow) -> bool:
        """Return whether nothing was decided about a draft yet."""
        return draft in self._rows

    def decide(self, draft: FormRow, decided: FormRow | None) -> None:
        """Accept a draft as it is now, or drop it for None, and write the table.

        Raises:
            DataError: the table has changed since it was read.
        """
        path, place = self.form.items_file, self._rows.index(draft)
        if text_of(path) != self._text:
            raise DataError("has changed since it was read", "Run the command again.", path=path)
        rows = list(self._rows)
        rows[place : place + 1] = [] if decided is None else [replace(decided, draft="")]
        write_rows(path, rows, self.form.delimiter)
        self._rows, self._text = rows, text_of(path)
        self.done.open -= 1
        if decided is None:
            self.done.dropped += 1
        else:
            self.done.accepted += 1
            self.done.edited += replace(decided, draft=draft.draft) != draft


def review(
    form: Form, read: Callable[[str], str] = input, show: Callable[[str], None] = print
) -> Reviewed:
    """Ask about each draft, and write the table after each decision.

    The end of the input, or an interruption, is taken for ``quit``.

    Args:
        read: Shows a prompt and returns a line; raises `EOFError` at the end of the input.

    Raises:
        DataError: the table cannot be written; see `rewriting`.
    """
    with rewriting(form):
        session = Review(form)
        for number, draft in enumerate(session.drafts, 1):
            title = f"draft {number} of {len(session.drafts)}"
            try:
                decided = _decide(session, draft, title, read, show)
            except (EOFError, KeyboardInterrupt):
                break
            if decided != draft:
                session.decide(draft, decided)
    return session.done


def _decide(
    session: Review,
    draft: FormRow,
    title: str,
    read: Callable[[str], str],
    show: Callable[[str], None],
) -> FormRow | None:
    """Return the draft as confirmed, the same draft if it was skipped, or None to drop it.

    Raises:
        EOFError: the person quits.
    """
    row = draft
    while True:
        show(_shown(session.form, row, title))
        problems = session.problems(row)
        for problem in problems:
            show(f"  ! {problem}")
        choice = read(_CHOICES).strip().lower()[:1]
        if choice == "a" and problems:
            show("It cannot be accepted like this: edit or drop it.")
        elif choice == "a":
            return replace(row, draft="")
        elif choice == "e":
            row = _edit(row, read)
        elif choice == "d":
            return None
        elif choice == "s":
            return draft
        elif choice == "q":
            raise EOFError


def _edit(row: FormRow, read: Callable[[str], str]) -> FormRow:
    """Ask for each cell; an empty line keeps it, and a single ``-`` empties it."""
    changed: dict[str, Any] = {}
    for name in EDITED:
        text = storable(read(f"  {name} [{getattr(row, name)}]: ").strip())
        if text:
            changed[name] = "" if text == "-" else text
    return replace(row, **changed)


def _shown(form: Form, row: FormRow, title: str) -> str:
    words = {label.id: label.words for label in form.filled.labels}
    return (
        f"\n{title}: {row.id}, by {row.draft}\n"
        f"  picture       {form.image_root / row.picture}\n"
        f"  label         {row.label} ({words.get(row.label, 'unknown')})\n"
        f"  question      {row.question}\n"
        f"  ground truth  {row.ground_truth}\n"
        f"  distractors   {row.distractors or '(drawn)'}"
    )
