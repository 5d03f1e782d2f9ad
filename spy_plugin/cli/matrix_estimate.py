"""What a matrix would take: samples, GPUs, hours and the judge's cost, before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.cli.matrix_plan import Matrix, ModelEntry, Step, chains, engines_of
from spy_plugin.judging.base import Question
from spy_plugin.judging.build import OFFLINE
from spy_plugin.judging.cost import estimate
from spy_plugin.models.base import LOCAL_BACKENDS

MEASURED = (78.0, 7.0)
"""Samples per second of one engine on one H200, at so many billion parameters."""

START_SECONDS = 75.0
"""Time in which vLLM loads, which each command takes."""

ANSWER = "word " * 50
"""Stands for an answer that is not there yet."""


@dataclass(frozen=True)
class Cost:
    """What one step takes.

    Attributes:
        samples: Those that are not answered or judged yet.
        hours: None where nothing is known of the speed.
        dollars: None where the price is unknown; 0 for local models and offline judges.
    """

    step: Step
    samples: int
    hours: float | None
    dollars: float | None


def estimate_matrix(matrix: Matrix, benchmark: Benchmark) -> list[Cost]:
    """Estimate every step of a matrix."""
    found = []
    for chain in chains(matrix):
        for step in chain.steps:
            samples = list(benchmark.samples(distractors=step.condition != "no-distractors"))
            asked = len(samples[: matrix.limit])
            open_ones = max(0, asked - step.lines_written)
            if step.words[0] == "judge":
                # Its file begins with all that were not asked.
                open_ones = min(asked, max(0, len(samples) - step.lines_written))
                found.append(_judging(matrix, benchmark, step, open_ones))
                continue
            turns = 2 if step.words[0] == "self-moderate" else 1
            hours = _hours(chain.entry, open_ones * turns)
            dollars = None if chain.entry.backend == "openai" else 0.0
            found.append(Cost(step, open_ones, hours, dollars))
    return found


def render(costs: list[Cost], benchmark: Benchmark) -> str:
    """The commands, what each takes, and the sums."""
    lines = []
    for cost in costs:
        hours = "hours unknown" if cost.hours is None else f"about {cost.hours:.2f} hours"
        dollars = "cost unknown" if cost.dollars is None else f"about ${cost.dollars:,.2f}"
        lines += [
            f"# {cost.step.title}: {cost.samples:,} of {benchmark.name}'s samples open, "
            f"{cost.step.gpus} GPUs, {hours}, {dollars}",
            cost.step.command,
        ]
    known = [cost for cost in costs if cost.hours is not None]
    gpu_hours = sum((cost.hours or 0) * cost.step.gpus for cost in known)
    judged = [cost for cost in costs if cost.step.words[0] == "judge"]
    total = sum(cost.dollars or 0 for cost in judged)
    unknown = len(costs) - len(known)
    lines.append(
        f"# in all about {gpu_hours:.1f} GPU hours and ${total:,.2f} for the judge"
        + (f"; nothing is known of the speed of {unknown} steps" if unknown else "")
    )
    return "\n".join(lines)


def _hours(entry: ModelEntry, samples: int) -> float | None:
    """Hours of generation: by the entry's own speed, else from the size in the model's name.

    Engines share the samples; each loads the model.
    """
    if not samples or entry.backend == "policy":
        return 0.0
    rate = entry.samples_per_second
    size = re.search(r"(\d+(?:\.\d+)?)[bB]\b", entry.model)
    start = START_SECONDS if entry.backend in LOCAL_BACKENDS else 0.0
    if rate is None and size and entry.backend == "vllm":
        rate = MEASURED[0] * MEASURED[1] / float(size[1]) * engines_of(entry.options)
    return None if rate is None else (start + samples / rate) / 3600


def _judging(matrix: Matrix, benchmark: Benchmark, step: Step, open_ones: int) -> Cost:
    judge = matrix.judge
    if judge.name in OFFLINE:
        return Cost(step, open_ones, 0.0, 0.0)
    if judge.name.startswith(LOCAL_BACKENDS):
        return Cost(step, open_ones, None, 0.0)
    distractors = step.condition != "no-distractors"
    questions = [
        Question(sample.label, sample.label_words, sample.question, ANSWER)
        for sample in benchmark.samples(distractors=distractors)
    ][:open_ones]
    cost = estimate(questions, benchmark.protocol, judge.name, judge.price).cost
    return Cost(step, open_ones, None, cost)
