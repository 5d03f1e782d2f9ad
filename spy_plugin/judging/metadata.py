"""What a judged run was, written beside its verdicts for the report to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TypedDict

from spy_plugin import __version__
from spy_plugin.benchmark.answers import Answers, answers_stem
from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.official_files import OFFICIAL_SCRIPTS
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark, fingerprint
from spy_plugin.benchmarks import MINI, OFFICIAL
from spy_plugin.errors import DataError
from spy_plugin.judging.base import Judge
from spy_plugin.judging.calibration import calibration_score
from spy_plugin.judging.disclosure import DisclosureSummary
from spy_plugin.judging.judge_answers import JudgeSummary
from spy_plugin.runs.identity import dataset_name, read_run, run_file
from spy_plugin.runs.metadata import (
    METADATA_SUFFIX,
    VERDICTS_SUFFIX,
    JudgeInfo,
    RunMetadata,
    Usage,
    new_run,
)


def judge_info(judge: Judge, summary: JudgeSummary | None) -> JudgeInfo:
    """What a run records of its judge.

    Args:
        summary: What it did; None if it was not asked.
    """
    return JudgeInfo(
        name=judge.name,
        fingerprint=judge.fingerprint,
        offline=judge.offline,
        servers=summary.servers if summary else [],
        answered_by=summary.answered_by if summary else [],
        calibration=calibration_score(judge.fingerprint),
    )


def judged_run(
    run: RunMetadata,
    judge: Judge,
    summary: JudgeSummary,
    *,
    answers: Path,
    verdicts: Path,
    started: datetime,
    disclosures: DisclosureSummary | None = None,
) -> RunMetadata:
    """A run with what the judge did, in whichever host.

    Args:
        run: What is known of the answers.
        answers, verdicts: The run's files.
        started: When the judge began.
        disclosures: What came of the question about disclosures; None if it was not asked.
    """
    did = asdict(summary)
    asked, cached = summary.asked, summary.saved_by_cache
    if disclosures is not None:
        did["disclosures"] = asdict(disclosures)
        asked, cached = asked + disclosures.asked, cached + disclosures.saved_by_cache
    finished = datetime.now(timezone.utc)
    usage = Usage(
        requests=asked,
        cached=cached,
        seconds=max(0.0, (finished - started).total_seconds()),  # a clock may be set back
    )
    return run.model_copy(
        update={
            "judge": judge_info(judge, summary),
            "started": run.started or started,
            "finished": finished,
            "usage": run.usage | {"judge": usage},
            "judge_summary": did,
            "answers": answers.name,
            "verdicts": verdicts.name,
        }
    )


def judged_run_file(verdicts: Path) -> Path:
    """`x_spy.json`, the run file of the verdicts `x_verdicts.jsonl`."""
    stem = verdicts.name.removesuffix(VERDICTS_SUFFIX).removesuffix(".jsonl")
    return verdicts.with_name(stem + METADATA_SUFFIX)


class TableLabels(TypedDict):
    """The labels with which `scoring.tabulate` reads a run's verdicts."""

    absolute_labels: frozenset[str]
    known_labels: Iterable[str] | None


def labels_of_run(run: RunMetadata | None) -> TableLabels:
    """Return the labels of a run's benchmark; the paper's for verdicts without a run file.

    A release at another revision, or a user's own benchmark, may have labels that are known only
    from its verdicts.
    """
    if run is None:
        return {"absolute_labels": ABSOLUTE_LABELS, "known_labels": LABELS}
    known = LABELS if run.benchmark in (OFFICIAL, MINI) else None
    return {"absolute_labels": run.protocol.always_refused, "known_labels": known}


def write_judged_run(judged: RunMetadata, verdicts: Path) -> Path:
    """Write the run file of a file of verdicts; returns the path."""
    path = judged_run_file(verdicts)
    judged.write(path)
    return path


def describe_answers(
    path: Path,
    benchmark: Benchmark,
    distractors: bool,
    samples: Sequence[Sample],
    answers: Answers,
) -> RunMetadata:
    """Say what is known of a file of answers: from its own run, a host's, or the file alone.

    Raises:
        DataError: they were given to other data than these.
    """
    data = fingerprint(samples)
    record = record_of_answers(path)
    if record is not None:
        known = record[1]
        if known.data_fingerprint not in ("", data):
            raise DataError(
                f"was answered on {known.benchmark} data ({known.data_fingerprint}), not on these "
                f"({data})",
                "Name the benchmark that the answers were given to.",
                path=path,
            )
        return known
    moderated = any(answer.turns for answer in answers.by_id.values())
    dataset = dataset_name(benchmark.name, distractors, moderated)
    return new_run(
        benchmark.name,
        samples,
        benchmark.protocol,
        host=OFFICIAL_SCRIPTS if answers.model else "spy-bench",
        host_version="" if answers.model else __version__,
        dataset=dataset,
        model=answers.model or answers_stem(path).removesuffix(f"_{dataset}"),
        distractors=distractors,
        self_moderation=moderated,
    )


def record_of_answers(answers: Path) -> tuple[Path, RunMetadata] | None:
    """Return what is recorded beside a file of answers, and the file of it; None without one.

    It is the answers' own run file, or that of a host's run, whose judge left verdicts, too.

    Raises:
        DataError: the record is torn, or not one.
    """
    own = read_run(answers)
    if own is not None:
        return run_file(answers), own
    beside = answers.with_name(answers_stem(answers) + METADATA_SUFFIX)
    run = RunMetadata.read(beside) if beside.exists() else None
    return (beside, run) if run is not None and run.answers == answers.name else None
