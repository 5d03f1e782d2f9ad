"""Read a file of answers: of several records of one sample the last counts.

A run appends. A sample that failed and was answered later has two records until the end of the run,
which rewrites the file with one record per sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from spy_plugin.benchmark.records import Answer, Sample, last_records
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError

ANSWERS_SUFFIX = "_answers.jsonl"


@dataclass(frozen=True)
class Answers:
    """The answers of a file.

    Attributes:
        by_id: sample_id -> its last record, in the order of first mention.
        repeated: Samples that had more than one record.
    """

    by_id: dict[str, Answer]
    repeated: int


def read_answers(path: Path) -> Answers:
    """Read a file of answers, plain or gzipped, without a torn last line.

    Raises:
        DataError: the file is missing, or a line is not an answer.
    """
    return Answers(*last_records(path, Answer))


def answers_stem(path: Path) -> str:
    """Return `x` for `x_answers.jsonl` or `x.jsonl`, gzipped or not: the run's files begin so."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix("_answers")


def variant_of(
    benchmark: Benchmark, answers: Iterable[str], path: Path
) -> tuple[bool, list[Sample]]:
    """Find the variant (with or without distractors) that answers were given to.

    Args:
        answers: The `sample_id` of each answer.
        path: Their file, for errors.

    Returns:
        Whether it is the variant with distractors, and all its samples.

    Raises:
        DataError: there are no answers, or one belongs to no sample or to the other variant.
    """
    stranger = ""
    asked = set(answers)
    if not asked:
        raise DataError("holds no answers", "Give a file of answers.", path=path)
    for distractors in (True, False):
        samples = list(benchmark.samples(distractors=distractors))
        unknown = asked.difference(sample.sample_id for sample in samples)
        if not unknown:
            return distractors, samples
        stranger = min(unknown)
    raise DataError(
        "the answer belongs to no sample of this benchmark",
        "Name the benchmark that the answers were given to, and keep one variant per file.",
        path=path,
        where=f"sample {stranger}",
    )
