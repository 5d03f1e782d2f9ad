"""The plots of a report as files: `plot-errors.svg`, `plot-errors.png` and so on."""

from __future__ import annotations

from spy_plugin.errors import MissingDependencyError
from spy_plugin.report.model import Report
from spy_plugin.report.render import plots
from spy_plugin.report.render.groups import groups, plotted


def render(report: Report) -> dict[str, bytes]:
    """Return the content of each file by its name; nothing without matplotlib."""
    found = groups(report.rows)
    rows, series = plotted(found)
    out: dict[str, bytes] = {}
    for scatter in plots.SCATTERS:
        points = plots.points(rows, series, scatter)
        if not points:
            continue
        try:
            drawn = plots.draw_as_files(scatter, points, [group.title for group in found])
        except MissingDependencyError:  # the page says so
            return {}
        out |= {f"plot-{scatter.name}{suffix}": content for suffix, content in drawn.items()}
    return out
