"""Every sample of all runs as columns of small numbers: what the page filters and sorts by."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Sample, Scenario
from spy_plugin.report.loading import Loaded
from spy_plugin.report.model import Row
from spy_plugin.report.sentences import words
from spy_plugin.report.summary import titles
from spy_plugin.scoring.table import (
    CONFLICT,
    NO_SCENARIO,
    NON_CONFLICT,
    OUTCOMES,
    REJECT,
    RESPOND,
    Ints,
    VerdictTable,
    expected_outcomes,
)

CHUNK = 1000
"""Samples whose texts are in one file."""

NOT_ASKED = 255
"""In a run's outcomes: it has no verdict on the sample."""

VALUES = ("", "discloses the value", "wrong value")
"""What an answer to a sample that should be refused tells; the first where that is not known."""
VALUE_STEP = 8
"""In a run's outcomes: the index into `VALUES` is multiplied by this and added."""

_ROLES = {NO_SCENARIO: "", CONFLICT: "conflict", NON_CONFLICT: "non-conflict"}
_CASES = tuple(product((0, 1), _ROLES, (False, True)))
"""(is_privacy, kind of scenario, absolute label): all that the expected outcome depends on."""


@dataclass(frozen=True)
class BrowsedRun:
    """One model under one condition.

    Attributes:
        id: The id of its row in the report.
    """

    id: str
    model: str
    loaded: Loaded

    @property
    def policy(self) -> bool:
        """Whether it is a reference policy."""
        return self.model in POLICIES


@dataclass(frozen=True)
class Samples:
    """All samples of some runs, each once: the same item, scenario, side, label and picture.

    They are sorted by item, label and picture, since two benchmarks may number their items alike;
    then by scenario, private before public, so that a pair is two neighbours.
    The names of labels and scenarios are sorted as they are read, by their words.

    Attributes:
        item, label, image: Index into the names below, per sample: (n,).
        scenario: Index into `scenarios` plus 1; 0 for none.
        case: Index into `cases()`.
        rows: For each run the row of each sample in its table; -1 for none.
    """

    item: Ints
    label: Ints
    image: Ints
    scenario: Ints
    case: Ints
    items: tuple[str, ...]
    labels: tuple[str, ...]
    images: tuple[str, ...]
    scenarios: tuple[str, ...]
    rows: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.item)


def combine(tables: Sequence[VerdictTable]) -> Samples:
    """Put the samples of several tables together."""
    # Tables of the same samples share their columns; see `loading`.
    keys = {id(table.item): _keys(table) for table in tables}
    every = sorted({key for found in keys.values() for key in found})
    place = {key: index for index, key in enumerate(every)}
    places = {name: np.array([place[key] for key in found]) for name, found in keys.items()}
    rows = []
    for table in tables:
        row = np.full(len(every), -1)
        row[places[id(table.item)]] = np.arange(len(table))
        rows.append(row)
    item, label, image, absolute, kind, scenario, public = zip(*every, strict=True)
    numbered: dict[str, Any] = {}
    for name, column in (("item", item), ("label", label), ("image", image)):
        names = tuple(sorted(set(column), key=_by_words if name == "label" else None))
        code = {text: index for index, text in enumerate(names)}
        numbered |= {name: np.array([code[text] for text in column]), f"{name}s": names}
    scenarios = tuple(sorted({name for name in scenario if name}, key=_by_words))
    code = {"": 0} | {name: index for index, name in enumerate(scenarios, 1)}
    case = {each: index for index, each in enumerate(_CASES)}
    cases = [case[1 - p, k, a] for p, k, a in zip(public, kind, absolute, strict=True)]
    return Samples(
        scenario=np.array([code[name] for name in scenario]),
        case=np.array(cases),
        scenarios=scenarios,
        rows=tuple(rows),
        **numbered,
    )


def _by_words(name: str) -> tuple[str, str]:
    return words(name).casefold(), name


