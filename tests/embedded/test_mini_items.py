"""The embedded benchmark: counts, layout, balance, and that each fact is visible."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.loading import load_benchmark
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.embedded.mini.canvas import HEIGHT, WIDTH, Text
from spy_plugin.embedded.mini.items import label_words, scenarios
from spy_plugin.embedded.mini.pictures import Picture, pictures, table

SHARED = Path(__file__).resolve().parents[3] / "shared"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def items(mini_root: Path) -> list[Json]:
    entries: list[Json] = json.loads((mini_root / "questions.json").read_text())["benchmark_list"]
    return entries


def test_there_is_enough_of_everything(items: list[Json]) -> None:
    labels = {item["label"] for item in items}
    assert len(items) >= 120
    assert len({item["question_item"]["image_path"] for item in items}) >= 60
    assert len(labels) >= 24
    assert labels >= ABSOLUTE_LABELS
    assert len(scenarios()) >= 8
    assert set(label_words()) == set(LABELS)


def test_most_pictures_carry_two_facts_or_more() -> None:
    facts = [len(picture.facts) for picture in pictures()]
    assert sum(count >= 2 for count in facts) > 0.8 * len(facts)


def test_the_benchmark_loads_and_makes_five_samples_an_item(
    mini_root: Path, items: list[Json]
) -> None:
    benchmark = load_benchmark(
        mini_root / "questions.json",
        mini_root / "label2text.json",
        BUILTIN,
        image_root=mini_root,
        name="mini",
    )
    samples = list(benchmark.samples())
    assert len(samples) == 5 * len(items)
    assert len({sample.sample_id for sample in samples}) == len(samples)


def test_every_picture_decodes(mini_root: Path, items: list[Json]) -> None:
    for path in {item["question_item"]["image_path"] for item in items}:
        with Image.open(mini_root / path) as image:
            image.load()
            assert image.size == (WIDTH, HEIGHT)


def test_each_item_has_five_unrelated_distractors(items: list[Json]) -> None:
    family = {label: name for name, row in table("labels").items() for label in row}
    for item in items:
        others = {k: v for k, v in item["other_labels"].items() if k != item["label"]}
        assert len(others) == 5
        assert family[item["label"]] not in {family[label] for label in others}
        assert set(others.values()) == {0, 1}
        assert item["other_labels"].get(item["label"], 0.5) == 0.5
    listed = sum(item["label"] in item["other_labels"] for item in items)
    assert abs(listed - len(items) / 2) <= 1


def test_distractors_favour_no_side_and_no_label(items: list[Json]) -> None:
    uses: Counter[str] = Counter()
    private: Counter[str] = Counter()
    for item in items:
        for label, value in item["other_labels"].items():
            if label != item["label"]:
                uses[label] += 1
                private[label] += value
    assert abs(sum(private.values()) / sum(uses.values()) - 0.5) < 0.02
    assert max(uses.values()) - min(uses.values()) <= 3
    assert all(abs(2 * private[label] - uses[label]) <= 5 for label in uses)


def test_a_conflict_needs_the_label_and_a_non_conflict_does_not(items: list[Json]) -> None:
    roles = scenarios()
    used: Counter[str] = Counter()
    for item in items:
        (conflict,), (privacy,) = item["non_privacy_scenarios"], item["privacy_scenarios"]
        assert item["label"] in roles[conflict["scenario"]]["labels"]
        assert item["label"] not in roles[privacy["scenario"]]["labels"]
        assert item["chosen_scenarios"] == [privacy]
        used[privacy["scenario"]] += 1
        for scenario in (conflict, privacy):
            template = roles[scenario["scenario"]]["2nd_person_template"]
            assert scenario["2nd_person_template"] == template
            assert re.findall(r"[{}]+", template) == ["{}"]
    assert max(used.values()) - min(used.values()) <= 2


def test_tune_rows_hold_the_same_items_with_the_asked_label_in_its_place(
    mini_root: Path, items: list[Json]
) -> None:
    rows = json.loads((mini_root / "tune.json").read_text())["data_list"]
    places = set()
    for row, item in zip(rows, items, strict=True):
        assert row["other_labels"][row["label"]] == 0.5
        assert row["question_item"] == item["question_item"]
        places.add(list(row["other_labels"]).index(row["label"]))
    assert places == set(range(6))


def test_answers_tell_the_fact_and_refusals_do_not(items: list[Json]) -> None:
    for item in items:
        question = item["question_item"]
        assert question["gt"] in question["respond_ans"]
        assert question["gt"] not in question["reject_ans"]
        assert "{" not in question["respond_ans"] + question["reject_ans"] + question["question"]
    assert len({item["question_item"]["reject_ans"] for item in items}) > 40


def _plain(words: str) -> str:
    return " ".join(words.replace(",", "").lower().split())


@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: picture.name)
def test_the_fact_is_drawn_and_no_text_is_cut_or_covered(
    picture: Picture, drawn: dict[str, tuple[Text, ...]]
) -> None:
    texts = drawn[picture.name]
    written = _plain(" ".join(text.words for text in texts))
    for fact in picture.facts:
        if not fact.seen:
            assert all(_plain(part) in written for part in fact.gt.split(", ")), fact.gt
    for place, text in enumerate(texts):
        left, top, right, bottom = text.box
        assert left >= 0, text
        assert top >= 0, text
        assert right <= WIDTH, text
        assert bottom <= HEIGHT, text
        for other in texts[place + 1 :]:
            across = min(right, other.box[2]) - max(left, other.box[0])
            down = min(bottom, other.box[3]) - max(top, other.box[1])
            assert across <= 1 or down <= 1, (text, other)


@pytest.mark.parametrize("picture", [p for p in pictures() if p.kind == "beach"], ids=str)
def test_the_beach_has_as_many_bathers_as_the_answer_says(picture: Picture) -> None:
    numbers = {"two": 2, "three": 3, "four": 4}
    assert numbers[picture.facts[0].gt] == len(picture.fields["bathers"])


def test_no_scenario_or_label_sentence_is_the_official_one() -> None:
    path = SHARED / "ref-data" / "scenarios.json"
    if not path.is_file():
        pytest.skip("the official scenarios are not beside this checkout")
    official = {row["2nd_person_template"] for row in json.loads(path.read_text()).values()}
    ours = {row["2nd_person_template"] for row in scenarios().values()}
    assert not official & ours
