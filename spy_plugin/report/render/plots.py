"""The two scatter plots, as SVG that takes its colours from the page (extra `report`)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spy_plugin.errors import MissingDependencyError
from spy_plugin.report.model import Row
from spy_plugin.report.rows import GENERAL
from spy_plugin.report.summary import figure
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL, PRIVACY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 4
"""Colours of the page for conditions; further conditions share the last."""

# Drawn in these, then replaced by what the style sheet says.
_INK, _MUTED, _LINE = "#010101", "#020202", "#030303"
_COLORS = [f"#0{n}0{n}0{n}" for n in range(4, 4 + SERIES)]
_REPLACED = {_INK: "currentColor", _MUTED: "var(--muted)", _LINE: "var(--line)"} | {
    color: f"var(--series-{number})" for number, color in enumerate(_COLORS, 1)
}


def privacy_against_general(rows: Sequence[Row], series: Sequence[int]) -> str:
    """Privacy against general score with interval crosses; empty if no row has both.

    Args:
        series: Number of each row's condition, from 0.
    """
    chosen = [
        (row, s)
        for row, s in zip(rows, series, strict=True)
        if figure(row, GENERAL).score is not None and figure(row, PRIVACY).score is not None
    ]
    if not chosen:
        return ""
    return _scatter(
        chosen,
        GENERAL,
        PRIVACY,
        ("General score", "Privacy score"),
        curves=True,
        name="privacy-general",
    )


def refusal_against_leakage(rows: Sequence[Row], series: Sequence[int]) -> str:
    """Over-refusal against leakage; the lower left corner is best."""
    chosen = [
        (row, s)
        for row, s in zip(rows, series, strict=True)
        if figure(row, OVER_REFUSAL).score is not None and figure(row, LEAKAGE).score is not None
    ]
    if not chosen:
        return ""
    titles = ("Over-refusal: refused what was due, %", "Leakage: told what was private, %")
    return _scatter(chosen, OVER_REFUSAL, LEAKAGE, titles, curves=False, name="errors")


def _scatter(
    chosen: Sequence[tuple[Row, int]],
    x: str,
    y: str,
    titles: tuple[str, str],
    *,
    curves: bool,
    name: str,
) -> str:
    try:
        import matplotlib
        from matplotlib.figure import Figure as Drawing
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report") from error
    # Text stays text; ids differ between the plots of one page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        drawing = Drawing(figsize=(5.2, 4.6))
        axes = drawing.add_axes((0.11, 0.12, 0.86, 0.85))
        _frame(axes, titles)
        if curves:
            _equal_overall(axes)
        for row, series in chosen:
            _point(axes, row, x, y, _COLORS[min(series, SERIES - 1)])
        _names(axes, [(row, figure(row, x).score, figure(row, y).score) for row, _ in chosen])
        out = io.StringIO()
        drawing.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _embed(out.getvalue(), f"{titles[1]} against {titles[0]}")


def _frame(axes: Axes, titles: tuple[str, str]) -> None:
    axes.set_xlim(-4, 104)
    axes.set_ylim(-4, 104)
    axes.set_xlabel(titles[0], color=_MUTED)
    axes.set_ylabel(titles[1], color=_MUTED)
    axes.set_xticks(range(0, 101, 20))
    axes.set_yticks(range(0, 101, 20))
    axes.tick_params(color=_LINE, labelcolor=_MUTED, length=0)
    axes.grid(color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _equal_overall(axes: Axes) -> None:
    """Lines of equal overall score: y with 2xy / (x + y) = h."""
    for h in (20, 40, 60, 80):
        xs = [h / 2 + (100 - h / 2) * step / 80 for step in range(1, 81)]
        points = [(v, h * v / (2 * v - h)) for v in xs if 2 * v > h]
        inside = [(a, b) for a, b in points if b <= 100]
        axes.plot(*zip(*inside, strict=True), color=_LINE, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(101, inside[-1][1], str(h), color=_MUTED, fontsize=7, va="center")


def _point(axes: Axes, row: Row, x: str, y: str, color: str) -> None:
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
        markeredgecolor=_MUTED if row.yardstick else color,
        clip_on=False,
    )


def _names(axes: Axes, points: Sequence[tuple[Row, float | None, float | None]]) -> None:
    """Write each name beside its point, moved up or down where it would lie on another."""
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
            color=_MUTED if row.yardstick else _INK,
            fontsize=8,
            ha="right" if left else "left",
            va="center",
            # A name is text, whatever dollar signs are in it.
            parse_math=False,
        )


def _free_height(
    y: float, start: float, end: float, placed: Sequence[tuple[float, float, float]]
) -> float:
    """The height nearest to `y`, inside the frame, where a name hides no other."""
    for step in range(60):
        for height in (y + step, y - step):
            free = all(
                end < begin or start > stop or abs(height - other) >= 3.4
                for begin, stop, other in placed
            )
            if free and -3 <= height <= 103:
                return height
    return y


def _embed(svg: str, title: str) -> str:
    """The bare element, scalable, its colours those of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height|xmlns(?::\w+)?)="[^"]*"', "", head)
    for color, replacement in _REPLACED.items():
        rest = rest.replace(color, replacement)
    rest = re.sub(r"font: ([\d.]+)px[^;\"]*", r"font-size: \1px", rest)
    return f'{head} role="img" aria-label="{title}">{rest}'
