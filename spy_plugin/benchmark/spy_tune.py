"""SPY-Tune items -> training rows: which answer is chosen for a private and a public prompt.

One file gives three kinds of rows. `sft` and `preference` rows are single prompts with the answer
to give and, for `preference`, the one not to give. `paired` rows, for NCA-P, hold a prompt twice:
`prompt_0`, where the user calls the asked label public, and `prompt_1`, where the user calls it
private. Messages are in TRL's conversational vision format: the user's picture, then the text.
This module needs neither torch nor datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from spy_plugin.benchmark.loading import (
    ItemEntry,
    QuestionEntry,
    Scenarios,
    Text,
    read_entries,
    read_entry,
    to_item,
    to_scenarios,
)
from spy_plugin.benchmark.protocol import Protocol, expected_outcome
from spy_plugin.benchmark.records import Outcome, Scenario
from spy_plugin.benchmark.samples import Item, instruction

Kind = Literal["sft", "preference", "paired"]
Message = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class TuneItem:
    """One entry of `data_list`: a benchmark item with two answers.

    Attributes:
        respond: An answer that gives the information.
        reject: An answer that declines to give it.
        chosen_scenarios: Privacy scenarios in which the public prompt is trained too.
    """

    item: Item
    image_id: str
    respond: str
    reject: str
    chosen_scenarios: tuple[Scenario, ...]


@dataclass(frozen=True)
class RowBuilder:
    """Build the rows of an item in the words of a protocol.

    Attributes:
        label_words: Label id -> words.
        distractors: Also say in the prompt which of the item's other labels are private.
    """

    protocol: Protocol
    label_words: Mapping[str, str]
    distractors: bool = True

    def rows(self, tune: TuneItem, kind: Kind) -> Iterator[Row]:
        """Yield the rows of one item, in the order of the official release."""
        build: dict[Kind, Callable[[TuneItem], Iterator[Row]]] = {
            "sft": self._sft,
            "preference": self._preference,
            "paired": self._paired,
        }
        keys = {
            "label": tune.item.label,
            "item_id": tune.item.benchmark_id,
            "image_id": tune.image_id,
        }
        for row in build[kind](tune):
            yield {"images": [tune.item.image_path], **row, **keys}

    def _sft(self, tune: TuneItem) -> Iterator[Row]:
        for prompt, chosen, _ in self._single(tune):
            yield {"messages": prompt + chosen}

    def _preference(self, tune: TuneItem) -> Iterator[Row]:
        for prompt, chosen, rejected in self._single(tune):
            yield {"prompt": prompt, "chosen": chosen, "rejected": rejected}

    def _single(self, tune: TuneItem) -> Iterator[tuple[list[Message], ...]]:
        """Yield (prompt, chosen, rejected) for every prompt that is trained by itself."""
        item = tune.item
        plan: list[tuple[int, Scenario | None]] = [(1, None), (0, None)]
        plan += [(1, s) for s in (*item.non_privacy_scenarios, *item.privacy_scenarios)]
        plan += [(0, s) for s in tune.chosen_scenarios]
        for is_privacy, scenario in plan:
            chosen, rejected = self._answers(tune, is_privacy, scenario)
            yield self._prompt(item, is_privacy, scenario), chosen, rejected

    def _paired(self, tune: TuneItem) -> Iterator[Row]:
        item = tune.item
        for scenario in (None, *item.non_privacy_scenarios, *item.privacy_scenarios):
            chosen_0, rejected_0 = self._answers(tune, 0, scenario)
            chosen_1, rejected_1 = self._answers(tune, 1, scenario)
            yield {
                "prompt_0": self._prompt(item, 0, scenario),
                "prompt_1": self._prompt(item, 1, scenario),
                "chosen_0": chosen_0,
                "chosen_1": chosen_1,
                "rejected_0": rejected_0,
                "rejected_1": rejected_1,
            }

    def _prompt(self, item: Item, is_privacy: int, scenario: Scenario | None) -> list[Message]:
        lines = instruction(
            item,
            is_privacy,
            self.label_words,
            self.protocol.instruct_templates,
            distractors=self.distractors,
        )
        question = scenario.template.format(item.question) if scenario else item.question
        text = {"type": "text", "text": f"{lines}\n\n{question}"}
        return [{"role": "user", "content": [{"type": "image"}, text]}]

    def _answers(
        self, tune: TuneItem, is_privacy: int, scenario: Scenario | None
    ) -> tuple[list[Message], list[Message]]:
        """Return (chosen, rejected)."""
        absolute = tune.item.label in self.protocol.absolute_labels
        expected = expected_outcome(is_privacy, scenario, absolute=absolute)
        respond, reject = _assistant(tune.respond), _assistant(tune.reject)
        return (respond, reject) if expected is Outcome.RESPOND else (reject, respond)


def _assistant(text: str) -> list[Message]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def read_tune_items(path: Path, label_words: Mapping[str, str]) -> list[TuneItem]:
    """Read and check a SPY-Tune file, ``{"data_list": [item, ...]}``.

    Raises:
        DataError: the file or an item is wrong; names file and item.
    """
    entries = read_entries(path, "data_list", "Use the layout of the official train_data.json.")
    return [
        _parse_tune_item(entry, label_words, path=path, number=number)
        for number, entry in enumerate(entries)
    ]


class _TuneQuestion(QuestionEntry):
    image_id: str | None = None
    respond_ans: Text
    reject_ans: Text


class _TuneEntry(ItemEntry):
    question_item: _TuneQuestion
    chosen_scenarios: Scenarios | None = None


def _parse_tune_item(
    entry: Any, label_words: Mapping[str, str], *, path: Path, number: int
) -> TuneItem:
    found = read_entry(_TuneEntry, entry, path=path, number=number)
    question = found.question_item
    return TuneItem(
        item=to_item(found, label_words, path=path),
        image_id=question.image_id or PurePosixPath(question.image_path).stem,
        respond=question.respond_ans,
        reject=question.reject_ans,
        chosen_scenarios=to_scenarios(found.chosen_scenarios, 1),
    )
