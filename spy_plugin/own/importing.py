"""Make a form of a benchmark in the official layout, or of an exported data set: the same samples.

A form is read again before it takes its place, so that what is written asks what was imported.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError as InvalidForm

from spy_plugin.benchmark.own_benchmark import protocol_of, to_item
from spy_plugin.benchmark.own_form import (
    Distractors,
    Form,
    FormFile,
    Instructions,
    LabelEntry,
    RoleEntry,
    read_form,
)
from spy_plugin.benchmark.own_names import FORM_FILE, ITEMS_FILE, PREFIX
from spy_plugin.benchmark.own_rows import NONE, FormRow, distractors_cell
from spy_plugin.benchmark.protocol import BUILTIN, CONFIG_FILE
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.benchmarks import is_own, open_folder, open_release
from spy_plugin.data.dataset_reading import parquet_files, read_dataset
from spy_plugin.errors import DataError
from spy_plugin.files.json import problem_of
from spy_plugin.own.writing import path_from, refuse_existing, write_form

PICTURES = "pictures"
"""Folder of the form that receives the pictures of a data set."""


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes:
        pictures: Pictures that were written; 0 if they are used where they are.
        other_words: The judge or the later turns have words that a form cannot carry.
    """

    items: int
    pictures: int
    other_words: bool


def import_benchmark(folder: Path, source: Path, *, force: bool = False) -> Imported:
    """Write the form of a folder in the official layout, or of an exported data set.

    Raises:
        DataError: the source is wrong, or has something that a form cannot say.
        MissingDependencyError: a data set needs pyarrow, which is not installed.
    """
    if not source.exists():
        raise DataError("does not exist", "Check the path.", path=source)
    if (source / CONFIG_FILE).is_file():
        return _import_release(folder, source, force=force)
    if parquet_files(source):
        return _import_dataset(folder, source, force=force)
    raise DataError(
        "is neither a folder in the official layout (benchmark/config.py is missing) nor an "
        "exported data set (there is no data/*.parquet)",
        "Name what spy-bench data export wrote as official, hf-dataset or parquet.",
        path=source,
    )


def _import_release(folder: Path, release: Path, *, force: bool) -> Imported:
    """Import a release, whose pictures are used where they are."""
    # A prepared copy knows where its pictures are; a form in the same folder is not what is meant.
    benchmark = open_release(release) if is_own(release) else open_folder(release)
    for item in benchmark.items:
        if _has_own_words(item, benchmark):
            raise DataError(
                "the item has words of its own, which a form cannot carry",
                "Use the release itself, with --release.",
                path=release,
                where=f"item {item.benchmark_id}",
            )
    content = _content(benchmark, _name(release.resolve().name), release)
    rows = [_row(item) for item in benchmark.items]
    refuse_existing(folder, (FORM_FILE, ITEMS_FILE), force=force)
    with _stage(folder) as stage:
        root = path_from(stage, benchmark.image_root)
        write_form(stage, content.model_copy(update={"pictures": root}), rows)
        _check_same(stage, benchmark, release)
    root = path_from(folder, benchmark.image_root)
    write_form(folder, content.model_copy(update={"pictures": root}), rows, force=force)
    other = _other_words(content, benchmark.protocol.fingerprint)
    return Imported(len(benchmark.items), 0, other)


def _import_dataset(folder: Path, source: Path, *, force: bool) -> Imported:
    """Import a data set, whose pictures are written into the form's folder."""
    dataset = read_dataset(source)
    benchmark = dataset.benchmark
    name = benchmark.name.removeprefix(PREFIX).partition("@")[0]
    content = _content(benchmark, _name(name), source)
    rows = [_row(item) for item in benchmark.items]
    names = sorted({item.image_path for item in benchmark.items})
    existing = (FORM_FILE, ITEMS_FILE, *(f"{PICTURES}/{name}" for name in names))
    refuse_existing(folder, existing, force=force)
    with _stage(folder) as stage:
        for name, data in dataset.pictures():
            path = stage / PICTURES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        write_form(stage, content, rows)
        _check_same(stage, benchmark, source)
        for name in names:
            target = folder / PICTURES / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (stage / PICTURES / name).replace(target)
    write_form(folder, content, rows, force=force)
    return Imported(len(benchmark.items), len(names), _other_words(content, dataset.words.protocol))


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Yield a folder beside a form's, which is removed at the end."""
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent, prefix=f".{folder.name}.") as name:
        yield Path(name)


