"""The results of a lab: curves and final figures of every run. The content of `lab.json`."""

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
from spy_plugin.lab.arms import Arm, arm_of, method_of

Method: TypeAlias = Literal["base", "sft", "dpo", "nca", "nca_priv"]
Sharing: TypeAlias = Literal["image", "row", "off"]
Figure: TypeAlias = Literal["ics", "hms", "rta", "ata_conflict", "answers"]
Verdict: TypeAlias = Literal["better", "worse", "no difference shown", "not measured"]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
REMEDY = "Pass a lab.json that `spy-bench lab` wrote."


def _finite(value: Any) -> Any:
    """Treat a loss that is not finite (a diverged run) as not measured."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Point(_Record):
    """Measurements of a run after `step` optimizer steps; None if not measured at that step.

    Attributes:
        loss: Training loss of the method; None also where it was not finite.
        ics, hms, answers: Percent on the validation split.
    """

    step: int = Field(ge=0)
    loss: Annotated[float | None, BeforeValidator(_finite)] = None
    ics: Percent | None = None
    hms: Percent | None = None
    answers: Percent | None = None


class Run(_Record):
    """One model: the base, or a method with a seed. Figures are on the held-out test split.

    Attributes:
        prefix_sharing: How the trainer shared prefixes; None for the base and SFT.
        settings: For instance learning_rate, beta and steps.
        device: What the model was trained on, for instance "CPU"; empty if not known.
        versions: Package -> version in its training; empty if not known.
        jobs: Stages that ran at the same time.
        seconds: Wall clock time of training; of its last sitting if it was resumed.
        resumed: Training was interrupted after its first checkpoint.
        peak_memory_mib: Peak resident memory of training.
        curve: Measurements during training.
        ics, ics_scenario, rta, ata_conflict, hms: Percent; None if not measured.
        answers: Percent of allowed answers with the right value (see `answers`).
        samples: Number of judged samples of the test split.
        settings_tried: Number of settings that the method's were chosen from; None if not tuned.
    """

    method: Method
    seed: int
    prefix_sharing: Sharing | None = None
    settings: dict[str, JsonValue] = {}
    device: str = ""
    versions: dict[str, str] = {}
    jobs: int = Field(default=1, ge=1)
    seconds: float = Field(ge=0)
    resumed: bool = False
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

    @property
    def arm(self) -> Arm:
        """What the runs that differ by their seed only have in common."""
        return arm_of(self.method, self.prefix_sharing)


class Estimate(_Record):
    """One figure of an arm: the mean over its seeds in percent, with an interval.

    All values are None if any seed lacks the figure, since a mean over some of the seeds would
    mislead. With one seed the interval covers pictures only.
    """

    mean: Percent | None
    low: Percent | None
    high: Percent | None
    seeds: int = Field(ge=1)


class Difference(_Record):
    """The mean of the first arm minus that of the second, in points; None if either is None.

    Attributes:
        seeds: Number of seeds of the first and of the second arm. The base is fixed, not a
            random draw. For any other arm with one seed the interval covers pictures only.
        verdict: Whether the first arm is better or worse, if the interval excludes zero.
    """

    first: Arm
    second: Arm
    figure: Figure
    seeds: tuple[int, int]
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict

    @property
    def within_method(self) -> bool:
        """Whether both arms are the same method and differ in how prefixes are shared."""
        return method_of(self.first) == method_of(self.second)


class Comparison(_Record):
    """All runs taken together (see `intervals`).

    Attributes:
        level: Confidence level of every interval.
        pictures: Number of test pictures, the same for all runs.
        resamples: Number of resamples of the pictures.
    """

    level: float = Field(gt=0, lt=1)
    pictures: int = Field(ge=0)
    resamples: int = Field(ge=1)
    estimates: dict[Arm, dict[Figure, Estimate]] = {}
    differences: tuple[Difference, ...] = ()


class LabResults(_Record):
    """All runs of a lab.

    Attributes:
        size: Name of the lab size.
        data_fingerprint: Fingerprint of the test split.
        judge: Name of the judge.
        versions: Package -> version, where the report was written.
        tuned_on: Data that the methods' settings were chosen on; empty if not tuned.
        comparison: Intervals and differences; None if not computed.
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
        keys = [(run.arm, run.seed) for run in self.runs]
        duplicates = sorted({key for key in keys if keys.count(key) > 1})
        if duplicates:
            raise ValueError(
                f"duplicate entry: run {duplicates[0][0]} with seed {duplicates[0][1]}"
            )
        return self

    def to_json(self) -> str:
        """The content of `lab.json`."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> LabResults:
        """Read a file that `to_json` wrote.

        Raises:
            DataError: The file is missing, not JSON, or has other fields.
        """
        return read_json_as(cls, path, REMEDY)
