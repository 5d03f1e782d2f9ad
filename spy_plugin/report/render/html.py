"""`report.html`: one file that needs no network and no scripts."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spy_plugin.errors import MissingDependencyError
from spy_plugin.report import summary
from spy_plugin.report.model import Figure, Report, Row
from spy_plugin.report.render import plots
from spy_plugin.scoring.metrics import (
    ABSOLUTE_ACCURACY,
    ABSOLUTE_ICS,
    ACCURACY,
    ATA,
    ATA_CONFLICT,
    HMS,
    ICS,
    ICS_SCENARIO,
    METRICS,
    RTA,
)
from spy_plugin.scoring.rounding import DIGITS, rounded
from spy_plugin.scoring.stats import FIGURES, LEAKAGE, OVER_REFUSAL, PRIVACY

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
FEW_UNITS = 10
"""Cells of the label table with fewer units are faint."""


@dataclass(frozen=True)
class Group:
    """Rows that may be compared with one another."""

    title: str
    series: int
    models: list[Row]
    policies: list[Row]


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
    page = environment.get_template("report.html.j2")
    return page.render(
        report=report,
        samples_page=samples,
        style=Markup(_STYLE.read_text(encoding="utf-8")),  # from this package, so it is safe
        groups=found,
        columns=summary.columns(report.rows),
        remarks=_remarks(report.rows),
        details=[row for group in found for row in group.models + group.policies if row.counts],
        plots=pictures,
        missing=missing,
        summary=summary,
        figures=FIGURES,
        metrics=METRICS,
        label_metrics=LABEL_METRICS,
        short=SHORT,
        few=FEW_UNITS,
        series_count=plots.SERIES,
        names={"ics": ICS, "ics_scenario": ICS_SCENARIO, "rta": RTA, "ata": ATA_CONFLICT}
        | {"ata_open": ATA, "privacy": PRIVACY, "leakage": LEAKAGE, "over": OVER_REFUSAL},
        empty=Figure(),
    )


def template_environment(package: str) -> Environment:
    """Return the environment of the templates in a package's folder; it escapes all values."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def groups(rows: Sequence[Row]) -> list[Group]:
    """Group rows by condition, the reference policies last."""
    titles = summary.titles([row for row in rows if row.counts])
    found: dict[str, Group] = {}
    # Computed rows come after those that were run, so that they never begin a group.
    for row in sorted(rows, key=lambda row: row.computed):
        known = row.counts is not None or row.computed
        title = titles[row.condition.key()] if known else "General scores only"
        group = found.setdefault(title, Group(title, len(found), [], []))
        (group.policies if row.yardstick else group.models).append(row)
    return list(found.values())


def _remarks(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return each remark with the ids of its rows."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for text in summary.remarks(row):
            about.setdefault(text, []).append(row.id)
    return about


def _plots(found: Sequence[Group]) -> tuple[dict[str, Markup], str]:
    """Return the plots by name, and a message if there are none."""
    rows = [(row, group.series) for group in found for row in group.models]
    # A policy has nearly the same place under every condition, so it is shown once.
    policies = {row.model: row for group in reversed(found) for row in group.policies}
    rows += [(row, 0) for row in policies.values()]
    if not rows:
        return {}, "There is nothing to plot."
    chosen, series = zip(*rows, strict=True)
    try:
        drawn = {
            "general": plots.privacy_against_general(chosen, series),
            "errors": plots.refusal_against_leakage(chosen, series),
        }
    except MissingDependencyError as error:
        logger.warning("the report has no plots: %s", error)
        return {}, f"The plots are missing: {error}"
    # SVG from this package: matplotlib has escaped the names in it.
    return {name: Markup(svg) for name, svg in drawn.items() if svg}, ""


def words(name: str) -> str:
    """Return an id as words: ``a79_address_home_partial`` -> ``address home partial``."""
    head, _, rest = name.partition("_")
    text = rest if rest and head[:1].isalpha() and head[1:].isdigit() else name
    return text.replace("_", " ")


def number(value: float | None, digits: int = DIGITS) -> str:
    """Format a number for reading; a dash for None."""
    return "–" if value is None else rounded(value, digits)


def signed(value: float | None, digits: int = DIGITS) -> str:
    """Format a difference with its sign, the minus typographic."""
    return "–" if value is None else rounded(value, digits, signed=True).replace("-", "−")


def share(count: int, total: int) -> str:
    """Format a share in percent."""
    return f"{rounded(100 * count / total)}%" if total else "–"


def pretty(value: Any) -> str:
    """Format a JSON value for reading."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
