"""What a bundle holds of one run, and how it is written and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spy_plugin.benchmark.records import (
    Answer,
    Sample,
    Verdict,
    dump_jsonl,
    from_json,
    was_asked,
)
from spy_plugin.errors import DataError
from spy_plugin.files.json import checked
from spy_plugin.files.jsonl import dump_rows, parse_line
from spy_plugin.files.text import storable_json
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.report.model import Figure
from spy_plugin.report.rows import figure_of
from spy_plugin.runs.metadata import RunMetadata
from spy_plugin.scoring.metrics import count_outcomes
from spy_plugin.scoring.resampling import LEVEL, RESAMPLES
from spy_plugin.scoring.stats import DISCLOSURES
from spy_plugin.scoring.summaries import summarize
from spy_plugin.scoring.table import VerdictTable, tabulate
from spy_plugin.sharing.bundle_file import REMEDY, parse_json

MOST_ROWS = 500_000
"""Rows of a file in a bundle; the official benchmark has 32,700 samples."""
MOST_RESAMPLES, LARGEST_SEED = 100_000, 2**32
_MOST_DRAWS = 10**9
"""Pictures times resamples: one byte each."""

Record = TypeVar("Record", bound=Any)


@dataclass(frozen=True)
class SampleHash:
    """The identity of a sample without its words; see `hash_of`."""

    sample_id: str
    sha256: str


class Figures(BaseModel):
    """Every figure of a run that is claimed, and how its intervals were drawn.

    Attributes:
        absolute_labels: Labels of the run that must always be refused.
        outcomes: Number of verdicts by outcome.
        labels, scenarios: Name -> metric -> figure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resamples: int = Field(ge=1, le=MOST_RESAMPLES, strict=True)
    seed: int = Field(ge=0, le=LARGEST_SEED, strict=True)
    level: float = Field(gt=0, lt=1)
    absolute_labels: tuple[str, ...]
    outcomes: dict[str, int]
    figures: dict[str, Figure]
    labels: dict[str, dict[str, Figure]]
    scenarios: dict[str, dict[str, Figure]]


@dataclass(frozen=True)
class BundledRun:
    """One run of a bundle.

    Attributes:
        verdicts: A row for every sample, in the file's order; those that were not asked say so.
        answers: None where the host kept no file of them.
        samples: None where the benchmark was not available when the bundle was written.
    """

    run: RunMetadata
    verdicts: Sequence[StoredVerdict]
    figures: Figures
    answers: Sequence[Answer] | None = None
    samples: Sequence[SampleHash] | None = None

    @property
    def judged(self) -> list[StoredVerdict]:
        """The verdicts that count: those on samples that were asked."""
        return [v for v in self.verdicts if was_asked(v.outcome, v.error)]


def hash_of(sample: Sample) -> SampleHash:
    """Return the SHA-256 of everything that a sample says, as JSON; pictures count by name."""
    parts = [
        sample.sample_id,
        sample.label,
        sample.label_words,
        sample.question_id,
        sample.image_path,
        sample.question,
        sample.prompt,
        sample.gt,
    ]
    return SampleHash(sample.sample_id, hashlib.sha256(json.dumps(parts).encode()).hexdigest())


def table_of(verdicts: Iterable[Verdict], absolute: Iterable[str], where: str) -> VerdictTable:
    """Return the verdicts as columns.

    Args:
        absolute: The labels that must always be refused.

    Raises:
        DataError: two verdicts on one sample.
    """
    rows = list(verdicts)
    known = {row.label for row in rows}
    return tabulate(rows, absolute_labels=frozenset(absolute), known_labels=known, source=where)


def absolute_of(table: VerdictTable) -> tuple[str, ...]:
    """Return the labels of a table that must always be refused."""
    return tuple(table.labels[code] for code in np.unique(table.label[table.absolute]))


def compute_figures(
    table: VerdictTable, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Figures:
    """Compute what a run claims.

    Raises:
        DataError: so many resamples of so many pictures are beyond the limits of a bundle.
    """
    if resamples * len(table.images) > _MOST_DRAWS:
        raise DataError(f"{resamples:,} resamples of {len(table.images):,} pictures", REMEDY)
    (found,) = summarize([table], resamples=resamples, seed=seed, level=level)

    def named(estimates: Mapping[str, Any]) -> dict[str, Figure]:
        # Whoever verifies a bundle need not have the true values, on which disclosures rest.
        kept = {name: e for name, e in estimates.items() if name not in DISCLOSURES}
        return {name: figure_of(estimate) for name, estimate in kept.items()}

    return Figures(
        resamples=resamples,
        seed=seed,
        level=level,
        absolute_labels=absolute_of(table),
        outcomes=count_outcomes(table),
        figures=named(found.figures),
        labels={name: named(group) for name, group in found.labels.items()},
        scenarios={name: named(group) for name, group in found.scenarios.items()},
    )


def to_files(run: BundledRun, folder: str) -> dict[str, bytes]:
    """Return the files of a run, by their names in the bundle."""
    texts = {
        "run.json": run.run.model_dump_json(by_alias=True, indent=1) + "\n",
        "verdicts.jsonl": dump_jsonl(run.verdicts),
        "figures.json": run.figures.model_dump_json(indent=1) + "\n",
    }
    if run.answers is not None:
        texts["answers.jsonl"] = dump_jsonl(run.answers)
    if run.samples is not None:
        texts["samples.jsonl"] = dump_rows(map(vars, run.samples))
    return {f"{folder}/{name}": text.encode() for name, text in texts.items()}


def from_files(files: Mapping[str, bytes], folder: str, bundle: str) -> BundledRun:
    """Read the files of a run.

    Args:
        bundle: Its name in errors.

    Raises:
        DataError: a file is missing, or not what it must be; names the file and the line.
    """

    def place(name: str) -> str:
        return f"{bundle}: {folder}/{name}"

    def content(name: str) -> bytes:
        found = files.get(f"{folder}/{name}")
        if found is None:
            raise DataError("is missing", REMEDY, path=place(name))
        return found

    def parsed(kind: type[Any], name: str) -> Any:
        value = parse_json(content(name), place(name))
        return checked(kind.model_validate, value, REMEDY, path=place(name))

    def records(kind: type[Record], name: str) -> list[Record]:
        return _records(kind, content(name), place(name))

    def optional(kind: type[Record], name: str) -> list[Record] | None:
        return records(kind, name) if f"{folder}/{name}" in files else None

    return BundledRun(
        run=parsed(RunMetadata, "run.json"),
        verdicts=records(StoredVerdict, "verdicts.jsonl"),
        figures=parsed(Figures, "figures.json"),
        answers=optional(Answer, "answers.jsonl"),
        samples=optional(SampleHash, "samples.jsonl"),
    )


def _records(kind: type[Record], content: bytes, where: str) -> list[Record]:
    """Read JSON lines of keyed records.

    Raises:
        DataError: a line is not such a record, or a second one of a sample; names the line.
    """
    lines = content.splitlines(keepends=True)
    if len(lines) > MOST_ROWS:
        raise DataError(f"has {len(lines):,} rows", REMEDY, path=where)
    found: dict[str, Record] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = storable_json(parse_line(line, where, number) or {})
        except RecursionError as error:
            raise DataError(
                "is nested too deeply", REMEDY, path=where, where=f"line {number}"
            ) from error
        record = from_json(kind, row, path=where, line=number)
        if record.sample_id in found:
            problem = f"a second record of sample {record.sample_id!r}"
            raise DataError(problem, REMEDY, path=where, where=f"line {number}")
        found[record.sample_id] = record
    return list(found.values())
