"""Read `questions.json` and `label2text.json`; errors name the file, the item, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel

from spy_plugin.benchmark.official_files import entries_of_rows, read_official_row
from spy_plugin.benchmark.protocol import (
    CONFIG_FILE,
    Protocol,
    need_placeholders,
    read_official_protocol,
)
from spy_plugin.benchmark.records import Scenario
from spy_plugin.benchmark.samples import AS_ASKED, DISTRACTORS, Benchmark, Item
from spy_plugin.errors import DataError
from spy_plugin.files.json import checked, read_json
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.files.text import storable

_SHAPE = "Each item must have the layout of the official questions.json."
_FETCH = "Check the path, or fetch the file again."
_NEVER_ASKED = "a0_safe"

E = TypeVar("E", bound="ItemEntry")


def load_release(release: Path, *, image_root: Path | None = None) -> Benchmark:
    """Read an official release.

    Args:
        release: Folder that holds ``benchmark/config.py`` and ``benchmark/data``.
        image_root: Folder that `image_path` is relative to. By default ``benchmark/data`` if there
            are pictures, where the release's instructions put them, else the release itself.

    Raises:
        DataError: a file is missing, truncated or wrong, with file, item and remedy.
    """
    if not (release / CONFIG_FILE).is_file():
        raise DataError(
            "is not an official SPY-Bench release: benchmark/config.py is missing",
            "Give the root folder of a clone of the official release.",
            path=release,
        )
    data = release / "benchmark" / "data"
    if image_root is None:
        image_root = data if (data / "images").is_dir() else release
    return load_benchmark(
        data / "questions.json",
        data / "label2text.json",
        read_official_protocol(release),
        image_root=image_root,
        name="official",
    )


def load_benchmark(
    questions: Path,
    label2text: Path,
    protocol: Protocol,
    *,
    image_root: Path,
    name: str,
) -> Benchmark:
    """Read `questions.json` and `label2text.json` and check every item.

    Args:
        questions: `questions.json`, or a `.jsonl` with an entry of it per line, or with the rows
            that the official `generate.py` wrote, which name all samples.

    Raises:
        DataError: a file or an item is wrong; names file and item.
    """
    label_words = read_label_words(label2text)
    items: dict[str, Item] = {}
    entries, asked = _read_questions(questions)
    for number, entry in enumerate(entries):
        item = parse_item(entry, label_words, path=questions, number=number)
        if item.benchmark_id in items:
            raise DataError(
                f"duplicate benchmark_id {item.benchmark_id}",
                "Every item needs an id of its own.",
                path=questions,
                where=f"entry {number}",
            )
        items[item.benchmark_id] = item
    benchmark = Benchmark(name, tuple(items.values()), label_words, protocol, image_root)
    return _restrict(benchmark, asked, questions) if asked else benchmark


def _read_questions(path: Path) -> tuple[list[Any], dict[str, int]]:
    """Return the entries of a file of questions and, if it holds samples, their ids and lines."""
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        return read_entries(path, "benchmark_list", _SHAPE), {}
    rows = list(read_jsonl(path))
    if not rows:
        raise DataError("holds no questions", _FETCH, path=path)
    if "question_item" in rows[0][1]:
        return [row for _, row in rows], {}
    asked = {read_official_row(row, path=path, line=line).sample_id: line for line, row in rows}
    return entries_of_rows(rows, path), asked


def _restrict(benchmark: Benchmark, asked: Mapping[str, int], path: Path) -> Benchmark:
    """Check that a file of samples has all samples of its items; without distractors, say so."""
    variants = (True, False) if DISTRACTORS in next(iter(asked)).split("/") else (False,)
    benchmark = replace(benchmark, variants=variants)
    expected = {sample.sample_id for sample in benchmark.samples(distractors=variants[0])}
    for odd, problem in (
        (expected - asked.keys(), "the row is missing"),
        (asked.keys() - expected, "the row fits none of the item's other rows"),
    ):
        if odd:
            raise DataError(
                problem,
                "Give the whole file that the official generate.py wrote, of one condition.",
                path=path,
                where=f"sample {min(odd)}",
            )
    return benchmark


def read_entries(path: Path, key: str, remedy: str) -> list[Any]:
    """Read a file ``{key: [entry, ...]}`` that holds at least one entry.

    Raises:
        DataError: the file is not such JSON.
    """
    content = read_json(path, _FETCH)
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f'has no list "{key}", or an empty one', remedy, path=path)
    return entries


def read_label_words(path: Path) -> dict[str, str]:
    """Read `label2text.json`: label id -> words.

    Raises:
        DataError: the file is not an object of labels and words.
    """
    return checked(_LabelWords.model_validate, read_json(path, _FETCH), _FETCH, path=path).root


def parse_item(entry: Any, label_words: Mapping[str, str], *, path: Path, number: int) -> Item:
    """Check one entry of `benchmark_list` and return it as an item.

    Raises:
        DataError: a field is missing or wrong; `number` (from 0) or the item's id says where.
    """
    return to_item(read_entry(ItemEntry, entry, path=path, number=number), label_words, path=path)


def read_entry(kind: type[E], entry: Any, *, path: Path, number: int) -> E:
    """Check the form of one entry; `number` (from 0) or its id says where an error is.

    Raises:
        DataError: a field is missing or wrong.
    """
    name = entry.get("benchmark_id") if isinstance(entry, dict) else None
    where = f"item {name}" if isinstance(name, str) and name.strip() else f"entry {number}"
    return checked(kind.model_validate, entry, _SHAPE, path=path, where=where)


def to_item(entry: ItemEntry, label_words: Mapping[str, str], *, path: Path) -> Item:
    """Return a checked entry as an item, if its labels are known and its values fit them.

    Raises:
        DataError: a label is unknown or has a value that it must not have.
    """
    _check_labels(entry, label_words, path)
    question, templates = entry.question_item, entry.instruct_templates
    return Item(
        benchmark_id=entry.benchmark_id,
        label=entry.label,
        other_labels=tuple(entry.other_labels.items()),
        question_id=question.question_id,
        image_path=question.image_path,
        question=question.question,
        gt=question.gt or "",
        non_privacy_scenarios=to_scenarios(entry.non_privacy_scenarios, 0),
        privacy_scenarios=to_scenarios(entry.privacy_scenarios, 1),
        label_words=entry.label2text,
        instruct_templates=None if templates is None else (templates[0], templates[1]),
    )


def to_scenarios(entries: Iterable[ScenarioEntry] | None, is_privacy: int) -> tuple[Scenario, ...]:
    """Return the scenarios of one list of an item; a missing list has none."""
    return tuple(Scenario(e.scenario, is_privacy, e.template) for e in entries or ())


def _check_labels(entry: ItemEntry, label_words: Mapping[str, str], path: Path) -> None:
    def error(problem: str, remedy: str) -> DataError:
        return DataError(problem, remedy, path=path, where=f"item {entry.benchmark_id}")

    if entry.label not in label_words or entry.label == _NEVER_ASKED:
        raise error(f"unknown label {entry.label}", "Use a label of label2text.json.")
    words = label_words if entry.label2text is None else entry.label2text
    for label in (entry.label, *entry.other_labels):
        if label not in words:
            raise error(
                f"label {label} has no words in label2text",
                "Use labels of label2text.json, or complete the item's own label2text.",
            )
    for label, value in entry.other_labels.items():
        if value not in ((AS_ASKED,) if label == entry.label else (0, 1)):
            raise error(
                f"other_labels gives {label} the value {value:g}",
                "Use 0 or 1, and 0.5 for the asked label alone.",
            )


def _whole(text: str) -> str:
    """Refuse half a character (a lone UTF-16 surrogate), which no file and no request can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(f"holds half a character, {half!a}; write the whole one") from error
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return _whole(text)


