"""Simulated verdicts, clustered by picture, whose true figures are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spy_plugin.scoring.stats import point_scores
from spy_plugin.scoring.table import REJECT, RESPOND, VerdictTable, expected_outcomes

# The five samples of an item: (kind, is_privacy); kinds: 0 no scenario, 1 conflict, 2 non-conflict.
_SAMPLES = ((0, 1), (0, 0), (1, 1), (2, 1), (2, 0))
_LABELS = 12


def simulate(
    rng: np.random.Generator,
    images: int,
    *,
    right: float = 0.4,
    spread: float = 1.0,
    shared: tuple[np.ndarray, np.ndarray] | None = None,
    absolute: bool = True,
) -> VerdictTable:
    """Simulate a model that is right more often on some pictures than on others.

    Args:
        right: Probability of a right verdict on a typical picture.
        spread: Standard deviation of the picture effect, in logits.
        shared: Picture effects and item counts, to give two models the same pictures.
        absolute: Whether one of the labels must always be refused.
    """
    effects, items = shared if shared is not None else pictures(rng, images, spread)
    image = np.repeat(np.repeat(np.arange(images), items), len(_SAMPLES))
    item = np.arange(items.sum())
    kind, is_privacy = np.tile(np.array(_SAMPLES).T, items.sum())
    # Labels depend on the picture: a picture of a passport is asked about passports.
    label = (image + item.repeat(5) % 2) % _LABELS
    table = VerdictTable(
        outcome=np.zeros(len(image), dtype=np.int64),
        is_privacy=is_privacy,
        kind=kind,
        label=label,
        scenario=np.where(kind == 0, -1, kind - 1),
        image=image,
        item=item.repeat(5),
        absolute=(label == 0) & absolute,
        labels=tuple(f"label{i:02}" for i in range(_LABELS)),
        scenarios=("conflict", "non-conflict"),
        images=tuple(f"{i:06}.jpg" for i in range(images)),
        items=tuple(f"{i:08}" for i in item),
    )
    chance = 1 / (1 + np.exp(-(np.log(right / (1 - right)) + effects[image])))
    hit = rng.random(len(image)) < chance
    truth = expected_outcomes(table)
    outcome = np.where(hit, truth, np.where(truth == REJECT, RESPOND, REJECT))
    return with_outcome(table, outcome)


def pictures(
    rng: np.random.Generator, images: int, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the effect of each picture and the number of its items."""
    return rng.normal(0, spread, images), rng.integers(1, 8, images)


def with_outcome(table: VerdictTable, outcome: np.ndarray) -> VerdictTable:
    """Return the same samples with other outcomes."""
    return replace(table, outcome=outcome)


def true_scores(images: int = 100_000, **options: float) -> dict[str, float]:
    """Figures of a population so large that its sampling error is negligible (about 0.1)."""
    scores = point_scores(simulate(np.random.default_rng(99), images, **options))
    return {name: float(score) for name, score in scores.items()}


def two_models(
    seed: int, images: int, *, right: float = 0.4, better: float = 0.4
) -> tuple[VerdictTable, VerdictTable]:
    """Simulate two models with difficulties on the same pictures."""
    rng = np.random.default_rng(seed)
    shared = pictures(rng, images)
    first = simulate(rng, images, right=right, shared=shared)
    return first, simulate(rng, images, right=better, shared=shared)


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
