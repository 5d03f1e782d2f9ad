"""Compute a row of the report from a run's verdicts and its model's general scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from spy_plugin.benchmark.labels import LABELS
from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.records import Outcome, Verdict
from spy_plugin.benchmarks import MINI, OFFICIAL
from spy_plugin.report.model import Condition, Counts, Figure, GeneralFigure, Row
from spy_plugin.report.results import GENERAL_SETS, GeneralResult, PrivacyResult
from spy_plugin.scoring.metrics import ICS, ICS_SCENARIO, METRICS, compute, overall_score, units
from spy_plugin.scoring.stats import (
    LEVEL,
    PRIVACY,
    Floats,
    bounds,
    error_units,
    grouped,
    harmonic_means,
    interval,
    resampled,
    summarize,
)
from spy_plugin.scoring.table import OUTCOMES, VerdictTable, expected_outcomes, tabulate

OVERALL = "overall"
GENERAL = "general"
# General items are drawn independently of the pictures.
_SEED_OFFSET = {"mmmu": 101, "ocrbench": 102, "mme": 103}


def make_row(
    row_id: str,
    model: str,
    result: PrivacyResult | None,
    table: VerdictTable | None,
    general: Mapping[str, GeneralResult],
    *,
    resamples: int,
    seed: int,
) -> Row:
    """Return the row of a model that has privacy verdicts, general scores, or both."""
    row = Row(
        id=row_id,
        model=model,
        names=sorted({r.model for r in general.values()} | ({result.model} if result else set())),
        yardstick=model in POLICIES,
        condition=condition(result),
        source=str(result.verdicts) if result else "",
        run=result.metadata if result else None,
    )
    draws: dict[str, Floats] = {}
    if table is not None:
        draws = resampled(table, resamples=resamples, seed=seed)
        expected = result.metadata.samples if result and result.metadata else None
        _add_privacy(row, table, draws, expected, resamples=resamples, seed=seed)
    _add_general(row, general, draws.get(PRIVACY), resamples=resamples, seed=seed)
    return row


def condition(result: PrivacyResult | None) -> Condition:
    """Return the run's condition; empty for a bare verdict file."""
    if result is None or result.metadata is None:
        return Condition()
    m = result.metadata
    return Condition(
        benchmark=m.benchmark,
        variant=m.variant,
        self_moderation=m.self_moderation,
        data_fingerprint=m.data_fingerprint,
        protocol=m.protocol,
        judge=m.judge,
    )


def _add_privacy(
    row: Row,
    table: VerdictTable,
    draws: Mapping[str, Floats],
    expected: int | None,
    *,
    resamples: int,
    seed: int,
) -> None:
    figures = compute(table)
    limits = bounds(table)
    for name, estimate in summarize(table, draws).items():
        worst, best = (None if value == "N/A" else value for value in limits[name])
        hits = figures["metrics"][name]["expected"] if name in METRICS else None
        row.figures[name] = Figure(**asdict(estimate), worst=worst, best=best, hits=hits)
    row.counts = Counts(
        verdicts=len(table),
        images=len(table.images),
        expected=expected,
        outcomes=figures["outcomes"],
    )
    row.confusion = {
        name: {cell: figures["metrics"][name][cell] for cell in ("n1", "n2", "n3", "n4")}
        for name in (ICS, ICS_SCENARIO)
    }
    _add_groups(row, table, resamples=resamples, seed=seed)


def _add_groups(row: Row, table: VerdictTable, *, resamples: int, seed: int) -> None:
    """Add error rates, labels and scenarios; a metric without units in a group is left out."""
    every, errors = units(table), error_units(table)
    parts = [(u, np.zeros_like(u.image), 1) for u in errors.values()]
    parts += [(u, u.label, len(table.labels)) for u in every.values()]
    parts += [(u, u.scenario, len(table.scenarios)) for u in every.values()]
    found = iter(grouped(parts, len(table.images), resamples=resamples, seed=seed))
    hits = iter([np.bincount(g[u.hit & (g >= 0)], minlength=size) for u, g, size in parts])

    def figures() -> list[Figure]:
        return [
            Figure(**asdict(estimate), hits=int(count))
            for estimate, count in zip(next(found), next(hits), strict=True)
        ]

    for name in errors:
        (row.figures[name],) = figures()
    for place, names in ((row.labels, table.labels), (row.scenarios, table.scenarios)):
        place.update({name: {} for name in sorted(names)})
        for metric in every:
            for name, figure in zip(names, figures(), strict=True):
                if figure.n:
                    place[name][metric] = figure


def _add_general(
    row: Row,
    results: Mapping[str, GeneralResult],
    privacy: Floats | None,
    *,
    resamples: int,
    seed: int,
) -> None:
    """Add the general scores, and their mean and the overall score if all parts are present."""
    draws: dict[str, Floats] = {}
    for name, result in results.items():
        drawn = None
        if result.items is not None:
            drawn = result.items.resampled(resamples, seed + _SEED_OFFSET[name])
            draws[name] = drawn
        row.general[name] = _general_figure(result, drawn)
    row.figures[GENERAL] = Figure()
    row.figures[OVERALL] = Figure()
    if set(results) != set(GENERAL_SETS):
        return
    score = sum(result.score for result in results.values()) / len(GENERAL_SETS)
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
        source=str(result.source),
    )


def _figure(score: float, draws: Floats | None, conditional: bool) -> Figure:
    low, high = (interval(draws, LEVEL) if draws is not None else None) or (None, None)
    return Figure(score=score, low=low, high=high, conditional=conditional)


def reference_policies(row: Row, table: VerdictTable, prefix: str) -> list[Row]:
    """Compute the reference policies' figures on the samples of a table, without running them."""
    out = []
    respond, reject = OUTCOMES.index(Outcome.RESPOND), OUTCOMES.index(Outcome.REJECT)
    choices: dict[str, Any] = {
        "spy-always-answer": np.full(len(table), respond),
        "spy-always-refuse": np.full(len(table), reject),
        "spy-literal": np.where(table.is_privacy == 1, reject, respond),
        "spy-oracle": expected_outcomes(table),
    }
    for name, outcome in choices.items():
        ideal = replace(table, outcome=outcome)
        figures = {
            metric: Figure(score=None if worst == "N/A" else worst)
            for metric, (worst, _) in bounds(ideal).items()
        }
        for error, u in error_units(ideal).items():
            rate = 100 * float(u.hit.mean()) if len(u.hit) else None
            figures[error] = Figure(score=rate)
        out.append(
            Row(
                id=f"{prefix}-{name}",
                model=name,
                names=[name],
                yardstick=True,
                computed=True,
                condition=row.condition.model_copy(update={"judge": None}),
                figures=figures,
            )
        )
    return out


def table_of(verdicts: Mapping[int, Verdict], result: PrivacyResult) -> VerdictTable:
    """Tabulate a run's verdicts, {line: verdict}; a user's own benchmark may have other labels."""
    metadata = result.metadata
    own = metadata is not None and metadata.benchmark not in (OFFICIAL, MINI)
    known = {verdict.label for verdict in verdicts.values()} if own else LABELS
    return tabulate(
        verdicts.values(), known_labels=known, source=str(result.verdicts), lines=verdicts
    )
