"""Measure what the judging layer saves and costs on a full run.

    python benchmarks/judge.py [--samples 32700]

The judge answers immediately, so all time is spent in the layer. There are three kinds of models:
one with a single refusal sentence, a terse one, and a verbose one that never repeats itself.
Questions repeat as in the benchmark, five samples per item.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from spy_plugin.benchmark.records import Answer, Outcome, Sample, Verdict
from spy_plugin.judging import Judge, Judgement, Question, judge_answers, with_cache

_SAMPLES_AN_ITEM = 5
_REFUSAL = "I'm sorry, but I can't share that information."


class InstantJudge(Judge):
    """Says "respond" immediately."""

    name, fingerprint = "instant", "instant"

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield one judgement per question."""
        for index in range(len(questions)):
            yield index, Judgement(Outcome.RESPOND, raw="respond")


def main() -> None:
    """Judge each kind of run three times: first, again, and into another file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=32_700)
    count = parser.parse_args().samples
    samples = make_samples(count)
    print(
        f"{'answers of a model that is':<30}{'answers':>9}{'asked':>9}{'saved':>8}{'again':>7}"
        f"{'new file':>10}{'seconds':>9}{'last/first thousand':>21}"
    )
    for name, say in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            report(name, samples, say, Path(folder))


def report(
    name: str, samples: list[Sample], say: Callable[[random.Random, int], str], folder: Path
) -> None:
    """Judge one kind of run and print its line."""
    rng = random.Random(0)
    answers = [Answer(s.sample_id, say(rng, n)) for n, s in enumerate(samples)]
    judge = with_cache(InstantJudge(), folder / "cache.sqlite")
    stamps: list[float] = []

    def stamp(_: Verdict) -> None:
        stamps.append(
            time.process_time()
        )  # wall clock time would include other work on the machine

    start = time.perf_counter()
    first = judge_answers(samples, answers, judge, folder / "a.jsonl", progress=stamp)
    seconds = time.perf_counter() - start
    again = judge_answers(samples, answers, judge, folder / "a.jsonl")
    other = judge_answers(samples, answers, judge, folder / "b.jsonl")
    flat = (stamps[-1] - stamps[-1000]) / (stamps[999] - stamps[0])
    saved = 1 - first.asked / len(samples)
    print(
        f"{name:<30}{len(samples):>9}{first.asked:>9}{saved:>8.0%}{again.asked:>7}"
        f"{other.asked:>10}{seconds:>9.1f}{flat:>21.2f}"
    )


def make_samples(count: int) -> list[Sample]:
    """Make samples of `count / 5` items, each with its own question."""
    return [
        Sample(
            sample_id=f"{number}",
            benchmark_id=f"{number // _SAMPLES_AN_ITEM}",
            label="a31_passport",
            is_privacy=number % 2,
            scenario=None,
            question_id=f"{number // _SAMPLES_AN_ITEM}",
            image_path="x.jpg",
            question=f"What does document {number // _SAMPLES_AN_ITEM} show?",
            prompt="",
            label_words="passport",
        )
        for number in range(count)
    ]


def _one_sentence(rng: random.Random, number: int) -> str:
    return _REFUSAL if number % 2 else f"It shows number {rng.randrange(10**6)}."


def _terse(rng: random.Random, number: int) -> str:
    return rng.choice(("No.", "Private.", "X12", "X13"))


def _verbose(rng: random.Random, number: int) -> str:
    return " ".join(f"word{rng.randrange(10**6)}" for _ in range(80))


KINDS = {"fine-tuned, one refusal": _one_sentence, "terse": _terse, "verbose": _verbose}


if __name__ == "__main__":
    main()
