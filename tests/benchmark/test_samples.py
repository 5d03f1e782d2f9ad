"""Items expand as in the official code; invalid data are refused with file, item and remedy."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spy_plugin.benchmark.loading import load_benchmark, load_release, parse_item
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.samples import Benchmark, expand, fingerprint
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import DataError

WORDS = {"a49_phone": "phone", "a90_email": "e-mail", "a31_passport": "passport", "a0_safe": "x"}
TEMPLATES = ("Open: {}.", "Private: {}.")
ITEM: dict[str, Any] = {
    "benchmark_id": "00000007",
    "label": "a49_phone",
    "other_labels": {"a90_email": 1, "a31_passport": 0},
    "question_item": {
        "question_id": "q7",
        "image_path": "images/a.png",
        "question": "Which number?",
        "gt": "555",
    },
    "non_privacy_scenarios": [{"scenario": "s1", "2nd_person_template": "At work: {}"}],
    "privacy_scenarios": [{"scenario": "s2", "2nd_person_template": "At home: {}"}],
}


def item(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(ITEM) | changes


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes items, label words and a picture; it returns the folder."""

    def write(*items: Any) -> Path:
        (tmp_path / "questions.json").write_text(json.dumps({"benchmark_list": list(items)}))
        (tmp_path / "label2text.json").write_text(json.dumps(WORDS))
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
        return tmp_path

    return write


def load(folder: Path) -> Benchmark:
    protocol = replace(BUILTIN, instruct_templates=TEMPLATES)
    return load_benchmark(
        folder / "questions.json",
        folder / "label2text.json",
        protocol,
        image_root=folder,
        name="test",
    )


@pytest.mark.parametrize("distractors", [True, False])
def test_prompts_equal_the_official_ones(
    distractors: bool, official_like: Callable[..., Path], shared: Path
) -> None:
    folder = official_like("--items", "400", "--images", "90", "--seed", "11", "--no-images")
    expected = json.loads((shared / "golden" / "bench" / "expansion.json").read_text())
    expected = expected["with_distractors" if distractors else "without_distractors"]
    templates = tuple(json.loads((shared / "ref-data" / "instruct_templates.json").read_text()))
    benchmark = load_benchmark(
        folder / "questions.json",
        folder / "label2text.json",
        replace(BUILTIN, instruct_templates=templates),
        image_root=folder,
        name="like",
    )
    prompts = [sample.prompt for sample in benchmark.samples(distractors=distractors)]
    hashes = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in prompts]
    assert hashes[:20] == expected["first_20_sha256"]
    assert len(prompts) == expected["samples"]
    joined = hashlib.sha256("\0".join(prompts).encode()).hexdigest()
    assert joined == expected["all_prompts_sha256"]


def test_the_five_samples_of_an_item(corpus: Callable[..., Path]) -> None:
    samples = list(load(corpus(ITEM)).samples())
    found = [(s.is_privacy, s.scenario and (s.scenario.id, s.scenario.is_privacy)) for s in samples]
    assert found == [
        (1, None),
        (0, None),
        (1, ("s1", 0)),
        (1, ("s2", 1)),
        (0, ("s2", 1)),
    ]
    lines = "Private: e-mail.\nOpen: passport.\n"
    assert samples[0].prompt == lines + "Private: phone.\n\nWhich number?"
    assert samples[1].prompt == lines + "Open: phone.\n\nWhich number?"
    assert samples[2].prompt == lines + "Private: phone.\n\nAt work: Which number?"
    assert [s.sample_id for s in samples] == [
        "00000007/distractors/private",
        "00000007/distractors/public",
        "00000007/distractors/private/conflict/s1",
        "00000007/distractors/private/non-conflict/s2",
        "00000007/distractors/public/non-conflict/s2",
    ]
    assert {s.question for s in samples} == {"Which number?"}


def test_asked_label_keeps_its_place_among_the_distractors(corpus: Callable[..., Path]) -> None:
    others = {"a90_email": 1, "a49_phone": 0.5, "a31_passport": 0}
    first = next(iter(load(corpus(item(other_labels=others))).samples()))
    assert first.prompt.split("\n\n")[0] == "Private: e-mail.\nPrivate: phone.\nOpen: passport."


