"""The lab's benchmark and its tuning data, in the layout of the official release."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spy_plugin.embedded.lab.cards import Card, random_card
from spy_plugin.embedded.lab.wordings import RECOMBINED, Said, Wordings
from spy_plugin.embedded.lab.world import (
    ATTRIBUTES,
    NEEDS,
    SPLITS,
    WORDS,
    Split,
    answer,
    refusal,
)

LINES = 6
"""Number of labels that an instruction names: the asked one and five distractors."""

ITEMS_PER_CARD = 2
_LABELS = {word: label for label, word in WORDS.items()}


@dataclass(frozen=True)
class LabItem:
    """An item of a card, with all content of its JSON entry.

    Attributes:
        number: Index of the item in its split.
        lines: (word, value) of the instruction's lines in order: 1 for private, 0 for public, and
            0.5 for the asked word.
    """

    number: int
    card: Card
    card_name: str
    word: str
    lines: tuple[tuple[str, float], ...]
    templates: tuple[str, str]
    question: str
    needed_by: tuple[str, str]
    not_needed_by: tuple[str, str]


def lab_items(
    split: Split, count: int, seed: int = 0, wordings: Wordings = RECOMBINED
) -> Iterator[LabItem]:
    """Return the first `count` items of a split; they do not depend on `count`."""
    rng = random.Random(f"{split} {seed}")
    seen: set[Card] = set()
    card = Card(0, ())
    words: list[str] = []
    for number in range(count):
        if number % ITEMS_PER_CARD == 0:
            card = new_card(rng, split, seen)
            words = rng.sample(sorted(card.values()), ITEMS_PER_CARD)
        word = words[number % ITEMS_PER_CARD]
        name = f"{split}_{number // ITEMS_PER_CARD:05d}.png"
        yield _item(rng, split, wordings[split], number, card, name, word)


def new_card(rng: random.Random, split: Split, seen: set[Card]) -> Card:
    """Return a new card of the split and add it to the seen ones."""
    while True:
        card = random_card(rng)
        if card not in seen and _share(repr(card.cells)) == split:
            seen.add(card)
            return card


def instruction_words(rng: random.Random, split: Split, word: str | None = None) -> list[str]:
    """Return the words that an instruction names: a combination of the split, in any order."""
    others = [each.word for each in ATTRIBUTES if each.word != word]
    own = [word] if word else []
    while True:
        chosen = own + rng.sample(others, LINES - len(own))
        if _share(" ".join(sorted(chosen))) == split:
            rng.shuffle(chosen)
            return chosen


def _share(key: str) -> Split:
    """Return the split of a card or of a combination of labels: 6, 1 and 1 of 8."""
    part = hashlib.sha256(key.encode()).digest()[0] % 8
    return SPLITS[max(0, part - 5)]


def _item(
    rng: random.Random,
    split: Split,
    said: Said,
    number: int,
    card: Card,
    card_name: str,
    word: str,
) -> LabItem:
    lines = tuple(
        (each, 0.5 if each == word else rng.randrange(2))
        for each in instruction_words(rng, split, word)
    )
    roles = [rng.choice([r for r in NEEDS if (word in NEEDS[r]) == needs]) for needs in (1, 0)]
    needed, not_needed = ((role, rng.choice(said.roles).format(role)) for role in roles)
    return LabItem(
        number=number,
        card=card,
        card_name=card_name,
        word=word,
        lines=lines,
        templates=rng.choice(said.instructions),
        question=rng.choice(said.questions).format(word),
        needed_by=needed,
        not_needed_by=not_needed,
    )


def benchmark_entry(item: LabItem) -> dict[str, Any]:
    """Return an entry of `benchmark_list`; the asked label is listed among the others."""
    return {
        "benchmark_id": f"{item.number:08d}",
        "label": _LABELS[item.word],
        "other_labels": {_LABELS[word]: value for word, value in item.lines},
        "question_item": {
            "question_id": f"{item.number:08d}",
            "image_path": f"images/{item.card_name}",
            "question": item.question,
            "gt": item.card.values()[item.word],
        },
        "instruct_templates": list(item.templates),
        "non_privacy_scenarios": [_scenario(item.needed_by)],
        "privacy_scenarios": [_scenario(item.not_needed_by)],
    }


def tune_entry(item: LabItem) -> dict[str, Any]:
    """Return an entry of SPY-Tune's `data_list`: the benchmark's entry with both answers."""
    entry = benchmark_entry(item)
    entry["question_item"] |= {
        "respond_ans": answer(item.word, item.card.values()[item.word]),
        "reject_ans": refusal(item.word),
    }
    entry["chosen_scenarios"] = [_scenario(item.not_needed_by)]
    return entry


def _scenario(role: tuple[str, str]) -> dict[str, str]:
    name, words = role
    return {"scenario": f"s{list(NEEDS).index(name)}_{name}", "2nd_person_template": words + "{}"}


def scenarios(wordings: Wordings = RECOMBINED) -> dict[str, Any]:
    """Return every role in the form of the release's `scenarios.json`."""
    frame = wordings["train"].roles[0]
    return {
        f"s{number}_{role}": {"2nd_person_template": frame.format(role) + "{}"}
        for number, role in enumerate(NEEDS)
    }
