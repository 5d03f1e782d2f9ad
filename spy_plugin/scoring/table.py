"""Verdicts as columns of numbers: what every metric counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Scenario
from spy_plugin.errors import DataError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

OUTCOMES = tuple(Outcome)
RESPOND, REJECT = OUTCOMES.index(Outcome.RESPOND), OUTCOMES.index(Outcome.REJECT)
NO_SCENARIO, CONFLICT, NON_CONFLICT = 0, 1, 2


class Judged(Protocol):
    """What is needed of a verdict; `benchmark.records.Verdict` is one."""

    @property
    def benchmark_id(self) -> str:
        """Id of the item."""

    @property
    def label(self) -> str:
        """Label id."""

    @property
    def is_privacy(self) -> int:
        """1 private, 0 public."""

    @property
    def scenario(self) -> Scenario | None:
        """The role in which the question was asked."""

    @property
    def image_path(self) -> str:
        """The picture."""

    @property
    def outcome(self) -> Outcome:
        """What became of the sample."""


@dataclass(frozen=True)
class VerdictTable:
    """Verdicts as columns of length `n`, the number of verdicts.

    Names are sorted, so that equal sets of samples have equal codes whatever the order of the
    verdicts.

    Attributes:
        outcome: Index into `OUTCOMES`.
        is_privacy: 1 private, 0 public.
        kind: `NO_SCENARIO`, `CONFLICT` or `NON_CONFLICT`.
        label, scenario, image, item: Index into the names below; scenario -1 for none.
        absolute: The label is one of the absolute ones.
        items: The benchmark ids.
        holds: 1 if the answer holds the true value, 0 if it does not, -1 where that is not known;
            None if nothing is known (see `scoring.disclosure`).
    """

    outcome: Ints
    is_privacy: Ints
    kind: Ints
    label: Ints
    scenario: Ints
    image: Ints
    item: Ints
    absolute: Bools
    labels: tuple[str, ...]
    scenarios: tuple[str, ...]
    images: tuple[str, ...]
    items: tuple[str, ...]
    holds: Ints | None = None

    def __len__(self) -> int:
        return len(self.outcome)

    @cached_property
    def pair(self) -> Ints:
        """Equal for the private and the public verdict on one question in one scenario: (n,)."""
        pairs: Ints = (self.item * 3 + self.kind) * (len(self.scenarios) + 1) + self.scenario + 1
        return pairs


def tabulate(
    verdicts: Iterable[Judged],
    *,
    absolute_labels: frozenset[str] = ABSOLUTE_LABELS,
    known_labels: Iterable[str] = LABELS,
    source: str = "verdicts",
    lines: Sequence[int] | None = None,
    holds: Sequence[int] | None = None,
) -> VerdictTable:
    """Put verdicts into columns.

    Args:
        verdicts: At most one per sample.
        absolute_labels: Labels for which `reject` is always expected.
        known_labels: Labels that the benchmark has.
        source: The verdicts' name in errors, usually their file.
        lines: Line number of each verdict in errors; 1, 2, ... by default.
        holds: Whether each answer holds the true value, as in a `VerdictTable`.

    Raises:
        DataError: two verdicts on one sample, a label that the benchmark lacks, or an `is_privacy`
            other than 0 or 1; names the line.
    """
    rows = list(verdicts)
    numbers = range(1, len(rows) + 1) if lines is None else lines
    _refuse_unknown(rows, frozenset(known_labels), source, numbers)
    scenarios = [row.scenario for row in rows]
    label, labels = _coded([row.label for row in rows])
    image, images = _coded([row.image_path for row in rows])
    item, items = _coded([row.benchmark_id for row in rows])
    scenario, names = _coded([None if s is None else s.id for s in scenarios])
    is_absolute = np.array([name in absolute_labels for name in labels], dtype=bool)
    table = VerdictTable(
        outcome=_column([_CODES[row.outcome] for row in rows]),
        is_privacy=_column([row.is_privacy for row in rows]),
        kind=_column([0 if s is None else 1 + s.is_privacy for s in scenarios]),
        label=label,
        scenario=scenario,
        image=image,
        item=item,
        absolute=is_absolute[label],
        labels=labels,
        scenarios=names,
        images=images,
        items=items,
        holds=None if holds is None else _column(list(holds)),
    )
    _refuse_second(table, source, numbers)
    return table


_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}


def _column(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _coded(values: Sequence[str | None]) -> tuple[Ints, tuple[str, ...]]:
    """Return each name's place among the sorted names, -1 for None; and those names."""
    names = tuple(sorted({value for value in values if value is not None}))
    codes: dict[str | None, int] = {name: code for code, name in enumerate(names)}
    codes[None] = -1
    return _column([codes[value] for value in values]), names


