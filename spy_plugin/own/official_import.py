"""Make a form of a benchmark in the official layout: the same samples, the same prompts."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from pydantic import ValidationError as InvalidForm

from spy_plugin.benchmark.own_form import (
    Distractors,
    FormFile,
    Instructions,
    LabelEntry,
    RoleEntry,
)
from spy_plugin.benchmark.own_rows import NONE, FormRow, distractors_cell
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.benchmarks import open_release
from spy_plugin.errors import DataError
from spy_plugin.files.json import problem_of
from spy_plugin.own.writing import path_from, write_form


def import_release(folder: Path, release: Path, *, force: bool = False) -> Benchmark:
    """Write the form of a release; its pictures are used where they are.

    Returns:
        The release, whose judge's words a form cannot carry.

    Raises:
        DataError: the release is wrong, or has something that a form cannot say.
    """
    benchmark = open_release(release)
    for item in benchmark.items:
        if _has_own_words(item, benchmark):
            raise DataError(
                "the item has words of its own, which a form cannot carry",
                "Use the release itself, with --release.",
                path=release,
                where=f"item {item.benchmark_id}",
            )
    try:
        content = _content(benchmark, folder, release)
    except InvalidForm as error:
        raise DataError(
            f"a form cannot carry a name or text of it ({problem_of(error)}: "
            f"{error.errors()[0]['input']!r:.100})",
            "Use the release itself, with --release.",
            path=release,
        ) from error
    write_form(folder, content, [_row(item) for item in benchmark.items], force=force)
    return benchmark


def _content(benchmark: Benchmark, folder: Path, release: Path) -> FormFile:
    templates = benchmark.protocol.instruct_templates
    instructions = None
    if templates != BUILTIN.instruct_templates:
        instructions = Instructions(public=templates[0], private=templates[1])
    name = re.sub(r"[^\w.-]+", "-", release.resolve().name).strip("-.")[:40] or "imported"
    return FormFile(
        name=name,
        pictures=path_from(folder, benchmark.image_root),
        labels=[
            LabelEntry(id=label, words=words, absolute=label in benchmark.protocol.absolute_labels)
            for label, words in benchmark.label_words.items()
        ],
        scenarios=_roles(benchmark, release),
        distractors=Distractors(),
        instructions=instructions,
    )


def _has_own_words(item: Item, benchmark: Benchmark) -> bool:
    """Return whether an item is asked in other words than the release's."""
    if item.instruct_templates not in (None, benchmark.protocol.instruct_templates):
        return True
    labels = (item.label, *dict(item.other_labels))
    words = item.label_words or benchmark.label_words
    return any(words[label] != benchmark.label_words.get(label) for label in labels)


def _roles(benchmark: Benchmark, release: Path) -> list[RoleEntry]:
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
                    "A form says it once per scenario. Use the release itself, with --release.",
                    path=release,
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
