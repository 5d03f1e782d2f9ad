"""Items expand into samples as in the official code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spy_plugin.benchmark.loading import load_benchmark, parse_item
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.samples import expand, fingerprint
from tests.benchmark.conftest import ITEM, TEMPLATES, WORDS, item, load


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
