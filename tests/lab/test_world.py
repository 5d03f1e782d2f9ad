"""The data of the lab: what the splits share, and what they do not."""

from __future__ import annotations

import json

import pytest

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.embedded.lab import cards, data, items, world
from spy_plugin.embedded.lab.cards import Card


def _words(text: str) -> set[str]:
    return set(text.replace(".", " ").replace("?", " ").replace("{}", " ").split())


@pytest.mark.parametrize(
    "wordings",
    [world.instructions, world.questions, world.role_templates],
    ids=lambda f: f.__name__,
)
def test_held_out_wordings_are_new_but_their_words_are_not(wordings) -> None:
    train = {"".join(each) for each in wordings("train")}
    known = set.union(*map(_words, train))
    for split in ("validation", "test"):
        held = {"".join(each) for each in wordings(split)}
        assert held
        assert not held & train
        assert set.union(*map(_words, held)) <= known


def test_splits_share_no_card_and_no_combination_of_labels() -> None:
    shown: dict[str, set[object]] = {}
    named: dict[str, set[frozenset[str]]] = {}
    for split in world.SPLITS:
        made = list(items.lab_items(split, 200))
        shown[split] = {item.card.cells for item in made}
        named[split] = {frozenset(word for word, _ in item.lines) for item in made}
    for kind in (shown, named):
        assert not kind["train"] & kind["test"]
        assert not kind["train"] & kind["validation"]
        assert not kind["validation"] & kind["test"]


def test_items_are_the_same_every_time_and_more_only_add_to_the_end() -> None:
    assert list(items.lab_items("test", 8)) == list(items.lab_items("test", 12))[:8]


def test_roles_need_and_do_not_need_what_their_item_asks() -> None:
    for item in items.lab_items("test", 60):
        assert item.word in world.NEEDS[item.needed_by[0]]
        assert item.word not in world.NEEDS[item.not_needed_by[0]]


def test_every_tile_differs_from_every_other() -> None:
    drawn = cards.tiles()
    for background in drawn:
        flat = {tile.tobytes() for tile in background}
        assert len(flat) == 1 + sum(len(each.values) for each in world.ATTRIBUTES)


def test_a_card_shows_its_cells() -> None:
    card = Card(1, ((3, 2), *[None] * 15))
    picture = cards.pixels(card)
    assert picture.shape == (cards.SIDE, cards.SIDE, 3)
    assert (picture[: cards.CELL, : cards.CELL] == cards.tiles()[1][1 + 3 * 8 + 2]).all()
    assert (picture[cards.CELL :, cards.CELL :] == picture[-1, -1]).all()
    assert card.values() == {"house": "4"}


def test_the_test_split_opens_as_a_benchmark_with_five_samples_an_item() -> None:
    benchmark = open_benchmark("lab")
    samples = list(benchmark.samples())
    assert len(benchmark.items) == data.ITEMS["test"]
    assert len(samples) == 5 * len(benchmark.items)
    assert all(benchmark.image_file(sample).is_file() for sample in samples)
    asked = samples[0]
    assert len(asked.prompt.split("\n\n")[0].splitlines()) == items.LINES
    assert asked.gt in {value for each in world.ATTRIBUTES for value in each.values}


def test_the_training_split_holds_both_answers() -> None:
    entries = json.loads((data.build("train") / "tune.json").read_text())["data_list"]
    assert len(entries) == data.ITEMS["train"]
    question = entries[0]["question_item"]
    assert question["gt"] in question["respond_ans"]
    assert question["gt"] not in question["reject_ans"]
