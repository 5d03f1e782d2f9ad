"""The questions: every fact of every picture, with scenarios, distractors and answers dealt evenly.

Whatever is chosen is the least used so far, and a seeded draw decides between equals. So each
scenario, distractor and refusal comes up about equally often, with both sides in balance, and the
result is the same everywhere.
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
    """Label id -> our words for it (the layout of ``label2text.json``)."""
    return {label: words for family in table("labels").values() for label, words in family.items()}


def scenarios() -> dict[str, Json]:
    """Scenario id -> scenario, in the layout of ``scenarios.json``."""
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
    """Hands out the least used of some things; remembers what each was used for."""

    def __init__(self) -> None:
        self.rng = random.Random(SEED)
        self.used: Counter[tuple[str, str]] = Counter()

    def deal(self, purpose: str, things: Iterable[T], count: int = 1) -> list[T]:
        """The `count` things least used for `purpose`."""
        ranked = sorted((self.used[purpose, thing], self.rng.random(), thing) for thing in things)
        chosen = [thing for _, _, thing in ranked[:count]]
        self.used.update((purpose, thing) for thing in chosen)
        return chosen

    def sides(self, labels: list[str], private: int) -> dict[str, float]:
        """0 or 1 for each label, `private` of them 1, so that no label leans to a side."""
        lean = sorted(
            labels,
            key=lambda label: (self.used["1", label] - self.used["0", label], self.rng.random()),
        )
        values = {label: int(place < private) for place, label in enumerate(lean)}
        self.used.update((str(value), label) for label, value in values.items())
        return {label: values[label] for label in labels}


def build_items() -> list[Json]:
    """Every item, as an entry of SPY-Tune's ``data_list``: the asked label stands in its place.

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
            other_labels = list(dealer.sides(chosen, 2 + len(items) % 2).items())
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
    """An item as ``questions.json`` has it: in every second one the asked label is not listed.

    The protocol allows both forms; it appends a label that is not listed.
    """
    if int(item["benchmark_id"]) % 2 == 0:
        return item
    listed = {label: side for label, side in item["other_labels"].items() if label != item["label"]}
    return {**item, "other_labels": listed}
