"""`report.html`: one file that needs no network.

Its only script sorts and copies tables. The page's policy names the script by its hash, so that no
other can run, whatever a model wrote.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.errors import MissingDependencyError
from spy_plugin.report import summary
from spy_plugin.report.model import Figure, Report, Row
from spy_plugin.report.render import plots, tables
from spy_plugin.report.render.groups import Anchors, Group, groups, heat_map, plotted
from spy_plugin.report.sentences import Handled, handled, overall_sentence, words
from spy_plugin.scoring.metrics import (
    ABSOLUTE_ACCURACY,
    ABSOLUTE_ICS,
    ACCURACY,
    ATA,
    ATA_CONFLICT,
    HMS,
    ICS,
    ICS_SCENARIO,
    RTA,
)
from spy_plugin.scoring.rounding import DIGITS, rounded
from spy_plugin.scoring.stats import DISCLOSURES, FIGURES, LEAKAGE, OVER_REFUSAL, PRIVACY

logger = logging.getLogger(__name__)

SHORT = {
    ACCURACY: "Accuracy",
    ABSOLUTE_ACCURACY: "Absolute accuracy",
    ICS: "ICS",
    ABSOLUTE_ICS: "Absolute ICS",
    RTA: "RtA",
    ATA: "ATA non-conflict",
    ICS_SCENARIO: "ICS in scenarios",
    ATA_CONFLICT: "ATA",
    HMS: "HMS",
    PRIVACY: "Privacy",
}
LABEL_METRICS = (ACCURACY, ICS, RTA, ATA, ICS_SCENARIO, ATA_CONFLICT)
_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")
FEW_UNITS = 10
"""Cells of the label table with fewer units are faint."""
MOST_TOLD = 8
"""With more models, what each does is told in words in its own part of the page alone."""


def render(report: Report, *, samples: str = "") -> str:
    """Render the page. All text is escaped. Without matplotlib it says that plots are missing.

    Args:
        samples: Address of the sample browser; empty for none.
    """
    environment = template_environment("spy_plugin.report.render")
    environment.filters.update(
        words=words, number=number, signed=signed, pretty=pretty, share=share
    )
    found = groups(report.rows)
    pictures, missing = _plots(found)
    script = _SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    warnings, remarks = _remarks(report.rows)
    models = [row for group in found for row in group.models]
    page = environment.get_template("report.html.j2")
    return page.render(
        report=report,
        samples_page=samples,
        # Both are from this package, so they are safe.
        style=Markup(_STYLE.read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        groups=found,
        columns=summary.columns(report.rows),
        general_ran=summary.general_ran(report.rows),
        asked_disclosures=any(row.disclosures for row in report.rows),
        warnings=warnings,
        remarks=remarks,
        overall=overall_sentence(report.against_policies),
        told=models if len(models) <= MOST_TOLD else [],
        details=[row for group in found for row in group.models + group.policies if row.counts],
        heat_maps=[found_map for group in found if (found_map := heat_map(group))],
        handled=handled,
        anchors=Anchors(),
        plots=pictures,
        missing=missing,
        tables={
            "Markdown": ("table.md", tables.render_markdown(report)),
            "LaTeX": ("table.tex", tables.render_latex(report)),
        },
        summary=summary,
        figures=(*FIGURES, OVER_REFUSAL, LEAKAGE, *DISCLOSURES),
        label_metrics=LABEL_METRICS,
        absolute=_absolute_labels(report),
        short=SHORT,
        few=FEW_UNITS,
        series_count=plots.SERIES,
        markers=[text for _, text in plots.MARKERS],
        names={"ics": ICS, "ics_scenario": ICS_SCENARIO, "rta": RTA, "ata": ATA_CONFLICT}
        | {"ata_open": ATA, "privacy": PRIVACY, "leakage": LEAKAGE, "over": OVER_REFUSAL},
        heat=heat,
        map_cell=map_cell,
    )


def _absolute_labels(report: Report) -> frozenset[str]:
    """Return the absolute labels of all benchmarks in the report."""
    protocols = [row.condition.protocol for row in report.rows if row.condition.protocol]
    return frozenset().union(*(p.always_refused for p in protocols)) or ABSOLUTE_LABELS


def template_environment(package: str) -> Environment:
    """Return the environment of the templates in a package's folder; it escapes all values."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def _remarks(rows: Sequence[Row]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return each remark with the ids of its rows: what must be read first, and the others."""
    warnings: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for row in rows:
        judge = row.condition.judge
        for text in summary.remarks(row):
            first = judge is not None and judge.offline and text.startswith(summary.OFFLINE)
            (warnings if first else others).setdefault(text, []).append(row.id)
    return warnings, others


@dataclass(frozen=True)
class Drawn:
    """A plot on the page.

    Attributes:
        key: What the numbers in it stand for, if its points are numbered.
    """

    svg: Markup
    key: list[plots.Point]


def _plots(found: Sequence[Group]) -> tuple[dict[str, Drawn], str]:
    """Return the plots by name, and a message if there are none."""
    rows, series = plotted(found)
    if not rows:
        return {}, "There is nothing to plot."
    drawn = {}
    for scatter in plots.SCATTERS:
        points = plots.points(rows, series, scatter)
        if not points:
            continue
        try:
            svg = plots.draw_on_page(scatter, points)
        except MissingDependencyError as error:
            logger.warning("the report has no plots: %s", error)
            return {}, f"The plots are missing: {error}"
        # SVG from this package: matplotlib has escaped the names in it.
        numbered = len(points) > plots.MOST_NAMES
        drawn[scatter.name] = Drawn(Markup(svg), points if numbered else [])
    return drawn, ""


def number(value: float | None, digits: int = DIGITS) -> str:
    """Format a number for reading; a dash for None."""
    return "–" if value is None else rounded(value, digits)


def heat(figure: Figure | None) -> Markup:
    """Return a cell of a heat map; there are thousands, so it is not left to the template."""
    if figure is None or figure.score is None:
        return _NO_CELL
    ends = "" if figure.low is None else f", 95% {number(figure.low)} – {number(figure.high)}"
    title = f"{figure.hits} of {figure.n}, {figure.images} pictures{ends}"
    return _heat_cell(figure.score, figure.n or 0, title)


def map_cell(cell: Handled | None) -> Markup:
    """Return a cell of the map of models and labels."""
    if cell is None:
        return _NO_CELL
    return _heat_cell(cell.share, cell.n, f"{cell.right} of {cell.n} as expected")


_NO_CELL = Markup('<td class="none" data-v=""></td>')


def _heat_cell(score: float, n: int, title: str) -> Markup:
    # Numbers alone, so there is nothing to escape.
    faint = ' class="faint"' if n < FEW_UNITS else ""
    return Markup(
        f'<td{faint} data-v="{score}" style="--v:{score:.1f}" title="{title}">'
        f"{number(score, 0)}<small>{n}</small></td>"
    )


def signed(value: float | None, digits: int = DIGITS) -> str:
    """Format a difference with its sign, the minus typographic."""
    return "–" if value is None else rounded(value, digits, signed=True).replace("-", "−")


def share(count: int, total: int) -> str:
    """Format a share in percent."""
    return f"{rounded(100 * count / total)}%" if total else "–"


def pretty(value: Any) -> str:
    """Format a JSON value for reading."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
