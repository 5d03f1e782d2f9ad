"""Benchmarks are read from files; wrong data are refused with file, item and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.loading import load_release
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import DataError
from tests.benchmark.conftest import ITEM, item, load

NO_TEMPLATE = [{"scenario": "s1", "2nd_person_template": "no braces"}]
BAD_ITEMS: dict[str, tuple[Any, str]] = {
    "not an object": ([1], "entry 0: must be an object"),
    "missing field": (
        {k: v for k, v in ITEM.items() if k != "question_item"},
        'item 00000007: "question_item" is missing',
    ),
    "wrong type": (item(other_labels=[1]), 'item 00000007: "other_labels" must be an object'),
    "id is a number": (item(benchmark_id=7), 'entry 0: "benchmark_id" must be text, not 7'),
    "unknown label": (item(label="a1_nothing"), "item 00000007: unknown label a1_nothing"),
    "label never asked": (item(label="a0_safe"), "unknown label a0_safe"),
    "unknown distractor": (item(other_labels={"a1_x": 1}), "label a1_x has no words"),
    "distractor with 0.5": (item(other_labels={"a90_email": 0.5}), "a90_email the value 0.5"),
    "asked label with a value of its own": (
        item(other_labels={"a49_phone": 1}),
        "a49_phone the value 1",
    ),
    "template without braces": (item(non_privacy_scenarios=NO_TEMPLATE), r"template with 0 \{\}"),
    "templates not a pair": (item(instruct_templates=["{}"]), "at least 2 items"),
    "scenario twice": (item(privacy_scenarios=ITEM["privacy_scenarios"] * 2), "a scenario twice"),
    "path leaves the root": (
        item(question_item=ITEM["question_item"] | {"image_path": "../../etc/passwd"}),
        "leaves the data root",
    ),
    "absolute path": (
        item(question_item=ITEM["question_item"] | {"image_path": "/etc/passwd"}),
        "leaves the data root",
    ),
    "half a character": (
        item(question_item=ITEM["question_item"] | {"question": "Who \ud83d?"}),
        r"holds half a character, '\\ud83d'",
    ),
    "half a true value": (
        item(question_item=ITEM["question_item"] | {"gt": "\ud83d"}),
        "gt. holds half a character",
    ),
    "no file's name": (
        item(question_item=ITEM["question_item"] | {"image_path": "a\0.jpg"}),
        "a character that no name may have",
    ),
    "a control character in a name": (
        item(benchmark_id="1\x01"),
        "a character that no name may have",
    ),
    "empty question": (item(question_item=ITEM["question_item"] | {"question": " "}), "is empty"),
}


@pytest.mark.parametrize("name", BAD_ITEMS)
def test_bad_items_are_refused(name: str, corpus: Callable[..., Path]) -> None:
    entry, message = BAD_ITEMS[name]
    with pytest.raises(DataError, match=message) as caught:
        load(corpus(entry))
    assert "questions.json" in str(caught.value)


def test_duplicate_ids_are_refused(corpus: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"entry 1: duplicate benchmark_id 00000007"):
        load(corpus(ITEM, ITEM))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ('{"benchmark_list": [{"benchm', "was cut short"),
        ("[]", "has no list"),
        ('{"benchmark_list": []}', "has no list"),
        ('{"benchmark_list": [{"a": NaN}]}', "NaN is not a JSON number"),
        ('{"benchmark_list": 1, "benchmark_list": 2}', "duplicate key"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_broken_files_are_refused(
    text: str | None, message: str, corpus: Callable[..., Path]
) -> None:
    folder = corpus(ITEM)
    path = folder / "questions.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load(folder)
    assert str(path) in str(caught.value)


def test_a_release_is_read_without_running_it(official_like: Callable[..., Path]) -> None:
    folder = official_like("--items", "30", "--images", "5", "--release")
    benchmark = load_release(folder)  # its config.py raises SystemExit if executed
    assert benchmark.protocol.name == "official"
    assert len(list(benchmark.samples())) == 150
    check_images(benchmark, decode=True)


def test_a_folder_that_is_no_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"benchmark/config\.py is missing"):
        load_release(tmp_path)
