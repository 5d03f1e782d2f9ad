"""The names by which inspect_ai finds SPY-Bench: `inspect eval spy_bench/spy_bench_mini`.

inspect_ai prefixes what a package registers with the package's import name, and loads an entry
point of that name; the distribution is called `spy-bench`. So this module stands alone, and holds
nothing but the registrations. inspect_ai loads it at each start: what it needs is imported later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_ai import Task, task
from inspect_ai.model import modelapi
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import registry_info

if TYPE_CHECKING:
    from spy_plugin.hosts.inspect.policy_model import PolicyAPI


@metric
def prefix() -> Metric:
    """A name to look at: whether inspect_ai puts ours before it."""
    return lambda scores: 0.0


_PREFIX = "" if "/" in registry_info(prefix).name else "spy_bench/"
"""What inspect_ai leaves out where it takes a clone for no package, as beside an `.egg-info`."""


@task(name=f"{_PREFIX}spy_bench")
def spy_bench(distractors: bool = True, judge: str = "") -> Task:
    """The official benchmark, from the release on this machine.

    Args:
        distractors: Whether the instruction names other labels, too.
        judge: As `spy-bench judge --judge`; by default `SPY_BENCH_JUDGE`, else `JUDGE_MODEL`.
    """
    return _task("official", distractors, judge)


@task(name=f"{_PREFIX}spy_bench_mini")
def spy_bench_mini(distractors: bool = True, judge: str = "") -> Task:
    """The embedded benchmark of drawn pictures; judged by rules by default."""
    return _task("mini", distractors, judge)


@task(name=f"{_PREFIX}spy_bench_lab")
def spy_bench_lab(distractors: bool = True, judge: str = "") -> Task:
    """The lab's test split; judged by rules by default."""
    return _task("lab", distractors, judge)


@solver(name=f"{_PREFIX}answer")
def answer(benchmark: str, distractors: bool) -> Solver:
    """Ask the model once about each sample."""
    from spy_plugin.hosts.inspect.task import solve

    async def run(state: TaskState, generate: Generate) -> TaskState:
        return await solve(benchmark, distractors, state, generate)

    return run


@metric(f"{_PREFIX}figures", scores="unreduced")
def figures() -> Metric:
    """Our figures, their standard errors over pictures, and the count of each outcome."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        from spy_plugin.hosts.inspect.task import figures_of

        return figures_of(scores)

    return compute


@scorer(metrics=[figures()], name=f"{_PREFIX}verdict")
def verdict(benchmark: str, distractors: bool, judge: str = "") -> Scorer:
    """Judge each answer; the value is its outcome."""
    from spy_plugin.hosts.inspect.task import SampleScorer

    judging = SampleScorer(benchmark, distractors, judge)

    async def score(state: TaskState, target: Target) -> Score:
        return await judging.score(state)

    return score


@modelapi(name=f"{_PREFIX}spy")
def spy() -> type[PolicyAPI]:
    """Reference policies: `--model spy/spy-literal`."""
    from spy_plugin.hosts.inspect.policy_model import PolicyAPI

    return PolicyAPI


def _task(name: str, distractors: bool, judge: str) -> Task:
    from spy_plugin.hosts.inspect.errors import shown
    from spy_plugin.hosts.inspect.task import build_task

    with shown():
        return build_task(
            name,
            distractors,
            judge,
            solver=answer(name, distractors),
            scorer=verdict(name, distractors, judge),
        )
