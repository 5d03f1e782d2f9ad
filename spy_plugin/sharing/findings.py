"""What a check of a bundle finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from spy_plugin.benchmark.records import Verdict
from spy_plugin.files.text import storable

_SHOWN = 3
"""Samples that a finding names."""


class Status(str, Enum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    CANNOT = "cannot be checked"


Found = tuple[Status, str]
"""What became of a check, and the details for a person."""


@dataclass(frozen=True)
class Finding:
    """A check and what it found.

    Attributes:
        run: The model and data set that it is about; empty for the whole file.
    """

    run: str
    check: str
    status: Status
    detail: str


def overall(findings: Sequence[Finding]) -> Status:
    """Failed if a check failed, else not checked if one could not be made, else ok."""
    found = {finding.status for finding in findings}
    return next(s for s in (Status.FAILED, Status.CANNOT, Status.OK) if s in found)


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(storable(" ".join(name.split()), 120) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def ids(verdicts: Sequence[Verdict]) -> str:
    """Name the samples of some verdicts; see `some`."""
    return some([verdict.sample_id for verdict in verdicts])
