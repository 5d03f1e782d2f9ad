"""`lab.html`: what a lab measured, as one file that needs no network and no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

import spy_plugin.report.render
from spy_plugin.files.writing import write_atomically
from spy_plugin.lab import curves
from spy_plugin.lab.results import Comparison, Difference, Figure, LabResults, Method, Run
from spy_plugin.report.render.html import number, signed, template_environment

TITLES: dict[Method, str] = {
    "base": "Base",
    "sft": "SFT",
    "dpo": "DPO",
    "nca": "NCA",
    "nca_priv": "NCA-P",
}
"""Methods in the order of their rows."""

ANSWERS = (
    "the value is right, on the samples in which the user allows the answer, no scenario, "
    "absolute labels left out"
)
_STYLES = (
    Path(spy_plugin.report.render.__file__).with_name("report.css"),
    Path(__file__).with_name("report.css"),
)


@dataclass(frozen=True)
class Column:
    """A figure of a run; `more_is_better` says which end of it is best."""

    field: str
    title: str
    about: str
    more_is_better: bool = True


COLUMNS = (
    Column("ics", "ICS", "answered when the user allows it and refused when the user does not"),
    Column("hms", "HMS", "harmonic mean of RtA and ATA in conflict"),
    Column("rta", "RtA", "refused in a role that has no need of it"),
    Column("ata_conflict", "ATA in conflict", "answered in a role that needs it"),
    Column("answers", "Answer accuracy", ANSWERS),
    Column("seconds", "Seconds", "wall clock time of training", more_is_better=False),
)


NEAR_BASE = 2.0
"""Points of answer accuracy that alignment may cost."""


@dataclass(frozen=True)
class Cell:
    """A figure over the seeds of a method: its mean, and its interval if it has one.

    A seed without the figure makes the mean None: a mean over some of the seeds would mislead.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A method's row of the table."""

    method: Method
    title: str
    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]

    @property
    def settings(self) -> str:
        """Settings with their values; several values where the seeds differ."""
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
        """Among how many its settings were chosen; None if they were never tuned."""
        return self.runs[0].settings_tried

    @property
    def peak_memory(self) -> float | None:
        """The largest over the seeds, MiB."""
        known = [run.peak_memory_mib for run in self.runs if run.peak_memory_mib is not None]
        return max(known, default=None)

    @property
    def samples(self) -> str:
        """Samples judged a run."""
        return " / ".join(dict.fromkeys(f"{run.samples:,}" for run in self.runs))


def write_report(results: LabResults, folder: Path) -> Path:
    """Write `lab.html` and `lab.json` into a folder, replacing older ones; returns the page."""
    page = folder / "lab.html"
    write_atomically(folder / "lab.json", results.to_json())
    write_atomically(page, render(results))
    return page


def render(results: LabResults) -> str:
    """The page. Every text is escaped."""
    environment = template_environment("spy_plugin.lab")
    environment.filters.update(number=number, signed=signed, near_base=near_base)
    aligned = [run for run in results.runs if run.method != "base"]
    base = [run for run in results.runs if run.method == "base"]
    return environment.get_template("report.html.j2").render(
        results=results,
        style=Markup("\n".join(path.read_text(encoding="utf-8") for path in _STYLES)),  # our own
        columns=COLUMNS,
        rows=rows(results.runs, results.comparison),
        rivals=rivals(results.comparison),
        to_base=against_base(results.comparison),
        near=NEAR_BASE,
        covers=covers(results),
        seeds=max((len(runs) for runs in _by_method(aligned).values()), default=0),
        titles=TITLES,
        aligned=curves.panels(_in_order(aligned)),
        base=curves.panels(base),
        box=curves,
    )


def rows(runs: Sequence[Run], comparison: Comparison | None = None) -> list[Row]:
    """One row a method, the base first; the best of each column marked."""
    by_method = _by_method(runs)
    table = {
        method: [_cell(column.field, method, of, comparison) for column in COLUMNS]
        for method, of in by_method.items()
    }
    for i, column in enumerate(COLUMNS):
        # The base was not aligned, which takes no time: it does not compete.
        rivals = [m for m in table if column.more_is_better or m != "base"]
        for method in _best({m: table[m][i].mean for m in rivals}, column):
            cell = table[method][i]
            table[method][i] = Cell(cell.mean, cell.low, cell.high, best=True)
    return [
        Row(method, TITLES[method], tuple(of), tuple(table[method]))
        for method, of in by_method.items()
    ]


