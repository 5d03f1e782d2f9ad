"""Compare rows: paired differences of models, and two judges on the same answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

from spy_plugin.benchmark.records import Outcome, Verdict
from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import canonical_name
from spy_plugin.report.examples import JUDGES_DIFFER, choose, make_examples
from spy_plugin.report.model import Agreement, PairDifference, Row
from spy_plugin.report.results import PrivacyResult
from spy_plugin.scoring.agreement import agreement
from spy_plugin.scoring.compare import differences, holm, label_differences
from spy_plugin.scoring.metrics import ACCURACY, HMS, ICS
from spy_plugin.scoring.stats import PRIVACY, RESAMPLES
from spy_plugin.scoring.table import OUTCOMES, VerdictTable

COMPARED = (PRIVACY, ICS, HMS)
MOST_COMPARED = 6
"""With more models than this, only the requested pairs are compared."""


@dataclass
class ReportOptions:
    """Options of a report.

    Attributes:
        names: Run -> name of its model, instead of what its files say.
        compare: Pairs of models (or row ids) to compare label by label.
        pictures: Include the pictures of the examples.
        resamples: Number of resamples for the intervals.
        seed: Seed of the resamples and of the choice of examples.
    """

    names: Mapping[Path, str] = field(default_factory=dict)
    compare: Sequence[tuple[str, str]] = ()
    pictures: bool = False
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass
class Loaded:
    """A row with what it was computed from; `verdicts` is line number -> verdict."""

    row: Row
    result: PrivacyResult
    table: VerdictTable
    verdicts: Mapping[int, Verdict]


def compare_rows(
    loaded: Sequence[Loaded], options: ReportOptions, notes: list[str]
) -> list[PairDifference]:
    """Return the differences between models: of every pair if they are few, else the requested.

    Requested pairs, and a pair that is the only one, are also compared label by label.

    Raises:
        SpyBenchError: no row has a requested name.
    """
    models = [entry for entry in loaded if not entry.row.yardstick]
    asked = [(_find(loaded, a), _find(loaded, b)) for a, b in options.compare]
    pairs = list(asked)
    if not asked and len(models) <= MOST_COMPARED:
        pairs = [
            (a, b)
            for a, b in combinations(models, 2)
            if a.row.condition.benchmark == b.row.condition.benchmark
        ]
        asked = pairs if len(pairs) == 1 else []
    out: list[PairDifference] = []
    settings = {"resamples": options.resamples, "seed": options.seed}
    for first, second in pairs:
        try:
            found = differences(first.table, second.table, **settings)
        except SpyBenchError as error:
            notes.append(f"{first.row.id} and {second.row.id} are not compared: {error}")
            continue
        ids = {"first": first.row.id, "second": second.row.id}
        out += [PairDifference(**ids, metric=n, **asdict(found[n])) for n in COMPARED]
        if (first, second) not in asked:
            continue
        for metric in (ACCURACY, ICS):
            by_label = label_differences(first.table, second.table, metric, **settings)
            out += [
                PairDifference(**ids, metric=metric, label=label, **asdict(d))
                for label, d in by_label.items()
                if d.difference is not None
            ]
    for metric in COMPARED:
        same = {i: d.p for i, d in enumerate(out) if d.metric == metric and not d.label}
        for i, p in holm({str(i): p for i, p in same.items() if p is not None}).items():
            out[int(i)].p_corrected = p
    return out


def _find(loaded: Sequence[Loaded], name: str) -> Loaded:
    wanted = {name, canonical_name(name)}
    for entry in loaded:
        if entry.row.id in wanted or entry.row.model in wanted:
            return entry
    known = ", ".join(entry.row.id for entry in loaded)
    raise SpyBenchError(f"no row is named {name!r}. Compare two of: {known}.")


def agree_judges(loaded: Sequence[Loaded], options: ReportOptions) -> list[Agreement]:
    """Compare judges of one model's answers; add examples on which they differ to its row."""
    out = []
    for a, b in combinations(loaded, 2):
        one, two = a.row.condition, b.row.condition
        if a.row.model != b.row.model or one.judge is None or two.judge is None:
            continue
        if one.model_copy(update={"judge": two.judge}) != two:
            continue
        out.append(_agreement(a, b, one.judge.name, two.judge.name))
        other = {verdict.sample_id: verdict.outcome for verdict in b.verdicts.values()}

        def differs(verdict: Verdict, other: Mapping[str, Outcome] = other) -> str | None:
            second = other.get(verdict.sample_id)
            judged = {Outcome.RESPOND, Outcome.REJECT}
            return JUDGES_DIFFER if {verdict.outcome, second} == judged else None

        chosen = choose(a.verdicts, seed=options.seed, kind=differs)
        a.row.examples += make_examples(a.result, chosen, pictures=options.pictures)
    return out


def _agreement(a: Loaded, b: Loaded, first: str, second: str) -> Agreement:
    other = {verdict.sample_id: verdict.outcome for verdict in b.verdicts.values()}
    common = [verdict for verdict in a.verdicts.values() if verdict.sample_id in other]
    found = agreement([v.outcome for v in common], [other[v.sample_id] for v in common])
    return Agreement(
        model=a.row.model,
        first=first,
        second=second,
        n=found.n,
        agree=None if found.observed is None else 100 * found.observed,
        kappa=found.kappa,
        table={
            f"{x.value}/{y.value}": found.table[x, y]
            for x in OUTCOMES
            for y in OUTCOMES
            if found.table.get((x, y))
        },
    )
