"""SPY-Bench as a VLMEvalKit data set.

The host asks for a table of prompts and later returns a file with a column `prediction`; the core
computes all scores.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from vlmeval.dataset.image_base import ImageBaseDataset

from spy_plugin.benchmark.records import Answer, Outcome
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.writing import write_atomically
from spy_plugin.hosts.versions import host_version
from spy_plugin.hosts.vlmeval import decoding
from spy_plugin.hosts.vlmeval.command_line import own_limit
from spy_plugin.hosts.vlmeval.judging import judge_from_options
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.hosts.vlmeval.prediction_table import PredictionTable
from spy_plugin.hosts.vlmeval.predictions import NOT_ASKED, answer_of, row_of
from spy_plugin.hosts.vlmeval.tables import read_predictions
from spy_plugin.judging import Judge, JudgeSummary, judge_answers, load_verdicts
from spy_plugin.judging.metadata import judged_run, write_judged_run
from spy_plugin.runs.metadata import VERDICTS_SUFFIX, RunMetadata, new_run
from spy_plugin.scoring.metrics import ATA, ATA_CONFLICT, HMS, ICS, RTA, compute, privacy_score
from spy_plugin.scoring.table import tabulate

logger = logging.getLogger(__name__)

PRIMARY_METRICS = ("Privacy Score", "ICS", "HMS")
SCORES_SUFFIX = "_spy_scores.json"


class SPYBench(ImageBaseDataset):  # type: ignore[misc]
    """Personalized privacy: refuse what this user calls private, answer everything else.

    The host's options select the judge; see `judging`.
    """

    # A type of our own: for VQA, MCQ and Y/N several models replace the data set's prompt.
    TYPE = "SPYBench"
    MODALITY = "IMAGE"
    force_use_dataset_prompt = True

    @classmethod
    def supported_datasets(cls) -> list[str]:
        """Return the names that `--data` accepts."""
        return [name for name, variant in VARIANTS.items() if not variant.self_moderation]

    def load_data(self, dataset: str) -> pd.DataFrame:
        """Return the table of prompts, one row per sample."""
        variant = VARIANTS[dataset]
        self.benchmark = open_benchmark(variant.benchmark)
        check_images(self.benchmark)
        self.samples = list(self.benchmark.samples(distractors=variant.distractors))
        rows = [
            row_of(number, sample) | {"image_path": str(self.benchmark.image_file(sample))}
            for number, sample in enumerate(self.samples, 1)
        ]
        return PredictionTable(rows)

    def build_prompt(self, line: int | pd.Series) -> list[dict[str, Any]]:
        """Return the picture, then the prompt; there is no system message."""
        row = self.data.iloc[line] if isinstance(line, int) else line
        return [
            {"type": "image", "value": row["image_path"]},
            {"type": "text", "value": row["question"]},
        ]

    def evaluate(self, eval_file: str, **judge_kwargs: Any) -> dict[str, Any]:
        """Judge the predictions and compute every figure.

        Verdicts are appended to `*_verdicts.jsonl` as they arrive; a second run judges only the
        samples whose verdict is missing or failed, or whose answer has changed.

        Raises:
            JudgeSetupError: the judge cannot be built with these options and keys.
            DataError: the prediction file does not belong to this data set.
        """
        started = datetime.now(timezone.utc)
        path = Path(eval_file)
        variant = VARIANTS[self.dataset_name]
        judge = judge_from_options(variant.benchmark, self.benchmark.protocol, judge_kwargs)
        # One file per judge: none is overwritten, and all are reported.
        run = f"{path.stem}_{_safe(judge.name)}-{judge.fingerprint[:6]}"
        verdicts = path.with_name(run + VERDICTS_SUFFIX)
        with judge:
            summary = judge_answers(self.samples, self._answers(path), judge, verdicts)
        table = tabulate(
            load_verdicts(verdicts),
            absolute_labels=self.benchmark.protocol.absolute_labels,
            known_labels=self.benchmark.label_words,
            source=str(verdicts),
        )
        figures = compute(table)
        _refuse_all_failed(figures["outcomes"], verdicts)
        write_atomically(
            path.with_name(path.stem + SCORES_SUFFIX), json.dumps(figures, indent=1) + "\n"
        )
        judged = self._judged_run(path, judge, summary, started, verdicts)
        write_judged_run(judged, verdicts)
        if judge.offline:
            logger.warning("judged by %s: for a quick look, not for reported scores", judge.name)
        return summary_scores(figures)

    def _answers(self, path: Path) -> Iterator[Answer]:
        prompts = {sample.sample_id: sample.prompt for sample in self.samples}
        self_moderation = VARIANTS[self.dataset_name].self_moderation
        for row, (sample_id, prompt, text) in enumerate(read_predictions(path), 1):
            if prompts.get(sample_id) != prompt:
                raise DataError(
                    f"sample {sample_id!r} is not in {self.dataset_name}, or has another prompt",
                    "The file was made from other data: run the model again in a new --work-dir.",
                    path=path,
                    where=f"row {row}",
                )
            if text != NOT_ASKED:
                yield answer_of(sample_id, text, self_moderation=self_moderation)

    def _judged_run(
        self,
        path: Path,
        judge: Judge,
        summary: JudgeSummary,
        started: datetime,
        verdicts: Path,
    ) -> RunMetadata:
        variant, limit = VARIANTS[self.dataset_name], own_limit(sys.argv)
        model = path.stem.removesuffix(f"_{self.dataset_name}")
        run = new_run(
            self.benchmark.name,
            self.samples,
            self.benchmark.protocol,
            host="vlmeval",
            host_version=host_version("vlmeval"),
            dataset=self.dataset_name,
            model=model,
            distractors=variant.distractors,
            self_moderation=variant.self_moderation,
            options={"argv": sys.argv[1:], "decoding": decoding.used.get(model, {})}
            | ({"max_tokens": limit} if limit else {}),
        )
        return judged_run(run, judge, summary, answers=path, verdicts=verdicts, started=started)

    @classmethod
    def report_judge_err(
        cls,
        prediction_file: str | Path | None,
        *,
        total_samples: int | None,
        judge_model: str | None = None,
        error_message: str | None = None,
    ) -> dict[str, int | None]:
        """Return the number of missing or unreadable verdicts, for the host's summary."""
        nothing = {"failed": total_samples if error_message else 0, "total": total_samples}
        if prediction_file is None:
            return nothing
        path = Path(prediction_file)
        try:
            scores = json.loads(path.with_name(path.stem + SCORES_SUFFIX).read_text("utf-8"))
        except (OSError, ValueError):
            return nothing
        bad = (Outcome.UNJUDGED, Outcome.FAILED)
        return {
            "failed": sum(scores["outcomes"][outcome.value] for outcome in bad),
            "total": total_samples,
        }

    @classmethod
    def report_primary_metric(cls, metrics: dict[str, Any] | None) -> dict[str, float]:
        """Return the rows of the host's Run Summary Report."""
        found = metrics or {}
        return {name: float(found[name]) for name in PRIMARY_METRICS if name in found}


class SPYBenchSelfMod(SPYBench):
    """The same in three turns: answer, review the answer, rewrite it.

    The last answer is judged; `self_moderation` plays the turns.
    """

    TYPE = "MT"  # the host's type for several turns

    @classmethod
    def supported_datasets(cls) -> list[str]:
        """Return the names that `--data` accepts."""
        return [name for name, variant in VARIANTS.items() if variant.self_moderation]

    def build_prompt(self, line: int | pd.Series) -> list[dict[str, Any]]:
        """Return the user's messages, each followed by an empty one for the model's answer."""
        row = self.data.iloc[line] if isinstance(line, int) else line
        questions = self.benchmark.protocol.self_moderation_turns(row["question"])
        messages: list[dict[str, Any]] = []
        for content in (super().build_prompt(row), *questions):
            messages += [{"role": "user", "content": content}, {"role": "assistant", "content": ""}]
        return messages


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
