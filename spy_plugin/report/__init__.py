"""One report for results of every host: read the runs, compute the figures, write four formats.

`report.json` is the only source of the other formats. Its schema is `report.schema.json` in this
folder. It may import `judging` and what that may import.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spy_plugin.files.writing import FileLock, write_atomically
from spy_plugin.report import browser
from spy_plugin.report.build import build_report, build_with_entries
from spy_plugin.report.comparisons import ReportOptions
from spy_plugin.report.model import Report
from spy_plugin.report.readers import NoResultsError

__all__ = [
    "FILES",
    "PLOTS",
    "NoResultsError",
    "Report",
    "ReportOptions",
    "build_report",
    "combine",
    "write_report",
]

FILES = ("report.json", "report.csv", "report.md", "report.html", "table.md", "table.tex")
"""The files of a report."""
PLOTS = tuple(
    f"plot-{name}{suffix}" for name in ("errors", "general") for suffix in (".svg", ".png")
)
"""Its plots, if matplotlib is installed and there is something to plot."""


def combine(runs: Sequence[Path], out: Path, options: ReportOptions | None = None) -> Report:
    """Build the report on some runs and write it into a folder, as the hosts do after a run.

    Raises:
        NoResultsError: a run holds no results.
        DataError: a result file is broken, something else is where the sample browser goes, or
            another report is being written into the folder.
    """
    options = options or ReportOptions()
    samples = out / browser.FOLDER
    if options.samples:
        browser.refuse_foreign(samples)
    report, entries = build_with_entries(runs, options)
    runs_shown = browser.browsed((e.row.id, e.row.model, e.loaded) for e in entries)
    with_samples = options.samples and bool(runs_shown)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / FILES[0]):  # never half of one report beside half of another
        write_report(report, out, samples=f"{browser.FOLDER}/index.html" if with_samples else "")
        if with_samples:
            browser.write_browser(
                runs_shown,
                samples,
                pictures=options.pictures,
                beside_report=True,
                processes=options.processes,
            )
    return report


def write_report(report: Report, out: Path, *, samples: str = "") -> None:
    """Write `FILES` and `PLOTS` into a folder, each in one step, in place of earlier ones.

    The two that hold answers, `report.html` and `report.json`, can be read by their user alone, as
    the answers can; who shares them changes that once, since a replaced file keeps its mode.

    Args:
        samples: Address of the sample browser, which the page links to; empty for none.
    """
    from spy_plugin.report.render import csv as render_csv
    from spy_plugin.report.render import html as render_html
    from spy_plugin.report.render import markdown as render_markdown
    from spy_plugin.report.render import plot_files, tables

    text = report.to_json()
    # The other formats see exactly what a reader of the JSON sees.
    shown = Report.model_validate_json(text)
    write_atomically(out / "report.json", text, private=True)
    write_atomically(out / "report.csv", render_csv.render(shown))
    write_atomically(out / "report.md", render_markdown.render(shown))
    page = render_html.render(shown, samples=samples)
    write_atomically(out / "report.html", page, private=True)
    write_atomically(out / "table.md", tables.render_markdown(shown))
    write_atomically(out / "table.tex", tables.render_latex(shown))
    drawn = plot_files.render(shown)
    for name in PLOTS:
        if name in drawn:
            write_atomically(out / name, drawn[name])
        else:
            (out / name).unlink(missing_ok=True)  # an earlier report's
