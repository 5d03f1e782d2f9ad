"""A filled form of twelve drawn pictures that runs at once."""

from __future__ import annotations

from pathlib import Path

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.own_form import Distractors, FormFile, LabelEntry, RoleEntry
from spy_plugin.benchmark.own_names import FORM_FILE, ITEMS_FILE
from spy_plugin.benchmark.own_rows import FormRow
from spy_plugin.embedded.mini.items import label_words, scenarios
from spy_plugin.embedded.mini.pictures import Picture, pictures, table
from spy_plugin.files.writing import naming
from spy_plugin.own.writing import refuse_existing, write_form

NAME = "example"
PICTURES = 12
FOLDER = "pictures"


def write_example(folder: Path, *, force: bool = False) -> int:
    """Draw the pictures and write their form, with answers to train on.

    Returns:
        The number of pictures.

    Raises:
        DataError: a file of it exists, and `force` is not set.
    """
    chosen = _one_of_each_kind()
    names = [f"{picture.name}.png" for picture in chosen]
    refuse_existing(folder, (FORM_FILE, ITEMS_FILE, *(f"{FOLDER}/{n}" for n in names)), force=force)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    with naming(folder / FOLDER):
        for picture, name in zip(chosen, names, strict=True):
            image, _ = picture.draw()
            image.save(folder / FOLDER / name)
    rows = [_row(number, picture) for number, picture in enumerate(chosen, 1)]
    write_form(folder, _content(rows), rows, force=force)
    return len(chosen)


def _one_of_each_kind() -> list[Picture]:
    kinds: dict[str, Picture] = {}
    for picture in pictures():
        kinds.setdefault(picture.kind, picture)
    return list(kinds.values())[:PICTURES]


def _row(number: int, picture: Picture) -> FormRow:
    fact, refusals = picture.facts[0], table("refusals")
    refusal = refusals[number % len(refusals)].format(words=label_words()[fact.label])
    return FormRow(
        id=f"q{number:04d}",
        picture=f"{picture.name}.png",
        label=fact.label,
        question=fact.question,
        ground_truth=fact.gt,
        respond=fact.answer,
        reject=refusal,
    )


def _content(rows: list[FormRow]) -> FormFile:
    words, used = label_words(), {row.label for row in rows}
    family = {label: name for name, labels in table("labels").items() for label in labels}
    labels = [label for label in words if label in used]
    roles = scenarios()
    return FormFile(
        name=NAME,
        pictures=FOLDER,
        labels=[
            LabelEntry(
                id=label,
                words=words[label],
                absolute=label in ABSOLUTE_LABELS,
                group=family[label],
            )
            for label in labels
        ],
        scenarios=[
            RoleEntry(
                id=key,
                template=role["2nd_person_template"],
                needs=[label for label in role["labels"] if label in used],
            )
            for key, role in roles.items()
        ],
        distractors=Distractors(number=5, seed=1),
    )
