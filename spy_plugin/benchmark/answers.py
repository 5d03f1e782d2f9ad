"""Read a file of answers: of several records of one sample the last counts.

A run appends. A sample that failed and was answered later has two records until the end of the run,
which rewrites the file with one record per sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from spy_plugin.benchmark.official_files import is_official, model_of_answers, read_official_row
from spy_plugin.benchmark.records import Answer, Sample, from_json
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl

ANSWERS_SUFFIX = "_answers.jsonl"


@dataclass(frozen=True)
class Answers:
    """The answers of a file.

    Attributes:
        by_id: sample_id -> its last record, in the order of first mention.
        repeated: Samples that had more than one record.
        lines: sample_id -> the number of its line in the file.
        prompts: sample_id -> the prompt that was answered; the official scripts keep it.
        model: The model's name, where the file is the official scripts'; else empty.
    """

    by_id: dict[str, Answer]
    repeated: int
    lines: dict[str, int]
    prompts: dict[str, str] = field(default_factory=dict)
    model: str = ""


def read_answers(path: Path, *, with_thoughts: bool = False) -> Answers:
    """Read a file of answers, plain or gzipped, without a torn last line.

    Args:
        with_thoughts: Put what the model thought aloud before the text that is judged.
        path: Ours, or `resp/MODEL.jsonl` of the official scripts. There a row that was not asked
            yet is skipped, and a request that failed has the outcome `failed`.

    Raises:
        DataError: the file is missing, or a line is not an answer, or has other turns than the
            others.
    """
    found: dict[str, Answer] = {}
    repeated: set[str] = set()
    lines: dict[str, int] = {}
    turns: int | None = None
    prompts: dict[str, str] = {}
    official = False
    for line, row in read_jsonl(path, allow_torn_tail=True):
        if is_official(row):
            official = True
            asked = read_official_row(row, path=path, line=line)
            answer = asked.answer()
            if answer is None:
                continue
            prompts[answer.sample_id] = asked.input_question
        else:
            answer = from_json(Answer, row, path=path, line=line)
            turns = _refuse_inconsistent(answer, turns, path, line)
            if with_thoughts:
                answer = _with_thoughts(answer, row.get("thoughts"))
        if answer.sample_id in found:
            repeated.add(answer.sample_id)
        found[answer.sample_id] = answer
        lines[answer.sample_id] = line
    model = model_of_answers(path) if official else ""
    return Answers(found, len(repeated), lines, prompts, model)


def _refuse_inconsistent(answer: Answer, turns: int | None, path: Path, line: int) -> int | None:
    """Refuse an answer that a damaged line seems to hold; returns the turns of an answer here."""
    if answer.outcome is not None:
        return turns
    problem = ""
    if answer.error:
        problem = "has an error, but no outcome"
    elif turns not in (None, len(answer.turns)):
        problem = f"has {len(answer.turns) + 1} turns; those before it have {(turns or 0) + 1}"
    if problem:
        raise DataError(
            f"the answer {problem}", "Restore the line.", path=path, where=f"line {line}"
        )
    return len(answer.turns)


def _with_thoughts(answer: Answer, thoughts: object) -> Answer:
    if not isinstance(thoughts, str) or not thoughts:
        return answer
    text = f"<think>\n{thoughts}\n</think>\n\n{answer.scored}"
    if answer.turns:
        return replace(answer, turns=(*answer.turns[:-1], text))
    return replace(answer, response=text)


def answers_stem(path: Path) -> str:
    """Return `x` for `x_answers.jsonl` or `x.jsonl`, gzipped or not: the run's files begin so."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix("_answers")


def variant_of(benchmark: Benchmark, answers: Answers, path: Path) -> tuple[bool, list[Sample]]:
    """Find the variant (with or without distractors) that answers were given to.

    Args:
        path: The file of the answers, for errors.

    Returns:
        Whether it is the variant with distractors, and all its samples.

    Raises:
        DataError: there are no answers, or one belongs to no sample or to the other variant, or
            was given to another prompt.
    """
    stranger = ""
    if not answers.by_id:
        raise DataError("holds no answers", "Give a file of answers.", path=path)
    for distractors in benchmark.variants:
        samples = list(benchmark.samples(distractors=distractors))
        unknown = answers.by_id.keys() - {sample.sample_id for sample in samples}
        if not unknown:
            _refuse_other_prompts(samples, answers, path)
            return distractors, samples
        stranger = min(unknown)
    raise DataError(
        "the answer belongs to no sample of this benchmark",
        "Name the benchmark that the answers were given to, and keep one variant per file.",
        path=path,
        where=f"line {answers.lines[stranger]}, sample {stranger}",
    )


def _refuse_other_prompts(samples: list[Sample], answers: Answers, path: Path) -> None:
    for sample in samples:
        if answers.prompts.get(sample.sample_id) not in (None, "", sample.prompt):
            raise DataError(
                "the answer was given to another prompt than this benchmark's",
                "Name the release, with its config.py, that the official scripts ran with.",
                path=path,
                where=f"line {answers.lines[sample.sample_id]}, sample {sample.sample_id}",
            )
