"""Walk through drafts: a person accepts, edits or drops each, and may stop and resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from spy_plugin.benchmark.own_form import Form, row_check
from spy_plugin.benchmark.own_rows import FormRow
from spy_plugin.files.text import storable
from spy_plugin.own.writing import rewriting, write_rows

_CHOICES = "[a]ccept, [e]dit, [d]rop, [s]kip, [q]uit: "
_EDITED = ("label", "question", "ground_truth", "distractors", "scenarios", "respond", "reject")


@dataclass
class Reviewed:
    """What a person decided; `open` drafts are left."""

    accepted: int = 0
    edited: int = 0
    dropped: int = 0
    open: int = 0


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
    rows, done = list(form.rows), Reviewed()
    drafts = [row for row in rows if row.draft]
    with rewriting(form):
        for number, draft in enumerate(drafts, 1):
            place = rows.index(draft)
            try:
                decided = _decide(form, draft, f"draft {number} of {len(drafts)}", read, show)
            except (EOFError, KeyboardInterrupt):
                break
            if decided == draft:
                continue
            if decided is None:
                del rows[place]
                done.dropped += 1
            else:
                rows[place] = decided
                done.accepted += 1
                done.edited += replace(decided, draft=draft.draft) != draft
            write_rows(form.items_file, rows, form.delimiter)
    done.open = sum(1 for row in rows if row.draft)
    return done


def _decide(
    form: Form,
    draft: FormRow,
    title: str,
    read: Callable[[str], str],
    show: Callable[[str], None],
) -> FormRow | None:
    """Return the draft as confirmed, the same draft if it was skipped, or None to drop it.

    Raises:
        EOFError: the person quits.
    """
    check, row = row_check(form), draft
    while True:
        show(_shown(form, row, title))
        problems = [text for text, _ in check.problems(replace(row, draft=""))]
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
    for name in _EDITED:
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
