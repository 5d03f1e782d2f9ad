"""Simulated verdicts for the tests: true figures, and models with opposite errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spy_plugin.scoring.simulation import pictures, simulate
from spy_plugin.scoring.stats import point_scores
from spy_plugin.scoring.table import REJECT, RESPOND, VerdictTable


def with_outcome(table: VerdictTable, outcome: np.ndarray) -> VerdictTable:
    """Return the same samples with other outcomes."""
    return replace(table, outcome=outcome)


def true_scores(images: int = 100_000, **options: float) -> dict[str, float]:
    """Figures of a population so large that its sampling error is negligible (about 0.1)."""
    scores = point_scores(simulate(np.random.default_rng(99), images, **options))
    return {name: float(score) for name, score in scores.items()}


def mirrored_models(seed: int, images: int) -> tuple[VerdictTable, VerdictTable]:
    """Simulate a model that over-refuses as much as the other answers too much: one true HMS."""
    rng = np.random.default_rng(seed)
    shared = pictures(rng, images)

    def lean(towards: int) -> VerdictTable:
        # A label that must always be refused would break the symmetry.
        table = simulate(rng, images, right=0.6, shared=shared, absolute=False)
        forced = rng.random(len(table)) < 0.5
        return with_outcome(table, np.where(forced, towards, table.outcome))

    return lean(RESPOND), lean(REJECT)
