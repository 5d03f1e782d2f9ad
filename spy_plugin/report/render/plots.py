"""The two scatter plots of a report, for the page and as files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spy_plugin.report.model import Row
from spy_plugin.report.render.svg import INK, LINE, MUTED, Colors, draw, draw_files, style
from spy_plugin.report.summary import GENERAL, figure
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL, PRIVACY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 4
"""Number of the page's colours for conditions."""
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
"""Shape of each condition, in plots and in text; with the colours, twelve can be told apart."""
MOST_NAMES = 10
"""With more points, they are numbered, and a key has the names."""
_LETTER, _LINE, _GAP = 5.3, 9, 5.5
"""Width of a letter of a name, distance of two names, and of a name and its point, in points."""
_SPAN = 108
"""From the lower to the upper limit of each axis, in percent."""
_LINES = 25
"""Lines in a column of the key."""


@dataclass(frozen=True)
class Scatter:
    """One figure of each row against another.

    Attributes:
        name: Part of the names of its files.
        x, y: The figures.
        x_title, y_title: Titles of the axes.
        overall: Draw lines of equal overall score.
    """

    name: str
    x: str
    y: str
    x_title: str
    y_title: str
    overall: bool = False


ERRORS = Scatter(
    "errors",
    OVER_REFUSAL,
    LEAKAGE,
    "Over-refusal: refused what was due, %",
    "Leakage: told what was private, %",
)
CAPABILITY = Scatter("general", GENERAL, PRIVACY, "General score", "Privacy score", overall=True)
SCATTERS = (ERRORS, CAPABILITY)


@dataclass(frozen=True)
class Point:
    """A row in a plot.

    Attributes:
        text: What stands beside it: its name, or its number in the key.
        series: Number of its condition.
    """

    row: Row
    series: int
    text: str

    @property
    def color(self) -> str:
        """Its colour in CSS."""
        return MUTED if self.row.yardstick else f"var(--series-{self.series % SERIES + 1})"


def points(rows: Sequence[Row], series: Sequence[int], scatter: Scatter) -> list[Point]:
    """Return the rows that have both figures, as points.

    Args:
        rows: Models and reference policies.
        series: Number of each row's condition, from 0.
    """
    chosen = [
        (row, number)
        for row, number in zip(rows, series, strict=True)
        if figure(row, scatter.x).score is not None and figure(row, scatter.y).score is not None
    ]
    numbered = len(chosen) > MOST_NAMES
    return [
        Point(row, number, str(place) if numbered else _short(row.model))
        for place, (row, number) in enumerate(chosen, 1)
    ]


