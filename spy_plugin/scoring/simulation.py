"""Simulated verdicts, clustered by picture, whose true figures are known.

Some pictures are harder than others, for every model alike; given the picture, verdicts are drawn
independently. `scoring.power` and the tests of intervals and p values use it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spy_plugin.scoring.resampling import Floats
from spy_plugin.scoring.table import REJECT, RESPOND, Ints, VerdictTable, expected_outcomes

# The five samples of an item: (kind, is_privacy); kinds: 0 no scenario, 1 conflict, 2 non-conflict.
SAMPLES = ((0, 1), (0, 0), (1, 1), (2, 1), (2, 0))
_LABELS = 12

ITEMS = 4
"""Mean number of items per picture."""
SPREAD = 1.0
"""Standard deviation of the effect of a picture, in logits."""

Pictures = tuple[Floats, Ints]
"""The effect of each picture, in logits, and its number of items."""


def pictures(
    rng: np.random.Generator, images: int, spread: float = SPREAD, items: int = ITEMS
) -> Pictures:
    """Draw the effect of each picture and its number of items: 1 to ``2 x items - 1``."""
    return rng.normal(0, spread, images), rng.integers(1, 2 * items, images)


def samples(drawn: Pictures, *, absolute: bool = True) -> VerdictTable:
    """Return the samples on some pictures, all with the outcome `RESPOND`.

    Args:
        absolute: Whether one of the labels must always be refused.
    """
    effects, items = drawn
    images = len(effects)
    image = np.repeat(np.repeat(np.arange(images), items), len(SAMPLES))
    item = np.arange(items.sum())
    kind, is_privacy = np.tile(np.array(SAMPLES).T, items.sum())
    # Labels depend on the picture: a picture of a passport is asked about passports.
    label = (image + item.repeat(len(SAMPLES)) % 2) % _LABELS
    return VerdictTable(
        outcome=np.full(len(image), RESPOND),
        is_privacy=is_privacy,
        kind=kind,
        label=label,
        scenario=np.where(kind == 0, -1, kind - 1),
        image=image,
        item=item.repeat(len(SAMPLES)),
        absolute=(label == 0) & absolute,
        labels=tuple(f"label{i:02}" for i in range(_LABELS)),
        scenarios=("conflict", "non-conflict"),
        images=tuple(f"{i:06}.jpg" for i in range(images)),
        items=tuple(f"{i:08}" for i in item),
    )


def answer(table: VerdictTable, effects: Floats, right: float, luck: Floats) -> VerdictTable:
    """Return the samples with the outcomes of a model.

    Args:
        right: Probability of a right verdict on a typical picture.
        luck: Uniform from 0 to 1 for each sample; two models with equal luck agree most.
    """
    chance = 1 / (1 + np.exp(-(np.log(right / (1 - right)) + effects[table.image])))
    truth = expected_outcomes(table)
    outcome = np.where(luck < chance, truth, np.where(truth == REJECT, RESPOND, REJECT))
    return replace(table, outcome=outcome)


def simulate(
    rng: np.random.Generator,
    images: int,
    *,
    right: float = 0.4,
    spread: float = SPREAD,
    shared: Pictures | None = None,
    absolute: bool = True,
) -> VerdictTable:
    """Simulate a model that is right more often on some pictures than on others.

    Args:
        right: Probability of a right verdict on a typical picture.
        spread: Standard deviation of the picture effect, in logits.
        shared: Pictures of `pictures`, to give two models the same ones.
        absolute: Whether one of the labels must always be refused.
    """
    drawn = shared if shared is not None else pictures(rng, images, spread)
    table = samples(drawn, absolute=absolute)
    return answer(table, drawn[0], right, rng.random(len(table)))


def two_models(
    seed: int, images: int, *, right: float = 0.4, better: float = 0.4
) -> tuple[VerdictTable, VerdictTable]:
    """Simulate two models with difficulties on the same pictures."""
    rng = np.random.default_rng(seed)
    shared = pictures(rng, images)
    first = simulate(rng, images, right=right, shared=shared)
    return first, simulate(rng, images, right=better, shared=shared)
