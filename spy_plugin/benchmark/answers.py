"""Reading a file of answers, by whichever command: of two records of one sample the last counts.

A run appends: a sample that failed and was answered later stands there twice until the run's end,
when the file is rewritten with one record a sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from spy_plugin.benchmark.record_parsing import from_json
from spy_plugin.benchmark.records import Answer, Sample, Verdict
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl

ANSWERS_SUFFIX = "_answers.jsonl"

Kept = TypeVar("Kept", bound=Answer | Verdict)


@dataclass(frozen=True)
class Answers:
    """What a file holds.

    Attributes:
        by_id: sample_id -> its last record, in the order of first mention.
        repeated: Samples that had more than one record.
    """

    by_id: dict[str, Answer]
    repeated: int


def read_answers(path: Path) -> Answers:
    """Read a file of answers, plain or gzipped, leaving out a torn last line.

    Raises:
        DataError: the file is missing, or a line is no answer.
    """
    found, repeated = last_records(path, Answer)
    return Answers(dict(found), repeated)


def last_records(path: Path, kind: type[Kept]) -> tuple[dict[str, Kept], int]:
    """Each sample's last answer or verdict, and how many samples had several.

    Raises:
        DataError: the file is missing, or a line is something else.
    """
    found: dict[str, Kept] = {}
    repeated: set[str] = set()
    for line, row in read_jsonl(path, allow_torn_tail=True):
        record: Kept = from_json(cast(Any, kind), row, path=path, line=line)
        if record.sample_id in found:
            repeated.add(record.sample_id)
        found[record.sample_id] = record
    return found, len(repeated)


def answers_stem(path: Path) -> str:
    """`x_answers.jsonl` or `x.jsonl`, gzipped or not -> `x`: other files of the run begin so."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix("_answers")


def variant_of(
    benchmark: Benchmark, answers: Iterable[str], path: Path
) -> tuple[bool, list[Sample]]:
    """Whether answers, given by their sample_ids, are to the samples with distractors; the samples.

    Raises:
        DataError: there is none, or one to no sample of the benchmark, or of the other variant.
    """
    stranger: str | None = None
    asked = set(answers)
    if not asked:
        raise DataError("holds no answer", "Give a file of answers.", path=path)
    for distractors in (True, False):
        samples = list(benchmark.samples(distractors=distractors))
        unknown = asked.difference(sample.sample_id for sample in samples)
        if not unknown:
            return distractors, samples
        stranger = min(unknown)
    raise DataError(
        "the answer belongs to no sample of this benchmark",
        "Name the benchmark that the answers were given to, and keep one variant a file.",
        path=path,
        where=f"sample {stranger}",
    )