def draw_on_page(scatter: Scatter, found: Sequence[Point]) -> str:
    """Draw the points, with intervals, as an ``<svg>`` for the page.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    title = f"{scatter.y_title} against {scatter.x_title}"
    return draw(
        lambda axes, colors: _plot(axes, colors, scatter, found),
        name=f"plot-{scatter.name}",
        title=title,
        # So small that the names can be read where a phone's page shrinks it.
        size=(4.3, 4.0),
        box=(0.13, 0.14, 0.84, 0.83),
    )


def draw_as_files(
    scatter: Scatter, found: Sequence[Point], conditions: Sequence[str]
) -> dict[str, bytes]:
    """Draw the points with a key beside them: the content of a file by its suffix.

    Args:
        conditions: Title of each condition, by its number.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """

    def plot(axes: Axes, colors: Colors) -> None:
        _plot(axes, colors, scatter, found)
        _key(axes, colors, found, conditions)

    lines = 1 + len(conditions) + (len(found) if len(found) > MOST_NAMES else 0)
    columns = -(-lines // _LINES)
    width = 5.2 + 3.4 * columns
    box = (0.57 / width, 0.12, 4.5 / width, 0.85)
    return draw_files(plot, name=f"plot-{scatter.name}", size=(width, 4.6), box=box)


def _plot(axes: Axes, colors: Colors, scatter: Scatter, found: Sequence[Point]) -> None:
    style(axes, colors, x=scatter.x_title, y=scatter.y_title)
    axes.set(xlim=(-4, 104), ylim=(-4, 104))
    axes.set(xticks=range(0, 101, 20), yticks=range(0, 101, 20))
    if scatter.overall:
        _equal_overall(axes, colors)
    for point in found:
        _point(axes, colors, scatter, point)
    _names(axes, colors, scatter, found)


def _equal_overall(axes: Axes, colors: Colors) -> None:
    """Draw lines of equal overall score: y with 2xy / (x + y) = h."""
    for h in (20, 40, 60, 80):
        xs = [h / 2 + (100 - h / 2) * step / 80 for step in range(1, 81)]
        curve = [(v, h * v / (2 * v - h)) for v in xs if 2 * v > h]
        inside = [(a, b) for a, b in curve if b <= 100]
        axes.plot(
            *zip(*inside, strict=True), color=colors[LINE], linewidth=1, linestyle=(0, (4, 3))
        )
        axes.text(101, inside[-1][1], str(h), color=colors[MUTED], fontsize=7, va="center")


def _point(axes: Axes, colors: Colors, scatter: Scatter, point: Point) -> None:
    across, up = figure(point.row, scatter.x), figure(point.row, scatter.y)
    if across.score is None or up.score is None:
        return
    color = colors[point.color]
    if across.low is not None and across.high is not None:
        axes.plot([across.low, across.high], [up.score] * 2, color=color, linewidth=1, alpha=0.45)
    if up.low is not None and up.high is not None:
        axes.plot([across.score] * 2, [up.low, up.high], color=color, linewidth=1, alpha=0.45)
    _marker(axes, colors, point, across.score, up.score)


def _marker(axes: Axes, colors: Colors, point: Point, x: float, y: float) -> None:
    policy = point.row.yardstick
    axes.plot(
        x,
        y,
        marker="D" if policy else MARKERS[point.series % len(MARKERS)][0],
        markersize=5 if policy else 6.5,
        markerfacecolor="none" if policy else colors[point.color],
        markeredgecolor=colors[point.color],
        clip_on=False,
    )


def _names(axes: Axes, colors: Colors, scatter: Scatter, found: Sequence[Point]) -> None:
    """Write beside each point what it is; where it had to be moved, a line leads to its point."""
    at = [(figure(p.row, scatter.x).score or 0, figure(p.row, scatter.y).score or 0) for p in found]
    wide, high = (
        72 * side / axes.figure.dpi / _SPAN for side in (axes.bbox.width, axes.bbox.height)
    )
    letter, gap, apart = _LETTER / wide, _GAP / wide, _LINE / high
    # Names keep clear of the points as well as of one another.
    placed = [(x - 1.5, x + 1.5, y) for x, y in at]
    for point in found:
        x, y = figure(point.row, scatter.x).score, figure(point.row, scatter.y).score
        if x is None or y is None:
            continue
        width = letter * len(point.text)
        left = x > 60
        start = x - gap - width if left else x + gap
        start = max(-4, min(start, 104 - width))
        height = _free_height(y, start, start + width, placed, apart)
        placed.append((start, start + width, height))
        side = start + width if left else start
        if abs(height - y) > 1.5:
            axes.plot([x, side], [y, height], color=colors[MUTED], linewidth=0.5, alpha=0.7)
        axes.text(
            side,
            height,
            point.text,
            color=colors[MUTED] if point.row.yardstick else colors[INK],
            fontsize=8,
            ha="right" if left else "left",
            va="center",
            # A name is text, even with dollar signs.
            parse_math=False,
        )


def _key(axes: Axes, colors: Colors, found: Sequence[Point], conditions: Sequence[str]) -> None:
    """Write beside the axes what the shapes and the numbers stand for."""
    shown = sorted({point.series for point in found if not point.row.yardstick})
    lines = [(f"{MARKERS[n % len(MARKERS)][1]} {_short(conditions[n], 70)}", n) for n in shown]
    entries = [(text, colors[f"var(--series-{n % SERIES + 1})"]) for text, n in lines]
    entries.append(("◇ reference policy", colors[MUTED]))
    if len(found) > MOST_NAMES:
        entries += [(f"{p.text} {_short(p.row.model)}", colors[p.color]) for p in found]
    for place, (text, color) in enumerate(entries):
        column, line = divmod(place, _LINES)
        axes.text(
            1.06 + 0.72 * column,
            0.99 - line * 0.038,
            text,
            color=color,
            fontsize=7,
            va="top",
            transform=axes.transAxes,
            parse_math=False,
        )


def _short(text: str, longest: int = 32) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _free_height(
    y: float,
    start: float,
    end: float,
    placed: Sequence[tuple[float, float, float]],
    apart: float,
) -> float:
    """Return the height nearest to `y`, inside the frame, where a name covers no other."""
    for step in range(60):
        for height in (y + step, y - step):
            free = all(
                end < begin or start > stop or abs(height - other) >= apart
                for begin, stop, other in placed
            )
            if free and -3 <= height <= 103:
                return height
    return y
