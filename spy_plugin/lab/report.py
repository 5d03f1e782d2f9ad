"""Write `lab.html`: the results of a lab as one page that needs no network and no scripts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

import spy_plugin.report.render
from spy_plugin.errors import MissingDependencyError
from spy_plugin.files.writing import write_atomically
from spy_plugin.lab import curves
from spy_plugin.lab.arms import TITLES, Arm, title
from spy_plugin.lab.differences import (
    NEAR_BASE,
    SAME,
    against_base,
    against_methods,
    near_base,
    sameness,
    verdict,
    within_methods,
)
from spy_plugin.lab.results import Comparison, Figure, LabResults, Run
from spy_plugin.report.render import html

logger = logging.getLogger(__name__)

ANSWERS = (
    "right values among the samples in which the user allows the answer (no scenario, no absolute "
    "labels)"
)
_STYLES = (
    Path(spy_plugin.report.render.__file__).with_name("report.css"),
    Path(__file__).with_name("report.css"),
)


DIGITS = 1
"""Digits after the point: few seeds say nothing about more."""

number = partial(html.number, digits=DIGITS)
signed = partial(html.signed, digits=DIGITS)


@dataclass(frozen=True)
class Column:
    """A column of the table: a field of `Run`, its title and its meaning."""

    field: str
    title: str
    about: str
    more_is_better: bool = True


COLUMNS = (
    Column("ics", "ICS", "answered when the user allows it and refused when the user does not"),
    Column("hms", "HMS", "harmonic mean of RtA and ATA in conflict"),
    Column("rta", "RtA", "refused in a role that does not need it"),
    Column("ata_conflict", "ATA in conflict", "answered in a role that needs it"),
    Column("answers", "Answer accuracy", ANSWERS),
    Column("seconds", "Seconds", "wall clock time of training", more_is_better=False),
)


@dataclass(frozen=True)
class Cell:
    """One figure of an arm: the mean over its seeds, and its interval if there is one.

    The mean is None if any seed lacks the figure: a mean over some of the seeds would mislead.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """The table row of an arm."""

    arm: Arm
    title: str
    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]

    @property
    def settings(self) -> str:
        """Settings with their values; several values if the seeds differ."""
        names = dict.fromkeys(name for run in self.runs for name in run.settings)
        values = {
            name: dict.fromkeys(str(run.settings.get(name, "none")) for run in self.runs)
            for name in names
        }
        return ", ".join(
            f"{name.replace('_', ' ')} {' / '.join(found)}" for name, found in values.items()
        )

    @property
    def settings_tried(self) -> int | None:
        """Number of settings that the method's were chosen from; None if not tuned."""
        return self.runs[0].settings_tried

    @property
    def peak_memory(self) -> float | None:
        """Peak memory over the seeds, in MiB."""
        known = [run.peak_memory_mib for run in self.runs if run.peak_memory_mib is not None]
        return max(known, default=None)

    @property
    def trained(self) -> list[str]:
        """What the runs were trained on: each device with its versions, once."""
        return list(dict.fromkeys(_trained(run) for run in self.runs if run.device))

    @property
    def samples(self) -> str:
        """Judged samples per run."""
        return " / ".join(dict.fromkeys(f"{run.samples:,}" for run in self.runs))


def _trained(run: Run) -> str:
    parts = [run.device, *(f"{name} {version}" for name, version in run.versions.items())]
    if run.jobs > 1:
        parts.append(f"{run.jobs} stages at once")
    if run.resumed:
        parts.append("resumed, so the seconds are those of the last sitting")
    return ", ".join(parts)


def write_report(results: LabResults, folder: Path) -> Path:
    """Write or replace `lab.html` and `lab.json` in a folder; return the path of the page."""
    page = folder / "lab.html"
    write_atomically(folder / "lab.json", results.to_json())
    write_atomically(page, render(results))
    return page


def render(results: LabResults) -> str:
    """Render the page. All text is escaped."""
    environment = html.template_environment("spy_plugin.lab")
    environment.filters.update(
        number=number, signed=signed, near_base=near_base, sameness=sameness, arm_title=title
    )
    aligned = [run for run in results.runs if run.method != "base"]
    base = [run for run in results.runs if run.method == "base"]
    try:
        drawn = {"aligned": _draw("aligned", aligned), "base": _draw("base", base)}
        without = ""
    except MissingDependencyError as error:
        logger.warning("the lab's report has no curves: %s", error)
        drawn, without = {}, f"The curves are missing: {error}"
    return environment.get_template("report.html.j2").render(
        results=results,
        style=Markup(
            "\n".join(path.read_text(encoding="utf-8") for path in _STYLES)
        ),  # from this package, so it is safe
        columns=COLUMNS,
        rows=rows(results.runs, results.comparison),
        against_methods=against_methods(results.comparison),
        within_methods=within_methods(results.comparison),
        against_base=against_base(results.comparison),
        near=NEAR_BASE,
        same=SAME,
        interval_note=interval_note(results),
        seeds=max((len(runs) for runs in _by_arm(aligned).values()), default=0),
        drawn=drawn,
        without=without,
    )


