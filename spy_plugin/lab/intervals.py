"""Confidence intervals of a lab's figures, over test pictures and seeds, and paired differences.

Two things vary:

- *Pictures*. The samples of one picture are not independent, so whole pictures are resampled (the
  cluster bootstrap of `scoring.stats`). All runs share the pictures and the resamples, so
  differences are paired.
- *Seeds*. Three seeds are too few to resample: that would shrink their spread. Instead each draw
  shifts the mean over an arm's seeds by its standard error times Student's t with n - 1 degrees
  of freedom, independently for each arm. (An arm is a method with one way to share prefixes. Equal
  seeds of two arms do not pair them: their batches, and so all updates, differ.)

Without spread between seeds the result is the percentile interval over pictures. Without spread
between pictures it is the t interval over seeds, and for a difference of two arms the
Behrens-Fisher interval (Fisher, *The Fiducial Argument in Statistical Inference*, 1935). One seed
has no spread: its interval covers pictures only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spy_plugin.lab.arms import BASE, Arm, method_of
from spy_plugin.lab.results import Comparison, Difference, Estimate, Figure
from spy_plugin.scoring.metrics import ATA_CONFLICT, ICS, RTA, units
from spy_plugin.scoring.resampling import LEVEL, Counts, Floats, PictureWeights, per_group
from spy_plugin.scoring.stats import harmonic_means, interval, per_image, percentages
from spy_plugin.scoring.table import VerdictTable

RESAMPLES = 20_000
"""More than `scoring.stats` draws: with few seeds the bounds lie in the tails of t."""

_COUNTED: tuple[Figure, ...] = ("ics", "rta", "ata_conflict", "answers")
_FIGURES: tuple[Figure, ...] = (*_COUNTED, "hms")
_COMPARED_FIGURES: tuple[Figure, ...] = ("ics", "hms", "answers")
_FOCUS = "nca_priv"


@dataclass(frozen=True)
class RunCounts:
    """Hits and units of one run, by test picture.

    Attributes:
        counts: Hits and units: [pictures, figures of `_COUNTED`, 2].
    """

    arm: Arm
    seed: int
    images: tuple[str, ...]
    counts: Counts


def count_run(
    arm: Arm, seed: int, table: VerdictTable, answers: Iterable[tuple[str, bool]]
) -> RunCounts:
    """Count the verdicts of a run by picture.

    Args:
        table: The verdicts of the run.
        answers: (picture, whether the value is right) of each answer that counts.
    """
    every, pictures = units(table), len(table.images)
    parts = [per_image(every[metric], pictures) for metric in (ICS, RTA, ATA_CONFLICT)]
    judged = list(answers)
    place = {image: i for i, image in enumerate(table.images)}
    image = np.array([place[image] for image, _ in judged], dtype=np.int64)
    right = np.array([is_right for _, is_right in judged], dtype=bool)
    parts.append(per_group(image, np.zeros_like(image), right, pictures, 1)[:, 0])
    return RunCounts(arm, seed, table.images, np.stack(parts, axis=1))


def compare(
    runs: Sequence[RunCounts], *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Comparison:
    """The mean of every figure over the seeds, and the differences between arms.

    The differences are NCA-P minus each other method and, within a method, the first way to share
    prefixes minus each other one (ICS, HMS, answers); and each arm minus the base (answers). The
    first arm of a method stands for it. A figure that any run of an arm lacks is None.
    """
    images, counts = _counts_by_picture(runs)
    weights = PictureWeights(len(images), resamples=resamples, seed=seed)
    shape = (len(runs), len(_COUNTED), 2)
    observed = _figures(counts.sum(axis=0, dtype=np.float64))
    draws = _figures(weights.sums(counts.reshape(len(images), -1)).reshape(resamples, *shape))
    pictures_of = (counts[..., 1] > 0).sum(axis=0)  # [runs, figures]

    rng = np.random.default_rng([seed, 1])  # independent of the stream that resamples pictures
    arms: dict[Arm, _ArmSamples] = {}
    for arm in dict.fromkeys(run.arm for run in runs):
        rows = [i for i, run in enumerate(runs) if run.arm == arm]
        by_seed = {name: observed[name][rows] for name in _FIGURES}
        shifted = {name: draws[name][:, rows].mean(axis=1) for name in _FIGURES}
        if len(rows) > 1:
            t = rng.standard_t(len(rows) - 1, size=resamples)
            for name, values in by_seed.items():
                shifted[name] = shifted[name] + t * values.std(ddof=1) / np.sqrt(len(rows))
        means = {name: float(values.mean()) for name, values in by_seed.items()}
        pictures = dict(zip(_COUNTED, pictures_of[rows].min(axis=0).tolist(), strict=True))
        arms[arm] = _ArmSamples(len(rows), means, shifted, pictures)

    estimates = {arm: _estimates(samples, level) for arm, samples in arms.items()}
    return Comparison(
        level=level,
        pictures=len(images),
        resamples=resamples,
        estimates=estimates,
        differences=tuple(
            _difference(first, second, name, arms, estimates, level)
            for first, second, name in _pairs(arms)
        ),
    )


@dataclass(frozen=True)
class _ArmSamples:
    """The figures of an arm.

    Attributes:
        means: Mean over the seeds.
        draws: The same of each resample: [resamples].
        pictures: Number of pictures that have a unit of a counted figure.
    """

    seeds: int
    means: Mapping[Figure, float]
    draws: Mapping[Figure, Floats]
    pictures: Mapping[Figure, int]


def _counts_by_picture(runs: Sequence[RunCounts]) -> tuple[list[str], Counts]:
    """All pictures, and the counts of all runs: [pictures, runs, figures, 2]."""
    images = sorted({image for run in runs for image in run.images})
    rows = {image: row for row, image in enumerate(images)}
    counts = np.zeros((len(images), len(runs), len(_COUNTED), 2), np.float32)
    for i, run in enumerate(runs):
        counts[[rows[image] for image in run.images], i] = run.counts
    return images, counts


def _figures(sums: Floats) -> dict[Figure, Floats]:
    """Turn hits and units [..., figures of `_COUNTED`, 2] into percent of each of `_FIGURES`."""
    scores = percentages(sums)
    found: dict[Figure, Floats] = {name: scores[..., i] for i, name in enumerate(_COUNTED)}
    found["hms"] = harmonic_means(found["ata_conflict"], found["rta"])
    return found


def _estimates(samples: _ArmSamples, level: float) -> dict[Figure, Estimate]:
    out: dict[Figure, Estimate] = {}
    for name in _FIGURES:
        mean, bounds = samples.means[name], interval(samples.draws[name], level)
        if np.isnan(mean) or bounds is None:
            out[name] = Estimate(mean=None, low=None, high=None, seeds=samples.seeds)
            continue
        low, high = bounds
        if low == high and name == "hms":
            parts = [out[part] for part in ("ata_conflict", "rta")]
            low, high = (
                float(harmonic_means(*(np.array([getattr(p, end) or 0.0]) for p in parts))[0])
                for end in ("low", "high")
            )
        elif low == high:
            # All hits or all misses look the same in every resample. Use the Clopper-Pearson
            # bound for 0 misses among so many pictures, as `scoring.stats` does.
            slack = 100 * (1 - ((1 - level) / 2) ** (1 / samples.pictures[name]))
            low, high = mean - slack, mean + slack
        low, high = max(0.0, low), min(100.0, high)
        out[name] = Estimate(mean=mean, low=low, high=high, seeds=samples.seeds)
    return out


def _pairs(arms: Collection[Arm]) -> Iterator[tuple[Arm, Arm, Figure]]:
    aligned: dict[str, list[Arm]] = {}
    for arm in arms:
        if arm != BASE:
            aligned.setdefault(method_of(arm), []).append(arm)
    if _FOCUS in aligned:
        focus = aligned[_FOCUS][0]
        for name in _COMPARED_FIGURES:
            yield from ((focus, of[0], name) for of in aligned.values() if of[0] != focus)
    for first, *others in aligned.values():
        for name in _COMPARED_FIGURES:
            yield from ((first, other, name) for other in others)
    if BASE in arms:
        yield from ((arm, BASE, "answers") for of in aligned.values() for arm in of)


def _difference(
    first: Arm,
    second: Arm,
    figure: Figure,
    arms: Mapping[Arm, _ArmSamples],
    estimates: Mapping[Arm, Mapping[Figure, Estimate]],
    level: float,
) -> Difference:
    a, b = arms[first], arms[second]
    known = {"first": first, "second": second, "figure": figure, "seeds": (a.seeds, b.seeds)}
    gap = a.means[figure] - b.means[figure]
    bounds = interval(a.draws[figure] - b.draws[figure], level)
    if np.isnan(gap) or bounds is None:
        return Difference(**known, difference=None, low=None, high=None, verdict="not measured")
    low, high = bounds
    if low == high:  # neither mean varies: combine the bounds of the two intervals
        one, other = estimates[first][figure], estimates[second][figure]
        low = (one.low or 0.0) - (other.high or 0.0)
        high = (one.high or 0.0) - (other.low or 0.0)
    low, high = max(-100.0, low), min(100.0, high)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    return Difference(**known, difference=gap, low=low, high=high, verdict=verdict)
