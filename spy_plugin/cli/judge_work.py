"""The answers that `spy-bench judge` and its relatives work on, with the samples they are to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.records import Answer, Sample
from spy_plugin.benchmark.samples import Benchmark

if TYPE_CHECKING:
    from spy_plugin.runs.metadata import RunMetadata


@dataclass(frozen=True)
class Work:
    """What there is to judge.

    Attributes:
        run: What is known of the answers.
        samples: Those of the answers' variant.
        answers: One a sample.
        remarks: What the user should know of the file.
    """

    path: Path
    benchmark: Benchmark
    run: RunMetadata
    samples: list[Sample]
    answers: list[Answer]
    remarks: list[str]


def open_answers(path: Path, benchmark: Benchmark) -> Work:
    """The answers of a file and the samples they are to.

    Raises:
        DataError: no answer, or answers to something else.
    """
    from spy_plugin.benchmark.answers import read_answers, variant_of
    from spy_plugin.judging.metadata import describe_answers
    from spy_plugin.runs.metadata import ProtocolInfo

    protocol = benchmark.protocol
    found = read_answers(path, with_thoughts=bool(protocol.thoughts))
    distractors, samples = variant_of(benchmark, found, path)
    remarks = []
    if found.repeated:
        remarks.append(
            f"{found.repeated} samples have several answers in {path}: the last one counts"
        )
    absent = len(samples) - len(found.by_id)
    if absent:
        remarks.append(f"{absent} samples have no answer in {path}: they were not asked")
    about = describe_answers(path, benchmark, distractors, samples, found)
    if protocol.thoughts:
        name = f"{about.protocol.name}+thoughts"
        used = ProtocolInfo.of(protocol, name)
        about = about.model_copy(update={"protocol": used})
    return Work(path, benchmark, about, samples, list(found.by_id.values()), remarks)