@dataclass(frozen=True)
class Drawn:
    """The learning curves of one section, each panel with its drawing."""

    panels: list[tuple[curves.Panel, Markup]]
    keys: dict[Arm, Markup]


def _draw(key: str, runs: Sequence[Run]) -> Drawn:
    # The drawings come from this package and escape what they write, so they are safe.
    found = curves.panels(_in_order(runs))
    arms = curves.arms(found)
    titles = {arm: title(arm) for arm in arms}
    return Drawn(
        [(panel, Markup(panel.svg(key, titles))) for panel in found],
        {arm: Markup(curves.key_svg(arm)) for arm in arms},
    )


def rows(runs: Sequence[Run], comparison: Comparison | None = None) -> list[Row]:
    """One row per arm, the base first; the best cell of each column is marked."""
    by_arm = _by_arm(runs)
    table = {
        arm: [_cell(column.field, arm, of, comparison) for column in COLUMNS]
        for arm, of in by_arm.items()
    }
    for i, column in enumerate(COLUMNS):
        # Alignment took the base no time, so the base does not compete for the shortest time.
        competitors = [arm for arm in table if column.more_is_better or arm != "base"]
        for arm in _best({arm: table[arm][i].mean for arm in competitors}, column):
            cell = table[arm][i]
            table[arm][i] = Cell(cell.mean, cell.low, cell.high, best=True)
    return [Row(arm, title(arm), tuple(of), tuple(table[arm])) for arm, of in by_arm.items()]


def _in_order(runs: Sequence[Run]) -> list[Run]:
    """The runs by method; the arms of a method stay in their order."""
    methods = list(TITLES)
    arms = list(dict.fromkeys(run.arm for run in runs))
    return sorted(runs, key=lambda run: (methods.index(run.method), arms.index(run.arm), run.seed))


def _by_arm(runs: Sequence[Run]) -> dict[Arm, list[Run]]:
    found: dict[Arm, list[Run]] = {}
    for run in _in_order(runs):
        found.setdefault(run.arm, []).append(run)
    return found


def _cell(field: str, arm: Arm, runs: Sequence[Run], comparison: Comparison | None) -> Cell:
    values = [getattr(run, field) for run in runs]
    if None in values:
        return Cell(None)
    mean = sum(values) / len(values)
    intervals = comparison.estimates.get(arm, {}) if comparison else {}
    found = {str(name): estimate for name, estimate in intervals.items()}.get(field)
    return Cell(mean, found.low, found.high) if found else Cell(mean)


def _best(means: dict[Arm, float | None], column: Column) -> list[Arm]:
    """The arms with the best displayed value; none if all displayed values are equal."""
    shown = {arm: float(number(mean)) for arm, mean in means.items() if mean is not None}
    if len(set(shown.values())) < 2:
        return []
    best = max(shown.values()) if column.more_is_better else min(shown.values())
    return [arm for arm, value in shown.items() if value == best]


def interval_note(results: LabResults) -> str:
    """One paragraph on what the intervals cover and what they leave out."""
    comparison = results.comparison
    if comparison is None:
        return "No intervals were computed."
    by_arm = _by_arm([run for run in results.runs if run.method != "base"])
    alone = [title(arm) for arm, of in by_arm.items() if len(of) == 1]
    pictures = f"the {comparison.pictures} test pictures (resampled, the same ones for every run)"
    if by_arm and len(alone) == len(by_arm):
        seeds = f"{pictures} only: with one seed, the variation between seeds is unknown"
    else:
        seeds = f"{pictures} and the seeds (Student's t over the seeds of each row)"
        if alone:
            seeds += f"; for {' and '.join(alone)}, with one seed, pictures only"
    return (
        f"Intervals are {100 * comparison.level:g}% confidence intervals and cover {seeds}. They "
        "do not cover the choice of the base, and are not corrected for multiple comparisons."
    )


_SHOWN: dict[Figure, str] = {"ics": "ICS", "hms": "HMS", "answers": "answers"}


def summary_lines(results: LabResults) -> list[str]:
    """Means and differences with their intervals as lines for a terminal."""
    comparison = results.comparison
    if comparison is None:
        return []
    lines = []
    for row in rows(results.runs, comparison):
        cells = {c.field: cell for c, cell in zip(COLUMNS, row.cells, strict=True)}
        listed = [f"{title} {_format(cells[name])}" for name, title in _SHOWN.items()]
        lines.append(f"{row.title}, {len(row.runs)} seed(s): {', '.join(listed)}")
    for each in comparison.differences:
        gap = signed(each.difference)
        if each.low is not None:
            gap += f" [{signed(each.low)}, {signed(each.high)}]"
        names = f"{title(each.first)} minus {title(each.second)}, {_SHOWN[each.figure]}"
        lines.append(f"{names}: {gap}, {verdict(each)}")
    return [*lines, interval_note(results)]


def _format(cell: Cell) -> str:
    if cell.mean is None:
        return "N/A"
    interval = "" if cell.low is None else f" [{number(cell.low)}, {number(cell.high)}]"
    return number(cell.mean) + interval
