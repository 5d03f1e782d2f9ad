"""One report of whatever produced the numbers: read RUNs, compute, write four formats.

`report.json` is the only source of the others; its schema is `report.schema.json` in this folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spy_plugin.files.writing import write_atomically
from spy_plugin.report.build import build
from spy_plugin.report.comparisons import Options
from spy_plugin.report.model import Report
from spy_plugin.report.readers.reading import NoResultsError

__all__ = ["NoResultsError", "Options", "Report", "build", "combine", "write"]

FILES = ("report.json", "report.csv", "report.md", "report.html")


def combine(runs: Sequence[Path], out: Path, options: Options | None = None) -> Report:
    """Read RUNs and write the report into a folder; what the hosts do at the end of a run.

    Raises:
        NoResultsError: a RUN holds nothing.
        DataError: a result file is broken.
    """
    report = build(runs, options)
    write(report, out)
    return report


def write(report: Report, out: Path) -> None:
    """Write the four formats, each file in one step; those of an earlier report are replaced."""
    from spy_plugin.report.render import csv as render_csv
    from spy_plugin.report.render import html as render_html
    from spy_plugin.report.render import markdown as render_markdown

    text = report.to_json()
    # The other formats see what a reader of the JSON sees, and nothing else.
    shown = Report.model_validate_json(text)
    write_atomically(out / "report.json", text)
    write_atomically(out / "report.csv", render_csv.render(shown))
    write_atomically(out / "report.md", render_markdown.render(shown))
    write_atomically(out / "report.html", render_html.render(shown))
