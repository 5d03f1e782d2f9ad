"""`report.csv`: one figure per line, for a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from spy_plugin.report.model import Figure, Report, Row

COLUMNS = (
    "row",
    "model",
    "yardstick",
    "benchmark",
    "variant",
    "self_moderation",
    "protocol",
    "judge",
    "scope",
    "name",
    "metric",
    "score",
    "low",
    "high",
    "worst",
    "best",
    "hits",
    "n",
    "images",
    "conditional",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(report: Report) -> str:
    """Write all figures of all rows: overall, by label, by scenario; an empty cell has no value.

    A NUL character, which the `csv` module of Python 3.10 neither writes nor reads, becomes U+FFFD.
    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in report.rows:
        for scope, name, metric, figure in _figures(row):
            texts = (*_key(row), scope, name, metric)
            writer.writerow([*map(_harmless, texts), *_values(figure)])
    return out.getvalue()


def _harmless(text: str) -> str:
    """The text without NUL, and with an apostrophe before what a spreadsheet would compute."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _figures(row: Row) -> Iterator[tuple[str, str, str, Figure]]:
    for metric, figure in (*row.figures.items(), *row.general.items()):
        yield "all", "", metric, figure
    for scope, groups in (("label", row.labels), ("scenario", row.scenarios)):
        for name, metrics in groups.items():
            for metric, figure in metrics.items():
                yield scope, name, metric, figure


def _key(row: Row) -> list[str]:
    about = row.condition
    return [
        row.id,
        row.model,
        str(row.yardstick),
        about.benchmark,
        about.variant,
        str(about.self_moderation),
        about.protocol.name if about.protocol else "",
        about.judge.name if about.judge else "",
    ]


def _values(figure: Figure) -> list[str]:
    numbers = (figure.score, figure.low, figure.high, figure.worst, figure.best)
    counts = (figure.hits, figure.n, figure.images)
    return [
        *("" if value is None else repr(value) for value in numbers),
        *("" if value is None else str(value) for value in counts),
        str(figure.conditional),
    ]
