"""The rows of a report by condition, and what else several formats show of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spy_plugin.report.model import Row
from spy_plugin.report.sentences import Handled, handled
from spy_plugin.report.summary import titles


@dataclass(frozen=True)
class Group:
    """Rows that may be compared with one another."""

    title: str
    series: int
    models: list[Row]
    policies: list[Row]


def groups(rows: Sequence[Row]) -> list[Group]:
    """Group rows by condition, the reference policies last."""
    named = titles([row for row in rows if row.counts])
    found: dict[str, Group] = {}
    # Computed rows come after those that were run, so that they never begin a group.
    for row in sorted(rows, key=lambda row: row.computed):
        known = row.counts is not None or row.computed
        title = named[row.condition.key()] if known else "General scores only"
        group = found.setdefault(title, Group(title, len(found), [], []))
        (group.policies if row.yardstick else group.models).append(row)
    return list(found.values())


def plotted(found: Sequence[Group]) -> tuple[list[Row], list[int]]:
    """Return the rows of the plots with the number of each one's condition."""
    rows = [(row, group.series) for group in found for row in group.models]
    # A policy has nearly the same place under every condition, so it is shown once.
    policies = {row.model: row for group in reversed(found) for row in group.policies}
    rows += [(row, 0) for row in policies.values()]
    return [row for row, _ in rows], [series for _, series in rows]


@dataclass(frozen=True)
class HeatMap:
    """How each model of a condition handles each label.

    Attributes:
        rows: Label -> the cell of each model; None where it has no judged sample. The label with
            the most damage over all models comes first.
    """

    group: Group
    models: list[Row]
    rows: dict[str, list[Handled | None]]


def heat_map(group: Group) -> HeatMap | None:
    """Return the heat map of a condition; None if none of its models was judged."""
    models = [row for row in group.models if row.labels]
    if not models:
        return None
    cells = [{h.name: h for h in handled(row.labels)} for row in models]
    labels = sorted({name for found in cells for name in found})
    rows = {label: [found.get(label) for found in cells] for label in labels}

    def damage(label: str) -> tuple[float, str]:
        known = [cell for cell in rows[label] if cell]
        return -sum(cell.wrong for cell in known), label

    return HeatMap(group, models, {label: rows[label] for label in sorted(labels, key=damage)})


class Anchors:
    """Names of places on the page: plain, unique, and the same in every report of the same rows."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._models: dict[str, str] = {}

    def model(self, row: Row) -> str:
        """Return the anchor of a row."""
        if row.id not in self._models:
            self._models[row.id] = self.new("model", row.id)
        return self._models[row.id]

    def new(self, *parts: str) -> str:
        """Return a new anchor made of these texts."""
        plain = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-")[:80] for part in parts)
        anchor, number = plain, 1
        while anchor in self._taken:
            number += 1
            anchor = f"{plain}-{number}"
        self._taken.add(anchor)
        return anchor
