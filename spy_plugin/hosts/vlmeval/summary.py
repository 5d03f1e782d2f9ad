"""General and Overall in the host's own Run Summary Report; our table of all models under it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spy_plugin.hosts.vlmeval.variants import VARIANTS
from spy_plugin.scoring.metrics import general_score, overall_score

logger = logging.getLogger(__name__)

MMMU, OCRBENCH, MME = "MMMU_DEV_VAL", "OCRBench", "MME"

# Keys of the host's status.json, where it flattens each benchmark's result.
_MMMU_VALIDATION = "split=validation|Overall"
_OCRBENCH_NORM = "Final Score Norm"
_MME_PARTS = ("perception", "reasoning")


def extend_summary() -> list[Path]:
    """Wrap the host's summary; must run before the host's run.py imports it.

    Returns:
        A list that receives the folder of each model's run as the host reports it.
    """
    import vlmeval.smp as host

    original = host.collect_run_benchmark_report
    run_dirs: list[Path] = []

    def collect(run_dir: str | Path) -> list[dict[str, Any]]:
        run_dirs.append(Path(run_dir))
        rows: list[dict[str, Any]] = original(run_dir)
        try:
            status = json.loads((Path(run_dir) / "status.json").read_text(encoding="utf-8"))
            rows += combined_rows(status.get("datasets", {}))
        except Exception:
            logger.exception("no combined scores; the host's summary goes on without them")
        return rows

    host.collect_run_benchmark_report = collect
    return run_dirs


def combined_rows(datasets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each SPY-Bench data set that ran together with the three general ones.

    Args:
        datasets: Data set -> entry, from the host's status.json.
    """
    general = _general(datasets)
    if general is None:
        return []
    # The paper defines the general score on exact matching.
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
    except KeyError:
        return None
    return general_score(float(mmmu), float(ocrbench), mme)["score"]


_COLUMNS = ("Privacy Score", "ICS", "HMS", "RtA (non-conflict)", "ATA (conflict)")


def table(rows: list[tuple[str, str, dict[str, float]]]) -> str:
    """All models side by side; a score that has no value is shown as N/A."""
    models = max(len("model"), *(len(model) for model, _, _ in rows))
    datasets = max(len("data"), *(len(dataset) for _, dataset, _ in rows))
    widths = [max(8, len(name)) for name in _COLUMNS]
    head = "  ".join(name.rjust(width) for name, width in zip(_COLUMNS, widths, strict=True))
    lines = [f"{'model':<{models}}  {'data':<{datasets}}  {head}"]
    for model, dataset, metrics in rows:
        cells = [
            (f"{metrics[name]:.2f}" if name in metrics else "N/A").rjust(width)
            for name, width in zip(_COLUMNS, widths, strict=True)
        ]
        lines.append(f"{model:<{models}}  {dataset:<{datasets}}  {'  '.join(cells)}")
    return "\n".join(lines)
