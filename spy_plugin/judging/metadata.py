"""What a run was, written beside the verdicts of `spy-bench judge` for the report to read."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from spy_plugin import __version__
from spy_plugin.benchmark.answers import answers_stem
from spy_plugin.benchmark.records import Answer, Sample
from spy_plugin.benchmark.samples import Benchmark, fingerprint
from spy_plugin.errors import DataError
from spy_plugin.judging.base import Judge
from spy_plugin.judging.calibration import calibration_score
from spy_plugin.judging.judging import JudgeSummary
from spy_plugin.runs.identity import NOBODY, dataset_name, read_run
from spy_plugin.runs.metadata import (
    METADATA_SUFFIX,
    VERDICTS_SUFFIX,
    JudgeInfo,
    ProtocolInfo,
    RunMetadata,
    Usage,
)


def judge_info(judge: Judge) -> JudgeInfo:
    """What a run says of its judge."""
    return JudgeInfo(
        name=judge.name,
        fingerprint=judge.fingerprint,
        offline=judge.offline,
        calibration=calibration_score(judge.fingerprint),
    )


def write_metadata(
    answers: Path,
    run: RunMetadata,
    judge: Judge,
    summary: JudgeSummary,
    out: Path,
    started: datetime,
) -> Path:
    """Write `x_spy.json` for the verdicts `x_verdicts.jsonl`.

    Args:
        run: What the answers are of; see `describe_answers`.
        started: When the judge began.

    Returns:
        The file.
    """
    finished = datetime.now(timezone.utc)
    judging = Usage(
        requests=summary.asked,
        cached=summary.saved_by_cache,
        seconds=(finished - started).total_seconds(),
    )
    about = run.model_copy(
        update={
            "judge": judge_info(judge),
            "started": run.started or started,
            "finished": finished,
            "usage": run.usage | {"judge": judging},
            "judge_summary": asdict(summary),
            "answers": answers.name,
            "verdicts": out.name,
        }
    )
    path = out.with_name(_stem(out) + METADATA_SUFFIX)
    about.write(path)
    return path


def describe_answers(
    path: Path,
    benchmark: Benchmark,
    distractors: bool,
    samples: list[Sample],
    answers: list[Answer],
) -> RunMetadata:
    """What is known of a file of answers: from its own run, a host's, or the file alone.

    Raises:
        DataError: they were given to other data than these.
    """
    data = fingerprint(samples)
    known = read_run(path) or _host_run(path)
    if known is not None:
        if known.data_fingerprint not in ("", data):
            raise DataError(
                f"was answered on {known.benchmark} data ({known.data_fingerprint}), not on these "
                f"({data})",
                "Name the benchmark that the answers were given to.",
                path=path,
            )
        return known
    moderated = any(answer.turns for answer in answers)
    dataset = dataset_name(benchmark.name, distractors, moderated)
    protocol = benchmark.protocol
    return RunMetadata(
        host="spy-bench",
        host_version=__version__,
        dataset=dataset,
        model=answers_stem(path).removesuffix(f"_{dataset}"),
        variant="distractors" if distractors else "no_distractors",
        self_moderation=moderated,
        benchmark=benchmark.name,
        data_fingerprint=data,
        samples=len(samples),
        protocol=ProtocolInfo(name=protocol.name, fingerprint=protocol.fingerprint),
        judge=NOBODY,
        spy_bench_version=__version__,
    )


def _host_run(path: Path) -> RunMetadata | None:
    """The run of a host that left these answers, and verdicts of a judge of its own."""
    beside = path.with_name(answers_stem(path) + METADATA_SUFFIX)
    run = RunMetadata.read(beside) if beside.exists() else None
    return run if run is not None and run.answers == path.name else None


def _stem(out: Path) -> str:
    return out.name.removesuffix(VERDICTS_SUFFIX).removesuffix(".jsonl")