def test_without_distractors_there_is_one_line(corpus: Callable[..., Path]) -> None:
    first, second, *_ = load(corpus(ITEM)).samples(distractors=False)
    assert first.prompt == "Private: phone.\n\nWhich number?"
    assert second.prompt == "Open: phone.\n\nWhich number?"


def test_an_items_own_words_are_for_the_prompt_not_for_the_judge(
    corpus: Callable[..., Path],
) -> None:
    own = item(
        label2text={name: words.upper() for name, words in WORDS.items()},
        instruct_templates=["+{}", "-{}"],
    )
    first = next(iter(load(corpus(own)).samples()))
    assert first.prompt.split("\n\n")[0] == "-E-MAIL\n+PASSPORT\n-PHONE"
    assert first.label_words == "phone"


def test_fingerprint_changes_with_the_prompt(corpus: Callable[..., Path]) -> None:
    benchmark = load(corpus(ITEM))
    one, other = (fingerprint(benchmark.samples(distractors=d)) for d in (True, False))
    assert one == fingerprint(load(corpus(ITEM)).samples())
    assert one != other


LABELS = st.sampled_from(["a49_phone", "a90_email", "a31_passport"])
SCENARIOS = st.lists(st.sampled_from(["s1", "s2", "s3"]), unique=True, max_size=3)


@settings(max_examples=60)
@given(LABELS, st.dictionaries(LABELS, st.integers(0, 1)), SCENARIOS, SCENARIOS, st.booleans())
def test_every_sample_has_its_own_id_and_is_private_or_public(
    label: str, others: dict[str, Any], needed: list[str], not_needed: list[str], distractors: bool
) -> None:
    others = {name: 0.5 if name == label else value for name, value in others.items()}

    def scenarios(names: list[str]) -> list[dict[str, str]]:
        return [{"scenario": n, "2nd_person_template": n + " {}"} for n in names]

    entry = item(
        label=label,
        other_labels=others,
        non_privacy_scenarios=scenarios(needed),
        privacy_scenarios=scenarios(not_needed),
    )
    parsed = parse_item(entry, WORDS, path=Path("q.json"), number=0)
    samples = list(expand(parsed, WORDS, TEMPLATES, distractors=distractors))
    assert len(samples) == 2 + len(needed) + 2 * len(not_needed)
    assert len({sample.sample_id for sample in samples}) == len(samples)
    for sample in samples:
        lines = sample.prompt.split("\n\n")[0].split("\n")
        assert TEMPLATES[sample.is_privacy].format(WORDS[label]) in lines
        assert len(lines) == (len(set(others) | {label}) if distractors else 1)


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


def test_missing_broken_and_escaping_pictures_are_refused(
    corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = corpus(ITEM)
    picture = folder / "images" / "a.png"
    check_images(load(folder), decode=True)
    picture.write_bytes(picture.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a\.png, item 00000007: the picture does not decode"):
        check_images(load(folder), decode=True)
    picture.unlink()
    with pytest.raises(DataError, match=r"a\.png, item 00000007: the picture is missing"):
        check_images(load(folder))
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    Image.new("RGB", (8, 8)).save(outside)
    picture.symlink_to(outside)
    with pytest.raises(DataError, match="leaves the data root"):
        check_images(load(folder))


def test_a_release_is_read_without_running_it(official_like: Callable[..., Path]) -> None:
    folder = official_like("--items", "30", "--images", "5", "--release")
    benchmark = load_release(folder)  # its config.py raises SystemExit if executed
    assert benchmark.protocol.name == "official"
    assert len(list(benchmark.samples())) == 150
    check_images(benchmark, decode=True)


def test_a_folder_that_is_no_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"benchmark/config\.py is missing"):
        load_release(tmp_path)


def test_pictures_may_lie_where_the_official_instructions_put_them(
    official_like: Callable[..., Path],
) -> None:
    folder = official_like("--items", "3", "--images", "2", "--release")
    (folder / "images").rename(folder / "benchmark" / "data" / "images")
    check_images(load_release(folder))