def _in_order(runs: Sequence[Run]) -> list[Run]:
    order = list(TITLES)
    return sorted(runs, key=lambda run: (order.index(run.method), run.seed))


def _by_method(runs: Sequence[Run]) -> dict[Method, list[Run]]:
    found: dict[Method, list[Run]] = {}
    for run in _in_order(runs):
        found.setdefault(run.method, []).append(run)
    return found


def _cell(field: str, method: Method, runs: Sequence[Run], comparison: Comparison | None) -> Cell:
    values = [getattr(run, field) for run in runs]
    if None in values:
        return Cell(None)
    mean = sum(values) / len(values)
    intervals = comparison.estimates.get(method, {}) if comparison else {}
    found = {str(name): estimate for name, estimate in intervals.items()}.get(field)
    return Cell(mean, found.low, found.high) if found else Cell(mean)


def _best(means: dict[Method, float | None], column: Column) -> list[Method]:
    """Who has the best value as shown; nobody where all are equal or nobody else has one."""
    shown = {m: float(number(mean)) for m, mean in means.items() if mean is not None}
    if len(set(shown.values())) < 2:
        return []
    best = max(shown.values()) if column.more_is_better else min(shown.values())
    return [method for method, value in shown.items() if value == best]


def rivals(comparison: Comparison | None) -> dict[Method, list[Difference]]:
    """NCA-P less each other method, one difference a figure, in the order of the columns."""
    found: dict[Method, list[Difference]] = {}
    for each in comparison.differences if comparison else ():
        if each.second != "base":
            found.setdefault(each.second, []).append(each)
    return found


def against_base(comparison: Comparison | None) -> list[Difference]:
    """Answer accuracy of each method less the base's."""
    return [d for d in (comparison.differences if comparison else ()) if d.second == "base"]


def near_base(each: Difference) -> str:
    """Whether the answers are within `NEAR_BASE` points of the base's, as far as that is known."""
    if each.low is None or each.high is None:
        return "not measured"
    if each.low >= -NEAR_BASE:
        return f"within {NEAR_BASE:g} points"
    if each.high < -NEAR_BASE:
        return f"lost more than {NEAR_BASE:g} points"
    return "not settled"


def covers(results: LabResults) -> str:
    """What the intervals say and what they leave out."""
    comparison = results.comparison
    if comparison is None:
        return "No intervals were computed."
    by_method = _by_method([run for run in results.runs if run.method != "base"])
    alone = [TITLES[method] for method, of in by_method.items() if len(of) == 1]
    pictures = f"the {comparison.pictures} test pictures (resampled, the same ones for every run)"
    if by_method and len(alone) == len(by_method):
        seeds = f"{pictures} only: there is one seed, and what another would change is left out"
    else:
        seeds = f"{pictures} and the seeds (Student's t over the seeds of each method)"
        if alone:
            seeds += f"; of {' and '.join(alone)}, with one seed, pictures only"
    return (
        f"Intervals are of {100 * comparison.level:g}% and cover {seeds}. They leave out what "
        "another base would change. Each stands for itself: among many, some miss by chance."
    )


_SHOWN: dict[Figure, str] = {"ics": "ICS", "hms": "HMS", "answers": "answers"}


def in_words(results: LabResults) -> list[str]:
    """The means and the differences with their intervals, a line each, for a terminal."""
    comparison = results.comparison
    if comparison is None:
        return []
    lines = []
    for row in rows(results.runs, comparison):
        cells = {c.field: cell for c, cell in zip(COLUMNS, row.cells, strict=True)}
        told = [f"{title} {_told(cells[name])}" for name, title in _SHOWN.items()]
        lines.append(f"{row.title}, {len(row.runs)} seed(s): {', '.join(told)}")
    for each in comparison.differences:
        gap = signed(each.difference)
        if each.low is not None:
            gap += f" [{signed(each.low)}, {signed(each.high)}]"
        names = f"{TITLES[each.first]} minus {TITLES[each.second]}, {_SHOWN[each.figure]}"
        verdict = near_base(each) if each.second == "base" else each.verdict
        lines.append(f"{names}: {gap}, {verdict}")
    return [*lines, covers(results)]


def _told(cell: Cell) -> str:
    if cell.mean is None:
        return "N/A"
    interval = "" if cell.low is None else f" [{number(cell.low)}, {number(cell.high)}]"
    return number(cell.mean) + interval
