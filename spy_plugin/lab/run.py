"""Run the whole lab: each stage that is not done yet, the evaluation, and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from spy_plugin.benchmark.records import Verdict, read_records
from spy_plugin.benchmark.samples import Benchmark, fingerprint
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.lab import stages
from spy_plugin.lab.answers import allowed_answers, answer_accuracy
from spy_plugin.lab.arms import BASE, title
from spy_plugin.lab.intervals import RunCounts, compare, count_run
from spy_plugin.lab.report import summary_lines, write_report
from spy_plugin.lab.results import LabResults, Point, Run
from spy_plugin.lab.stage_process import Launch, cores, run_logged
from spy_plugin.lab.stages import Alignment, Plan
from spy_plugin.scoring import metrics
from spy_plugin.scoring.table import tabulate

Say = Callable[[str], None]
Measured = tuple[Run, RunCounts]
Key = TypeVar("Key")
Found = TypeVar("Found")


def run_lab(plan: Plan, *, say: Say) -> LabResults:
    """Run a lab and write `lab.html` and `lab.json`. Finished stages are kept.

    Args:
        say: Receives one line per stage, and the summary at the end.

    Raises:
        SpyBenchError: A stage failed, or its folder was started with other settings.
    """
    base = _base(plan, say)
    benchmark = open_benchmark(plan.size.benchmark)

    def run(alignment: Alignment | None, launch: Launch) -> Measured:
        model = base if alignment is None else _align(plan, base, alignment, launch, say)
        return measure(model, alignment, plan, benchmark, launch)

    wanted = [None, *plan.alignments()]
    measured: dict[Alignment | None, Measured] = {}
    for alignment, found in _each(plan, wanted, run):
        measured[alignment] = found
        say(_summary(found[0]))
        results = _write([measured[each] for each in wanted if each in measured], plan, benchmark)
    for line in summary_lines(results):
        say(line)
    return results


def train_lab(plan: Plan, *, say: Say, alignments: bool = True) -> None:
    """Train the base and the alignments of a lab without evaluating them; no host is needed.

    Args:
        alignments: Whether to align the base, too.

    Raises:
        SpyBenchError: As for `run_lab`.
    """
    base = _base(plan, say)

    def run(alignment: Alignment, launch: Launch) -> Path:
        return _align(plan, base, alignment, launch, say)

    for alignment, folder in _each(plan, list(plan.alignments()) if alignments else [], run):
        record = stages.read_record(folder)
        say(f"  {alignment.name}: trained ({record.get('seconds', 0):.0f} s)")


def _base(plan: Plan, say: Say) -> Path:
    base = stages.base_model(plan)
    say(f"base: {base}")
    return base


def _align(plan: Plan, base: Path, alignment: Alignment, launch: Launch, say: Say) -> Path:
    say(f"{alignment.name}: {plan.steps} steps")
    return stages.align(plan, base, alignment, launch)


def _each(
    plan: Plan, wanted: Sequence[Key], run: Callable[[Key, Launch], Found]
) -> Iterator[tuple[Key, Found]]:
    """Run `plan.jobs` at a time, and yield each result as it comes.

    After an error or Ctrl-C the stages that run are ended, and no other starts.
    """
    stop = Event()
    threads = max(1, cores() // plan.jobs) if plan.jobs > 1 else None
    launch = partial(run_logged, stop=stop, threads=threads)
    with ThreadPoolExecutor(plan.jobs) as pool:
        futures = {pool.submit(run, each, launch): each for each in wanted}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def measure(
    model: Path,
    alignment: Alignment | None,
    plan: Plan,
    benchmark: Benchmark,
    launch: Launch = run_logged,
) -> Measured:
    """Evaluate a model on the test split; return its figures and its counts by picture.

    Args:
        alignment: How the model was made from the base; None for the base itself.
    """
    work = plan.out / "hosts" / (alignment.name if alignment else BASE)
    found = stages.evaluate(model, work, plan.size.dataset, launch)
    verdicts = list(read_records(found, Verdict))
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
        **(_about_alignment(model, alignment, plan) if alignment else _about_base(model)),
        ics=figure(metrics.ICS),
        ics_scenario=figure(metrics.ICS_SCENARIO),
        rta=figure(metrics.RTA),
        ata_conflict=figure(metrics.ATA_CONFLICT),
        hms=figure(metrics.HMS),
        answers=answer_accuracy(verdicts, samples, absolute_labels),
        samples=len(verdicts),
    )
    return run, count_run(run.arm, run.seed, table, answers)


def _about_base(model: Path) -> dict[str, Any]:
    record = stages.read_record(model)
    return {
        "method": BASE,
        "seed": 0,
        "settings": {"steps": record["steps"]} if record else {},
        "seconds": 0.0,  # the training of the base is not compared
        "device": record.get("device", ""),
        "versions": record.get("versions", {}),
    }


def _about_alignment(model: Path, alignment: Alignment, plan: Plan) -> dict[str, Any]:
    settings: dict[str, Any] = {**plan.size.settings[alignment.method], "steps": plan.steps}
    if alignment.prefix_sharing is not None:
        settings["prefix_sharing"] = alignment.prefix_sharing
    return {
        "method": alignment.method,
        "seed": alignment.seed,
        "prefix_sharing": alignment.prefix_sharing,
        "settings": settings,
        "curve": curve(stages.training_log(model)),
        "settings_tried": plan.size.tuning.get(alignment.method),
        **stages.read_record(model),
    }


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


def _write(measured: list[Measured], plan: Plan, benchmark: Benchmark) -> LabResults:
    results = LabResults(
        size=plan.size.name,
        data_fingerprint=fingerprint(benchmark.samples()),
        judge="rules",
        versions=stages.versions(),
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
    seed = "" if run.method == BASE else f", seed {run.seed}"
    return f"  {title(run.arm)}{seed}: {listed} ({run.seconds:.0f} s)"
