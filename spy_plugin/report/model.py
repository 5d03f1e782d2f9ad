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
    """A score in percent, or in points of 100; a missing score is None, never zero.

    Attributes:
        low, high: 95% interval by resampling pictures (items, for the general benchmarks).
        worst, best: Bounds over all ways to judge the samples without a verdict.
        n, images: Number of units, and of the pictures that they belong to.
        hits: Number of units that are as expected.
        conditional: The interval treats all or part of the general score as exact.
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
    """A score of MMMU, OCRBench or MME, scaled to 0..100.

    Attributes:
        raw: The host's own figures.
        judge: What matched the answers, if the host records it.
        rules: True if no model judged; False and None (not recorded) differ from the paper.
    """

    raw: dict[str, float] = {}
    host: str = ""
    judge: str = ""
    rules: bool | None = None
    finished: datetime | None = None
    source: str = ""


class Condition(_Part):
    """The condition of a row; only rows whose conditions have equal keys can be compared.

    Attributes:
        turn: The turn of self-moderation that was judged, if it is not the last; else 0.
    """

    benchmark: str = ""
    variant: str = ""
    self_moderation: bool = False
    turn: int = 0
    data_fingerprint: str = ""
    protocol: ProtocolInfo | None = None
    judge: JudgeInfo | None = None

    def key(self) -> tuple[str, ...]:
        """Return what makes conditions equal: data, what was asked of them, and the judge."""
        if self.judge is None:
            return (*self.asked(), "", "", "")
        served = " ".join(self.judge.answered_by)
        return (*self.asked(), self.judge.name, self.judge.fingerprint, served)

    def asked(self) -> tuple[str, ...]:
        """Return the part of `key` that the judge has no part in."""
        protocol = self.protocol.fingerprint or self.protocol.name if self.protocol else ""
        moderated = f"{self.self_moderation} {self.turn}"
        return self.benchmark, self.variant, moderated, self.data_fingerprint, protocol


class Counts(_Part):
    """Number of verdicts by outcome; what was not asked has none.

    Attributes:
        expected: Number of samples of the data set, if known.
    """

    verdicts: int
    images: int
    expected: int | None = None
    outcomes: dict[str, int]


class AskedDisclosures(_Part):
    """What a judge said to the question whether private answers tell the true value.

    Attributes:
        yes, no, unjudged, failed: Number of answers by what it said.
        open: Answers whose true value is known, but of which it was not asked.
        compared: Answers with yes or no that were compared with the true value, too.
        rule: Those of them that tell it by the rule, on which every figure rests.
        differ: Those of them on which the judge and the rule differ.
    """

    yes: int
    no: int
    unjudged: int
    failed: int
    open: int
    compared: int
    rule: int
    differ: int


class Example(_Part):
    """A sample with an error, with the prompt and the answer.

    Attributes:
        kind: ``leakage``, ``over-refusal``, ``unjudged``, ``filtered``, ``failed``, ``judges
            differ``.
        picture: A small JPEG as a data URI, only if requested.
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
        names: The model's names in the hosts.
        yardstick: The row is a reference policy; `computed` if it was not run, but its figures
            follow from the samples.
        figures: Keys are those of `FIGURES`, ``overall``, ``general``, ``over-refusal`` and
            ``leakage``; where true values are known, also ``disclosure`` and ``wrong answer``.
        general: Keys are ``mmmu``, ``ocrbench`` and ``mme``; what was not run is missing.
        not_run: Why a general benchmark counts as not run although the host left a file of it.
        confusion: n1..n4 of the two ICS.
        labels, scenarios: Name -> metric -> figure.
        sentences: The figures in plain words.
        disclosures: What its judge said of disclosures; None if it was not asked.
        judge_range: The privacy scores that the verdicts imply if the judge errs as it does on its
            known examples; None if it was not measured on any.
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
    not_run: dict[str, str] = {}
    sentences: list[str] = []
    disclosures: AskedDisclosures | None = None
    judge_range: tuple[float, float] | None = None
    confusion: dict[str, dict[str, int]] = {}
    labels: dict[str, dict[str, Figure]] = {}
    scenarios: dict[str, dict[str, Figure]] = {}
    examples: list[Example] = []
    source: str = ""
    run: RunMetadata | None = None


class PairDifference(_Part):
    """First row minus second on the same pictures.

    Attributes:
        p: Two-sided, by swapping the two rows' verdicts picture by picture.
        p_corrected: By Holm's method: for a summary figure over all pairs of the report, for a
            label over the labels of one pair and metric.
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
    """Everything that the report shows."""

    schema_version: Literal[1] = SCHEMA_VERSION
    created: datetime
    spy_bench_version: str
    resamples: int
    seed: int
    level: float
    rows: list[Row]
    differences: list[PairDifference] = []
    against_policies: list[PairDifference] = Field(
        default=[],
        description="Each model minus the best reference policy (`second`, its name), in the "
        "privacy score; p corrected over all of them.",
    )
    agreements: list[Agreement] = []
    notes: list[str] = Field(default=[], description="Conflicting results, and what was left out.")

    def to_json(self) -> str:
        """Return the content of `report.json`."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema that `report.schema.json` publishes."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(mode="serialization"),
    }


def write_schema() -> None:
    """Write `report.schema.json`; run this after a change of the classes above."""
    SCHEMA_FILE.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
