"""Our part of what lmms-eval shows and saves at the end of a run.

Our metrics get our standard errors, from resampled pictures; the host's own would be wrong. If the
general benchmarks ran too, each SPY-Bench task gets the rows `general_score` and `overall_score`,
in the host's table and in its results file. Beside that file each task leaves its answers, its
verdicts and the metadata of the run, which `spy-bench report` reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Answer, Outcome, Verdict, dump_jsonl
from spy_plugin.files.writing import write_atomically
from spy_plugin.hosts.figures import standard_errors
from spy_plugin.hosts.lmms.judging import batch, judge_of
from spy_plugin.hosts.lmms.plugin import POLICY_MODEL
from spy_plugin.hosts.lmms.samples import TASKS, benchmark_of, samples_of
from spy_plugin.hosts.lmms.scores import table_of
from spy_plugin.hosts.versions import host_version
from spy_plugin.judging.metadata import judge_info
from spy_plugin.models.packaged import PACKAGED
from spy_plugin.runs.metadata import RunMetadata, Usage, new_run, run_files
from spy_plugin.scoring.metrics import general_score, overall_score

_MMMU = ("mmmu_val", "mmmu_acc,none")
_OCRBENCH = ("ocrbench", "ocrbench_accuracy,none")
_MME = (("mme", "mme_perception_score,none"), ("mme", "mme_cognition_score,none"))


def general_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """Return the general score and its parts; None unless all three benchmarks ran."""
    parts = [results.get(task, {}).get(key) for task, key in (_MMMU, _OCRBENCH, *_MME)]
    if not all(isinstance(part, (int, float)) for part in parts):
        return None
    mmmu, ocrbench, perception, cognition = (float(part) for part in parts if part is not None)
    return general_score(mmmu, ocrbench * 100, perception + cognition)


AS_ASKED = "as asked; the backend may override it"
"""Recorded where a backend does not tell how it decoded."""


def add_rows(results: dict[str, Any], tasks: Mapping[str, list[tuple[Answer, Verdict]]]) -> None:
    """Add standard errors, outcomes, the general and the overall score to the host's results."""
    table = results["results"]
    general = general_of(table)
    better = results.setdefault("higher_is_better", {})
    for task, judged in tasks.items():
        if task not in table:
            continue
        row = table[task]
        errors = standard_errors(table_of(task, [verdict for _, verdict in judged]))
        row |= {f"{name}_stderr,none": error for name, error in errors.items()}
        counts = Counter(verdict.outcome for _, verdict in judged)
        row |= {f"samples_{outcome.value},none": counts[outcome] for outcome in Outcome}
        if general is not None:
            row["general_score,none"] = general["score"]
            row["overall_score,none"] = overall_score(row["privacy_score,none"], general["score"])
            better[task] = {**better.get(task, {}), "general_score": True, "overall_score": True}


def write_run(
    folder: Path,
    date: str,
    task: str,
    judged: list[tuple[Answer, Verdict]],
    results: Mapping[str, Any],
    started: datetime,
) -> RunMetadata:
    """Write a task's answers, verdicts and metadata into the host's folder of results.

    Args:
        folder: The host's folder of the model.
        date: The beginning of the host's own file names, so that runs do not overwrite each other.
        task: The host's name of the task.
        judged: Answer and verdict of each sample.
        results: The host's results.
        started: The time at which the run began.
    """
    variant, samples = TASKS[task], samples_of(task)
    config = results.get("config", {})
    model = folder.name if results.get("model_name") else str(config.get("model", ""))
    verdicts, path = run_files(folder, f"{date.replace(':', '-')}_{model}", task)
    answers = verdicts.with_name(verdicts.name.replace("_verdicts.jsonl", "_answers.jsonl"))
    write_atomically(answers, dump_jsonl(answer for answer, _ in judged), private=True)
    write_atomically(verdicts, dump_jsonl(verdict for _, verdict in judged), private=True)
    summary = batch(task).summary
    benchmark = benchmark_of(task)
    metadata = new_run(
        benchmark.name,
        samples.values(),
        benchmark.protocol,
        host="lmms-eval",
        host_version=host_version("lmms-eval"),
        dataset=task,
        model=model,
        model_path=str(results.get("model_name") or ""),
        distractors=variant.distractors,
        self_moderation=variant.self_moderation,
        judge=judge_info(judge_of(task), summary),
        seed=config.get("torch_seed"),
        started=started,
        finished=datetime.now(timezone.utc),
        usage=_usage(results, task),
        judge_summary=asdict(summary) if summary else {},
        answers=answers.name,
        verdicts=verdicts.name,
        options=_options(results, task),
    )
    metadata.write(path)
    return metadata


def _options(results: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the host's options, with the decoding settings as far as they are known.

    The host sends the task's settings, those of ``--gen_kwargs`` among them, with each request, and
    each of its backends makes of them what it will: vLLM's takes the larger of two limits of new
    tokens, others add settings of their own, or pass on only some. None reports what it did. So a
    record says what was asked, and that the backend may override it, except for our own models.
    """
    config = results.get("config", {})
    names = ("model_args", "batch_size", "gen_kwargs", "limit", "offset")
    options = {name: config.get(name) for name in names}
    asked = dict(results.get("configs", {}).get(task, {}).get("generation_kwargs", {}))
    if "max_new_tokens" in asked:
        asked["max_tokens"] = asked.pop("max_new_tokens")
    own = _own_decoding(str(config.get("model")), str(config.get("model_args") or ""), asked)
    if own is not None:
        return options | {"decoding": own, "requested_decoding": asked}
    return options | {"requested_decoding": asked, "decoding_note": AS_ASKED}


def _own_decoding(model: str, arguments: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a model of ours decoded with; None for another model."""
    if model == POLICY_MODEL:
        return {}  # a rule decodes nothing
    if model not in PACKAGED:
        return None
    own = re.search(r"(?:^|,)max_new_tokens=(\d+)", arguments)
    limits = (asked.get("max_tokens"), own and own[1], PACKAGED[model].max_new_tokens)
    return {"temperature": 0, "max_tokens": min(int(limit) for limit in limits if limit)}


def _usage(results: Mapping[str, Any], task: str) -> dict[str, Usage]:
    """Return what the host counted for the model on this task, if its backend counts."""
    usage = results.get("usage") or {}
    sources = usage.get("by_source", {})
    counted = None
    if list(results.get("results", {})) == [task]:
        counted = sources.get("model")  # some backends do not report the task
    elif "judge" not in sources:
        counted = usage.get("by_task", {}).get(task)
    if not counted:
        return {}
    return {
        "generate": Usage(
            requests=counted.get("n_api_calls"),
            input_tokens=counted.get("input_tokens"),
            output_tokens=counted.get("output_tokens"),
        )
    }
