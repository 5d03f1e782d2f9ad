"""What a lab measured: every run's curve and its final figures. The content of `lab.json`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from spy_plugin.files.json import read_json_as

Method: TypeAlias = Literal["base", "sft", "dpo", "nca", "nca_priv"]
Figure: TypeAlias = Literal["ics", "hms", "rta", "ata_conflict", "answers"]
Verdict: TypeAlias = Literal["better", "worse", "no difference shown", "not measured"]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
REMEDY = "It must be the lab.json that `spy-bench lab` wrote."


def _finite(value: Any) -> Any:
    """A loss that is no number (a run that diverged) counts as not measured."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Point(_Part):
    """A run after `step` optimizer steps; None is what was not measured there.

    Attributes:
        loss: Of training, in the method's own unit; None also where it was not finite.
        ics, hms, answers: Percent.
    """

    step: int = Field(ge=0)
    loss: Annotated[float | None, BeforeValidator(_finite)] = None
    ics: Percent | None = None
    hms: Percent | None = None
    answers: Percent | None = None


class Run(_Part):
    """One model: the base, or a method with a seed. Figures are of the held-out test split.

    Attributes:
        settings: Such as learning_rate, beta, steps, rows a step.
        seconds: Wall clock time of training.
        peak_memory_mib: Largest resident memory of training.
        ics, ics_scenario, rta, ata_conflict, hms: Percent, from the host's run; None if not
            measured.
        answers: Percent of answers with the right value (see `report.ANSWERS`).
        samples: How many samples of the test split were judged.
        settings_tried: Among how many the method's settings were chosen; None if never tuned.
    """

    method: Method
    seed: int
    settings: dict[str, JsonValue] = {}
    seconds: float = Field(ge=0)
    peak_memory_mib: float | None = Field(default=None, ge=0)
    curve: tuple[Point, ...] = ()
    ics: Percent | None = None
    ics_scenario: Percent | None = None
    rta: Percent | None = None
    ata_conflict: Percent | None = None
    hms: Percent | None = None
    answers: Percent | None = None
    samples: int = Field(ge=0)
    settings_tried: int | None = Field(default=None, ge=0)


class Estimate(_Part):
    """A method's figure: the mean over its seeds in percent, with an interval.

    All are None where a seed lacks the figure; a mean over some of the seeds would mislead. With
    one seed the interval covers pictures only.
    """

    mean: Percent | None
    low: Percent | None
    high: Percent | None
    seeds: int = Field(ge=1)


class Difference(_Part):
    """The first method's mean less the second's, in points; None where either has none.

    Attributes:
        seeds: Of the first and of the second. The base counts as given, not as a draw; of any
            other method with one seed the interval covers pictures only.
        verdict: On the first: whether the interval lies above zero, below, or around it.
    """

    first: Method
    second: Method
    figure: Figure
    seeds: tuple[int, int]
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict


class Comparison(_Part):
    """What the runs say together (see `intervals`).

    Attributes:
        level: Of every interval.
        pictures: Of the test split; all runs were asked the same.
        resamples: Of the pictures.
    """

    level: float = Field(gt=0, lt=1)
    pictures: int = Field(ge=0)
    resamples: int = Field(ge=1)
    estimates: dict[Method, dict[Figure, Estimate]] = {}
    differences: tuple[Difference, ...] = ()


class LabResults(_Part):
    """All runs of a lab.

    Attributes:
        size: Name of the model's size.
        data_fingerprint: Of the test split.
        judge: Who judged the answers.
        versions: Package -> version.
        tuned_on: What the methods' settings were chosen on; empty if they were never tuned.
        comparison: Intervals and differences; None if they were not computed.
    """

    size: str
    data_fingerprint: str
    judge: str
    versions: dict[str, str] = {}
    tuned_on: str = ""
    runs: tuple[Run, ...]
    comparison: Comparison | None = None

    @model_validator(mode="after")
    def _each_run_once(self) -> LabResults:
        keys = [(run.method, run.seed) for run in self.runs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"run {twice[0][0]} with seed {twice[0][1]} is there twice")
        return self

    def to_json(self) -> str:
        """The content of `lab.json`."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> LabResults:
        """Read a file with the text of `to_json`.

        Raises:
            DataError: the file is missing, not JSON, or not of this form.
        """
        return read_json_as(cls, path, REMEDY)
