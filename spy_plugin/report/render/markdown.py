"""`report.md`: the summary, the differences and the notes, for a pull request or a paper draft."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from spy_plugin.report.model import Figure, Report, Row
from spy_plugin.report.sentences import overall_sentence
from spy_plugin.report.summary import (
    COLUMNS,
    LEGEND,
    WITHOUT_GENERAL,
    columns,
    describe,
    figure,
    general_ran,
    marks,
    missing,
    remarks,
)
from spy_plugin.scoring.rounding import rounded


def render(report: Report) -> str:
    """Render the report as Markdown."""
    lines = [
        "# SPY-Bench report",
        "",
        f"Made by spy-bench {report.spy_bench_version} on {report.created:%Y-%m-%d %H:%M} UTC. "
        f"Brackets: {report.level:.0%} intervals, {report.resamples} resamples of pictures, "
        f"seed {report.seed}.",
        "",
        *_summary(report.rows),
        "",
        *(f"{mark} {text}\n" for mark, text in LEGEND if _used(report, mark)),
        *_words(report),
        *_samples(report.rows),
        *_differences(report),
        *_agreements(report),
        *_notes(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    shown = columns(rows)
    yield "| Model | Condition | " + " | ".join(title for title, _, _ in shown) + " |"
    yield "|---|---|" + "---:|" * len(shown)
    for row in rows:
        name = escape(row.model) + (" *(reference policy)*" if row.yardstick else "")
        cells = [_cell(row, key) for _, key, _ in shown]
        about = escape(", ".join(describe(row.condition)))
        yield f"| {name} | {about} | " + " | ".join(cells) + " |"
    if not general_ran(rows):
        yield ""
        yield WITHOUT_GENERAL


def _cell(row: Row, key: str) -> str:
    shown = figure(row, key)
    if shown.score is None:
        return missing(row, key)
    return f"{rounded(shown.score)}{marks(row, key)}{_span(shown)}"


def _span(shown: Figure) -> str:
    if shown.low is None or shown.high is None:
        return ""
    return f" [{rounded(shown.low)}, {rounded(shown.high)}]"


def _used(report: Report, mark: str) -> bool:
    return any(mark in marks(row, key) for row in report.rows for _, key, _ in COLUMNS)


def _words(report: Report) -> Iterator[str]:
    told = [row for row in report.rows if row.sentences]
    if not told:
        return
    yield "## In words"
    yield ""
    overall = overall_sentence(report.against_policies)
    if overall:
        yield escape(overall)
        yield ""
    for row in told:
        yield f"- **{escape(row.id)}**: {escape(' '.join(row.sentences))}"
    yield ""


def _samples(rows: Sequence[Row]) -> Iterator[str]:
    counted = [(row, row.counts) for row in rows if row.counts]
    if not counted:
        return
    yield "## Samples"
    yield ""
    yield "| Model | Verdicts | Pictures | Judged | Unjudged | Filtered | Failed |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for row, counts in counted:
        of = counts.outcomes
        shares = [of["respond"] + of["reject"], of["unjudged"], of["filtered"], of["failed"]]
        cells = " | ".join(f"{rounded(100 * share / max(1, counts.verdicts))}%" for share in shares)
        yield f"| {escape(row.id)} | {counts.verdicts} | {counts.images} | {cells} |"
    yield ""


def _differences(report: Report) -> Iterator[str]:
    overall = [d for d in report.differences if not d.label]
    if not overall:
        return
    yield "## Differences on the same pictures"
    yield ""
    yield "| First | Second | Figure | First - second | p | p (Holm) |"
    yield "|---|---|---|---:|---:|---:|"
    for d in overall:
        if d.difference is None or d.p is None:
            continue
        corrected = "" if d.p_corrected is None else f"{d.p_corrected:.4f}"
        ends = [rounded(end, signed=True) for end in (d.low, d.high) if end is not None]
        span = rounded(d.difference, signed=True) + (f" [{', '.join(ends)}]" if ends else "")
        yield (
            f"| {escape(d.first)} | {escape(d.second)} | {d.metric} | {span} | {d.p:.4f} "
            f"| {corrected} |"
        )
    yield ""


def _agreements(report: Report) -> Iterator[str]:
    if not report.agreements:
        return
    yield "## Judges on the same answers"
    yield ""
    for a in report.agreements:
        agree = "N/A" if a.agree is None else f"{rounded(a.agree)}%"
        kappa = "N/A" if a.kappa is None else rounded(a.kappa)
        yield (
            f"- {escape(a.model)}: {escape(a.first)} and {escape(a.second)} agree on {agree} of "
            f"{a.n} samples (kappa {kappa})."
        )
    yield ""


def _notes(report: Report) -> Iterator[str]:
    own = [f"{row.id}: {text}" for row in report.rows for text in remarks(row)]
    if not (own or report.notes):
        return
    yield "## Notes"
    yield ""
    for note in [*report.notes, *own]:
        yield f"- {escape(note)}"


def escape(text: str) -> str:
    """Escape text for Markdown: no tags, no table cells, no links, one line."""
    flat = html.escape(" ".join(text.split()), quote=False)
    for mark in "\\`*_[]|":
        flat = flat.replace(mark, "\\" + mark)
    return flat
