"""The whole lab: run each stage that is not done, gather what came out, write the report."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Verdict, read_records
from spy_plugin.benchmark.samples import Benchmark, fingerprint
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.lab import training
from spy_plugin.lab.intervals import Tally, compare, tally
from spy_plugin.lab.report import in_words, write_report
from spy_plugin.lab.results import LabResults, Point, Run
from spy_plugin.lab.training import Plan
from spy_plugin.scoring import metrics

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "trl")


def run_lab(plan: Plan, *, say: Callable[[str], None]) -> LabResults:
    """Run a lab and write `lab.html` and `lab.json`; what was done before is kept.

    Args:
        say: Told of each stage, one line each.
    """
    base = training.base_model(plan)
    say(f"base: {base}")
    benchmark = open_benchmark(plan.size.benchmark)
    gathered = [gather("base", 0, base, plan, {}, benchmark)]
    say(_line(gathered[-1][0]))
    for method, seed in plan.runs():
        say(f"{method}, seed {seed}: {plan.steps} steps")
        folder = training.align(plan, base, method, seed)
        record = json.loads((folder / training.RECORD).read_text(encoding="utf-8"))
        gathered.append(gather(method, seed, folder, plan, record, benchmark))
        say(_line(gathered[-1][0]))
        _write(gathered, plan, benchmark)
    results = _write(gathered, plan, benchmark)
    for line in in_words(results):
        say(line)
    return results


def gather(
    method: str,
    seed: int,
    model: Path,
    plan: Plan,
    record: dict[str, Any],
    benchmark: Benchmark,
) -> tuple[Run, Tally]:
    """Ask a model the test split in the host: its figures beside its curve, and by picture."""
    work = plan.out / "hosts" / (method if method == "base" else f"{method}-seed{seed}")
    verdicts = list(read_records(training.evaluate(model, work, plan.size.dataset), Verdict))
    samples = {sample.sample_id: sample for sample in benchmark.samples()}
    absolute_labels = benchmark.protocol.absolute_labels
    table = metrics.tabulate(
        verdicts,
        absolute_labels=absolute_labels,
        known_labels=benchmark.label_words,
    )
    block = metrics.compute(table)["metrics"]

    def figure(name: str) -> float | None:
        score = block[name] if name == metrics.HMS else block[name]["score"]
        return None if isinstance(score, str) else float(score)

    answers = training.allowed_answers(verdicts, samples, absolute_labels)
    run = Run(
        method=method,
        seed=seed,
        settings={**plan.size.settings.get(method, {}), "steps": plan.steps} if record else {},
        seconds=record.get("seconds", 0.0),
        peak_memory_mib=record.get("peak_memory_mib"),
        curve=curve(training.history(model)) if record else (),
        ics=figure(metrics.ICS),
        ics_scenario=figure(metrics.ICS_SCENARIO),
        rta=figure(metrics.RTA),
        ata_conflict=figure(metrics.ATA_CONFLICT),
        hms=figure(metrics.HMS),
        answers=training.answer_accuracy(verdicts, samples, absolute_labels),
        samples=len(verdicts),
        settings_tried=plan.size.tuning.get(method) if record else None,
    )
    return run, tally(run.method, seed, table, answers)


def curve(history: list[dict[str, Any]]) -> tuple[Point, ...]:
    """The trainer's log as points: the loss where it was logged, scores where they were."""
    names = {
        "loss": "loss",
        "ics": "eval_spy_ics",
        "hms": "eval_spy_hms",
        "answers": "eval_spy_answers",
    }
    by_step: dict[int, dict[str, float]] = {}
    for entry in history:
        point = by_step.setdefault(int(entry["step"]), {})
        point.update({ours: entry[its] for ours, its in names.items() if its in entry})
    return tuple(
        Point(step=step, **{name: values.get(name) for name in names})
        for step, values in sorted(by_step.items())
        if values
    )


def _write(gathered: list[tuple[Run, Tally]], plan: Plan, benchmark: Benchmark) -> LabResults:
    results = LabResults(
        size=plan.size.name,
        data_fingerprint=fingerprint(benchmark.samples()),
        judge="rules",
        versions={package: version(package) for package in _PACKAGES},
        tuned_on=plan.size.tuned_on,
        runs=tuple(run for run, _ in gathered),
        comparison=compare([counted for _, counted in gathered]),
    )
    write_report(results, plan.out)
    return results


def _line(run: Run) -> str:
    figures = {"ICS": run.ics, "HMS": run.hms, "answers": run.answers}
    told = ", ".join(
        f"{name} {'N/A' if value is None else f'{value:.1f}'}" for name, value in figures.items()
    )
    return f"  {run.method}: {told} ({run.seconds:.0f} s)"
