"""Run the whole lab: each stage that is not done yet, the evaluation, and the report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Verdict, read_records
from spy_plugin.benchmark.samples import Benchmark, fingerprint
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.files.json import read_json
from spy_plugin.lab import stages
from spy_plugin.lab.answers import allowed_answers, answer_accuracy
from spy_plugin.lab.intervals import RunCounts, compare, count_run
from spy_plugin.lab.report import summary_lines, write_report
from spy_plugin.lab.results import LabResults, Point, Run
from spy_plugin.lab.stages import Plan
from spy_plugin.scoring import metrics
from spy_plugin.scoring.table import tabulate

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "trl")


def run_lab(plan: Plan, *, say: Callable[[str], None]) -> LabResults:
    """Run a lab and write `lab.html` and `lab.json`. Finished stages are kept.

    Args:
        say: Receives one line per stage, and the summary at the end.

    Raises:
        SpyBenchError: A stage failed, or its folder was started with other settings.
    """
    base = stages.base_model(plan)
    say(f"base: {base}")
    benchmark = open_benchmark(plan.size.benchmark)
    measured = [measure("base", 0, base, plan, {}, benchmark)]
    say(_summary(measured[-1][0]))
    for method, seed in plan.runs():
        say(f"{method}, seed {seed}: {plan.steps} steps")
        folder = stages.align(plan, base, method, seed)
        record = read_json(folder / stages.RECORD, "Delete it: the alignment is done again.")
        measured.append(measure(method, seed, folder, plan, record, benchmark))
        say(_summary(measured[-1][0]))
        _write(measured, plan, benchmark)
    results = _write(measured, plan, benchmark)
    for line in summary_lines(results):
        say(line)
    return results


def measure(
    method: str,
    seed: int,
    model: Path,
    plan: Plan,
    record: dict[str, Any],
    benchmark: Benchmark,
) -> tuple[Run, RunCounts]:
    """Evaluate a model on the test split; return its figures and its counts by picture.

    Args:
        record: Content of the run's `lab_run.json`; empty for the base.
    """
    work = plan.out / "hosts" / (method if method == "base" else f"{method}-seed{seed}")
    verdicts = list(read_records(stages.evaluate(model, work, plan.size.dataset), Verdict))
    samples = {sample.sample_id: sample for sample in benchmark.samples()}
    absolute_labels = benchmark.protocol.absolute_labels
    table = tabulate(
        verdicts,
        absolute_labels=absolute_labels,
        known_labels=benchmark.label_words,
    )
    block = metrics.compute(table)["metrics"]

    def figure(name: str) -> float | None:
        score = block[name] if name == metrics.HMS else block[name]["score"]
        return None if isinstance(score, str) else float(score)

    answers = allowed_answers(verdicts, samples, absolute_labels)
    run = Run(
        method=method,
        seed=seed,
        settings={**plan.size.settings.get(method, {}), "steps": plan.steps} if record else {},
        seconds=record.get("seconds", 0.0),
        peak_memory_mib=record.get("peak_memory_mib"),
        curve=curve(stages.training_log(model)) if record else (),
        ics=figure(metrics.ICS),
        ics_scenario=figure(metrics.ICS_SCENARIO),
        rta=figure(metrics.RTA),
        ata_conflict=figure(metrics.ATA_CONFLICT),
        hms=figure(metrics.HMS),
        answers=answer_accuracy(verdicts, samples, absolute_labels),
        samples=len(verdicts),
        settings_tried=plan.size.tuning.get(method) if record else None,
    )
    return run, count_run(run.method, seed, table, answers)


def curve(history: list[dict[str, Any]]) -> tuple[Point, ...]:
    """Turn the trainer's log history into points, one per logged step."""
    names = {
        "loss": "loss",
        "ics": "eval_spy_ics",
        "hms": "eval_spy_hms",
        "answers": "eval_spy_answers",
    }
    by_step: dict[int, dict[str, float]] = {}
    for entry in history:
        point = by_step.setdefault(int(entry["step"]), {})
        point.update({name: entry[key] for name, key in names.items() if key in entry})
    return tuple(
        Point(step=step, **{name: values.get(name) for name in names})
        for step, values in sorted(by_step.items())
        if values
    )


def _write(measured: list[tuple[Run, RunCounts]], plan: Plan, benchmark: Benchmark) -> LabResults:
    results = LabResults(
        size=plan.size.name,
        data_fingerprint=fingerprint(benchmark.samples()),
        judge="rules",
        versions={package: version(package) for package in _PACKAGES},
        tuned_on=plan.size.tuned_on,
        runs=tuple(run for run, _ in measured),
        comparison=compare([counts for _, counts in measured]),
    )
    write_report(results, plan.out)
    return results


def _summary(run: Run) -> str:
    figures = {"ICS": run.ics, "HMS": run.hms, "answers": run.answers}
    listed = ", ".join(
        f"{name} {'N/A' if value is None else f'{value:.1f}'}" for name, value in figures.items()
    )
    return f"  {run.method}: {listed} ({run.seconds:.0f} s)"
