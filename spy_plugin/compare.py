"""Paired differences between two models, or two conditions, on the same pictures.

The interval resamples pictures, the same ones for both. The p value is that of a permutation test:
if nothing distinguishes the two, it does not matter which of them gave a picture's verdicts, so
swapping them picture by picture gives the distribution of the difference (Fisher's randomization
test with pictures as units). It stays right for a label with a handful of pictures, where a
bootstrap would not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spy_plugin.errors import SpyBenchError
from spy_plugin.metrics import Ints, Units, VerdictTable, units
from spy_plugin.stats import (
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

_EPSILON = 1e-9
_CHUNK = 250


@dataclass(frozen=True)
class Difference:
    """First minus second, in points; None where one of them has no such figure.

    Attributes:
        p: Two-sided, of the permutation test.
        p_corrected: After Holm's correction over the labels; None for a figure that is no label's.
        images: Pictures that both were asked about.
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
    """The difference in each of `stats.FIGURES` over the pictures that both tables have.

    Raises:
        SpyBenchError: the tables share no picture.
    """
    images, (a, b) = _aligned([first, second])
    columns = [
        np.concatenate([_per_group(u, t.rows, images, 1)[:, 0] for u in t.units.values()], axis=1)
        for t in (a, b)
    ]
    names = list(a.units)

    def figures(sums: Floats) -> dict[str, Floats]:
        return combine(
            {name: percentages(sums[:, 2 * i : 2 * i + 2]) for i, name in enumerate(names)}
        )

    draws = _draws(columns[0], columns[1], images, resamples=resamples, seed=seed)
    resampled = [figures(sums) for sums in (draws.first, draws.second)]
    swapped = [figures(sums) for sums in (draws.swapped_first, draws.swapped_second)]
    observed = [
        figures(c.sum(axis=0, keepdims=True, dtype=np.float64)) for c in (columns[0], columns[1])
    ]
    return {
        name: _difference(
            float(observed[0][name][0] - observed[1][name][0]),
            resampled[0][name] - resampled[1][name],
            swapped[0][name] - swapped[1][name],
            images,
            level,
        )
        for name in observed[0]
    }


def label_differences(
    first: VerdictTable,
    second: VerdictTable,
    metric: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Difference]:
    """The difference in one counted metric for each label, p corrected over the labels (Holm).

    Raises:
        SpyBenchError: the tables share no picture.
    """
    images, (a, b) = _aligned([first, second])
    labels = sorted(set(a.table.labels) | set(b.table.labels))
    sides = []
    for t in (a, b):
        u = t.units[metric]
        codes = np.array([labels.index(label) for label in t.table.labels], dtype=np.int64)
        sides.append(_per_group(replace(u, label=codes[u.label]), t.rows, images, len(labels)))
    flat = [side.reshape(images, -1) for side in sides]
    draws = _draws(flat[0], flat[1], images, resamples=resamples, seed=seed)

    def scores(sums: Floats) -> Floats:
        return percentages(sums.reshape(-1, len(labels), 2))

    resampled = scores(draws.first) - scores(draws.second)
    swapped = scores(draws.swapped_first) - scores(draws.swapped_second)
    observed = np.subtract(*(scores(c.sum(axis=0, dtype=np.float64))[0] for c in flat))
    asked = (sides[0][..., 1] + sides[1][..., 1] > 0).sum(axis=0)
    found = {
        label: _difference(float(observed[i]), resampled[:, i], swapped[:, i], int(asked[i]), level)
        for i, label in enumerate(labels)
    }
    corrected = holm({label: d.p for label, d in found.items() if d.p is not None})
    return {label: replace(d, p_corrected=corrected.get(label)) for label, d in found.items()}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: the chance of any false alarm stays below the level.

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
    """A table's units with `rows`: its picture index -> the common one, -1 for not common."""

    table: VerdictTable
    units: Mapping[str, Units]
    rows: Ints


@dataclass(frozen=True)
class _Draws:
    first: Floats
    second: Floats
    swapped_first: Floats
    swapped_second: Floats


def _aligned(tables: Sequence[VerdictTable]) -> tuple[int, list[_Aligned]]:
    common = sorted(set.intersection(*(set(table.images) for table in tables)))
    if not common:
        raise SpyBenchError(
            "the two have no picture in common. Compare runs on the same benchmark."
        )
    places = {image: row for row, image in enumerate(common)}
    return len(common), [
        _Aligned(
            table,
            units(table),
            np.array([places.get(image, -1) for image in table.images], dtype=np.int64),
        )
        for table in tables
    ]


def _per_group(u: Units, rows: Ints, images: int, groups: int) -> Counts:
    """Hits and units of each common picture and label: (images, groups, 2)."""
    row = rows[u.image]
    keep = row >= 0
    group = u.label[keep] if groups > 1 else np.zeros_like(row[keep])
    return per_group(row[keep], group, u.hit[keep], images, groups)


def _draws(a: Counts, b: Counts, images: int, *, resamples: int, seed: int) -> _Draws:
    """Sums (resamples, columns) over resampled pictures, and over pictures swapped at random."""
    weights = PictureWeights(images, resamples=resamples, seed=seed)
    width = a.shape[1]
    sums = weights.sums(np.concatenate([a, b], axis=1))
    # A stream of its own: swaps must not follow the resamples.
    rng = np.random.default_rng([seed, 1])
    total, gap = a.sum(axis=0) + b.sum(axis=0), a - b
    swapped = []
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        keep = rng.integers(0, 2, size=(rows, images)).astype(np.float32)
        # A picture adds its first side to the first sum, or its second side.
        swapped.append(keep @ gap + b.sum(axis=0))
    first = np.concatenate(swapped).astype(np.float64)
    return _Draws(sums[:, :width], sums[:, width:], first, total - first)


def _difference(
    observed: float, resampled: Floats, swapped: Floats, images: int, level: float
) -> Difference:
    bounds = interval(resampled, level)
    if np.isnan(observed) or bounds is None:
        return Difference(None, None, None, None, images)
    defined = swapped[~np.isnan(swapped)]
    extreme = int((np.abs(defined) >= abs(observed) - _EPSILON).sum())
    p = (extreme + 1) / (len(defined) + 1)
    return Difference(observed, bounds[0], bounds[1], p, images)