def _keys(table: VerdictTable) -> list[tuple[str, str, str, bool, int, str, int]]:
    names = (*table.scenarios, "")  # code -1 is the last
    return [
        (
            table.items[item],
            table.labels[label],
            table.images[image],
            absolute,
            kind,
            names[scenario],
            1 - side,
        )
        for item, label, image, absolute, kind, scenario, side in zip(
            table.item.tolist(),
            table.label.tolist(),
            table.image.tolist(),
            table.absolute.tolist(),
            table.kind.tolist(),
            table.scenario.tolist(),
            table.is_privacy.tolist(),
            strict=True,
        )
    ]


def cases() -> list[dict[str, Any]]:
    """Return what is right in each case, and what the reference policies do, as codes."""
    out = []
    for side, kind, absolute in _CASES:
        role = None if kind == NO_SCENARIO else Scenario("any", int(kind != CONFLICT))
        expected = expected_outcome(side, role, absolute=absolute)
        sample = Sample("", "", "asked", side, role, "", "", "", "", "")
        labels = frozenset({"asked"} if absolute else ())
        acts = {name: _code(act(sample, labels)) for name, act in POLICIES.items()}
        out.append(
            {
                "private": side,
                "role": _ROLES[kind],
                "absolute": int(absolute),
                "expected": _code(expected),
                "policies": acts,
            }
        )
    return out


def _code(outcome: Outcome) -> int:
    return OUTCOMES.index(outcome)


def index_of(runs: Sequence[BrowsedRun], samples: Samples) -> dict[str, Any]:
    """Return what the page loads first: names, columns, conditions and the outcomes of each run."""
    about = [Row(id=run.id, model=run.model, names=[], condition=run.loaded.about) for run in runs]
    named = titles(about)
    conditions = list(dict.fromkeys(row.condition.key() for row in about))
    known = any(run.loaded.table.holds is not None for run in runs)
    return {
        "version": 1,
        "chunk": CHUNK,
        "outcomes": [outcome.value for outcome in OUTCOMES],
        "values": VALUES if known else (),
        "value_step": VALUE_STEP,
        "cases": cases(),
        "items": samples.items,
        "labels": samples.labels,
        "label_words": [words(name) for name in samples.labels],
        "scenarios": samples.scenarios,
        "scenario_words": [words(name) for name in samples.scenarios],
        "images": samples.images,
        "columns": {
            "item": packed(samples.item, "<u4"),
            "image": packed(samples.image, "<u4"),
            "label": packed(samples.label, "<u2"),
            "scenario": packed(samples.scenario, "<u2"),
            "case": packed(samples.case, "<u1"),
        },
        "conditions": [named[key] for key in conditions],
        "runs": [
            {
                "id": run.id,
                "model": run.model,
                "condition": conditions.index(row.condition.key()),
                "policy": run.policy,
                "variant": row.condition.variant,
                "judge": row.condition.judge.name if row.condition.judge else "",
                "file": run.loaded.result.place,
                "outcomes": packed(outcomes(run.loaded.table, rows), "<u1"),
            }
            for run, row, rows in zip(runs, about, samples.rows, strict=True)
        ],
    }


def outcomes(table: VerdictTable, rows: Ints) -> Ints:
    """Return a run's outcome and value on each sample, `NOT_ASKED` where it has none: (n,)."""
    codes = table.outcome + VALUE_STEP * values(table)
    found: Ints = np.where(rows < 0, NOT_ASKED, codes[rows])
    return found


def values(table: VerdictTable) -> Ints:
    """Return what each answer tells, as an index into `VALUES`: (n,).

    It is known of the answered samples that `scoring.stats.disclosure_units` counts.
    """
    if table.holds is None:
        return np.zeros(len(table), np.int64)
    told = (table.outcome == RESPOND) & (expected_outcomes(table) == REJECT) & (table.holds >= 0)
    found: Ints = np.where(told, np.where(table.holds == 1, 1, 2), 0)
    return found


def packed(column: Ints, kind: str) -> str:
    """Return numbers as base64 of little-endian integers, which the page reads as a typed array."""
    return base64.b64encode(column.astype(kind).tobytes()).decode()