def _check_same(stage: Path, benchmark: Benchmark, source: Path) -> None:
    """Check that a written form is read as the benchmark that it was made of.

    Raises:
        DataError: it is not; names the item of the source.
    """

    def refusal(problem: str, item: Item | None = None) -> DataError:
        return DataError(
            f"a form cannot carry it ({problem})",
            "Use the data as they are.",
            path=source,
            where=f"item {item.benchmark_id}" if item else "",
        )

    form = read_form(stage)
    items = dict(zip((row.line for row in form.rows), benchmark.items, strict=False))
    for problem in form.problems:
        if problem.fatal:
            raise refusal(problem.text.replace(str(stage), "DIR"), items.get(problem.line))
    for row, item in zip(form.rows, benchmark.items, strict=True):
        if to_item(form, row) != item:
            raise refusal("a text begins or ends with a blank, or holds control characters", item)
    if protocol_of(form).instruct_templates != benchmark.protocol.instruct_templates:
        raise refusal("its instruction lines are not read back as they are")


def _other_words(content: FormFile, protocol: str) -> bool:
    return protocol_of(Form(Path(), content)).fingerprint != protocol


def _name(text: str) -> str:
    """Return a name that a form may have."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:40] or "imported"


def _content(benchmark: Benchmark, name: str, source: Path) -> FormFile:
    """Return the form's content but for the folder of the pictures.

    Raises:
        DataError: the benchmark has a name or a text that a form cannot carry.
    """
    templates = benchmark.protocol.instruct_templates
    absolute = benchmark.protocol.absolute_labels
    instructions = None
    try:
        if templates != BUILTIN.instruct_templates:
            instructions = Instructions(public=templates[0], private=templates[1])
        return FormFile(
            name=name,
            pictures=PICTURES,
            labels=[
                LabelEntry(id=label, words=words, absolute=label in absolute)
                for label, words in benchmark.label_words.items()
            ],
            scenarios=_roles(benchmark, source),
            distractors=Distractors(),
            instructions=instructions,
        )
    except InvalidForm as error:
        raise DataError(
            f"a form cannot carry a name or text of it ({problem_of(error)}: "
            f"{error.errors()[0]['input']!r:.100})",
            "Use the data as they are.",
            path=source,
        ) from error


def _has_own_words(item: Item, benchmark: Benchmark) -> bool:
    """Return whether an item is asked in other words than the release's."""
    if item.instruct_templates not in (None, benchmark.protocol.instruct_templates):
        return True
    labels = (item.label, *dict(item.other_labels))
    words = item.label_words or benchmark.label_words
    return any(words[label] != benchmark.label_words.get(label) for label in labels)


def _roles(benchmark: Benchmark, source: Path) -> list[RoleEntry]:
    """Return the scenarios of all items, with the labels that each needs.

    Raises:
        DataError: items disagree about a scenario.
    """
    templates: dict[str, str] = {}
    sides: dict[str, dict[str, int]] = defaultdict(dict)
    for item in benchmark.items:
        for role in (*item.non_privacy_scenarios, *item.privacy_scenarios):
            same = templates.setdefault(role.id, role.template) == role.template
            if not same or sides[role.id].setdefault(item.label, role.is_privacy) != (
                role.is_privacy
            ):
                what = f"need of {item.label}" if same else "template"
                raise DataError(
                    f"scenario {role.id} has another {what} here than in an earlier item",
                    "A form says it once per scenario. Use the data as they are.",
                    path=source,
                    where=f"item {item.benchmark_id}",
                )
    return [
        RoleEntry(
            id=name,
            template=template,
            needs=sorted(label for label, is_privacy in sides[name].items() if not is_privacy),
        )
        for name, template in templates.items()
    ]


def _row(item: Item) -> FormRow:
    roles = [role.id for role in (*item.non_privacy_scenarios, *item.privacy_scenarios)]
    return FormRow(
        id=item.benchmark_id,
        picture=item.image_path,
        label=item.label,
        question=item.question,
        ground_truth=item.gt,
        distractors=distractors_cell(item.other_labels) or NONE,
        scenarios="; ".join(roles) or NONE,
        question_id="" if item.question_id == item.benchmark_id else item.question_id,
    )
