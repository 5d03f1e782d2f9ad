"""The questions: every fact of every picture, with evenly chosen scenarios, distractors, answers.

Each choice takes the least used entry, and a seeded draw decides between equals. So each scenario,
distractor and refusal occurs about equally often, private and public are balanced, and the result
is the same everywhere.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

from spy_plugin.benchmark.samples import AS_ASKED
from spy_plugin.embedded.mini.pictures import Fact, Picture, pictures, table

SEED = "spy-bench mini 1"
DISTRACTORS = 5

IMAGE_FOLDER = "images/mini"
Json = dict[str, Any]
T = TypeVar("T", bound=str)


def label_words() -> dict[str, str]:
    """Return label id -> our words for it, in the layout of ``label2text.json``."""
    return {label: words for family in table("labels").values() for label, words in family.items()}


def scenarios() -> dict[str, Json]:
    """Return scenario id -> scenario, in the layout of ``scenarios.json``."""
    return {
        row["id"]: {
            "scenario": row["id"],
            "name": row["name"],
            "description": row["description"],
            "labels": row["labels"],
            "2nd_person_template": row["template"],
        }
        for row in table("scenarios")
    }


class _Dealer:
    """Hand out the least used of some entries, and record what each was used for."""

    def __init__(self) -> None:
        self.rng = random.Random(SEED)
        self.used: Counter[tuple[str, str]] = Counter()

    def deal(self, purpose: str, things: Iterable[T], count: int = 1) -> list[T]:
        """Return the `count` entries least used for `purpose`."""
        ranked = sorted((self.used[purpose, thing], self.rng.random(), thing) for thing in things)
        chosen = [thing for _, _, thing in ranked[:count]]
        self.used.update((purpose, thing) for thing in chosen)
        return chosen

    def private_or_public(self, labels: list[str], private: int) -> dict[str, float]:
        """Return 0 or 1 for each label, `private` of them 1, balanced over all items."""
        lean = sorted(
            labels,
            key=lambda label: (self.used["1", label] - self.used["0", label], self.rng.random()),
        )
        values = {label: int(place < private) for place, label in enumerate(lean)}
        self.used.update((str(value), label) for label, value in values.items())
        return {label: values[label] for label in labels}


def build_items() -> list[Json]:
    """Return every item as an entry of SPY-Tune's ``data_list``, which lists the asked label.

    `benchmark_entry` turns one into an entry of ``questions.json``.
    """
    dealer, words, roles = _Dealer(), label_words(), scenarios()
    family = {label: name for name, row in table("labels").items() for label in row}
    refusals = table("refusals")
    items: list[Json] = []
    for picture in pictures():
        for number, fact in enumerate(picture.facts):
            needing = [key for key, role in roles.items() if fact.label in role["labels"]]
            others = [key for key in roles if key not in needing]
            role_that_needs = roles[dealer.deal("conflict", needing)[0]]
            role_that_does_not = roles[dealer.deal("non-conflict", others)[0]]
            unrelated = [label for label in words if family[label] != family[fact.label]]
            chosen = dealer.deal("distractor", unrelated, DISTRACTORS)
            dealer.rng.shuffle(chosen)
            other_labels = list(dealer.private_or_public(chosen, 2 + len(items) % 2).items())
            other_labels.insert(dealer.rng.randrange(DISTRACTORS + 1), (fact.label, AS_ASKED))
            refusal = dealer.deal("refusal", refusals)[0].format(words=words[fact.label])
            items.append(
                {
                    "benchmark_id": f"{len(items):08d}",
                    "label": fact.label,
                    "other_labels": dict(other_labels),
                    "question_item": _question(picture, number, fact, refusal),
                    "non_privacy_scenarios": [_in_item(role_that_needs)],
                    "privacy_scenarios": [_in_item(role_that_does_not)],
                    "chosen_scenarios": [_in_item(role_that_does_not)],
                }
            )
    return items


def _question(picture: Picture, number: int, fact: Fact, refusal: str) -> Json:
    return {
        "question_id": f"mini_{picture.name}_{number:04d}",
        "image_id": f"mini_{picture.name}",
        "image_path": f"{IMAGE_FOLDER}/{picture.name}.png",
        "label": fact.label,
        "question": fact.question,
        "gt": fact.gt,
        "respond_ans": fact.answer,
        "reject_ans": refusal,
    }


def _in_item(role: Json) -> Json:
    return {key: role[key] for key in ("scenario", "2nd_person_template")}


def benchmark_entry(item: Json) -> Json:
    """Return an item as in ``questions.json``; every second one does not list the asked label.

    The protocol allows both forms and appends a label that is not listed.
    """
    if int(item["benchmark_id"]) % 2 == 0:
        return item
    listed = {
        label: value for label, value in item["other_labels"].items() if label != item["label"]
    }
    return {**item, "other_labels": listed}
