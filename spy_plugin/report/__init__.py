"""One report for results of every host: read the runs, compute the figures, write four formats.

`report.json` is the only source of the other formats. Its schema is `report.schema.json` in this
folder. It may import `judging` and what that may import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_PRIVATE = ("report.json", "report.html")
"""Those that hold answers."""


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
        # What takes long comes first, so that an interrupt leaves the earlier report whole.
        files = _rendered(report, f"{browser.FOLDER}/index.html" if with_samples else "")
        if with_samples:
            browser.write_browser(
                runs_shown,
                samples,
                pictures=options.pictures,
                beside_report=True,
                processes=options.processes,
            )
        _replace(out, files)
    return report


def write_report(report: Report, out: Path, *, samples: str = "") -> None:
    """Write `FILES` and `PLOTS` into a folder, in place of earlier ones.

    The two that hold answers, `report.html` and `report.json`, can be read by their user alone, as
    the answers can; who shares them changes that once, since a replaced file keeps its mode.

    Args:
        samples: Address of the sample browser, which the page links to; empty for none.
    """
    _replace(out, _rendered(report, samples))


def _rendered(report: Report, samples: str) -> dict[str, str | bytes]:
    """The content of each file by its name; see `write_report`."""
    from spy_plugin.report.render import csv as render_csv
    from spy_plugin.report.render import html as render_html
    from spy_plugin.report.render import markdown as render_markdown
    from spy_plugin.report.render import plot_files, tables

    text = report.to_json()
    # The other formats see exactly what a reader of the JSON sees.
    shown = Report.model_validate_json(text)
    return {
        "report.json": text,
        "report.csv": render_csv.render(shown),
        "report.md": render_markdown.render(shown),
        "report.html": render_html.render(shown, samples=samples),
        "table.md": tables.render_markdown(shown),
        "table.tex": tables.render_latex(shown),
        **plot_files.render(shown),
    }


def _replace(out: Path, files: Mapping[str, str | bytes]) -> None:
    """Put the files of a report in the place of an earlier one's, each in one step."""
    for name, content in files.items():
        write_atomically(out / name, content, private=name in _PRIVATE)
    for name in PLOTS:
        if name not in files:
            (out / name).unlink(missing_ok=True)  # an earlier report's
