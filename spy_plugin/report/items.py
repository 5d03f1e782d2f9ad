"""Resample the items of the general benchmarks, so that the overall score has an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spy_plugin.scoring.resampling import Floats

_CHUNK = 250


@dataclass(frozen=True)
class ItemScores:
    """Points of single items, in groups whose means are summed.

    MMMU and OCRBench have one group (the mean over questions). MME has a group for each subtask,
    and its items are pictures: a picture's points are its accuracy over two questions, plus 1 if
    both are right.

    Attributes:
        groups: An array of points for each group.
        factor: Turns the sum of the groups' means into a score of 0..100.
    """

    groups: tuple[Floats, ...]
    factor: float

    @property
    def score(self) -> float:
        """Score of all items."""
        return self.factor * sum(float(group.mean()) for group in self.groups)

    def resampled(self, resamples: int, seed: int) -> Floats:
        """Return the scores of resampled items, drawn within each group: (resamples,)."""
        rng = np.random.default_rng(seed)
        total = np.zeros(resamples)
        for group in self.groups:
            for start in range(0, resamples, _CHUNK):
                rows = min(_CHUNK, resamples - start)
                drawn = rng.integers(0, len(group), size=(rows, len(group)))
                total[start : start + rows] += group[drawn].mean(axis=1)
        return total * self.factor


def checked(groups: list[list[float]], factor: float, score: float) -> ItemScores | None:
    """Return the items if they reproduce the host's rounded score, else None."""
    if not groups or not all(groups):
        return None
    items = ItemScores(tuple(np.array(group, dtype=np.float64) for group in groups), factor)
    return items if abs(items.score - score) < 0.01 else None


def mme_points(pictures: dict[str, dict[str, list[float]]]) -> list[list[float]]:
    """Return the points of MME's pictures by subtask.

    Args:
        pictures: {subtask: {picture: [0 or 1 for each question]}}.
    """
    return [
        [sum(hits) / len(hits) + (all(hits) if len(hits) == 2 else 0) for hits in subtask.values()]
        for subtask in pictures.values()
    ]
