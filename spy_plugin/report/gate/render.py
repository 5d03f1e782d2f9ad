"""What a gate found, as text, as Markdown for a pull request, and as JUnit XML for CI."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from spy_plugin.files.text import storable
from spy_plugin.report.gate.decide import Check, GateResult, Status
from spy_plugin.report.render.markdown import escape
from spy_plugin.scoring.rounding import rounded

SUITES = "spy-bench gate"

_ROWS = 200
"""Checks that a Markdown summary lists; GitHub takes 1 MiB per step."""
_LONGEST = 300
"""Characters of a name or a reason in a file."""
_MARKS = {Status.PASSED: "✅", Status.FAILED: "❌", Status.CANNOT_TELL: "❔"}


def as_text(result: GateResult) -> str:
    """Return one line per check, and the outcome."""
    lines = [f"note: {_short(note)}" for note in result.notes]
    for run in result.runs:
        lines += ["", _short(f"{run.model} ({run.condition})")]
        for check in run.checks:
            reason = f" ({_short(check.reason)})" if check.reason else ""
            cells = f"{check.rule!s:<36}{measured(check)}".rstrip()
            lines.append(f"  {check.status.value:<12}{cells}{reason}")
    lines += ["", f"gate: {result.status.value}"]
    return "\n".join(lines).lstrip("\n")


def as_markdown(result: GateResult) -> str:
    """Return a table of the checks, the worst first, for a pull request or a step's summary."""
    heading = f"## {_MARKS[result.status]} SPY-Bench gate: {result.status.value}"
    level = f"{result.settings.confidence:g}"
    lines = [heading, "", f"| | Model | Condition | Rule | Measured ({level} interval) | |"]
    lines.append("|---|---|---|---|---:|---|")
    order = [Status.FAILED, Status.CANNOT_TELL, Status.PASSED]
    found = [(run, check) for run in result.runs for check in run.checks]
    found.sort(key=lambda pair: order.index(pair[1].status))
    for run, check in found[:_ROWS]:
        cells = [run.model, run.condition, str(check.rule), measured(check), check.reason]
        words = " | ".join(escape(_short(cell)) for cell in cells)
        lines.append(f"| {_MARKS[check.status]} {check.status.value} | {words} |")
    if len(found) > _ROWS:
        lines += ["", f"{len(found) - _ROWS} more checks are not listed."]
    lines += [f"\n{escape(_short(note))}" for note in result.notes[:_ROWS]]
    return "\n".join(lines) + "\n"


def as_junit(result: GateResult) -> str:
    """Return JUnit XML: a suite per model and condition, a case per rule.

    What failed is a ``failure``, what cannot be told an ``error``.
    """
    checks = [check for run in result.runs for check in run.checks]
    root = ET.Element("testsuites", {"name": SUITES, **_counts(checks)})
    for run in result.runs:
        name = _short(f"{run.model} ({run.condition})")
        suite = ET.SubElement(root, "testsuite", {"name": name, **_counts(run.checks)})
        for check in run.checks:
            about = {"classname": f"spy_bench.{_short(run.model)}", "name": _short(str(check.rule))}
            case = ET.SubElement(suite, "testcase", about)
            _add_outcome(case, check)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_outcome(case: ET.Element, check: Check) -> None:
    text = _short(" ".join(_words(check)))
    if check.status is Status.FAILED:
        ET.SubElement(case, "failure", {"message": text})
    elif check.status is Status.CANNOT_TELL:
        ET.SubElement(case, "error", {"message": text})
    else:
        ET.SubElement(case, "system-out").text = text


def _words(check: Check) -> Iterator[str]:
    yield f"{check.rule}:"
    yield check.status.value
    if check.value is not None:
        yield f"at {measured(check)}"
    if check.reason:
        yield f"({check.reason})"


def _counts(checks: list[Check] | tuple[Check, ...]) -> dict[str, str]:
    found = [check.status for check in checks]
    return {
        "tests": str(len(found)),
        "failures": str(found.count(Status.FAILED)),
        "errors": str(found.count(Status.CANNOT_TELL)),
    }


def measured(check: Check) -> str:
    """Return a figure with its interval, as ``54.60 [53.23, 55.84]``; empty if it is missing."""
    if check.value is None:
        return ""
    signed = check.rule.differs
    text = rounded(check.value, signed=signed)
    if check.low is None or check.high is None:
        return text
    low, high = (rounded(end, signed=signed) for end in (check.low, check.high))
    return f"{text} [{low}, {high}]"


def _short(text: str) -> str:
    """Return text of others as XML and Markdown can hold it."""
    return storable(" ".join(text.split()), _LONGEST)
