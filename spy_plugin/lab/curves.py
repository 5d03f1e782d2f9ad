"""Learning curves of the lab's report: one panel per measure, one line per method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spy_plugin.lab.arms import Arm, method_of, sharing_of
from spy_plugin.lab.results import Point, Run
from spy_plugin.report.render.svg import Colors, draw, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {
    "loss": "Training loss",
    "ics": "ICS",
    "hms": "HMS",
    "answers": "Answer accuracy",
}
CUT_ABOVE = 50
"""Percent: an axis with nothing below starts higher than 0, so that small differences show."""

MOST_MARKS = 12
"""A line with more points is marked at its end alone."""

Pairs = list[tuple[int, float]]

_LOOKS: Mapping[str, tuple[str, str, float]] = {
    "base": ("-", "o", 1.5),
    "sft": ("--", "s", 1.5),
    "dpo": (":", "^", 1.5),
    "nca": ("-.", "D", 1.5),
    "nca_priv": ("-", "o", 2.2),
}
"""Method -> dashes, mark and width: lines are told apart without colours, too."""

_MARKS: Mapping[str, str] = {"image": "P", "row": "v", "off": "X"}
"""Another way to share prefixes -> mark; the other looks stay those of the method."""


@dataclass(frozen=True)
class Line:
    """One arm in one panel.

    Attributes:
        mean: (step, value) over the seeds, at the steps that all of them measured.
        seeds: Each seed's own; empty if there is only one.
    """

    arm: Arm
    mean: Pairs
    seeds: tuple[Pairs, ...]


@dataclass(frozen=True)
class Panel:
    """One measure against training steps.

    Attributes:
        percent: The measure is a percentage, not a loss.
        bounds: Lowest and highest value of the axis.
    """

    measure: str
    title: str
    percent: bool
    bounds: tuple[float, float]
    lines: tuple[Line, ...]

    @property
    def cut(self) -> bool:
        """Whether the axis of a percentage starts above zero."""
        return self.percent and self.bounds[0] != 0

    def description(self, names: Mapping[Arm, str]) -> str:
        """Say what the panel shows, for readers who cannot see it."""
        unit, digits = ("%", 1) if self.percent else ("", 3)
        ends = ", ".join(
            f"{names[line.arm]} {line.mean[-1][1]:.{digits}f}{unit}"
            for line in self.lines
            if line.mean
        )
        return (
            f"{self.title} against training steps, one line per method. "
            f"At the end: {ends or 'none'}."
        )

    def svg(self, key: str, names: Mapping[Arm, str]) -> str:
        """Draw the panel; `key` makes its ids unique on the page.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        return draw(
            self._plot,
            name=f"{key}-{self.measure}",
            title=f"{self.title} against training steps",
            description=self.description(names),
            size=(4.6, 2.8),
            box=(0.11, 0.17, 0.86, 0.79),
        )

    def _plot(self, axes: Axes, colors: Colors) -> None:
        style(axes, colors, x="steps")
        for line in self.lines:
            for pairs in line.seeds:
                hue = colors[f"var(--{method_of(line.arm)})"]
                steps, found = zip(*pairs, strict=True)
                axes.plot(steps, found, gid="seed", color=hue, lw=0.8, alpha=0.3, clip_on=False)
            if line.mean:
                _draw_mean(axes, colors, line)
        low, high = self.bounds
        span = 0.03 * (high - low)
        axes.set_ylim(low - span, high + span)
        axes.set_xlim(left=0)
        axes.locator_params(nbins=6)


def _draw_mean(axes: Axes, colors: Colors, line: Line) -> None:
    method = method_of(line.arm)
    dashes, mark, width = _LOOKS[method]
    last = len(line.mean) - 1
    axes.plot(
        *zip(*line.mean, strict=True),
        gid="mean",
        color=colors[f"var(--{method})"],
        linestyle=dashes,
        linewidth=width,
        marker=_MARKS.get(sharing_of(line.arm), mark),
        markersize=5,
        markerfacecolor=colors["var(--card)"],
        markevery=None if last < MOST_MARKS else [last],
        clip_on=False,
    )


def key_svg(arm: Arm) -> str:
    """Draw an arm's line and mark, for the legend.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """

    def plot(axes: Axes, colors: Colors) -> None:
        axes.set_axis_off()
        _draw_mean(axes, colors, Line(arm, [(0, 0.0), (1, 0.0), (2, 0.0)], ()))
        axes.lines[0].set_markevery([1])

    return draw(plot, name=f"key-{arm}", size=(0.46, 0.14), box=(0.06, 0, 0.88, 1))


def panels(runs: Sequence[Run]) -> list[Panel]:
    """Return a panel for each measure that any of the runs has a value of."""
    return [panel for measure in MEASURES if (panel := _panel(measure, runs)) is not None]


def arms(found: Sequence[Panel]) -> list[Arm]:
    """Return the arms that have a line in any of the panels."""
    return list(dict.fromkeys(line.arm for panel in found for line in panel.lines))


def _panel(measure: str, runs: Sequence[Run]) -> Panel | None:
    by_arm: dict[Arm, list[Pairs]] = {}
    for run in runs:
        if pairs := values(run.curve, measure):
            by_arm.setdefault(run.arm, []).append(pairs)
    every = [value for curves in by_arm.values() for pairs in curves for _, value in pairs]
    if not every:
        return None
    percent = measure != "loss"
    lines = tuple(
        Line(arm, mean_curve(curves), tuple(curves) if len(curves) > 1 else ())
        for arm, curves in by_arm.items()
    )
    return Panel(measure, MEASURES[measure], percent, _bounds(every, percent), lines)


def _bounds(found: Sequence[float], percent: bool) -> tuple[float, float]:
    """Return the axis: around zero for a loss; all percents, or the upper part that is used."""
    if percent:
        cut = min(found) > CUT_ABOVE
        return (10.0 * math.floor(min(90.0, *found) / 10) if cut else 0.0), 100.0
    low, high = min(0.0, *found), max(0.0, *found)
    return (low, high) if high > low else (0.0, 1.0)


def values(curve: Sequence[Point], measure: str) -> Pairs:
    """Return (step, value) where the measure was taken, in order of steps."""
    found = [(point.step, getattr(point, measure)) for point in curve]
    return sorted((step, value) for step, value in found if value is not None)


def mean_curve(curves: Sequence[Pairs]) -> Pairs:
    """Return the mean over seeds at the steps that all seeds measured, so that it never jumps."""
    by_seed = [dict(pairs) for pairs in curves]
    shared = sorted(set.intersection(*(set(found) for found in by_seed)))
    return [(step, sum(found[step] for found in by_seed) / len(by_seed)) for step in shared]
