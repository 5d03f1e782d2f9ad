"""The report as data: the content of `report.json`, and the only source of the other formats.

Its JSON schema is published as `report.schema.json` beside this file.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spy_plugin.runs.metadata import JudgeInfo, ProtocolInfo, RunMetadata

SCHEMA_VERSION: Literal[1] = 1
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Figure(_Part):
    """A score in percent (or points of 100); None where there is none, which is never zero.

    Attributes:
        low, high: 95% interval by resampling pictures (general sets: items).
        worst, best: Over all ways to judge the samples without a verdict.
        n, images: Units counted and pictures they belong to.
        hits: Units that were as expected.
        conditional: The interval takes the general score for exact, in part or in whole.
    """

    score: float | None = None
    low: float | None = None
    high: float | None = None
    worst: float | None = None
    best: float | None = None
    n: int | None = None
    hits: int | None = None
    images: int | None = None
    conditional: bool = False


class GeneralFigure(Figure):
    """A score of MMMU, OCRBench or MME, brought to 0..100.

    Attributes:
        raw: The host's own figures.
        judge: Who matched answers, if the host says.
        rules: No model judged; False and None (not recorded) depart from the paper's definition.
    """

    raw: dict[str, float] = {}
    host: str = ""
    judge: str = ""
    rules: bool | None = None
    finished: datetime | None = None
    source: str = ""


class Condition(_Part):
    """What makes two scores comparable: equal conditions."""

    benchmark: str = ""
    variant: str = ""
    self_moderation: bool = False
    data_fingerprint: str = ""
    protocol: ProtocolInfo | None = None
    judge: JudgeInfo | None = None


class Counts(_Part):
    """Verdicts by outcome; `expected` is how many samples the data set has, if known."""

    verdicts: int
    images: int
    expected: int | None = None
    outcomes: dict[str, int]


class Example(_Part):
    """A sample that went wrong, with what was asked and said.

    Attributes:
        kind: ``leakage``, ``over-refusal``, ``unjudged``, ``filtered``, ``failed``, ``judges
            differ``.
        picture: A small JPEG as a data URI, only on request.
    """

    kind: str
    sample_id: str
    label: str
    is_privacy: int
    scenario: str = ""
    scenario_is_privacy: int | None = None
    image_path: str = ""
    question: str = ""
    prompt: str = ""
    answer: str = ""
    outcome: str
    expected: str
    judge_text: str = ""
    error: str = ""
    picture: str = ""


class Row(_Part):
    """One model under one condition.

    Attributes:
        names: What the hosts called it.
        yardstick: A reference policy; `computed` if it was not run but follows from the samples.
        figures: By the names of `stats.FIGURES`, and ``overall``, ``general``, ``over-refusal``,
            ``leakage``.
        general: By ``mmmu``, ``ocrbench``, ``mme``; what was not run is missing.
        confusion: n1..n4 of the two ICS.
        labels, scenarios: Name -> metric -> figure.
    """

    id: str
    model: str
    names: list[str]
    yardstick: bool = False
    computed: bool = False
    condition: Condition
    counts: Counts | None = None
    figures: dict[str, Figure] = {}
    general: dict[str, GeneralFigure] = {}
    confusion: dict[str, dict[str, int]] = {}
    labels: dict[str, dict[str, Figure]] = {}
    scenarios: dict[str, dict[str, Figure]] = {}
    examples: list[Example] = []
    source: str = ""
    run: RunMetadata | None = None


class PairDifference(_Part):
    """First row minus second on the same pictures; p by permutation.

    Attributes:
        p_corrected: Holm, over the labels of the same pair and metric, or over all pairs of rows.
    """

    first: str
    second: str
    metric: str
    label: str = ""
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    images: int


class Agreement(_Part):
    """Two judges on the same answers of one model.

    Attributes:
        n: Samples that both judged; see `scoring.agreement` for what counts as judged.
        agree: Share of them with equal outcomes, in percent.
        kappa: Cohen's kappa; None if undefined.
        table: ``"first/second"`` outcomes -> count.
    """

    model: str
    first: str
    second: str
    n: int
    agree: float | None
    kappa: float | None
    table: dict[str, int]


class Report(_Part):
    """Everything that is shown."""

    schema_version: Literal[1] = SCHEMA_VERSION
    created: datetime
    spy_bench_version: str
    resamples: int
    seed: int
    level: float
    rows: list[Row]
    differences: list[PairDifference] = []
    agreements: list[Agreement] = []
    notes: list[str] = Field(default=[], description="Conflicts and what was left out.")

    def to_json(self) -> str:
        """The content of `report.json`."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema that `report.schema.json` publishes."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(mode="serialization"),
    }


def write_schema() -> None:
    """Publish the schema; run after a change of the classes above."""
    SCHEMA_FILE.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
