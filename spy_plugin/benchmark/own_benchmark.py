"""A filled form -> a benchmark, and the items to train on where it gives answers.

What a row leaves open is drawn: other labels as distractors, and a role of each kind. Each draw
depends on the form's seed and on the row's id alone, so that another row changes no prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from spy_plugin.benchmark.own_form import Form, RoleEntry, read_form, refusal
from spy_plugin.benchmark.own_names import PREFIX
from spy_plugin.benchmark.own_rows import SIDES, FormRow, read_other_labels, split
from spy_plugin.benchmark.protocol import BUILTIN, Protocol
from spy_plugin.benchmark.records import Scenario
from spy_plugin.benchmark.samples import Benchmark, Item, fingerprint
from spy_plugin.benchmark.spy_tune import TuneItem
from spy_plugin.errors import DataError


@dataclass(frozen=True)
class OwnBenchmark:
    """A benchmark from a form, with what it gives for training."""

    benchmark: Benchmark
    tune: tuple[TuneItem, ...]


def open_form(folder: Path) -> OwnBenchmark:
    """Open the benchmark that a form describes.

    Its name ends with 8 hex digits of its content: all prompts, words and pictures.

    Raises:
        DataError: the form has a problem, a draft that no person confirmed included; names file
            and line.
    """
    form = read_form(folder)
    fatal = tuple(problem for problem in form.problems if problem.fatal)
    if fatal:
        raise refusal(fatal, folder)
    items = tuple(to_item(form, row) for row in form.rows)
    benchmark = Benchmark(
        name=f"{PREFIX}{form.filled.name}",
        items=items,
        label_words={label.id: label.words for label in form.filled.labels},
        protocol=protocol_of(form),
        image_root=form.image_root,
    )
    named = replace(benchmark, name=f"{benchmark.name}@{_content(benchmark)}")
    answered = [pair for pair in zip(form.rows, items, strict=True) if pair[0].respond]
    return OwnBenchmark(named, tuple(_tune(row, item) for row, item in answered))


def protocol_of(form: Form) -> Protocol:
    """Return the built-in words with the form's own absolute labels and instructions."""
    lines = form.filled.instructions
    templates = (lines.public, lines.private) if lines else BUILTIN.instruct_templates
    return replace(
        BUILTIN,
        name=f"{BUILTIN.name}+own",
        instruct_templates=templates,
        absolute_labels=frozenset(label.id for label in form.filled.labels if label.absolute),
    )


def to_item(form: Form, row: FormRow) -> Item:
    """Return a row as an item, with what it leaves open drawn."""
    known = {role.id: role for role in form.filled.scenarios}
    roles = [known[name] for name in _roles(form, row)]
    return Item(
        benchmark_id=row.id,
        label=row.label,
        other_labels=tuple(_distractors(form, row)),
        question_id=row.question_id or row.id,
        image_path=row.picture,
        question=row.question,
        gt=row.ground_truth,
        non_privacy_scenarios=_scenarios(row, roles, 0),
        privacy_scenarios=_scenarios(row, roles, 1),
    )


def _scenarios(row: FormRow, roles: Iterable[RoleEntry], is_privacy: int) -> tuple[Scenario, ...]:
    return tuple(
        Scenario(role.id, is_privacy, role.template)
        for role in roles
        if (row.label not in role.needs) == bool(is_privacy)
    )


def _roles(form: Form, row: FormRow) -> list[str]:
    """Return the roles that a row names, or one that needs the label and one that does not."""
    if row.scenarios:
        return split(row.scenarios)
    chosen = []
    for needed in (True, False):
        names = [role.id for role in form.filled.scenarios if (row.label in role.needs) == needed]
        chosen += _shuffled(form, row, "scenario", names)[:1]
    return chosen


def _distractors(form: Form, row: FormRow) -> list[tuple[str, float]]:
    """Return the labels that a row names with their sides, or drawn ones, half of them private."""
    if row.distractors:
        return list(read_other_labels(row.distractors))
    groups = {label.id: label.group for label in form.filled.labels}
    group = groups[row.label]
    others = [
        label for label in groups if label != row.label and (not group or groups[label] != group)
    ]
    drawn = _shuffled(form, row, "distractor", others)[: form.filled.distractors.number]
    # Of an odd number, one more is private in every second item.
    extra = int(_rank(form, row, "extra", "")[0], 16) % 2
    private = (len(drawn) + extra) // 2
    sides = _shuffled(form, row, "side", drawn)[:private]
    return [(label, SIDES["private" if label in sides else "public"]) for label in drawn]


def _shuffled(form: Form, row: FormRow, purpose: str, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: _rank(form, row, purpose, name))


def _rank(form: Form, row: FormRow, purpose: str, name: str) -> str:
    """Return hex digits that put names in an order of the row's own, equal on every machine."""
    text = "\0".join((str(form.filled.distractors.seed), row.id, purpose, name))
    return hashlib.sha256(text.encode()).hexdigest()


def _tune(row: FormRow, item: Item) -> TuneItem:
    """Return an item with its answers; the public side is trained in the same roles."""
    return TuneItem(
        item=item,
        image_id=str(PurePosixPath(item.image_path).with_suffix("")),
        respond=row.respond,
        reject=row.reject,
        chosen_scenarios=item.privacy_scenarios,
    )


def _content(benchmark: Benchmark) -> str:
    """Return 8 hex digits of the SHA-256 of what a model and a judge are given."""
    digest = hashlib.sha256(benchmark.protocol.fingerprint.encode())
    for distractors in benchmark.variants:
        digest.update(fingerprint(benchmark.samples(distractors=distractors)).encode())
    for label, words in benchmark.label_words.items():
        digest.update(f"{label}\0{words}\0".encode())
    for item in benchmark.items:
        digest.update(f"{item.benchmark_id}\0{item.question}\0".encode())
    for name in sorted({item.image_path for item in benchmark.items}):
        digest.update(_picture_hash(benchmark.image_root / name))
    return digest.hexdigest()[:8]


def _picture_hash(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise DataError(
            f"the picture cannot be read ({error.strerror})", "Check the file.", path=path
        ) from error
