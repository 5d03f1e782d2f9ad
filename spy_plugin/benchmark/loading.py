"""Reading `questions.json` and `label2text.json`; errors name file, item, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from spy_plugin.benchmark.protocol import CONFIG_FILE, Protocol, check_template, read_official
from spy_plugin.benchmark.records import Scenario
from spy_plugin.benchmark.samples import OWN_SIDE, Benchmark, Item
from spy_plugin.errors import DataError

_SHAPE = "Each item must have the layout of the official questions.json."
_NEVER_ASKED = "a0_safe"


def load_release(release: Path, *, image_root: Path | None = None) -> Benchmark:
    """Read an official release.

    Args:
        release: Folder that holds ``benchmark/config.py`` and ``benchmark/data``.
        image_root: Folder that `image_path` is relative to. By default ``benchmark/data`` if there
            are pictures, where the release has them put, else the release itself.

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
        read_official(release),
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

    Raises:
        DataError: naming file and item.
    """
    label_words = read_label_words(label2text)
    content = read_json(questions)
    entries = content.get("benchmark_list") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError('has no list "benchmark_list"', _SHAPE, path=questions)
    items: list[Item] = []
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        item = parse_item(entry, label_words, path=questions, number=number)
        if item.benchmark_id in seen:
            raise DataError(
                f"benchmark_id {item.benchmark_id} stands there twice",
                "Every item needs an id of its own.",
                path=questions,
                where=f"entry {number}",
            )
        seen.add(item.benchmark_id)
        items.append(item)
    return Benchmark(name, tuple(items), label_words, protocol, image_root)


def read_json(path: Path) -> Any:
    """Parse a JSON file, refusing duplicate keys and the non-JSON numbers NaN and Infinity.

    Raises:
        DataError: missing, truncated or otherwise not JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", "Check the path.", path=path
        ) from error
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text", "Fetch the file again.", path=path) from error
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"is not JSON, or was cut short ({error})", "Fetch the file again.", path=path
        ) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return out


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def read_label_words(path: Path) -> dict[str, str]:
    """Read `label2text.json`: label id -> words."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise DataError("is not an object of label to words", "Fetch the file again.", path=path)
    return _check_words(content, path=path, where="")


def _check_words(content: Mapping[str, Any], *, path: Path, where: str) -> dict[str, str]:
    for label, words in content.items():
        if not isinstance(words, str) or not words:
            raise DataError(f"words of label {label} are not text", _SHAPE, path=path, where=where)
    return dict(content)


def parse_item(entry: Any, label_words: Mapping[str, str], *, path: Path, number: int) -> Item:
    """Check one entry of `benchmark_list` and give it types.

    Raises:
        DataError: a field is missing or wrong; `number` (from 0) or the item's id says where.
    """
    reader = EntryReader(entry, path=path, where=f"entry {number}")
    benchmark_id = reader.text("benchmark_id")
    reader.where = f"item {benchmark_id}"
    question = reader.child("question_item")
    own_words = reader.optional("label2text", dict)
    if own_words is not None:
        _check_words(own_words, path=path, where=reader.where)
    words = label_words if own_words is None else own_words
    label = reader.text("label")
    if label not in label_words or label == _NEVER_ASKED:
        raise reader.error(f"unknown label {label}", "Use a label of label2text.json.")
    reader.need_words(label, words)
    return Item(
        benchmark_id=benchmark_id,
        label=label,
        other_labels=_other_labels(reader, label, words),
        question_id=question.text("question_id"),
        image_path=_image_path(question),
        question=question.text("question"),
        gt=str(question.optional("gt", str) or ""),
        non_privacy_scenarios=read_scenarios(reader, "non_privacy_scenarios", 0),
        privacy_scenarios=read_scenarios(reader, "privacy_scenarios", 1),
        label_words=own_words,
        instruct_templates=_templates(reader),
    )


class EntryReader:
    """Typed access to the fields of one JSON object, with errors that say where it is."""

    def __init__(self, entry: Any, *, path: Path, where: str) -> None:
        self.path, self.where = path, where
        if not isinstance(entry, dict):
            raise self.error(f"is a {type(entry).__name__}, not an object")
        self.fields: dict[str, Any] = entry

    def error(self, problem: str, remedy: str = _SHAPE) -> DataError:
        return DataError(problem, remedy, path=self.path, where=self.where)

    def optional(self, name: str, kind: type) -> Any:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, kind):
            raise self.error(f'"{name}" is a {type(value).__name__}, not a {kind.__name__}')
        return value

    def need(self, name: str, kind: type) -> Any:
        if self.fields.get(name) is None:
            raise self.error(f'"{name}" is missing')
        return self.optional(name, kind)

    def text(self, name: str) -> str:
        value: str = self.need(name, str)
        if not value.strip():
            raise self.error(f'"{name}" is empty')
        return value

    def child(self, name: str) -> EntryReader:
        return EntryReader(self.need(name, dict), path=self.path, where=f"{self.where}, {name}")

    def need_words(self, label: str, words: Mapping[str, str]) -> None:
        if label not in words:
            raise self.error(
                f"label {label} has no words in label2text",
                "Use labels of label2text.json, or give the item's own label2text all it needs.",
            )


def _other_labels(
    reader: EntryReader, asked: str, words: Mapping[str, str]
) -> tuple[tuple[str, float], ...]:
    others = reader.need("other_labels", dict)
    for label, value in others.items():
        reader.need_words(label, words)
        allowed = (OWN_SIDE,) if label == asked else (0, 1)
        if isinstance(value, bool) or value not in allowed:
            raise reader.error(
                f"other_labels gives {label} the value {value!r}",
                "Use 0 or 1, and 0.5 for the asked label alone.",
            )
    return tuple(others.items())


def _image_path(question: EntryReader) -> str:
    text = question.text("image_path")
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text:
        raise question.error(
            f"image_path {text!r} leaves the data root",
            "Use a relative path below the data root, with forward slashes.",
        )
    return text


def read_scenarios(reader: EntryReader, name: str, is_privacy: int) -> tuple[Scenario, ...]:
    found = []
    for position, entry in enumerate(reader.optional(name, list) or ()):
        where = f"{reader.where}, {name}[{position}]"
        scenario = EntryReader(entry, path=reader.path, where=where)
        template = check_template(
            scenario.need("2nd_person_template", str), 1, path=reader.path, where=where
        )
        found.append(Scenario(scenario.text("scenario"), is_privacy, template))
    ids = [scenario.id for scenario in found]
    if len(set(ids)) != len(ids):
        raise reader.error(f"{name} names a scenario twice", "Name each scenario once.")
    return tuple(found)


def _templates(reader: EntryReader) -> tuple[str, str] | None:
    templates = reader.optional("instruct_templates", list)
    if templates is None:
        return None
    if len(templates) != 2:
        raise reader.error("instruct_templates is not a pair", "Give two: not private, private.")
    public, private = (
        check_template(t, 1, path=reader.path, where=f"{reader.where}, instruct_templates")
        for t in templates
    )
    return public, private
