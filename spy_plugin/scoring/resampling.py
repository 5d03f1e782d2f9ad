"""Random draws by picture: resamples for intervals, swaps of two models for p values.

The samples of one picture are not independent, so a draw is about whole pictures. A metric is a
ratio of two sums over pictures, so a draw is a vector of picture weights times the per-picture
sums: every metric, label and model takes the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from spy_plugin.scoring.table import Bools, Ints

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float32]
"""Small whole numbers: 32-bit floats are exact up to 2**24 and multiply fast."""
Bytes = npt.NDArray[np.uint8]

RESAMPLES = 2000
LEVEL = 0.95

EXACT_PICTURES = 12
"""Up to so many pictures all 2**12 swaps are taken instead of random ones."""

_CHUNK = 250
_BLOCK, _DRAWS = 1024, 16_384
"""Pictures and draws of one product: it stays small, and a Ctrl-C is heard between two."""


class PictureWeights:
    """How often each picture occurs in each resample; equal arguments give equal weights.

    Args:
        images: Number of pictures.
        resamples: Number of resamples.
        seed: Seed of the draws.
    """

    def __init__(self, images: int, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.images, self.resamples, self.seed = images, resamples, seed

    @cached_property
    def matrix(self) -> Bytes:
        """The weights: (images, resamples). No picture is drawn 256 times in practice."""
        rng = np.random.default_rng(self.seed)
        matrix = np.empty((self.images, self.resamples), np.uint8)
        for start, rows in _chunks(self.resamples):
            drawn = rng.integers(0, self.images, size=(rows, self.images))
            drawn += np.arange(rows)[:, None] * self.images
            counts = np.bincount(drawn.ravel(), minlength=rows * self.images)
            matrix[:, start : start + rows] = np.minimum(counts, 255).reshape(rows, -1).T
        return matrix

    def sums(self, columns: Counts, pictures: Ints | None = None) -> Floats:
        """Sum columns over each resample's pictures: (pictures, C) -> (resamples, C).

        Args:
            pictures: Which pictures the rows of `columns` are; by default all.
        """
        if not self.images:
            return np.zeros((self.resamples, columns.shape[1]))
        return weighted_sums(self.matrix, columns, pictures)


@lru_cache(maxsize=2)
def picture_weights(images: int, resamples: int, seed: int) -> PictureWeights:
    """Return weights that all runs on so many pictures share."""
    return PictureWeights(images, resamples=resamples, seed=seed)


def weighted_sums(weights: Bytes, columns: Counts, pictures: Ints | None = None) -> Floats:
    """Return ``weights[pictures].T @ columns``, exact for counts: (draws, C).

    Equal columns are summed once: runs on the same samples have the same units.
    """
    distinct: dict[bytes, int] = {}
    place = [distinct.setdefault(column.tobytes(), len(distinct)) for column in columns.T]
    first_of = np.unique(place, return_index=True)[1] if place else place
    columns = columns[:, first_of]
    total = np.zeros((columns.shape[1], weights.shape[1]), np.float32)
    for start in range(0, len(columns), _BLOCK):
        part = slice(start, start + _BLOCK)
        counts = np.ascontiguousarray(columns[part].T)
        for first in range(0, weights.shape[1], _DRAWS):
            draws = slice(first, first + _DRAWS)
            rows = weights[part if pictures is None else pictures[part], draws]
            total[:, draws] += counts @ rows.astype(np.float32)
    sums: Floats = total[place].T.astype(np.float64)
    return sums


@lru_cache(maxsize=2)
def random_swaps(images: int, resamples: int, seed: int) -> Bytes:
    """Return for each picture and draw whether the two models keep their verdicts, 0 or 1.

    The shape is (images, resamples).
    """
    # A stream of its own: swaps must not depend on the resamples.
    rng = np.random.default_rng([seed, 1])
    keep = np.empty((images, resamples), np.uint8)
    for start, rows in _chunks(resamples):
        keep[:, start : start + rows] = rng.integers(0, 2, size=(rows, images)).T
    return keep


@lru_cache(maxsize=EXACT_PICTURES + 1)
def all_swaps(images: int) -> Bytes:
    """Return every way to swap so many pictures: (images, 2**images)."""
    return (np.arange(2**images) >> np.arange(images)[:, None] & 1).astype(np.uint8)


def _chunks(draws: int) -> Iterator[tuple[int, int]]:
    for start in range(0, draws, _CHUNK):
        yield start, min(_CHUNK, draws - start)


def per_group(image: Ints, group: Ints, hit: Bools, images: int, groups: int) -> Counts:
    """Count hits and units of each picture in each group: (images, groups, 2)."""
    cell, size = image * groups + group, images * groups
    both = np.stack([np.bincount(cell[hit], minlength=size), np.bincount(cell, minlength=size)])
    counts: Counts = both.T.reshape(images, groups, 2).astype(np.float32)
    return counts
