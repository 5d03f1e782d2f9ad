"""What a gate may demand: limits of figures, from the command line or a YAML file."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from spy_plugin.errors import DataError
from spy_plugin.registry.catalog import line_of, parse
from spy_plugin.scoring.metrics import (
    ABSOLUTE_ACCURACY,
    ABSOLUTE_ICS,
    ACCURACY,
    ATA,
    ATA_CONFLICT,
    HMS,
    ICS,
    ICS_SCENARIO,
    RTA,
)
from spy_plugin.scoring.stats import ERRORS, FEW_PICTURES, LEAKAGE, OVER_REFUSAL, PRIVACY

Kind = Literal["min", "max", "max-drop", "max-rise"]
KINDS: tuple[Kind, ...] = ("min", "max", "max-drop", "max-rise")
OF_DIFFERENCES: tuple[Kind, ...] = ("max-drop", "max-rise")
"""Kinds that compare with a baseline."""

FIGURES = {
    "privacy": PRIVACY,
    "ics": ICS,
    "hms": HMS,
    "rta": RTA,
    "ata": ATA_CONFLICT,
    "accuracy": ACCURACY,
    "ics-non-conflict": ICS_SCENARIO,
    "ata-non-conflict": ATA,
    "absolute-accuracy": ABSOLUTE_ACCURACY,
    "absolute-ics": ABSOLUTE_ICS,
    "leakage": LEAKAGE,
    "over-refusal": OVER_REFUSAL,
}
"""Name in a rule -> name in `scoring`."""

_REMEDY = "See docs/gate.md."
_SIDE = {"max": "min", "max-rise": "max-drop", "min": "max", "max-drop": "max-rise"}
_LONGEST = 2**20
"""Bytes of a file of rules."""


@dataclass(frozen=True)
class Rule:
    """A limit of one figure.

    Attributes:
        figure: A name of `FIGURES`.
        limit: In percent, or in points for a difference.
        label: Only the samples of this label; empty for all.
    """

    kind: Kind
    figure: str
    limit: float
    label: str = ""

    @property
    def key(self) -> str:
        """The figure's name in `scoring`."""
        return FIGURES[self.figure]

    @property
    def name(self) -> str:
        """The figure as rules write it, for example ``leakage[a49_phone]``."""
        return f"{self.figure}[{self.label}]" if self.label else self.figure

    @property
    def differs(self) -> bool:
        """Whether the rule is about the difference to a baseline."""
        return self.kind in OF_DIFFERENCES

    def __str__(self) -> str:
        words = {"min": "{} >= {}", "max": "{} <= {}"}
        words |= {"max-drop": "drop of {} <= {}", "max-rise": "rise of {} <= {}"}
        return words[self.kind].format(self.name, f"{self.limit:g}")


_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Limits = dict[str, _Number]


class Settings(BaseModel):
    """A file of rules; the command line has the same options.

    Attributes:
        confidence: Level of the intervals.
        precision: The widest interval, in points, that may lie across a limit and pass.
        min_pictures: With fewer pictures, a figure is not told.
        max_missing: Percent of the samples asked that may lack a verdict.
        allow_partial: Also judge a run that did not ask every sample.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    min: _Limits = {}
    max: _Limits = {}
    max_drop: _Limits = Field(default={}, alias="max-drop")
    max_rise: _Limits = Field(default={}, alias="max-rise")
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    precision: float = Field(default=10.0, ge=0, le=100)
    min_pictures: int = Field(default=FEW_PICTURES, ge=2, alias="min-pictures")
    max_missing: float = Field(default=5.0, ge=0, le=100, alias="max-missing")
    allow_partial: bool = Field(default=False, alias="allow-partial")


@dataclass(frozen=True)
class Gate:
    """Rules and how they are applied."""

    rules: tuple[Rule, ...]
    settings: Settings


def make_rule(
    kind: Kind, name: str, limit: float, *, path: Path | None = None, where: str = ""
) -> Rule:
    """Check a limit.

    Args:
        name: A figure, perhaps of one label: ``privacy`` or ``leakage[a49_phone]``.
        path, where: The file and the line that it comes from, for errors.

    Raises:
        DataError: there is no such figure, or the limit makes no sense for it.
    """

    def refuse(problem: str, remedy: str) -> DataError:
        return DataError(problem, remedy, path=path, where=where)

    found = re.fullmatch(r"([\w-]+)(?:\[([^\[\]]+)\])?", name)
    figure, label = (found[1], found[2] or "") if found else ("", "")
    if figure not in FIGURES:
        raise refuse(f"there is no figure {name!r}", _hint(name))
    falls = FIGURES[figure] in ERRORS
    if falls != (kind in ("max", "max-rise")):
        better = "lower" if falls else "higher"
        raise refuse(f"{figure} is better if it is {better}", f"Use {_SIDE[kind]}.")
    if not (math.isfinite(limit) and 0 <= limit <= 100):
        raise refuse(f"the limit of {name} is {limit:g}", "It must be from 0 to 100.")
    return Rule(kind, figure, limit, label)


def figure_key(name: str) -> str:
    """Return a figure's name in `scoring`.

    Raises:
        DataError: there is no such figure.
    """
    if name not in FIGURES:
        raise DataError(f"there is no figure {name!r}", _hint(name))
    return FIGURES[name]


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, FIGURES, n=1)
    return f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(FIGURES)}."


def read_rules(path: Path) -> tuple[list[Rule], Settings]:
    """Read a YAML file of rules.

    Raises:
        DataError: it cannot be read or is not a file of rules; names the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        text = content.decode()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", _REMEDY, path=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"is not YAML ({error})", "Save it as UTF-8.", path=path) from error
    if len(content) > _LONGEST:
        raise DataError("is too large for a file of rules", _REMEDY, path=path)
    settings = parse(text, Settings, path=path, remedy=_REMEDY)
    rules = []
    limits: Mapping[Kind, _Limits] = {
        "min": settings.min,
        "max": settings.max,
        "max-drop": settings.max_drop,
        "max-rise": settings.max_rise,
    }
    for kind, named in limits.items():
        for name, limit in named.items():
            where = line_of(text, (kind, name))
            rules.append(make_rule(kind, name, limit, path=path, where=where))
    return rules, settings


def combine(first: list[Rule], second: list[Rule]) -> tuple[Rule, ...]:
    """Put rules together; of two of one kind and figure the later counts."""
    return tuple({(rule.kind, rule.name): rule for rule in [*first, *second]}.values())
