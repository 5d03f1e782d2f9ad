"""Differences between arms as the report shows them, and what it says about them."""

from __future__ import annotations

from spy_plugin.lab.arms import BASE, Arm
from spy_plugin.lab.results import Comparison, Difference

NEAR_BASE = 2.0
"""Points of answer accuracy that alignment may cost and still count as near the base."""

SAME = 3.0
"""Points of any figure within which two ways to share prefixes count as the same."""


def against_methods(comparison: Comparison | None) -> dict[Arm, list[Difference]]:
    """NCA-P minus each other method: one difference per figure, in the order of the columns."""
    return _by_second(comparison, within_method=False)


def within_methods(comparison: Comparison | None) -> dict[Arm, list[Difference]]:
    """The first way to share prefixes minus each other one, for each method."""
    return _by_second(comparison, within_method=True)


def _by_second(
    comparison: Comparison | None, *, within_method: bool
) -> dict[Arm, list[Difference]]:
    found: dict[Arm, list[Difference]] = {}
    for each in comparison.differences if comparison else ():
        if each.second != BASE and each.within_method == within_method:
            found.setdefault(each.second, []).append(each)
    return found


def against_base(comparison: Comparison | None) -> list[Difference]:
    """Answer accuracy of each arm minus that of the base."""
    return [d for d in (comparison.differences if comparison else ()) if d.second == BASE]


def near_base(each: Difference) -> str:
    """Say whether the interval of a difference lies within `NEAR_BASE` points of the base."""
    if each.low is None or each.high is None:
        return "not measured"
    if each.low >= -NEAR_BASE:
        return f"within {NEAR_BASE:g} points"
    if each.high < -NEAR_BASE:
        return f"lost more than {NEAR_BASE:g} points"
    return "not decided"


def sameness(each: Difference) -> str:
    """Say whether the interval of a difference lies within `SAME` points of zero."""
    if each.low is None or each.high is None:
        return "not measured"
    if each.low >= -SAME and each.high <= SAME:
        return f"within {SAME:g} points"
    if each.low > SAME or each.high < -SAME:
        return f"more than {SAME:g} points"
    return "not decided"


def verdict(each: Difference) -> str:
    """Say what the interval of a difference shows."""
    if each.second == BASE:
        return near_base(each)
    return sameness(each) if each.within_method else each.verdict
