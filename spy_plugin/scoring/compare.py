"""Paired differences between two models on the samples that both were asked.

The interval comes from resampled pictures, the same ones for both models. The p value is that of a
permutation test (Fisher's randomization test with pictures as units): if nothing distinguishes the
two models, it does not matter which of them gave a picture's verdicts, and swapping them picture by
picture gives the distribution of the difference. With few pictures all swaps are taken, so the p
value is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from spy_plugin.errors import SpyBenchError
from spy_plugin.scoring.metrics import ATA_CONFLICT, HMS, ICS, METRICS, RTA, Units, units
from spy_plugin.scoring.resampling import (
    EXACT_PICTURES,
    LEVEL,
    RESAMPLES,
    Bytes,
    Counts,
    Floats,
    all_swaps,
    per_group,
    picture_weights,
    random_swaps,
    weighted_sums,
)
from spy_plugin.scoring.stats import (
    ERRORS,
    FIGURES,
    PRIVACY,
    error_units,
    harmonic_means,
    interval,
    per_image,
    percentages,
    sure_share,
)
from spy_plugin.scoring.table import Ints, VerdictTable, common_samples, select

_EPSILON = 1e-9

_PARTS = {name: (name,) for name in (*METRICS, *ERRORS)} | {
    HMS: (ATA_CONFLICT, RTA),
    PRIVACY: (ICS, ATA_CONFLICT, RTA),
}
"""Figure -> the counted metrics that it is computed from."""


@dataclass(frozen=True)
class Difference:
    """First minus second, in points; None where one of them has no such figure.

    Attributes:
        difference: In percentage points.
        low, high: Ends of its interval; None for a single picture.
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
    figures: Sequence[str] = (*FIGURES, *ERRORS),
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Difference]:
    """Return the differences over the samples that both tables have.

    Args:
        figures: Of `stats.FIGURES` and `stats.ERRORS`.

    Raises:
        SpyBenchError: the tables share no sample.
    """
    pair = _Pair.of(first, second, resamples, seed)
    counted = [
        {name: per_image(u, pair.images) for name, u in every.items()} for every in pair.units
    ]
    out = {}
    for figure in figures:
        parts = _PARTS[figure]
        one, two = (np.concatenate([c[part] for part in parts], axis=1) for c in counted)
        out[figure] = pair.compare(one, two, partial(_score, figure), level)
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
        SpyBenchError: the tables share no sample.
    """
    pair = _Pair.of(first, second, resamples, seed)
    one, two = (pair.by_label(every[metric]) for every in pair.units)
    found = {
        label: pair.compare(one[:, i], two[:, i], lambda sums: _score(metric, sums), level)
        for i, label in enumerate(pair.labels)
    }
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


def _score(figure: str, sums: Floats) -> Floats:
    """Return a figure from sums of the hits and units of its parts: (draws, 2 x parts)."""
    scores = percentages(sums, len(_PARTS[figure])).T
    if figure == HMS:
        return harmonic_means(scores[0], scores[1])
    if figure == PRIVACY:
        mean: Floats = (scores[0] + harmonic_means(scores[1], scores[2])) / 2
        return mean
    first: Floats = scores[0]
    return first


@dataclass(frozen=True)
class _Pair:
    """Two models' units on the samples that both have, with common codes of pictures and labels."""

    units: Sequence[Mapping[str, Units]]
    images: int
    labels: tuple[str, ...]
    resamples: int
    seed: int

    @classmethod
    def of(cls, first: VerdictTable, second: VerdictTable, resamples: int, seed: int) -> _Pair:
        rows = common_samples(first, second)
        if not len(rows[0]):
            raise SpyBenchError(
                "the two results have no sample in common. Compare runs on the same benchmark."
            )
        one, two = select(first, rows[0]), select(second, rows[1])
        # Codes are places among sorted names, and both have the names of the same samples.
        counted = [units(table) | error_units(table) for table in (one, two)]
        return cls(counted, len(one.images), one.labels, resamples, seed)

    def by_label(self, u: Units) -> Counts:
        """Count hits and units of each picture and label: (images, labels, 2)."""
        return per_group(u.image, u.label, u.hit, self.images, len(self.labels))

    def compare(
        self, one: Counts, two: Counts, score: Callable[[Floats], Floats], level: float
    ) -> Difference:
        """Compare a figure.

        Args:
            one, two: Each model's hits and units by picture: (images, columns).
            score: Sums of the columns, (draws, columns) -> the figure, (draws,).
        """
        pictures = np.flatnonzero((one + two).any(axis=1))
        one, two = one[pictures], two[pictures]

        def gap(a: Floats, b: Floats) -> Floats:
            return score(a) - score(b)

        total = [c.sum(axis=0, keepdims=True, dtype=np.float64) for c in (one, two)]
        observed = float(gap(*total)[0])
        if np.isnan(observed):
            return Difference(None, None, None, None, len(pictures))
        weights = picture_weights(self.images, self.resamples, self.seed)
        both = weights.sums(np.concatenate([one, two], axis=1), pictures)
        draws = gap(*np.split(both, 2, axis=1))
        ends = _interval(draws, len(pictures), level)
        return Difference(
            observed, *ends, self._p(one, two, pictures, gap, observed), len(pictures)
        )

    def _p(
        self,
        one: Counts,
        two: Counts,
        pictures: Ints,
        gap: Callable[[Floats, Floats], Floats],
        observed: float,
    ) -> float:
        """Return the share of swaps whose difference is at least as large as the observed one."""
        differ = (one != two).any(axis=1)  # to swap another picture changes nothing
        exact = differ.sum() <= EXACT_PICTURES
        swaps: Bytes = (
            all_swaps(int(differ.sum()))
            if exact
            else random_swaps(self.images, self.resamples, self.seed)[pictures[differ]]
        )
        first = two.sum(axis=0, dtype=np.float64) + weighted_sums(swaps, (one - two)[differ])
        gaps = gap(first, (one + two).sum(axis=0, dtype=np.float64) - first)
        defined = gaps[~np.isnan(gaps)]
        extreme = int((np.abs(defined) >= abs(observed) - _EPSILON).sum())
        if exact:  # the verdicts as they are count as one of the swaps
            return extreme / len(defined)
        return (extreme + 1) / (len(defined) + 1)


def _interval(draws: Floats, images: int, level: float) -> tuple[float | None, float | None]:
    """Return the percentile interval of resampled differences.

    Where every resample gives the same difference d, the pictures that were not seen may still
    differ: with the rate at which that is likely, they move d towards -100 and 100.
    """
    bounds = interval(draws, level)
    if bounds is None or images < 2:
        return None, None
    low, high = bounds
    if high - low < _EPSILON:
        share = sure_share(images, level)
        low, high = low * share - 100 * (1 - share), high * share + 100 * (1 - share)
    return low, high
