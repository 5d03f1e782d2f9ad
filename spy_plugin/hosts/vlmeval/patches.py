"""Every function of VLMEvalKit that is replaced, and nothing else; see `spy_plugin.hosts.patches`.

The replacements act on our data sets only; the host's own behave as before.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from spy_plugin.hosts.hooks import stepping_aside
from spy_plugin.hosts.patches import Function, Patch
from spy_plugin.hosts.vlmeval import decoding
from spy_plugin.hosts.vlmeval.command_line import own_limit
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.hosts.vlmeval.self_moderation import Message, check_model, is_self_moderated, play
from spy_plugin.hosts.vlmeval.summary import combined_rows
from spy_plugin.hosts.vlmeval.tables import PREDICTION, read_predictions
from spy_plugin.models.options import MODEL
from spy_plugin.models.reasoning import is_reasoning

_PIPELINES = ("inference", "inference_mt", "inference_api")

LOAD = tuple(
    Patch(
        f"vlmeval.{pipeline}:load",
        ("f",),
        "a resumed run turns answers such as N/A, None or an empty one into the text nan",
    )
    for pipeline in _PIPELINES
)
CHAT = tuple(
    Patch(
        f"vlmeval.{pipeline}:chat_mt",
        ("model", "messages", "dataset_name"),
        "the data sets for self-moderation are not available",
    )
    for pipeline in _PIPELINES[1:]
)
INFER = Patch(
    "vlmeval.inference_mt:infer_data_job_mt",
    ("model", "work_dir", "model_name", "dataset"),
    "a model that answers one turn only is not refused before it is loaded",
)
BUILT = Patch(
    "vlmeval.inference:infer_data",
    ("model", "model_name"),
    "the records of runs lack the model's decoding settings",
)
LIMIT = tuple(
    Patch(
        f"vlmeval.api.base:BaseAPI.{method}",
        ("self", parameter),
        "models behind an API answer our data sets with the host's limits of tokens, up to 32,768",
    )
    for method, parameter in (("generate", "message"), ("chat", "messages"))
)
REPORT = Patch(
    "vlmeval.smp:collect_run_benchmark_report",
    ("run_dir",),
    "its summary has no rows General and Overall, no combined report is written, and the exit code "
    "is the host's own",
)

reported_runs: list[Path] = []
"""Folders of the runs that the host has summarized in this process."""


def keep_reloaded_answers() -> None:
    """Make the host resume our prediction files with the answers as they were written.

    It reads an existing file through pandas, which turns answers such as ``N/A``, ``None`` or an
    empty one into NaN, and then writes the text ``nan`` in their place.
    """
    for patch in LOAD:
        patch.apply(_keeping_answers)


def play_whole_conversations() -> bool:
    """Replace what plays several turns in the host, in its local and in its API pipeline.

    Returns:
        Whether self-moderation is played as it should be.
    """
    INFER.apply(_checking_the_model)
    played = [patch.apply(_playing_ours) for patch in CHAT]
    return all(played)


def note_settings() -> None:
    """Keep the decoding settings of each model that answers one of our data sets."""
    BUILT.apply(_noting_settings)


def set_limits() -> None:
    """Ask models behind an API for the protocol's limit of new tokens on our data sets.

    The user's own ``--max-tokens`` is kept, and models that reason have none here.
    """
    for patch in LIMIT:
        patch.apply(_with_our_limit)


def extend_summary() -> None:
    """Add General and Overall to the host's summary; call it before its run.py is imported."""
    REPORT.apply(_with_combined_rows)


def _keeping_answers(original: Function) -> Function:
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        data = original(f, *args, **kwargs)
        ours = isinstance(data, pd.DataFrame) and {"sample_id", PREDICTION} <= set(data.columns)
        if ours and Path(f).suffix in (".xlsx", ".tsv"):
            data[PREDICTION] = [text for _, _, text in read_predictions(Path(f))]
        return data

    return load


def _with_our_limit(original: Function) -> Function:
    def generate(self: Any, messages: Any, *args: Any, **options: Any) -> Any:
        limited = hasattr(self, "max_tokens") or "max_tokens" in self.default_kwargs
        if (
            limited
            and options.get("dataset") in VARIANTS
            and own_limit(sys.argv) is None
            and not is_reasoning(str(getattr(self, "model", "")))
        ):
            options["max_tokens"] = MODEL.max_tokens
            setattr(self, decoding.LIMIT, MODEL.max_tokens)
        return original(self, messages, *args, **options)

    return generate


def _playing_ours(original: Function) -> Function:
    def chat_mt(model: Any, messages: list[Message], dataset_name: str) -> Any:
        if not is_self_moderated(dataset_name):
            return original(model, messages, dataset_name)
        return play(model, messages, dataset_name)

    return chat_mt


def _noting_settings(original: Function) -> Function:
    signature = inspect.signature(original)

    def infer_data(*args: Any, **kwargs: Any) -> Any:
        model = original(*args, **kwargs)
        decoding.note(signature.bind(*args, **kwargs).arguments["model_name"], model)
        return model

    return infer_data


def _checking_the_model(original: Function) -> Function:
    signature = inspect.signature(original)

    def infer_data_job_mt(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        model = given["model"]
        if not is_self_moderated(getattr(given["dataset"], "dataset_name", None)):
            return original(*args, **kwargs)
        check_model(model if isinstance(model, str) else type(model))
        answered = original(*args, **kwargs)
        decoding.note(given["model_name"], answered)
        return answered

    return infer_data_job_mt


def _with_combined_rows(original: Function) -> Function:
    def collect_run_benchmark_report(run_dir: str | Path) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = original(run_dir)
        with stepping_aside("add the rows General and Overall to VLMEvalKit's summary"):
            reported_runs.append(Path(run_dir))
            status = json.loads((Path(run_dir) / "status.json").read_text(encoding="utf-8"))
            rows = [*rows, *combined_rows(status.get("datasets", {}))]
        return rows

    return collect_run_benchmark_report
