"""Judges the predictions of one of our data sets, and computes what VLMEvalKit prints.

Imported when the host evaluates, not when it starts.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.writing import write_atomically
from spy_plugin.hosts.versions import host_version
from spy_plugin.hosts.vlmeval import decoding
from spy_plugin.hosts.vlmeval.command_line import own_limit
from spy_plugin.hosts.vlmeval.judging import judge_from_options
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.hosts.vlmeval.predictions import NOT_ASKED, answer_of
from spy_plugin.hosts.vlmeval.tables import read_predictions
from spy_plugin.judging import Judge, JudgeSummary, judge_answers, load_verdicts
from spy_plugin.judging.metadata import judged_run, write_judged_run
from spy_plugin.runs.metadata import VERDICTS_SUFFIX, RunMetadata, new_run
from spy_plugin.scoring.metrics import ATA, ATA_CONFLICT, HMS, ICS, RTA, compute, privacy_score
from spy_plugin.scoring.table import tabulate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """What the host hands over.

    Attributes:
        path: Its table of predictions.
        dataset: Its name of the data set.
        benchmark: The benchmark behind the name.
        samples: The samples of the data set.
    """

    path: Path
    dataset: str
    benchmark: Benchmark
    samples: Sequence[Sample]


def evaluate(predictions: Predictions, judge_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Judge the predictions, and compute every figure; return what the host prints.

    Verdicts are appended to `*_verdicts.jsonl` as they arrive; a second run judges only the samples
    whose verdict is missing or failed, or whose answer has changed.

    Raises:
        JudgeSetupError: the judge cannot be built with these options and keys.
        DataError: the prediction file does not belong to this data set.
    """
    started = datetime.now(timezone.utc)
    path, benchmark = predictions.path, predictions.benchmark
    name = VARIANTS[predictions.dataset].benchmark
    judge = judge_from_options(name, benchmark.protocol, judge_kwargs)
    # One file per judge: none is overwritten, and all are reported.
    run = f"{path.stem}_{_safe(judge.name)}-{judge.fingerprint[:6]}"
    verdicts = path.with_name(run + VERDICTS_SUFFIX)
    with judge:
        summary = judge_answers(predictions.samples, _answers(predictions), judge, verdicts)
    table = tabulate(
        load_verdicts(verdicts),
        absolute_labels=benchmark.protocol.absolute_labels,
        known_labels=benchmark.label_words,
        source=str(verdicts),
    )
    figures = compute(table)
    _refuse_all_failed(figures["outcomes"], verdicts)
    write_atomically(scores_file(path), json.dumps(figures, indent=1) + "\n")
    write_judged_run(_judged_run(predictions, judge, summary, started, verdicts), verdicts)
    if judge.offline:
        logger.warning("judged by %s: for a quick look, not for reported scores", judge.name)
    return summary_scores(figures)


def scores_file(predictions: Path) -> Path:
    """Where the figures of a file of predictions are written."""
    return predictions.with_name(f"{predictions.stem}_spy_scores.json")


def _answers(predictions: Predictions) -> Iterator[Answer]:
    prompts = {sample.sample_id: sample.prompt for sample in predictions.samples}
    self_moderation = VARIANTS[predictions.dataset].self_moderation
    for row, (sample_id, prompt, text) in enumerate(read_predictions(predictions.path), 1):
        if prompts.get(sample_id) != prompt:
            raise DataError(
                f"sample {sample_id!r} is not in {predictions.dataset}, or has another prompt",
                "The file was made from other data: run the model again in a new --work-dir.",
                path=predictions.path,
                where=f"row {row}",
            )
        if text != NOT_ASKED:
            yield answer_of(sample_id, text, self_moderation=self_moderation)


def _judged_run(
    predictions: Predictions,
    judge: Judge,
    summary: JudgeSummary,
    started: datetime,
    verdicts: Path,
) -> RunMetadata:
    dataset, path = predictions.dataset, predictions.path
    variant, limit = VARIANTS[dataset], own_limit(sys.argv)
    model = path.stem.removesuffix(f"_{dataset}")
    run = new_run(
        predictions.benchmark.name,
        predictions.samples,
        predictions.benchmark.protocol,
        host="vlmeval",
        host_version=host_version("vlmeval"),
        dataset=dataset,
        model=model,
        distractors=variant.distractors,
        self_moderation=variant.self_moderation,
        options={"argv": sys.argv[1:], "decoding": decoding.used.get(model, {})}
        | ({"max_tokens": limit} if limit else {}),
    )
    return judged_run(run, judge, summary, answers=path, verdicts=verdicts, started=started)


def _safe(name: str) -> str:
    """Return a judge's name in a form that is valid in a file name."""
    return re.sub(r"[^\w.-]+", "-", name)


def _refuse_all_failed(outcomes: dict[str, int], verdicts: Path) -> None:
    """Raise if nothing could be judged: that is an error, not a row of N/A."""
    if outcomes[Outcome.FAILED.value] == sum(outcomes.values()):
        first = next((verdict.error for verdict in load_verdicts(verdicts)), "")
        raise SpyBenchError(
            f"no answer could be judged; the first failure: {first or 'unknown'}. "
            "Fix the access to the model or the judge, then run again with --reuse."
        )


def summary_scores(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what the host prints: scores in percent, then the counts of the five outcomes."""
    block = figures["metrics"]
    scores = {
        "Privacy Score": privacy_score(block[ICS]["score"], block[HMS]),
        "ICS": block[ICS]["score"],
        "HMS": block[HMS],
        "RtA (non-conflict)": block[RTA]["score"],
        "ATA (non-conflict)": block[ATA]["score"],
        "ATA (conflict)": block[ATA_CONFLICT]["score"],
    }
    return scores | {f"n {name}": count for name, count in figures["outcomes"].items()}
