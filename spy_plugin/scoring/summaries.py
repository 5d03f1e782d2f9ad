"""Every estimate on several runs at once: overall, by label and by scenario, from the same draws.

Runs on the same pictures share their resamples. A label has few pictures, so the draws of those
alone are summed, for all runs and metrics in one product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spy_plugin.scoring.metrics import METRICS, Units, units
from spy_plugin.scoring.parallel import in_threads
from spy_plugin.scoring.resampling import (
    LEVEL,
    RESAMPLES,
    Counts,
    Floats,
    PictureWeights,
    picture_weights,
)
from spy_plugin.scoring.stats import (
    DISCLOSURES,
    ERRORS,
    PRIVACY,
    Estimate,
    combine,
    disclosure_units,
    error_units,
    estimate_columns,
    estimate_figures,
    per_picture,
    percentages,
)
from spy_plugin.scoring.table import Bools, Ints, VerdictTable

ByName = dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Summary:
    """Every estimate on one run.

    Attributes:
        figures: Those of `stats.FIGURES`, `stats.ERRORS` and `stats.DISCLOSURES`.
        labels, scenarios: Name -> metric -> estimate; a metric without units is left out.
        privacy: The privacy score in every resample, NaN where it is N/A: (resamples,).
    """

    figures: dict[str, Estimate]
    labels: ByName
    scenarios: ByName
    privacy: Floats


def summarize(
    tables: Sequence[VerdictTable],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Summary]:
    """Return every estimate on several runs that have the same `images`, in their order."""
    images = len(tables[0].images)
    weights = picture_weights(images, resamples, seed)
    every = [units(table) for table in tables]
    columns = [
        per_picture(u | error_units(table) | disclosure_units(table), images)
        for u, table in zip(every, tables, strict=True)
    ]
    sums = weights.sums(np.concatenate(columns, axis=1))
    labels = _grouped("label", tables, every, weights, level)
    scenarios = _grouped("scenario", tables, every, weights, level)
    out = []
    others = (*ERRORS, *DISCLOSURES)
    counted = len(METRICS) + len(others)
    for i, own in enumerate(columns):
        draws = percentages(sums[:, i * 2 * counted : (i + 1) * 2 * counted], counted)
        found = estimate_columns(own, draws, level)
        combined = combine(dict(zip(METRICS, draws.T, strict=False)))
        figures = estimate_figures(found[: len(METRICS)], combined, level)
        figures |= dict(zip(others, found[len(METRICS) :], strict=True))
        out.append(Summary(figures, labels[i], scenarios[i], combined[PRIVACY]))
    return out


@dataclass(frozen=True)
class _Part:
    """The units of one metric of one run, sorted by group.

    Attributes:
        run: Which run.
        starts: Where the units of each group begin, and the end: (groups + 1,).
    """

    run: int
    metric: str
    image: Ints
    hit: Bools
    starts: Ints

    @classmethod
    def of(cls, run: int, metric: str, u: Units, group: Ints, groups: int) -> _Part:
        """Sort units by group; those of group -1 are left out."""
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(groups + 1))
        return cls(run, metric, u.image[order], u.hit[order], starts)

    def size(self, group: int) -> int:
        """Return the number of units of a group."""
        return int(self.starts[group + 1] - self.starts[group])

    def units(self, group: int) -> tuple[Ints, Bools]:
        """Return picture and hit of each unit of a group."""
        part = slice(self.starts[group], self.starts[group + 1])
        return self.image[part], self.hit[part]


def _count(parts: Sequence[_Part], group: int, images: int) -> tuple[Counts, Ints]:
    """Count the hits and units of a group on each of its pictures.

    Returns:
        The counts, (pictures, 2 x parts), and the pictures.
    """
    found = [part.units(group) for part in parts]
    seen = np.zeros(images, dtype=bool)
    for image, _ in found:
        seen[image] = True
    place, size = np.cumsum(seen) - 1, int(seen.sum())
    counts = np.empty((2 * len(parts), size), np.float32)
    for row, (image, hit) in enumerate(found):
        cell = place[image]
        counts[2 * row] = np.bincount(cell[hit], minlength=size)
        counts[2 * row + 1] = np.bincount(cell, minlength=size)
    return counts.T, np.flatnonzero(seen)


def _grouped(
    kind: Literal["label", "scenario"],
    tables: Sequence[VerdictTable],
    every: Sequence[Mapping[str, Units]],
    weights: PictureWeights,
    level: float,
) -> list[ByName]:
    """Estimate each metric of each run in each label or scenario."""
    own: list[tuple[str, ...]] = [getattr(table, f"{kind}s") for table in tables]
    names = sorted({name for names in own for name in names})
    parts = []
    for run, found in enumerate(every):
        places = np.array([*(names.index(name) for name in own[run]), -1])  # the last for none
        for metric, u in found.items():
            parts.append(_Part.of(run, metric, u, places[getattr(u, kind)], len(names)))

    def estimate(group: int) -> list[tuple[_Part, Estimate]]:
        present = [part for part in parts if part.size(group)]
        if not present:
            return []
        counts, pictures = _count(present, group, weights.images)
        draws = percentages(weights.sums(counts, pictures), len(present))
        return list(zip(present, estimate_columns(counts, draws, level), strict=True))

    out: list[ByName] = [{name: {} for name in names} for names in own]
    for name, found_here in zip(names, in_threads(estimate, range(len(names))), strict=True):
        for part, estimated in found_here:
            out[part.run][name][part.metric] = estimated
    return out
