"""Measure what a full run keeps in memory, and the cost of its files.

    python -m benchmarks.run_memory [--samples 32700]

An instant model and an instant judge reply to the samples in reverse order, so that their files are
put in order at the end. Time is CPU time: each kind of run is made once for it, and once more to
count memory, which takes longer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.any_server import make_benchmark
from benchmarks.judge import InstantJudge
from spy_plugin.benchmark.records import Answer, Verdict
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.generation.generate import generate
from spy_plugin.generation.self_moderation import self_moderate
from spy_plugin.judging import Judgement, Question, judge_answers
from spy_plugin.models.base import Conversation, Decoding, Model, Reply
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.identity import describe_run

_SAMPLES_AN_ITEM, _THOUSAND, _MB = 5, 1000, 1e6

Progress = Callable[[Answer | Verdict], None]
Run = Callable[[Path, Progress], None]
"""Write a file of records, or resume it."""


class InstantModel(Model):
    """Answers at once, and remembers nothing."""

    backend, model, decoding, settings = "instant", "instant", Decoding(), {}

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            yield Reply(conversation.key, f"{conversation.key} shows 12. " * 8, answered_by="it")


class BackwardsJudge(InstantJudge):
    """Judges the last question first."""

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield one judgement per question."""
        return reversed(list(super().ask(questions)))


def main() -> None:
    """Print one line per kind of run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=32_700)
    count = parser.parse_args().samples
    print(
        f"{count:,} samples{'':9}{'append':>10}{'last/first thousand':>21}{'close':>10}"
        f"{'resume':>10}{'kept':>12}{'peak':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        benchmark = make_benchmark(count // _SAMPLES_AN_ITEM, Path(folder))
        report("answers", answering(benchmark), Path(folder))
        report("moderated answers", moderating(benchmark), Path(folder))
        report("verdicts", judging(benchmark), Path(folder))


def answering(benchmark: Benchmark) -> Run:
    """A run of `generate`."""
    samples, model = list(benchmark.samples()), InstantModel()
    about = describe_run(benchmark, model, name="instant")

    def run(path: Path, progress: Progress) -> None:
        file = AnswerFile(path, about, samples)
        generate(samples[::-1], benchmark, model, file, progress=progress)

    return run


def moderating(benchmark: Benchmark) -> Run:
    """A run of `self-moderate`: two turns; progress is that of the last."""
    samples, model, first = list(benchmark.samples()), InstantModel(), answers(benchmark)
    about = describe_run(benchmark, model, name="instant", self_moderation=True)
    by_id = {answer.sample_id: answer for answer in first}

    def run(path: Path, progress: Progress) -> None:
        file = AnswerFile(path, about, samples)
        self_moderate(samples[::-1], by_id, benchmark, model, file, progress=progress)

    return run


def judging(benchmark: Benchmark) -> Run:
    """A run of `judge`, without a cache."""
    samples = list(benchmark.samples())
    given = answers(benchmark)

    def run(path: Path, progress: Progress) -> None:
        judge_answers(samples, given, BackwardsJudge(), path, progress=progress)

    return run


def answers(benchmark: Benchmark) -> list[Answer]:
    """One answer per sample, each another text."""
    return [Answer(s.sample_id, f"{s.sample_id} shows 12. " * 8) for s in benchmark.samples()]


def report(name: str, run: Run, folder: Path) -> None:
    """Make a run, resume it, make it again under a memory tracer, and print its line."""
    stamps: list[float] = []
    run(folder / f"{name}-1.jsonl", lambda _: stamps.append(time.process_time()))
    closed = time.process_time()
    run(folder / f"{name}-1.jsonl", lambda _: None)
    resumed = time.process_time() - closed
    first, last = stamps[_THOUSAND] - stamps[0], stamps[-1] - stamps[-1 - _THOUSAND]
    kept, peak = traced(run, folder / f"{name}-2.jsonl")
    print(
        f"{name:<24}{stamps[-1] - stamps[0]:>8.2f} s{last / first:>21.2f}"
        f"{closed - stamps[-1]:>8.2f} s{resumed:>8.2f} s{kept / _MB:>9.1f} MB{peak / _MB:>7.1f} MB"
    )


def traced(run: Run, path: Path) -> tuple[int, int]:
    """Bytes kept from the thousandth record to the last, and the peak above the former."""
    done, kept = 0, [0, 0]

    def progress(_: object) -> None:
        nonlocal done
        done += 1
        kept[1 if done > _THOUSAND else 0] = tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    run(path, progress)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return kept[1] - kept[0], peak - kept[0]


if __name__ == "__main__":
    main()
