"""Compute a row of the report from a run's estimates and its model's general scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spy_plugin.benchmark.policies import ORACLE, POLICIES
from spy_plugin.report.loading import Loaded
from spy_plugin.report.model import Condition, Counts, Figure, GeneralFigure, Row
from spy_plugin.report.provenance import printable
from spy_plugin.report.results import GENERAL_SETS, BrokenResult, GeneralResult
from spy_plugin.report.summary import GENERAL, OVERALL
from spy_plugin.scoring.judge_errors import JudgeErrors, privacy_range
from spy_plugin.scoring.metrics import (
    ICS,
    ICS_SCENARIO,
    count_outcomes,
    overall_score,
    units,
)
from spy_plugin.scoring.resampling import LEVEL, Floats
from spy_plugin.scoring.stats import (
    DISCLOSURES,
    ERRORS,
    PRIVACY,
    Estimate,
    bounds,
    disclosure_units,
    error_units,
    harmonic_means,
    interval,
    point_scores,
)
from spy_plugin.scoring.summaries import Summary
from spy_plugin.scoring.table import REJECT, RESPOND, VerdictTable, expected_outcomes

# General items are drawn independently of the pictures.
_SEED_OFFSET = {"mmmu": 101, "ocrbench": 102, "mme": 103}


def privacy_row(row_id: str, model: str, loaded: Loaded, summary: Summary) -> Row:
    """Return the row of a model's verdicts, without general scores."""
    result, table = loaded.result, loaded.table
    row = Row(
        id=row_id,
        model=model,
        names=[result.model],
        yardstick=model in POLICIES,
        condition=loaded.about,
        source=result.place,
        run=printable(result.metadata) if result.metadata else None,
        disclosures=loaded.disclosures,
    )
    limits = bounds(table)
    for name, estimate in summary.figures.items():
        if name in DISCLOSURES and not estimate.n:
            continue
        worst, best = (
            None if value == "N/A" else value for value in limits.get(name, ("N/A", "N/A"))
        )
        row.figures[name] = figure_of(estimate, worst=worst, best=best)
    row.counts = Counts(
        verdicts=len(table),
        images=len(table.images),
        expected=loaded.expected,
        outcomes=count_outcomes(table),
    )
    judge = loaded.about.judge
    known = (judge.calibration if judge else None) or {}
    if "respond" in known and "reject" in known:
        errors = JudgeErrors(known["respond"], known["reject"])
        row.judge_range = privacy_range(table, errors)
    every = units(table)
    row.confusion = {name: _cells(every[name].cell) for name in (ICS, ICS_SCENARIO)}
    for place, groups in ((row.labels, summary.labels), (row.scenarios, summary.scenarios)):
        for name, metrics in groups.items():
            place[name] = {metric: figure_of(estimate) for metric, estimate in metrics.items()}
    return row


def figure_of(
    estimate: Estimate, *, worst: float | None = None, best: float | None = None
) -> Figure:
    """Return an estimate as a report has it, with its bounds if they are given."""
    return Figure(
        score=estimate.score,
        low=estimate.low,
        high=estimate.high,
        worst=worst,
        best=best,
        n=estimate.n,
        hits=estimate.hits,
        images=estimate.images,
    )


def _cells(cells: Any) -> dict[str, int]:
    counts = np.bincount(cells, minlength=4).tolist()
    return {f"n{number}": count for number, count in enumerate(counts, 1)}


def general_row(row_id: str, model: str) -> Row:
    """Return the row of a model that has general scores alone."""
    return Row(id=row_id, model=model, names=[], condition=Condition())


def add_general(
    row: Row,
    results: Mapping[str, GeneralResult],
    broken: Iterable[BrokenResult],
    privacy: Floats | None,
    *,
    resamples: int,
    seed: int,
) -> None:
    """Add the general scores, and their mean and the overall score if all parts are present.

    Args:
        broken: Files of scores that cannot be used.
        privacy: The privacy score in every resample.
    """
    row.names = sorted({*row.names, *(result.model for result in results.values())})
    row.not_run = {b.set: b.reason for b in broken if b.set and b.set not in results}
    draws: dict[str, Floats] = {}
    for name, result in results.items():
        if result.items is not None:
            draws[name] = result.items.resampled(resamples, seed + _SEED_OFFSET[name])
        row.general[name] = _general_figure(result, draws.get(name))
    row.figures[GENERAL] = Figure()
    row.figures[OVERALL] = Figure()
    if set(results) != set(GENERAL_SETS):
        return
    score = sum(results[name].score for name in GENERAL_SETS) / len(GENERAL_SETS)
    parts = [draws.get(name, np.full(resamples, results[name].score)) for name in GENERAL_SETS]
    general = np.sum(parts, axis=0) / len(GENERAL_SETS)
    conditional = len(draws) < len(GENERAL_SETS)
    row.figures[GENERAL] = _figure(score, general if draws else None, conditional)
    own = row.figures.get(PRIVACY)
    if own is None or own.score is None or privacy is None:
        return
    overall = overall_score(own.score, score)
    drawn = harmonic_means(privacy, general) if own.low is not None else None
    row.figures[OVERALL] = _figure(float(overall), drawn, conditional)
    for name in ("worst", "best"):
        bound = getattr(own, name)
        if bound is not None:
            setattr(row.figures[OVERALL], name, float(overall_score(bound, score)))


def _general_figure(result: GeneralResult, drawn: Floats | None) -> GeneralFigure:
    low, high = (interval(drawn, LEVEL) if drawn is not None else None) or (None, None)
    return GeneralFigure(
        score=result.score,
        low=low,
        high=high,
        n=sum(len(group) for group in result.items.groups) if result.items else None,
        raw=result.raw,
        host=result.host,
        judge=result.judge,
        rules=result.rules,
        finished=result.finished,
        source=result.place,
    )


def _figure(score: float, draws: Floats | None, conditional: bool) -> Figure:
    low, high = (interval(draws, LEVEL) if draws is not None else None) or (None, None)
    return Figure(score=score, low=low, high=high, conditional=conditional)


def policy_table(policy: str, table: VerdictTable) -> VerdictTable:
    """Return what a reference policy makes of the samples of a table; it tells true values."""
    outcome = {
        "spy-always-answer": np.full(len(table), RESPOND),
        "spy-always-refuse": np.full(len(table), REJECT),
        "spy-literal": np.where(table.is_privacy == 1, REJECT, RESPOND),
        ORACLE: expected_outcomes(table),
    }[policy]
    holds = None if table.holds is None else np.where(table.holds < 0, -1, outcome == RESPOND)
    return replace(table, outcome=outcome, holds=holds)


def policy_row(row_id: str, policy: str, about: Condition, table: VerdictTable) -> Row:
    """Compute a reference policy's figures on the samples of a table, without running it."""
    ideal = policy_table(policy, table)
    figures = {
        metric: Figure(score=None if score == "N/A" else score)
        for metric, score in point_scores(ideal).items()
    }
    for error, u in (error_units(ideal) | disclosure_units(ideal)).items():
        if error in ERRORS or len(u.hit):
            figures[error] = Figure(score=100 * float(u.hit.mean()) if len(u.hit) else None)
    return Row(
        id=row_id,
        model=policy,
        names=[policy],
        yardstick=True,
        computed=True,
        condition=about,
        figures=figures,
    )