def _printable(text: str) -> str:
    if storable(text) != text:
        raise ValueError(f"{text!a} holds a character that no name may have")
    return text


def below_the_root(text: str) -> str:
    """Return a relative path that stays below its root.

    Raises:
        ValueError: it leaves the root, or no file can have that name.
    """
    path = PurePosixPath(_printable(text))
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text:
        raise ValueError(
            f"{text!r} leaves the data root; it must be a relative path with forward slashes"
        )
    return text


def _one_placeholder(text: str) -> str:
    return need_placeholders(_whole(text), 1)


def _each_once(scenarios: list[ScenarioEntry]) -> list[ScenarioEntry]:
    if len({scenario.scenario for scenario in scenarios}) != len(scenarios):
        raise ValueError("names a scenario twice")
    return scenarios


Text = Annotated[str, AfterValidator(_not_blank)]
Name = Annotated[Text, AfterValidator(_printable)]
Template = Annotated[str, AfterValidator(_one_placeholder)]


class _Entry(BaseModel):
    """A part of an item as files hold it; fields that are not named here are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class _LabelWords(RootModel[Annotated[dict[str, Text], Field(min_length=1)]]):
    """The content of `label2text.json`."""


class QuestionEntry(_Entry):
    """The question of an item."""

    question_id: Name
    image_path: Annotated[Text, AfterValidator(below_the_root)]
    question: Text
    gt: Annotated[str, AfterValidator(_whole)] | None = None


class ScenarioEntry(_Entry):
    """A scenario of an item, with the words that the question is put into."""

    scenario: Name
    template: Template = Field(alias="2nd_person_template")


Scenarios = Annotated[list[ScenarioEntry], AfterValidator(_each_once)]


class ItemEntry(_Entry):
    """An entry of `benchmark_list`."""

    benchmark_id: Name
    label: Name
    other_labels: dict[str, float]
    question_item: QuestionEntry
    non_privacy_scenarios: Scenarios | None = None
    privacy_scenarios: Scenarios | None = None
    label2text: dict[str, Text] | None = None
    instruct_templates: Annotated[list[Template], Field(min_length=2, max_length=2)] | None = None
