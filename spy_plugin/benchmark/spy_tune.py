"""SPY-Tune items -> training rows: which text is chosen on which side of the instruction.

Three kinds of rows come from one file. `sft` and `preference` rows are single prompts with the
answer to give (and, for `preference`, the one not to give). `paired` rows, for NCA-P, hold both
sides of one prompt: `prompt_0`, where the user calls the asked label public, and `prompt_1`, where
the user calls it private. Messages are in TRL's conversational vision format: the user's picture,
then the text. This module needs neither torch nor datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from spy_plugin.benchmark.expectation import expects_rejection, is_needed
from spy_plugin.benchmark.loading import EntryReader, parse_item, read_json, read_scenarios
from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Scenario
from spy_plugin.benchmark.samples import Item, instruction
from spy_plugin.errors import DataError

Kind = Literal["sft", "preference", "paired"]
Message = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class TuneItem:
    """One entry of `data_list`: a benchmark item with the two answers to it.

    Attributes:
        respond: An answer that gives the information.
        reject: An answer that declines to give it.
        chosen_scenarios: Privacy scenarios in which the public side is trained too.
    """

    item: Item
    image_id: str
    respond: str
    reject: str
    chosen_scenarios: tuple[Scenario, ...]


@dataclass(frozen=True)
class RowBuilder:
    """Builds the rows of an item in the words of a protocol.

    Attributes:
        label_words: Label id -> words.
        distractors: Say in the prompt what holds for the item's other labels, too.
    """

    protocol: Protocol
    label_words: Mapping[str, str]
    distractors: bool = True

    def rows(self, tune: TuneItem, kind: Kind) -> Iterator[Row]:
        """The rows of one item, in the order of the official release."""
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
        """(prompt, chosen, rejected) of every prompt that is trained by itself."""
        item = tune.item
        plan: list[tuple[int, Scenario | None]] = [(1, None), (0, None)]
        plan += [(1, scenario) for scenario in item.non_privacy_scenarios]
        plan += [(1, scenario) for scenario in item.privacy_scenarios]
        plan += [(0, scenario) for scenario in tune.chosen_scenarios]
        for side, scenario in plan:
            chosen, rejected = self._answers(tune, side, scenario)
            yield self._prompt(item, side, scenario), chosen, rejected

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

    def _prompt(self, item: Item, side: int, scenario: Scenario | None) -> list[Message]:
        lines = instruction(
            item,
            side,
            self.label_words,
            self.protocol.instruct_templates,
            distractors=self.distractors,
        )
        question = scenario.template.format(item.question) if scenario else item.question
        text = {"type": "text", "text": f"{lines}\n\n{question}"}
        return [{"role": "user", "content": [{"type": "image"}, text]}]

    def _answers(
        self, tune: TuneItem, side: int, scenario: Scenario | None
    ) -> tuple[list[Message], list[Message]]:
        """(chosen, rejected), by what the benchmark expects of such a sample."""
        answers = _assistant(tune.respond), _assistant(tune.reject)
        rejects = expects_rejection(
            private=bool(side),
            needed=is_needed(scenario),
            absolute=tune.item.label in self.protocol.absolute_labels,
        )
        return answers[::-1] if rejects else answers


def _assistant(text: str) -> list[Message]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def read_tune_items(path: Path, label_words: Mapping[str, str]) -> list[TuneItem]:
    """Read and check a SPY-Tune file, ``{"data_list": [item, ...]}``.

    Raises:
        DataError: naming file and item.
    """
    content = read_json(path)
    entries = content.get("data_list") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(
            'has no list "data_list"',
            "Give a file with the layout of the official train_data.json.",
            path=path,
        )
    return [
        _parse_tune_item(entry, label_words, path=path, number=number)
        for number, entry in enumerate(entries)
    ]


def _parse_tune_item(
    entry: Any, label_words: Mapping[str, str], *, path: Path, number: int
) -> TuneItem:
    item = parse_item(entry, label_words, path=path, number=number)
    reader = EntryReader(entry, path=path, where=f"item {item.benchmark_id}")
    question = reader.child("question_item")
    image_id = question.optional("image_id", str) or PurePosixPath(item.image_path).stem
    return TuneItem(
        item=item,
        image_id=image_id,
        respond=question.text("respond_ans"),
        reject=question.text("reject_ans"),
        chosen_scenarios=read_scenarios(reader, "chosen_scenarios", 1),
    )
