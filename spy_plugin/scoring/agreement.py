"""How far two judges agree, or one judge with verdicts that are known to be right.

There is one rule, for `spy-bench judge-check` and for reports alike. *Unjudged* is what a judge may
answer, so it counts: a judge that cannot decide disagrees with one that can, and leaving such pairs
out would reward a judge for giving up on what is hard. *Filtered* and *failed* say that nobody
judged, so pairs with one of them are counted in the table and left out of everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError

JUDGED = (Outcome.RESPOND, Outcome.REJECT, Outcome.UNJUDGED)
"""What a judge can say about an answer."""


@dataclass(frozen=True)
class Agreement:
    """Two judges on the same answers, or the right verdicts and a judge's.

    Attributes:
        n: Pairs of `JUDGED` outcomes.
        observed: The share of them that are equal, 0 to 1; None if there are none.
        kappa: Cohen's kappa, agreement beyond chance; None where chance alone would give 1.
        table: (first, second) -> count over all pairs, also those that are left out of `n`.
    """

    n: int
    observed: float | None
    kappa: float | None
    table: Mapping[tuple[Outcome, Outcome], int]


def agreement(first: Sequence[Outcome], second: Sequence[Outcome]) -> Agreement:
    """Compare two lists of outcomes, entry by entry.

    Kappa is (p - e) / (1 - e), with p the observed agreement and e the one expected from how often
    each of the two says what (Cohen, *A Coefficient of Agreement for Nominal Scales*, 1960).

    Raises:
        DataError: the lists differ in length.
    """
    if len(first) != len(second):
        raise DataError(
            f"{len(first)} and {len(second)} outcomes cannot be compared",
            "Compare judges on the same questions.",
        )
    table = Counter(zip(first, second, strict=True))
    judged = np.array([[table[a, b] for b in JUDGED] for a in JUDGED])
    n = int(judged.sum())
    if not n:
        return Agreement(0, None, None, table)
    observed = judged.trace() / n
    expected = judged.sum(axis=1) @ judged.sum(axis=0) / n**2
    kappa = None if expected == 1 else float((observed - expected) / (1 - expected))
    return Agreement(n, float(observed), kappa, table)
