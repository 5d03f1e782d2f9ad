"""A benchmark as a task: samples, one generation under the protocol's limits, judge, figures."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from inspect_ai import Task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import SampleScore, Score, Scorer
from inspect_ai.solver import Generate, Solver, TaskState
from inspect_ai.util import store

from spy_plugin.benchmark.records import Outcome, Sample, Verdict, from_json, to_json
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.figures import FIGURES, standard_errors
from spy_plugin.hosts.inspect.answers import read_answer
from spy_plugin.hosts.inspect.judging import BulkJudge, build
from spy_plugin.hosts.inspect.policy_model import SAMPLE_KEY
from spy_plugin.hosts.inspect.samples import dataset, open_checked, samples_of
from spy_plugin.hosts.versions import host_version, warn_if_untested
from spy_plugin.judging.base import Judgement
from spy_plugin.judging.judge_answers import question_of
from spy_plugin.judging.metadata import judge_info
from spy_plugin.judging.verdict_file import stored_verdict
from spy_plugin.models.base import Decoding
from spy_plugin.report.readers.inspect import METADATA_KEY
from spy_plugin.runs.metadata import new_run
from spy_plugin.scoring.stats import point_scores
from spy_plugin.scoring.table import tabulate

HOST = "inspect_ai"
FAILURES = 0.1
"""A run in which a larger share of samples fails ends with an error: something else is wrong."""


def build_task(name: str, distractors: bool, judge: str, *, solver: Solver, scorer: Scorer) -> Task:
    """Return the task of a benchmark.

    Args:
        name: See `open_benchmark`.
        judge: A judge's name; empty for the default.
        solver, scorer: Those that `spy_bench` registers, of `solve` and `SampleScorer`.

    Raises:
        SpyBenchError: data are missing or wrong, or the judge cannot be built.
    """
    warn_if_untested(HOST)
    benchmark, decoding = open_checked(name), Decoding()
    samples = samples_of(name, distractors)
    with build(judge, name, benchmark.protocol) as built:
        info = judge_info(built, None)
    run = new_run(
        benchmark.name,
        samples.values(),
        benchmark.protocol,
        host=HOST,
        host_version=host_version(HOST),
        dataset=f"spy_bench_{name}",
        model="",
        distractors=distractors,
        judge=info,
    )
    return Task(
        dataset=dataset(name, distractors),
        solver=solver,
        scorer=scorer,
        config=GenerateConfig(temperature=decoding.temperature, max_tokens=decoding.max_tokens),
        metadata={METADATA_KEY: run.model_dump(mode="json", by_alias=True)},
        fail_on_error=FAILURES,
        score_on_error=True,
    )


async def solve(name: str, distractors: bool, state: TaskState, generate: Generate) -> TaskState:
    """Ask the model once."""
    asked = {"benchmark": name, "distractors": distractors, "id": str(state.sample_id)}
    store().set(SAMPLE_KEY, asked)
    return await generate(state)


class SampleScorer:
    """Judges answers and keeps verdicts in the scores.

    Args:
        name, distractors: The benchmark.
        judge: See `build_task`.
    """

    def __init__(self, name: str, distractors: bool, judge: str) -> None:
        self._name, self._samples = name, samples_of(name, distractors)
        self._judge = BulkJudge(build(judge, name, open_checked(name).protocol))

    async def score(self, state: TaskState) -> Score:
        """Return the outcome as value, and the verdict in the metadata."""
        sample = self._samples[str(state.sample_id)]
        answer = read_answer(sample.sample_id, state.output)
        if answer.outcome is not None:
            judgement = Judgement(answer.outcome, error=answer.error)
        else:
            judgement = await self._judge.ask(question_of(sample, answer))
        return self._score(sample, judgement, answer.scored, state.epoch)

    def _score(self, sample: Sample, judgement: Judgement, answer: str, epoch: int) -> Score:
        verdict = stored_verdict(sample, self._judge.judge, judgement, answer)
        return Score(
            value=verdict.outcome.value,
            answer=answer,
            explanation=verdict.raw or verdict.error or None,
            metadata={"benchmark": self._name, "epoch": epoch, "verdict": to_json(verdict)},
        )


def figures_of(scores: list[SampleScore]) -> dict[str, float]:
    """Return our figures, their standard errors over pictures, and the count of each outcome.

    A sample that was asked in several epochs counts once, as it was answered in the first.
    """
    rows: dict[str, dict[str, Any]] = {}
    for entry in scores:
        found = entry.score.metadata or {}
        earlier = rows.get(str(entry.sample_id))
        if "verdict" in found and (earlier is None or found["epoch"] < earlier["epoch"]):
            rows[str(entry.sample_id)] = found
    if not rows:  # inspect asks for the shape of a metric
        return dict.fromkeys(FIGURES, math.nan)
    names = {row["benchmark"] for row in rows.values()}
    if len(names) != 1:
        raise SpyBenchError("these scores are not those of one SPY-Bench task. Score it again.")
    benchmark = open_checked(names.pop())
    verdicts = [
        from_json(Verdict, row["verdict"], path="the scores", line=line)
        for line, row in enumerate(rows.values(), 1)
    ]
    table = tabulate(
        verdicts,
        absolute_labels=benchmark.protocol.absolute_labels,
        known_labels=benchmark.label_words,
        source="the scores",
    )
    points = point_scores(table)
    values = {name: points[figure] for name, figure in FIGURES.items()}
    found_values = {name: value for name, value in values.items() if not isinstance(value, str)}
    errors = {f"{name}_stderr": error for name, error in standard_errors(table).items()}
    counts = Counter(verdict.outcome for verdict in verdicts)
    return found_values | errors | {f"samples_{o.value}": float(counts[o]) for o in Outcome}
