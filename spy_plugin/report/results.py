"""What the readers find in a run: privacy verdicts and general scores, with source and time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from spy_plugin.report.items import ItemScores
from spy_plugin.runs.metadata import RunMetadata

GeneralSet = Literal["mmmu", "ocrbench", "mme"]
_ROUNDING = 0.01
GENERAL_SETS: tuple[GeneralSet, ...] = ("mmmu", "ocrbench", "mme")


@dataclass(frozen=True)
class PrivacyResult:
    """Verdicts of one model on one SPY-Bench data set.

    Attributes:
        model: Its name in the host.
        verdicts: The file.
        metadata: None for a verdict file without a `*_spy.json`.
        place: Name of the file in reports, relative to the RUN that it was found in.
        source: The host's file that the verdicts were taken from, if they are a copy.
    """

    model: str
    verdicts: Path
    finished: datetime
    metadata: RunMetadata | None = None
    place: str = ""
    source: Path | None = None


@dataclass(frozen=True)
class GeneralResult:
    """One model's score on MMMU, OCRBench or MME.

    Attributes:
        score: Scaled to 0..100 as in the paper: MMMU accuracy x 100, OCRBench `Final Score Norm`,
            MME (perception + cognition) / 28.
        raw: The host's own figures, by its names.
        judge: ``exact_matching``, a judge's name, or empty if not recorded.
        rules: True if no model judged, False if one did, None if the host does not record it.
        items: Scores of single items, if the host kept them and they reproduce `score`.
        place: Name of the file in reports, relative to the RUN that it was found in.
    """

    model: str
    set: GeneralSet
    score: float
    raw: dict[str, float]
    host: str
    finished: datetime
    source: Path
    judge: str = ""
    rules: bool | None = None
    items: ItemScores | None = None
    place: str = ""


@dataclass(frozen=True)
class BrokenResult:
    """A host's file of general scores that cannot be used: what it is about has not been run.

    Attributes:
        model: Its name in the host; empty if the file does not say it.
        set: Empty if the file does not say it.
        reason: What is wrong with the file, which `source` names.
    """

    model: str
    set: GeneralSet | Literal[""]
    reason: str
    source: Path
    place: str = ""


@dataclass
class Found:
    """All results of one run.

    Attributes:
        broken: Files that were found and cannot be used.
        notes: What else was found and left out, and why.
    """

    privacy: list[PrivacyResult] = field(default_factory=list)
    general: list[GeneralResult] = field(default_factory=list)
    broken: list[BrokenResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def as_number(value: object) -> float | None:
    """Return a figure of a host's file; None for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def out_of_range(score: float) -> str:
    """Return what is wrong with a general score that is not within 0..100; empty if nothing is."""
    return "" if -_ROUNDING <= score <= 100 + _ROUNDING else f"the score {score:g} is not in 0..100"


def modified(path: Path) -> datetime:
    """Return when a file was last written, for results that do not record their time."""
    return datetime.fromtimestamp(path.stat().st_mtime, tz=timezone.utc)
