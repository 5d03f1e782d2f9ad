"""Geometry of the training curves, which the report template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spy_plugin.lab.results import Method, Point, Run

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 44
"""Margins of the axes in a panel, in units of its view box."""

MEASURES = {
    "loss": "Training loss",
    "ics": "ICS",
    "hms": "HMS",
    "answers": "Answer accuracy",
}
CUT_ABOVE = 50
"""Percent. If all values are above, the axis starts higher than 0 to show small differences."""

Pairs = list[tuple[int, float]]


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One method in one panel, as SVG points (``x,y x,y``).

    Attributes:
        mean: Mean over the seeds, at the steps that all seeds measured.
        seeds: One line per seed; empty if there is only one seed.
        marks: Points of the mean.
        last: Last value of the mean; None if the seeds share no step.
    """

    method: Method
    mean: str
    seeds: tuple[str, ...]
    marks: tuple[tuple[float, float], ...]
    last: float | None


@dataclass(frozen=True)
class Panel:
    """One measure against steps."""

    measure: str
    title: str
    percent: bool
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]

    @property
    def cut(self) -> bool:
        """Whether the axis of values starts above zero."""
        return self.percent and self.y_ticks[0].text != "0"

    def description(self, names: Mapping[Method, str]) -> str:
        """A text alternative of the panel."""
        unit = "%" if self.percent else ""
        ends = ", ".join(
            f"{names[line.method]} {line.last:.{1 if self.percent else 3}f}{unit}"
            for line in self.lines
            if line.last is not None
        )
        return (
            f"{self.title} against training steps, one line per method. "
            f"At the end: {ends or 'none'}."
        )


@dataclass(frozen=True)
class _Axis:
    """Maps the range `low` to `high` to the coordinates `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * share, 2)

    def ticks(self, step: float) -> tuple[Tick, ...]:
        count = math.floor((self.high - self.low) / step + 1e-9)
        places = (self.low + i * step for i in range(count + 1))
        return tuple(Tick(self.at(place), f"{round(place, 9) + 0.0:.6g}") for place in places)


def panels(runs: Sequence[Run]) -> list[Panel]:
    """One panel for each measure that any run has values of."""
    return [panel for measure in MEASURES if (panel := _panel(measure, runs)) is not None]


def methods(found: Sequence[Panel]) -> list[Method]:
    """The methods that have a line in any panel."""
    return list(dict.fromkeys(line.method for panel in found for line in panel.lines))


def _panel(measure: str, runs: Sequence[Run]) -> Panel | None:
    by_method: dict[Method, list[Pairs]] = {}
    for run in runs:
        if pairs := values(run.curve, measure):
            by_method.setdefault(run.method, []).append(pairs)
    every = [pair for curves in by_method.values() for pairs in curves for pair in pairs]
    if not every:
        return None
    percent = measure != "loss"
    last_step = max(1, *(step for step, _ in every))
    x = _Axis(0, last_step, LEFT, WIDTH - RIGHT)
    lowest, highest = _bounds([value for _, value in every], percent)
    y = _Axis(lowest, highest, HEIGHT - BOTTOM, TOP)
    x_ticks = x.ticks(max(1.0, nice_step(last_step)))
    y_ticks = y.ticks(nice_step(highest - lowest))
    lines = tuple(_line(method, curves, x, y) for method, curves in by_method.items())
    return Panel(measure, MEASURES[measure], percent, x_ticks, y_ticks, lines)


def _bounds(found: Sequence[float], percent: bool) -> tuple[float, float]:
    """Bounds of the value axis: whole ticks around values and zero; for percent up to 100."""
    if percent:
        return (10 * math.floor(min(90.0, *found) / 10) if min(found) > CUT_ABOVE else 0.0), 100.0
    lowest, highest = min(0.0, *found), max(0.0, *found)
    step = nice_step(highest - lowest)
    low, high = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return low * step, max(high, low + 1) * step


def values(curve: Sequence[Point], measure: str) -> Pairs:
    """(step, value) of each point that has the measure, in order of steps."""
    found = [(point.step, getattr(point, measure)) for point in curve]
    return sorted((step, value) for step, value in found if value is not None)


def mean_curve(curves: Sequence[Pairs]) -> Pairs:
    """The mean over seeds at the steps that all seeds measured, so that it has no jumps."""
    by_seed = [dict(pairs) for pairs in curves]
    shared = sorted(set.intersection(*(set(found) for found in by_seed)))
    return [(step, sum(found[step] for found in by_seed) / len(by_seed)) for step in shared]


def nice_step(span: float, count: int = 5) -> float:
    """Smallest of 1, 2, 5 times a power of ten that divides a span into at most `count` parts."""
    if span <= 0:
        return 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))


def _line(method: Method, curves: Sequence[Pairs], x: _Axis, y: _Axis) -> Line:
    def draw(pairs: Pairs) -> list[tuple[float, float]]:
        return [(x.at(step), y.at(value)) for step, value in pairs]

    def text(points: list[tuple[float, float]]) -> str:
        return " ".join(f"{a:g},{b:g}" for a, b in points)

    mean = mean_curve(curves)
    seeds = tuple(text(draw(pairs)) for pairs in curves) if len(curves) > 1 else ()
    marks = tuple(draw(mean))
    return Line(method, text(list(marks)), seeds, marks, mean[-1][1] if mean else None)
