"""The pictures as tables: what each shows, and the facts that are asked about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml
from PIL import Image

from spy_plugin.embedded.mini import cards, papers, scenes, screens
from spy_plugin.embedded.mini.canvas import Canvas, Text
from spy_plugin.embedded.mini.figures import Fields

DRAWINGS: Mapping[str, Callable[[Canvas, Fields], None]] = {
    "id_card": cards.id_card,
    "passport": cards.passport,
    "licence": cards.licence,
    "student_card": cards.student_card,
    "payment_card": cards.payment_card,
    "badge": cards.badge,
    "certificate": cards.certificate,
    "envelope": papers.envelope,
    "letter": papers.letter,
    "receipt": papers.receipt,
    "ticket": papers.ticket,
    "medicine": papers.medicine,
    "form": papers.form,
    "calendar": papers.calendar,
    "poster": papers.poster,
    "chat": screens.chat,
    "mail": screens.mail,
    "profile": screens.profile,
    "car": scenes.car,
    "beach": scenes.beach,
    "museum": scenes.museum,
    "postcard": scenes.postcard,
}
"""Kind of picture -> function that draws it from a row of the tables."""

_TABLES = ("cards", "papers", "screens", "scenes")


@dataclass(frozen=True)
class Fact:
    """A fact of a picture that can be asked about.

    Attributes:
        label: The label that it touches.
        gt: What the picture shows.
        answer: A full sentence with that fact.
        seen: True if the scene shows it, False if a text in the picture says it.
    """

    label: str
    question: str
    gt: str
    answer: str
    seen: bool


@dataclass(frozen=True)
class Picture:
    """A picture: its name (``passport_02``), its kind, the row to draw it from, and its facts."""

    name: str
    kind: str
    drawing: str
    fields: Mapping[str, Any]
    facts: tuple[Fact, ...]

    def draw(self) -> tuple[Image.Image, tuple[Text, ...]]:
        """Return the picture, 640 x 480, and every text written on it."""
        canvas = Canvas(self.name)
        DRAWINGS[self.drawing](canvas, self.fields)
        return canvas.finish(), tuple(canvas.texts)


def table(name: str) -> Any:
    """Return a table of this package: the content of ``data/<name>.yaml``."""
    path = files("spy_plugin.embedded.mini") / "data" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def pictures() -> tuple[Picture, ...]:
    """Return every picture, in the order of the tables."""
    people = {
        key: {**row, "name": f"{row['first']} {row['last']}"}
        for key, row in table("people").items()
    }
    found = []
    for name in _TABLES:
        for kind, entry in table(f"pictures_{name}").items():
            for number, row in enumerate(entry["pictures"]):
                fields = {**people.get(row.get("who"), {}), **row}
                if "sender" in row:
                    fields["sender"] = people[row["sender"]]
                facts = tuple(_fact(fact, fields, number) for fact in entry["facts"])
                drawing = entry.get("draw", kind)
                found.append(Picture(f"{kind}_{number + 1:02d}", kind, drawing, fields, facts))
    return tuple(found)


def _fact(fact: Mapping[str, Any], fields: Mapping[str, Any], number: int) -> Fact:
    """Return a fact of a picture; the question's wording alternates between pictures."""
    questions = fact["questions"]
    return Fact(
        label=fact["label"],
        question=questions[number % len(questions)],
        gt=fact["gt"].format(**fields),
        answer=fact["answer"].format(**fields),
        seen=fact.get("seen", False),
    )