def _refuse_unknown(
    rows: Sequence[Judged], known: frozenset[str], source: str, lines: Sequence[int]
) -> None:
    for line, row in zip(lines, rows, strict=True):
        if row.label not in known:
            raise DataError(
                f"unknown label {row.label!r}",
                "Use the verdicts of one benchmark; its labels are those of label2text.json.",
                path=source,
                where=f"line {line}",
            )
        for value in (row.is_privacy, row.scenario.is_privacy if row.scenario else 0):
            if value not in (0, 1):
                raise DataError(
                    f"is_privacy is {value!r}",
                    "It must be 0 or 1.",
                    path=source,
                    where=f"line {line}",
                )


def _refuse_second(table: VerdictTable, source: str, lines: Sequence[int]) -> None:
    sample = table.pair * 2 + table.is_privacy
    _, first, back = np.unique(sample, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[back] != np.arange(len(sample)))
    if not len(again):
        return
    row = int(again[0])
    earlier, scenario = lines[int(first[back[row]])], int(table.scenario[row])
    raise DataError(
        f"a second verdict for the sample of line {earlier} (benchmark_id "
        f"{table.items[table.item[row]]}, is_privacy {table.is_privacy[row]}, scenario "
        f"{None if scenario < 0 else table.scenarios[scenario]})",
        "Keep one verdict per sample.",
        path=source,
        where=f"line {lines[row]}",
    )


_KINDS = (None, Scenario("", is_privacy=0), Scenario("", is_privacy=1))
_EXPECTED = np.array(
    [
        [
            [_CODES[expected_outcome(value, kind, absolute=a)] for a in (False, True)]
            for kind in _KINDS
        ]
        for value in (0, 1)
    ]
)
"""The rule as a table: [is_privacy, kind, absolute], in the codes of a `VerdictTable`."""


def expected_outcomes(table: VerdictTable) -> Ints:
    """Return the outcome that is right for each sample, as an index into `OUTCOMES`: (n,)."""
    outcomes: Ints = _EXPECTED[table.is_privacy, table.kind, table.absolute.astype(np.int64)]
    return outcomes


def common_samples(first: VerdictTable, second: VerdictTable) -> tuple[Ints, Ints]:
    """Return the rows of both tables that are the same samples, in the same order.

    Samples are the same if their ids, labels and pictures are.
    """
    scenarios = _union(first.scenarios, second.scenarios)
    items = _union(first.items, second.items)
    keys = []
    for table in (first, second):
        item = _places(table.items, items)[table.item]
        scenario = _places(table.scenarios, scenarios)[table.scenario]
        key = (item * 3 + table.kind) * (len(scenarios) + 1) + scenario + 1
        keys.append(key * 2 + table.is_privacy)
    _, one, two = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    same = np.ones(len(one), dtype=bool)
    for name in ("label", "image"):
        names = _union(getattr(first, f"{name}s"), getattr(second, f"{name}s"))
        a, b = (
            _places(getattr(table, f"{name}s"), names)[getattr(table, name)[rows]]
            for table, rows in ((first, one), (second, two))
        )
        same &= a == b
    return one[same], two[same]


def select(table: VerdictTable, rows: Ints) -> VerdictTable:
    """Return some rows of a table, with the names of these rows alone."""
    columns = {
        name: getattr(table, name)[rows] for name in ("outcome", "is_privacy", "kind", "absolute")
    }
    for name in ("label", "scenario", "image", "item"):
        names, codes = getattr(table, f"{name}s"), getattr(table, name)[rows]
        used = np.unique(codes[codes >= 0])
        place = np.full(len(names) + 1, -1)  # the last for none
        place[used] = np.arange(len(used))
        columns |= {name: place[codes], f"{name}s": tuple(names[code] for code in used)}
    return VerdictTable(**columns, holds=None if table.holds is None else table.holds[rows])


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return first if first == second else tuple(sorted({*first, *second}))


def _places(names: tuple[str, ...], among: tuple[str, ...]) -> Ints:
    """Return each name's place among others; the last entry, for none, is -1."""
    if names == among:
        return np.array([*range(len(names)), -1])
    place = {name: index for index, name in enumerate(among)}
    return np.array([*(place[name] for name in names), -1])
