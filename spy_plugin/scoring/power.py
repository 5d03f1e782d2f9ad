"""What a number of pictures can show: the width of an interval, the smallest difference found.

Benchmarks of that many pictures are drawn from a large simulated population, whose models are right
as often as is asked for. The spread of a figure over these benchmarks gives its interval, and the
spread of the paired difference of two equally good models the smallest difference that a test
finds: (z(1 - alpha / 2) + z(power)) times that spread (Cohen, *Statistical Power Analysis for the
Behavioral Sciences*, 1988).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from spy_plugin.errors import SpyBenchError
from spy_plugin.scoring.metrics import METRICS, units
from spy_plugin.scoring.resampling import Counts, Floats
from spy_plugin.scoring.simulation import SPREAD, Pictures, answer, pictures, samples
from spy_plugin.scoring.stats import (
    ERRORS,
    PRIVACY,
    combine,
    error_units,
    per_picture,
    percentages,
    point_scores,
)
from spy_plugin.scoring.table import VerdictTable

POPULATION = 20_000
"""Simulated pictures, from which benchmarks are drawn."""
DRAWN = 1000
"""Benchmarks of one size."""

_STEPS = 20
_BATCH = 2_000_000


@dataclass(frozen=True)
class Assumptions:
    """What is assumed of the benchmark and the models.

    Attributes:
        score: The privacy score of the models, in percent.
        items: Mean number of items per picture; an item has five samples.
        spread: How much pictures differ: standard deviation of their effect, in logits.
        alike: Share of samples on which luck treats both models the same: 0 for unrelated models,
            near 1 for two checkpoints of one run.
        models: How many models are compared, each pair; the p values are corrected for it.
        level: The level of the intervals; a p value below ``1 - level`` counts as a difference.
        power: Share of differences that should be found.
    """

    score: float = 60.0
    items: int = 2
    spread: float = SPREAD
    alike: float = 0.0
    models: int = 2
    level: float = 0.95
    power: float = 0.8


@dataclass(frozen=True)
class Precision:
    """What so many pictures show of one figure, in points.

    Attributes:
        width: Width of its interval.
        smallest: The smallest difference of two models that is found with the power asked for.
    """

    pictures: int
    figure: str
    width: float
    smallest: float


def precisions(
    counts: Sequence[int],
    figures: Sequence[str],
    assumed: Assumptions,
    *,
    seed: int = 0,
) -> list[Precision]:
    """Return what each number of pictures shows of each figure.

    Args:
        figures: Of `stats.FIGURES` and `stats.ERRORS`.

    Raises:
        SpyBenchError: a score that no simulated model has.
    """
    rng = np.random.default_rng(seed)
    drawn = pictures(rng, POPULATION, assumed.spread, assumed.items)
    table = samples(drawn)
    right = _right_for(assumed.score, table, drawn, rng.random(len(table)))
    first, second = rng.random((2, len(table)))
    second = np.where(rng.random(len(table)) < assumed.alike, first, second)
    columns = np.concatenate(
        [_columns(answer(table, drawn[0], right, luck)) for luck in (first, second)], axis=1
    )
    normal = NormalDist()
    pairs = assumed.models * (assumed.models - 1) // 2
    alpha = (1 - assumed.level) / max(1, pairs)
    reach = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(assumed.power)
    out = []
    for number in counts:
        one, two = _scores(columns, number, np.random.default_rng([seed, number]))
        for name in figures:
            low, high = np.nanquantile(
                one[name], [(1 - assumed.level) / 2, (1 + assumed.level) / 2]
            )
            smallest = reach * float(np.nanstd(one[name] - two[name]))
            out.append(Precision(number, name, float(high - low), smallest))
    return out


def _right_for(score: float, table: VerdictTable, drawn: Pictures, luck: Floats) -> float:
    """Find how often a model with this privacy score is right on a typical picture.

    Raises:
        SpyBenchError: there is none.
    """
    low, high = 0.001, 0.999
    for _ in range(_STEPS):
        right = (low + high) / 2
        found = point_scores(answer(table, drawn[0], right, luck))[PRIVACY]
        low, high = (right, high) if float(found) < score else (low, right)
    if right < 0.002 or right > 0.998:
        raise SpyBenchError(f"a privacy score of {score:g} is out of range. Use 5 to 95.")
    return right


def _columns(table: VerdictTable) -> Counts:
    """Count hits and units of every metric on each picture."""
    return per_picture(units(table) | error_units(table), len(table.images))


def _scores(
    columns: Counts, number: int, rng: np.random.Generator
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return both models' figures on `DRAWN` benchmarks of so many pictures: (DRAWN,) each."""
    sums = np.concatenate(list(_sums(columns, number, rng)))
    half = columns.shape[1] // 2
    counted = (*METRICS, *ERRORS)
    one, two = (
        combine(dict(zip(counted, percentages(part, len(counted)).T, strict=True)))
        for part in (sums[:, :half], sums[:, half:])
    )
    return one, two


def _sums(columns: Counts, number: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Sum the columns over the pictures of each benchmark, a few benchmarks at a time."""
    left = DRAWN
    while left:
        rows = min(left, max(1, _BATCH // number))
        chosen = rng.integers(0, len(columns), (rows, number))
        yield columns[chosen].sum(axis=1, dtype=np.float64)
        left -= rows
