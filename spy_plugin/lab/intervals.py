"""How sure a lab's figures are: intervals over test pictures and over seeds, and differences.

Two things vary. *Pictures*: the test pictures are a sample of all pictures, and the samples of one
picture hang together, so whole pictures are resampled (the cluster bootstrap of `stats`). Every run
was asked the same pictures and gets the same resamples, so differences are paired. *Seeds*: three
seeds are too few to resample, for that shrinks their spread; the mean over the seeds of a method is
instead moved by Student's t with one degree of freedom less than there are seeds, times its
standard error, each method by itself. Without spread between the seeds this is the percentile
interval over pictures; with no spread between pictures it is the t interval over seeds, and for
the difference of two methods the interval of Behrens and Fisher (Fisher, *The Fiducial Argument in
Statistical Inference*, 1935). One seed has no spread: its interval covers pictures only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spy_plugin.lab.results import Comparison, Difference, Estimate, Figure, Method
from spy_plugin.scoring.metrics import ATA_CONFLICT, ICS, RTA, VerdictTable, units
from spy_plugin.scoring.stats import (
    LEVEL,
    Counts,
    Floats,
    PictureWeights,
    harmonic_means,
    interval,
    per_group,
    per_image,
    percentages,
)

RESAMPLES = 20_000
"""More than `stats` takes: with few seeds the bounds lie in the tails of t."""

_COUNTED: tuple[Figure, ...] = ("ics", "rta", "ata_conflict", "answers")
_FIGURES: tuple[Figure, ...] = (*_COUNTED, "hms")
_RIVAL_FIGURES: tuple[Figure, ...] = ("ics", "hms", "answers")
_HERO: Method = "nca_priv"


@dataclass(frozen=True)
class Tally:
    """What one run got right of each test picture.

    Attributes:
        counts: Hits and units: (pictures, figures of `_COUNTED`, 2).
    """

    method: Method
    seed: int
    images: tuple[str, ...]
    counts: Counts


def tally(
    method: Method, seed: int, table: VerdictTable, answers: Iterable[tuple[str, bool]]
) -> Tally:
    """Count a run's verdicts by picture.

    Args:
        answers: Picture and whether the value was right, of each answer that counts.
    """
    every, pictures = units(table), len(table.images)
    parts = [per_image(every[metric], pictures) for metric in (ICS, RTA, ATA_CONFLICT)]
    told = list(answers)
    place = {image: i for i, image in enumerate(table.images)}
    image = np.array([place[image] for image, _ in told], dtype=np.int64)
    right = np.array([is_right for _, is_right in told], dtype=bool)
    parts.append(per_group(image, np.zeros_like(image), right, pictures, 1)[:, 0])
    return Tally(method, seed, table.images, np.stack(parts, axis=1))


def compare(
    tallies: Sequence[Tally], *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Comparison:
    """Every figure's mean over the seeds, and the differences that the lab is about.

    These are NCA-P less each other method in ICS, HMS and answers, and each method less the base
    in answers. A figure that one of a method's runs lacks is None.
    """
    images, counts = _aligned(tallies)
    weights = PictureWeights(len(images), resamples=resamples, seed=seed)
    shape = (len(tallies), len(_COUNTED), 2)
    observed = _figures(counts.sum(axis=0, dtype=np.float64))
    draws = _figures(weights.sums(counts.reshape(len(images), -1)).reshape(resamples, *shape))
    asked = (counts[..., 1] > 0).sum(axis=0)

    rng = np.random.default_rng([seed, 1])  # a stream of its own: seeds do not follow pictures
    methods: dict[Method, _Sampled] = {}
    for method in dict.fromkeys(run.method for run in tallies):
        rows = [i for i, run in enumerate(tallies) if run.method == method]
        of = {name: observed[name][rows] for name in _FIGURES}
        moved = {name: draws[name][:, rows].mean(axis=1) for name in _FIGURES}
        if len(rows) > 1:
            t = rng.standard_t(len(rows) - 1, size=resamples)
            for name, values in of.items():
                moved[name] = moved[name] + t * values.std(ddof=1) / np.sqrt(len(rows))
        means = {name: float(values.mean()) for name, values in of.items()}
        pictures = dict(zip(_COUNTED, asked[rows].min(axis=0).tolist(), strict=True))
        methods[method] = _Sampled(len(rows), means, moved, pictures)

    estimates = {method: _estimates(sampled, level) for method, sampled in methods.items()}
    return Comparison(
        level=level,
        pictures=len(images),
        resamples=resamples,
        estimates=estimates,
        differences=tuple(
            _difference(first, second, name, methods, estimates, level)
            for first, second, name in _pairs(methods)
        ),
    )


@dataclass(frozen=True)
class _Sampled:
    """A method's figures: their mean over its seeds, and that of every resample.

    Attributes:
        pictures: That have any unit of a counted figure.
    """

    seeds: int
    means: Mapping[Figure, float]
    draws: Mapping[Figure, Floats]
    pictures: Mapping[Figure, int]


def _aligned(tallies: Sequence[Tally]) -> tuple[list[str], Counts]:
    """All pictures, and the counts of each run: (pictures, runs, figures, 2)."""
    images = sorted({image for run in tallies for image in run.images})
    rows = {image: row for row, image in enumerate(images)}
    counts = np.zeros((len(images), len(tallies), len(_COUNTED), 2), np.float32)
    for i, run in enumerate(tallies):
        counts[[rows[image] for image in run.images], i] = run.counts
    return images, counts


def _figures(sums: Floats) -> dict[Figure, Floats]:
    """(..., figures of `_COUNTED`, 2) hits and units -> percent of each of `_FIGURES`."""
    scores = percentages(sums)
    found: dict[Figure, Floats] = {name: scores[..., i] for i, name in enumerate(_COUNTED)}
    found["hms"] = harmonic_means(found["ata_conflict"], found["rta"])
    return found


def _estimates(of: _Sampled, level: float) -> dict[Figure, Estimate]:
    out: dict[Figure, Estimate] = {}
    for name in _FIGURES:
        mean, bounds = of.means[name], interval(of.draws[name], level)
        if np.isnan(mean) or bounds is None:
            out[name] = Estimate(mean=None, low=None, high=None, seeds=of.seeds)
            continue
        low, high = bounds
        if low == high and name == "hms":
            parts = [out[part] for part in ("ata_conflict", "rta")]
            low, high = (
                float(harmonic_means(*(np.array([getattr(p, end) or 0.0]) for p in parts))[0])
                for end in ("low", "high")
            )
        elif low == high:
            # Nothing but hits, or misses, looks the same in every resample: the bound of Clopper
            # and Pearson for no miss among so many pictures, as in `stats`.
            slack = 100 * (1 - ((1 - level) / 2) ** (1 / of.pictures[name]))
            low, high = mean - slack, mean + slack
        low, high = max(0.0, low), min(100.0, high)
        out[name] = Estimate(mean=mean, low=low, high=high, seeds=of.seeds)
    return out


def _pairs(methods: Iterable[Method]) -> Iterator[tuple[Method, Method, Figure]]:
    others = [method for method in methods if method != "base"]
    if _HERO in others:
        for name in _RIVAL_FIGURES:
            yield from ((_HERO, other, name) for other in others if other != _HERO)
    if "base" in methods:
        yield from ((method, "base", "answers") for method in others)


def _difference(
    first: Method,
    second: Method,
    figure: Figure,
    methods: Mapping[Method, _Sampled],
    estimates: Mapping[Method, Mapping[Figure, Estimate]],
    level: float,
) -> Difference:
    a, b = methods[first], methods[second]
    known = {"first": first, "second": second, "figure": figure, "seeds": (a.seeds, b.seeds)}
    gap = a.means[figure] - b.means[figure]
    bounds = interval(a.draws[figure] - b.draws[figure], level)
    if np.isnan(gap) or bounds is None:
        return Difference(**known, difference=None, low=None, high=None, verdict="not measured")
    low, high = bounds
    if low == high:  # neither varies: what the two intervals leave open
        mine, its = estimates[first][figure], estimates[second][figure]
        low = (mine.low or 0.0) - (its.high or 0.0)
        high = (mine.high or 0.0) - (its.low or 0.0)
    low, high = max(-100.0, low), min(100.0, high)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    return Difference(**known, difference=gap, low=low, high=high, verdict=verdict)
