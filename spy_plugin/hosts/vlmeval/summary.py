"""What a run of VLMEvalKit shows at its end, with our part in it.

The host's own Run Summary Report gets the rows General and Overall (`patches` adds them); below it
our launcher (`run`) prints one table of all models, and what failed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.scoring.metrics import general_score, overall_score
from spy_plugin.scoring.rounding import rounded

MMMU, OCRBENCH, MME = "MMMU_DEV_VAL", "OCRBench", "MME"

# Keys of the host's status.json, where it flattens the result of each benchmark.
_MMMU_VALIDATION = "split=validation|Overall"
_OCRBENCH_NORM = "Final Score Norm"
_MME_PARTS = ("perception", "reasoning")

# Reasons in status.json for which --mode eval judged nothing.
_INCOMPLETE = ("No infer result found", "Incomplete infer result")

FAILED = "n failed"
"""Among the scores of a data set of ours: how many samples failed."""

Row = tuple[str, str, dict[str, float]]
"""(model, data set, scores), as the host's status.json holds them."""

_COLUMNS = ("Privacy Score", "ICS", "HMS", "RtA (non-conflict)", "ATA (conflict)")


def combined_rows(datasets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each SPY-Bench data set that ran together with the three general ones.

    Args:
        datasets: Data set -> entry, from the host's status.json.
    """
    general = _general(datasets)
    if general is None:
        return []
    # The paper defines the general score with exact matching.
    inexact = [
        name for name in (MMMU, MME) if datasets[name].get("judge_model") != "exact_matching"
    ]
    note = f" ({', '.join(inexact)} not by exact matching)" if inexact else ""
    rows = []
    for name, entry in datasets.items():
        privacy = entry.get("metrics", {}).get("Privacy Score")
        if name not in VARIANTS or privacy is None:
            continue
        values = {f"General{note}": general, f"Overall{note}": overall_score(privacy, general)}
        rows.append(
            {
                "benchmark": f"{name} with general",
                "infer_failed": None,
                "infer_total": None,
                "judge_failed": None,
                "judge_total": None,
                "primary_metric": list(values),
                "primary_metric_value": values,
                "skip_reason": None,
                "eval_error": None,
            }
        )
    return rows


def _general(datasets: Mapping[str, Mapping[str, Any]]) -> float | None:
    found = {name: datasets.get(name, {}).get("metrics", {}) for name in (MMMU, OCRBENCH, MME)}
    try:
        mme = sum(float(found[MME][part]) for part in _MME_PARTS)
        mmmu, ocrbench = found[MMMU][_MMMU_VALIDATION], found[OCRBENCH][_OCRBENCH_NORM]
        score = general_score(float(mmmu), float(ocrbench), mme)["score"]
    except (KeyError, TypeError, ValueError):  # one of them has no figure
        return None
    return score if math.isfinite(score) else None


def read_runs(run_dirs: Iterable[Path], datasets: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Read what came out of the runs of several models.

    Args:
        run_dirs: Folders of the runs.
        datasets: The data sets that were asked for; others are from earlier runs in these folders.
            Empty if a configuration file names them.

    Returns:
        The rows of our data sets, and a sentence for each failure.
    """
    rows: list[Row] = []
    failures: list[str] = []
    for run_dir in run_dirs:
        status = _read_status(run_dir)
        if status is None:
            failures.append(f"{run_dir} has no readable status.json: the run did not finish")
            continue
        model = str(status.get("model_name"))
        entries = status.get("datasets")
        for dataset, entry in (entries if isinstance(entries, dict) else {}).items():
            if not isinstance(entry, dict):
                failures.append(f"{model} on {dataset} has no readable entry in status.json")
                continue
            if datasets and dataset not in datasets:
                continue
            failure = _failure(dataset, entry)
            if failure:
                failures.append(f"{model} on {dataset} {failure}")
            elif dataset in VARIANTS and entry.get("metrics"):
                rows.append((model, dataset, entry["metrics"]))
    return rows, failures


def _failure(dataset: str, entry: Mapping[str, Any]) -> str:
    """Return why a data set has no scores, to complete a sentence; empty if it has some."""
    if entry.get("error_message"):
        return f"failed: {entry['error_message']}"
    if entry.get("skip_reason") == "invalid_dataset":
        return f"did not run: VLMEvalKit has no such data set. {names.closest_datasets(dataset)}"
    if entry.get("skip_reason") in _INCOMPLETE:
        return (
            "was not judged: not every sample has an answer. Generate the missing answers with "
            "--reuse (without --mode eval), or judge the existing ones with --keep-failed."
        )
    return ""


def table(rows: Sequence[Row]) -> str:
    """Return all models side by side; a score without a value is shown as N/A."""
    models = max(len("model"), *(len(model) for model, _, _ in rows))
    datasets = max(len("data"), *(len(dataset) for _, dataset, _ in rows))
    widths = [max(8, len(name)) for name in _COLUMNS]
    head = "  ".join(name.rjust(width) for name, width in zip(_COLUMNS, widths, strict=True))
    lines = [f"{'model':<{models}}  {'data':<{datasets}}  {head}"]
    for model, dataset, metrics in rows:
        cells = [
            (rounded(metrics[name]) if name in metrics else "N/A").rjust(width)
            for name, width in zip(_COLUMNS, widths, strict=True)
        ]
        lines.append(f"{model:<{models}}  {dataset:<{datasets}}  {'  '.join(cells)}")
    return "\n".join(lines)


def model_folder(run_dir: Path) -> Path:
    """Return the folder of all runs of a model: some versions report it, others one run in it."""
    return run_dir.parent if re.fullmatch(r"T\d{8}.*", run_dir.name) else run_dir


def _read_status(run_dir: Path) -> dict[str, Any] | None:
    try:
        status = json.loads((run_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return status if isinstance(status, dict) else None
