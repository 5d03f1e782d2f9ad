"""The two scatter plots of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spy_plugin.report.model import Row
from spy_plugin.report.render.svg import INK, LINE, MUTED, Colors, draw, style
from spy_plugin.report.summary import GENERAL, figure
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL, PRIVACY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 4
"""Number of the page's colours for conditions; further conditions share the last."""


def privacy_against_general(rows: Sequence[Row], series: Sequence[int]) -> str:
    """Draw the privacy against the general score, with intervals; empty if no row has both.

    Args:
        rows: Models and reference policies.
        series: Number of each row's condition, from 0.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    titles = ("General score", "Privacy score")
    return _scatter(rows, series, (GENERAL, PRIVACY), titles, name="privacy-general", overall=True)


def refusal_against_leakage(rows: Sequence[Row], series: Sequence[int]) -> str:
    """Draw over-refusal against leakage, as `privacy_against_general`; lower left is best."""
    titles = ("Over-refusal: refused what was due, %", "Leakage: told what was private, %")
    return _scatter(rows, series, (OVER_REFUSAL, LEAKAGE), titles, name="errors", overall=False)


def _scatter(
    rows: Sequence[Row],
    series: Sequence[int],
    keys: tuple[str, str],
    titles: tuple[str, str],
    *,
    name: str,
    overall: bool,
) -> str:
    x, y = keys
    chosen = [
        (row, min(number, SERIES - 1))
        for row, number in zip(rows, series, strict=True)
        if figure(row, x).score is not None and figure(row, y).score is not None
    ]
    if not chosen:
        return ""

    def plot(axes: Axes, colors: Colors) -> None:
        style(axes, colors, x=titles[0], y=titles[1])
        axes.set(xlim=(-4, 104), ylim=(-4, 104))
        axes.set(xticks=range(0, 101, 20), yticks=range(0, 101, 20))
        if overall:
            _equal_overall(axes, colors)
        for row, number in chosen:
            _point(axes, colors, row, x, y, colors[f"var(--series-{number + 1})"])
        _names(axes, colors, [(r, figure(r, x).score, figure(r, y).score) for r, _ in chosen])

    title = f"{titles[1]} against {titles[0]}"
    return draw(plot, name=name, title=title, size=(5.2, 4.6), box=(0.11, 0.12, 0.86, 0.85))


def _equal_overall(axes: Axes, colors: Colors) -> None:
    """Draw lines of equal overall score: y with 2xy / (x + y) = h."""
    for h in (20, 40, 60, 80):
        xs = [h / 2 + (100 - h / 2) * step / 80 for step in range(1, 81)]
        points = [(v, h * v / (2 * v - h)) for v in xs if 2 * v > h]
        inside = [(a, b) for a, b in points if b <= 100]
        axes.plot(
            *zip(*inside, strict=True), color=colors[LINE], linewidth=1, linestyle=(0, (4, 3))
        )
        axes.text(101, inside[-1][1], str(h), color=colors[MUTED], fontsize=7, va="center")


def _point(axes: Axes, colors: Colors, row: Row, x: str, y: str, color: str) -> None:
    across, up = figure(row, x), figure(row, y)
    if across.score is None or up.score is None:
        return
    if across.low is not None and across.high is not None:
        axes.plot([across.low, across.high], [up.score] * 2, color=color, linewidth=1, alpha=0.55)
    if up.low is not None and up.high is not None:
        axes.plot([across.score] * 2, [up.low, up.high], color=color, linewidth=1, alpha=0.55)
    axes.plot(
        across.score,
        up.score,
        marker="D" if row.yardstick else "o",
        markersize=5 if row.yardstick else 6,
        markerfacecolor="none" if row.yardstick else color,
        markeredgecolor=colors[MUTED] if row.yardstick else color,
        clip_on=False,
    )


def _names(
    axes: Axes, colors: Colors, points: Sequence[tuple[Row, float | None, float | None]]
) -> None:
    """Write each name beside its point, moved up or down if it would cover another."""
    placed: list[tuple[float, float, float]] = []
    for row, x, y in points:
        if x is None or y is None:
            continue
        text = row.model if len(row.model) <= 32 else row.model[:31] + "…"
        width = 1.75 * len(text)
        left = x > 60
        start = x - 1.8 - width if left else x + 1.8
        height = _free_height(y, start, start + width, placed)
        placed.append((start, start + width, height))
        axes.text(
            x - 1.8 if left else x + 1.8,
            height,
            text,
            color=colors[MUTED] if row.yardstick else colors[INK],
            fontsize=8,
            ha="right" if left else "left",
            va="center",
            # A name is text, even with dollar signs.
            parse_math=False,
        )


def _free_height(
    y: float, start: float, end: float, placed: Sequence[tuple[float, float, float]]
) -> float:
    """Return the height nearest to `y`, inside the frame, where a name covers no other."""
    for step in range(60):
        for height in (y + step, y - step):
            free = all(
                end < begin or start > stop or abs(height - other) >= 3.4
                for begin, stop, other in placed
            )
            if free and -3 <= height <= 103:
                return height
    return y
