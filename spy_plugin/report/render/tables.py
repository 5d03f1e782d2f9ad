"""The summary as a table to paste: `table.md` for an issue, `table.tex` for a paper."""

from __future__ import annotations

import re

from spy_plugin.report.model import Report, Row
from spy_plugin.report.render.groups import groups
from spy_plugin.report.render.markdown import escape
from spy_plugin.report.summary import columns, figure
from spy_plugin.scoring.rounding import rounded

_DIGITS = 1
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}


def render_markdown(report: Report) -> str:
    """Render the scores without intervals as a Markdown table."""
    shown = columns(report.rows)
    lines = [
        "| Model | " + " | ".join(title for title, _, _ in shown) + " |",
        "|---|" + "---:|" * len(shown),
    ]
    for group in groups(report.rows):
        lines.append(f"| *{escape(group.title)}* |" + " |" * len(shown))
        for row in group.models + group.policies:
            cells = [_score(row, key, "–") for _, key, _ in shown]
            lines.append(f"| {escape(row.model)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def render_latex(report: Report) -> str:
    """Render the scores without intervals as a LaTeX table, which needs the package booktabs."""
    shown = columns(report.rows)
    wide = len(shown) + 1
    lines = [
        r"\begin{tabular}{l" + "r" * len(shown) + "}",
        r"\toprule",
        "Model & " + " & ".join(escape_latex(title) for title, _, _ in shown) + r" \\",
    ]
    for group in groups(report.rows):
        title = escape_latex(group.title)
        lines += [r"\midrule", rf"\multicolumn{{{wide}}}{{l}}{{\textit{{{title}}}}} \\"]
        for row in group.models + group.policies:
            cells = [_score(row, key, "--") for _, key, _ in shown]
            lines.append(f"{escape_latex(row.model)} & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _score(row: Row, key: str, missing: str) -> str:
    score = figure(row, key).score
    return missing if score is None else rounded(score, _DIGITS)


def escape_latex(text: str) -> str:
    """Escape text for LaTeX: no commands, no comments, one line."""
    flat = " ".join(text.replace("·", ",").split()).replace(" ,", ",")
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: _SPECIAL[found[0]], flat)
