"""`Item` -> `Sample`: build the prompts, in the official release's order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Sample, Scenario, make_sample_id
from spy_plugin.errors import SpyBenchError

AS_ASKED = 0.5
"""In `other_labels`, the value of the asked label itself: private or public as the sample is."""

DISTRACTORS = "distractors"
NO_DISTRACTORS = "no_distractors"


@dataclass(frozen=True)
class Item:
    """One entry of `benchmark_list`: a question about a picture and the scenarios to ask it in.

    Attributes:
        other_labels: (label, value) in the file's order; the value is 1 for private and 0 for
            public, or `AS_ASKED` for the asked label.
        label_words: Words that replace the benchmark's in this item's prompts, not for the judge.
        instruct_templates: Templates that replace the protocol's for this item.
    """

    benchmark_id: str
    label: str
    other_labels: tuple[tuple[str, float], ...]
    question_id: str
    image_path: str
    question: str
    gt: str
    non_privacy_scenarios: tuple[Scenario, ...]
    privacy_scenarios: tuple[Scenario, ...]
    label_words: Mapping[str, str] | None = None
    instruct_templates: tuple[str, str] | None = None


@dataclass(frozen=True)
class Benchmark:
    """Items, the words in which they are asked, and the folder of their pictures.

    Attributes:
        decoded: Every picture is known to decode, so it need not be tried again.
        variants: Which of the variants with distractors (True) and without it has.
    """

    name: str
    items: tuple[Item, ...]
    label_words: Mapping[str, str]
    protocol: Protocol
    image_root: Path
    decoded: bool = False
    variants: tuple[bool, ...] = (True, False)

    def samples(self, *, distractors: bool = True) -> Iterator[Sample]:
        """Yield every sample in protocol order: five per item with one scenario of each kind.

        Raises:
            SpyBenchError: the benchmark does not have this variant.
        """
        if distractors not in self.variants:
            raise SpyBenchError(
                "the questions name no other labels, so they have no samples with distractors. "
                "Add --no-distractors, or give the official questions.json."
            )
        for item in self.items:
            yield from expand(
                item, self.label_words, self.protocol.instruct_templates, distractors=distractors
            )

    def image_file(self, sample: Sample) -> Path:
        """Return the path of a sample's picture; loading checked that it lies inside the root."""
        return self.image_root / sample.image_path


def instruction(
    item: Item,
    is_privacy: int,
    label_words: Mapping[str, str],
    templates: tuple[str, str],
    *,
    distractors: bool,
) -> str:
    """Return the instruction lines of a private or a public sample, joined by newlines."""
    words = item.label_words or label_words
    templates = item.instruct_templates or templates
    values = dict(item.other_labels) if distractors else {}
    # The asked label is listed at its own place, or appended last.
    values[item.label] = is_privacy
    return "\n".join(templates[int(value)].format(words[label]) for label, value in values.items())


def expand(
    item: Item,
    label_words: Mapping[str, str],
    templates: tuple[str, str],
    *,
    distractors: bool,
) -> Iterator[Sample]:
    """Yield the samples of an item: (1, none), (0, none), conflicts (1), non-conflicts (1, 0)."""
    lines = [
        instruction(item, is_privacy, label_words, templates, distractors=distractors)
        for is_privacy in (0, 1)
    ]
    plan: list[tuple[int, Scenario | None]] = [(1, None), (0, None)]
    plan += [(1, scenario) for scenario in item.non_privacy_scenarios]
    plan += [(value, scenario) for scenario in item.privacy_scenarios for value in (1, 0)]
    variant = DISTRACTORS if distractors else NO_DISTRACTORS
    for is_privacy, scenario in plan:
        question = scenario.template.format(item.question) if scenario else item.question
        yield Sample(
            sample_id=make_sample_id(item.benchmark_id, is_privacy, scenario, variant),
            benchmark_id=item.benchmark_id,
            label=item.label,
            is_privacy=is_privacy,
            scenario=scenario and replace(scenario, template=""),
            question_id=item.question_id,
            image_path=item.image_path,
            question=item.question,
            prompt=f"{lines[is_privacy]}\n\n{question}",
            label_words=label_words[item.label],
            gt=item.gt,
        )


def fingerprint(samples: Iterable[Sample]) -> str:
    """Return the first 12 hex digits of the SHA-256 of all ids, picture paths and prompts."""
    digest = hashlib.sha256()
    for sample in samples:
        for text in (sample.sample_id, sample.image_path, sample.prompt):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:12]
