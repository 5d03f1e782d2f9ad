"""A report's scores in the two formats of the Hugging Face hub.

- `EvalResult`: an entry of the `model-index` of a model's card;
- `EvalResultEntry`: an entry of `.eval_results/*.yaml`, which names a benchmark that is a data set
  on the hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.registry.catalog import canonical_name
from spy_plugin.report.model import Figure, Report, Row
from spy_plugin.scoring.metrics import HMS, ICS
from spy_plugin.scoring.rounding import rounded
from spy_plugin.scoring.stats import PRIVACY

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

FIGURES = {PRIVACY: "Privacy Score", ICS: "ICS", HMS: "HMS"}
"""Figure -> its name on the hub."""

DATASET = "spy-bench"
"""As `dataset_type` in a card; results of other data sets are left as they are."""

_TASK = "image-text-to-text"


@dataclass(frozen=True)
class Source:
    """Where a result can be read in full; both may be empty."""

    url: str = ""
    name: str = ""


def need_hub() -> None:
    """Check that `huggingface_hub` is installed, in a version that knows both formats.

    Raises:
        MissingDependencyError: it is not.
    """
    try:
        from huggingface_hub import EvalResultEntry  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub>=1.4", "hub") from error


def rows_to_share(report: Report, model: str = "") -> list[Row]:
    """Return the rows of one model that were run.

    Args:
        model: The model's name, if the report has several.

    Raises:
        SpyBenchError: the report has several models, or none of this name; or two judges judged
            one condition.
    """
    rows = [row for row in report.rows if row.counts is not None and not row.computed]
    names = sorted({row.model for row in rows})
    if model:
        rows = [r for r in rows if model in (r.model, *r.names) or r.model == canonical_name(model)]
    elif len(names) > 1:
        rows = [row for row in rows if not row.yardstick]
    left = {row.model for row in rows}
    if len(left) != 1:
        raise SpyBenchError(
            f"the results are of {', '.join(names) or 'no model'}. Name one of them with --model."
        )
    tasks = [condition_id(row) for row in rows]
    double = next((task for task in tasks if tasks.count(task) > 1), None)
    if double:
        raise SpyBenchError(
            f"there are several results of {double}, by other judges or on other data. Give the "
            "folder of one of them."
        )
    return rows


def condition_id(row: Row) -> str:
    """Return the condition of a row as an identifier, for example ``mini_distractors``."""
    about = row.condition
    parts = [about.benchmark or "unknown", about.variant]
    parts += ["self_moderation"] if about.self_moderation else []
    return re.sub(r"\W+", "_", "_".join(part for part in parts if part)).strip("_").lower()


def model_index_results(rows: Sequence[Row], source: Source = Source()) -> list[EvalResult]:
    """Return an entry of a card for each score: percent, with interval and condition."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=_TASK,
            dataset_type=DATASET,
            dataset_name=f"SPY-Bench ({row.condition.benchmark}, {row.condition.variant})",
            dataset_config=condition_id(row),
            metric_type=name.lower().replace(" ", "_"),
            metric_name=name,
            metric_value=_rounded(score),
            metric_args=_details(row, figure),
            source_url=source.url or None,
            source_name=source.name or None,
        )
        for row, name, score, figure in _scores(rows)
    ]


def eval_entries(
    rows: Sequence[Row], dataset: str, source: Source = Source()
) -> list[EvalResultEntry]:
    """Return an entry of `.eval_results` for each score.

    Args:
        dataset: The benchmark's id on the hub, ``OWNER/NAME``.
    """
    from huggingface_hub import EvalResultEntry

    return [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=f"{condition_id(row)}_{name.lower().replace(' ', '_')}",
            value=_rounded(score),
            date=_date(row),
            source_url=source.url or None,
            source_name=source.name or None,
            notes=_notes(row, figure),
        )
        for row, name, score, figure in _scores(rows)
    ]


def _scores(rows: Sequence[Row]) -> Iterator[tuple[Row, str, float, Figure]]:
    for row in rows:
        for key, name in FIGURES.items():
            figure = row.figures.get(key)
            if figure is not None and figure.score is not None:
                yield row, name, figure.score, figure


def _details(row: Row, figure: Figure) -> dict[str, Any]:
    about = row.condition
    details: dict[str, Any] = {"judge": about.judge.name if about.judge else "unknown"}
    if figure.low is not None and figure.high is not None:
        details["interval_95"] = [_rounded(figure.low), _rounded(figure.high)]
    if figure.images:
        details["pictures"] = figure.images
    if about.protocol:
        details["protocol"] = f"{about.protocol.name} ({about.protocol.fingerprint})"
    if about.data_fingerprint:
        details["data"] = about.data_fingerprint
    return details


def _notes(row: Row, figure: Figure) -> str:
    details = _details(row, figure)
    judge = row.condition.judge
    parts = [f"judge {details['judge']}" + (" (offline)" if judge and judge.offline else "")]
    if "interval_95" in details:
        parts.append("95% interval {} to {}".format(*details["interval_95"]))
    parts += [
        f"{name} {details[name]}" for name in ("pictures", "protocol", "data") if name in details
    ]
    return ", ".join(parts)


def _date(row: Row) -> str | None:
    when = row.run.finished if row.run else None
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def _rounded(score: float) -> float:
    """Round as every table does."""
    return float(rounded(score))
