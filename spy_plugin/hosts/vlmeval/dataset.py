"""SPY-Bench as a VLMEvalKit data set.

The host asks for a table of prompts and later returns a file with a column `prediction`; the core
computes all scores.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from vlmeval.dataset.image_base import ImageBaseDataset

from spy_plugin.benchmark.records import Outcome
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.hosts.vlmeval.prediction_table import PredictionTable
from spy_plugin.hosts.vlmeval.predictions import row_of

logger = logging.getLogger(__name__)

PRIMARY_METRICS = ("Privacy Score", "ICS", "HMS")


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
        """Judge the predictions, and compute every figure; see `evaluation.evaluate`."""
        from spy_plugin.hosts.vlmeval.evaluation import Predictions, evaluate

        predictions = Predictions(Path(eval_file), self.dataset_name, self.benchmark, self.samples)
        return evaluate(predictions, judge_kwargs)

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
        from spy_plugin.hosts.vlmeval.evaluation import scores_file

        try:
            scores = json.loads(scores_file(Path(prediction_file)).read_text("utf-8"))
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
