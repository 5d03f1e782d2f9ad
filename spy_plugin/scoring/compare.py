"""Paired differences between two models, or two conditions, on the same pictures.

Both are resampled by the same pictures. The p value of a figure over many pictures comes from the
same resamples as its interval, so the two agree. A label may have only a few pictures, where a
bootstrap finds significance too easily, so its p value is that of a permutation test: if nothing
distinguishes the two models, it does not matter which of them gave a picture's verdicts, and
swapping them picture by picture gives the distribution of the difference (Fisher's randomization
test with pictures as units). For the harmonic mean that test would be wrong: two models of equal
HMS may refuse and answer quite differently, and then they are not interchangeable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from spy_plugin.errors import SpyBenchError
from spy_plugin.scoring.metrics import Units, units
from spy_plugin.scoring.stats import (
    LEVEL,
    RESAMPLES,
    Counts,
    Floats,
    PictureWeights,
    combine,
    interval,
    per_group,
    percentages,
)
from spy_plugin.scoring.table import Ints, VerdictTable

_EPSILON = 1e-9
_CHUNK = 250


@dataclass(frozen=True)
class Difference:
    """First minus second, in points; None where one of them has no such figure.

    Attributes:
        difference: In percentage points.
        low, high: Ends of its interval.
        p: Two-sided p value.
        images: Number of pictures that both were asked about.
        p_corrected: After Holm's correction over the labels; None for a figure over all labels.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    images: int
    p_corrected: float | None = None


def differences(
    first: VerdictTable,
    second: VerdictTable,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Difference]:
    """Return the difference in each of `FIGURES` over the pictures that both tables have.

    Raises:
        SpyBenchError: the tables share no picture.
    """
    (a, b), weights = _paired(first, second, resamples, seed)
    images = weights.images
    columns = [
        np.concatenate([_per_group(u, t.rows, images, 1)[:, 0] for u in t.units.values()], axis=1)
        for t in (a, b)
    ]
    names = list(a.units)

    def figures(sums: Floats) -> dict[str, Floats]:
        return combine(
            {name: percentages(sums[:, 2 * i : 2 * i + 2]) for i, name in enumerate(names)}
        )

    resampled = [figures(weights.sums(c)) for c in columns]
    observed = [
        figures(c.sum(axis=0, keepdims=True, dtype=np.float64)) for c in (columns[0], columns[1])
    ]
    out = {}
    for name in observed[0]:
        gap = float(observed[0][name][0] - observed[1][name][0])
        draws = resampled[0][name] - resampled[1][name]
        out[name] = _difference(gap, draws, _bootstrap_p(draws), images, level)
    return out


def label_differences(
    first: VerdictTable,
    second: VerdictTable,
    metric: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Difference]:
    """Return the difference in one of `METRICS` for each label, p corrected over the labels.

    Raises:
        SpyBenchError: the tables share no picture.
    """
    (a, b), weights = _paired(first, second, resamples, seed)
    images = weights.images
    labels = sorted(set(a.table.labels) | set(b.table.labels))
    counts = []
    for t in (a, b):
        u = t.units[metric]
        codes = np.array([labels.index(label) for label in t.table.labels], dtype=np.int64)
        counts.append(_per_group(replace(u, label=codes[u.label]), t.rows, images, len(labels)))
    flat = [c.reshape(images, -1) for c in counts]

    def scores(sums: Floats) -> Floats:
        return percentages(sums.reshape(-1, len(labels), 2))

    resampled = np.subtract(*(scores(weights.sums(c)) for c in flat))
    swapped = np.subtract(*(scores(s) for s in _swapped(*flat, resamples=resamples, seed=seed)))
    observed = np.subtract(*(scores(c.sum(axis=0, dtype=np.float64))[0] for c in flat))
    asked = (counts[0][..., 1] + counts[1][..., 1] > 0).sum(axis=0)
    found = {}
    for i, label in enumerate(labels):
        p = _permutation_p(float(observed[i]), swapped[:, i])
        found[label] = _difference(float(observed[i]), resampled[:, i], p, int(asked[i]), level)
    corrected = holm({label: d.p for label, d in found.items() if d.p is not None})
    return {label: replace(d, p_corrected=corrected.get(label)) for label, d in found.items()}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p values by Holm's step-down method, which bounds the chance of any false alarm.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979.
    """
    ordered = sorted(p_values.items(), key=lambda pair: pair[1])
    corrected, largest = {}, 0.0
    for rank, (name, p) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - rank)))
        corrected[name] = largest
    return corrected


@dataclass(frozen=True)
class _Aligned:
    """A table's units; `rows` maps its picture index to the common one, -1 if not common."""

    table: VerdictTable
    units: Mapping[str, Units]
    rows: Ints


def _paired(
    first: VerdictTable, second: VerdictTable, resamples: int, seed: int
) -> tuple[list[_Aligned], PictureWeights]:
    """Align both tables on the pictures that they share; return the resamples of those, too."""
    common = sorted(set(first.images) & set(second.images))
    if not common:
        raise SpyBenchError(
            "the two results have no picture in common. Compare runs on the same benchmark."
        )
    places = {image: row for row, image in enumerate(common)}
    aligned = [
        _Aligned(
            table,
            units(table),
            np.array([places.get(image, -1) for image in table.images], dtype=np.int64),
        )
        for table in (first, second)
    ]
    return aligned, PictureWeights(len(common), resamples=resamples, seed=seed)


def _per_group(u: Units, rows: Ints, images: int, groups: int) -> Counts:
    """Count hits and units of each common picture and label: (images, groups, 2)."""
    row = rows[u.image]
    keep = row >= 0
    group = u.label[keep] if groups > 1 else np.zeros_like(row[keep])
    return per_group(row[keep], group, u.hit[keep], images, groups)


def _swapped(a: Counts, b: Counts, *, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return each model's sums, (resamples, columns), after swapping pictures at random."""
    # A separate random stream: swaps must not depend on the resamples.
    rng = np.random.default_rng([seed, 1])
    firsts = []
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        keep = rng.integers(0, 2, size=(rows, len(a))).astype(np.float32)
        # A picture adds the first model's counts to the first sum, or the second model's.
        firsts.append(keep @ (a - b) + b.sum(axis=0))
    first = np.concatenate(firsts).astype(np.float64)
    return first, a.sum(axis=0) + b.sum(axis=0) - first


def _bootstrap_p(draws: Floats) -> float:
    """Return twice the smaller share of resampled differences that are <= 0 or >= 0."""
    defined = draws[~np.isnan(draws)]
    tail = min((defined <= _EPSILON).sum(), (defined >= -_EPSILON).sum())
    return min(1.0, 2 * (int(tail) + 1) / (len(defined) + 1))


def _permutation_p(observed: float, swapped: Floats) -> float:
    """Return the share of swaps whose difference is at least as large as the observed one."""
    defined = swapped[~np.isnan(swapped)]
    extreme = int((np.abs(defined) >= abs(observed) - _EPSILON).sum())
    return (extreme + 1) / (len(defined) + 1)


def _difference(
    observed: float, resampled: Floats, p: float, images: int, level: float
) -> Difference:
    bounds = interval(resampled, level)
    if np.isnan(observed) or bounds is None:
        return Difference(None, None, None, None, images)
    return Difference(observed, bounds[0], bounds[1], p, images)
