"""What the readers find in a RUN: privacy verdicts and general scores, each with where and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from spy_plugin.report.items import ItemScores
from spy_plugin.runs.metadata import RunMetadata

GeneralSet = Literal["mmmu", "ocrbench", "mme"]
GENERAL_SETS: tuple[GeneralSet, ...] = ("mmmu", "ocrbench", "mme")


@dataclass(frozen=True)
class PrivacyResult:
    """Verdicts of one model on one SPY-Bench data set.

    Attributes:
        model: As the host called it.
        verdicts: The file.
        metadata: None for a bare verdict file.
    """

    model: str
    verdicts: Path
    finished: datetime
    metadata: RunMetadata | None = None


@dataclass(frozen=True)
class GeneralResult:
    """One model's score on MMMU, OCRBench or MME.

    Attributes:
        score: Brought to 0..100 as the paper does: MMMU accuracy x 100, OCRBench `Final Score
            Norm`, MME (perception + cognition) / 28.
        raw: The host's own figures, by its names.
        judge: Who matched answers; ``exact_matching``, a judge's name, or empty if not recorded.
        rules: True if no model judged, False if one did, None if the host does not say.
        items: Scores of single items, where the host kept them and they give `score`.
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


@dataclass
class Found:
    """All results of one RUN.

    Attributes:
        notes: What was seen and left out, and why.
    """

    privacy: list[PrivacyResult] = field(default_factory=list)
    general: list[GeneralResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def modified(path: Path) -> datetime:
    """When a file was last written, for results that carry no time of their own."""
    return datetime.fromtimestamp(path.stat().st_mtime, tz=timezone.utc)
