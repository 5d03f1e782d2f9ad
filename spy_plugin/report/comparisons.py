"""Compare rows: paired differences of models, and two judges on the same answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from spy_plugin.benchmark.policies import ORACLE, POLICIES
from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import canonical_name
from spy_plugin.report.examples import JUDGES_DIFFER, choose, make_examples
from spy_plugin.report.loading import Loaded
from spy_plugin.report.model import Agreement, Condition, PairDifference, Row
from spy_plugin.report.rows import policy_table
from spy_plugin.report.summary import describe
from spy_plugin.scoring.agreement import agreement
from spy_plugin.scoring.compare import differences, holm, label_differences
from spy_plugin.scoring.metrics import ACCURACY, HMS, ICS
from spy_plugin.scoring.parallel import in_threads
from spy_plugin.scoring.resampling import RESAMPLES, Floats
from spy_plugin.scoring.stats import PRIVACY, point_scores
from spy_plugin.scoring.table import OUTCOMES, REJECT, RESPOND, VerdictTable, common_samples

COMPARED = (PRIVACY, ICS, HMS)
MOST_COMPARED = 6
"""With more models than this in a condition, only the requested pairs are compared."""

Pair = tuple["Entry", "Entry"]


@dataclass
class ReportOptions:
    """Options of a report.

    Attributes:
        names: Run -> name of its model, instead of what its files say.
        compare: Pairs of models (or row ids) to compare label by label.
        pictures: Include the pictures of the examples, and in the sample browser those of the
            official release.
        samples: Write the sample browser, too.
        resamples: Number of resamples for the intervals, and of swaps for the p values.
        seed: Seed of the resamples and of the choice of examples.
        processes: How many files are read at a time, each by a process of its own.
    """

    names: Mapping[Path, str] = field(default_factory=dict)
    compare: Sequence[tuple[str, str]] = ()
    pictures: bool = False
    samples: bool = True
    resamples: int = RESAMPLES
    seed: int = 0
    processes: int = 1


@dataclass
class Entry:
    """A row with what it was computed from; `privacy` is its privacy score in every resample."""

    row: Row
    loaded: Loaded
    privacy: Floats


def compare_rows(
    entries: Sequence[Entry], options: ReportOptions, notes: list[str]
) -> list[PairDifference]:
    """Return the differences between models that were measured under one condition.

    These are the requested pairs, once for each condition that both were measured under; without a
    request every pair of a condition, if its models are few. Requested pairs, and a pair that is
    the only one, are also compared label by label. The p values of a figure are corrected over all
    pairs that are returned.

    Raises:
        SpyBenchError: no row has a requested name, or a pair shares no condition.
    """
    pairs = _requested(entries, options) if options.compare else _pairs_of_few(entries)
    in_detail = bool(options.compare) or len(pairs) == 1
    out: list[PairDifference] = []
    for first, second in pairs:
        try:
            out += _compare(first, second, options, in_detail=in_detail)
        except SpyBenchError as error:
            notes.append(f"{first.row.id} and {second.row.id} are not compared: {error}")
    for metric in COMPARED:
        same = {i: d.p for i, d in enumerate(out) if d.metric == metric and not d.label}
        for i, p in holm({str(i): p for i, p in same.items() if p is not None}).items():
            out[int(i)].p_corrected = p
    return out


def _compare(
    first: Entry, second: Entry, options: ReportOptions, *, in_detail: bool
) -> list[PairDifference]:
    ids = {"first": first.row.id, "second": second.row.id}
    tables = first.loaded.table, second.loaded.table
    settings: dict[str, Any] = {"resamples": options.resamples, "seed": options.seed}
    found = differences(*tables, figures=COMPARED, **settings)
    out = [PairDifference(**ids, metric=name, **asdict(found[name])) for name in COMPARED]
    for metric in (ACCURACY, ICS) if in_detail else ():
        out += [
            PairDifference(**ids, metric=metric, label=label, **asdict(d))
            for label, d in label_differences(*tables, metric, **settings).items()
            if d.difference is not None
        ]
    return out


def compare_with_policies(entries: Sequence[Entry], options: ReportOptions) -> list[PairDifference]:
    """Compare each model with the best reference policy on the model's own samples.

    The best is the one with the highest privacy score; the oracle, which nothing can beat, is left
    out. The p values are corrected over all models.
    """
    best: dict[tuple[str, ...], str] = {}
    compared: list[tuple[Entry, str]] = []
    for entry in entries:
        key = entry.row.condition.key()
        if entry.row.yardstick or entry.row.figures[PRIVACY].score is None:
            continue
        if key not in best:
            best[key] = _best_policy(entry.loaded.table)
        compared.append((entry, best[key]))

    def compare(pair: tuple[Entry, str]) -> PairDifference:
        entry, policy = pair
        table = entry.loaded.table
        found = differences(
            table,
            policy_table(policy, table),
            figures=(PRIVACY,),
            resamples=options.resamples,
            seed=options.seed,
        )[PRIVACY]
        return PairDifference(first=entry.row.id, second=policy, metric=PRIVACY, **asdict(found))

    out = in_threads(compare, compared)
    corrected = holm({str(i): d.p for i, d in enumerate(out) if d.p is not None})
    for place, p in corrected.items():
        out[int(place)].p_corrected = p
    return out


def _best_policy(table: VerdictTable) -> str:
    def score(policy: str) -> float:
        privacy = point_scores(policy_table(policy, table))[PRIVACY]
        return -1 if privacy == "N/A" else privacy

    return max((name for name in POLICIES if name != ORACLE), key=score)


def _pairs_of_few(entries: Sequence[Entry]) -> list[Pair]:
    """Return every pair of models of each condition that has few of them."""
    conditions: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if not entry.row.yardstick:
            conditions[entry.row.condition.key()].append(entry)
    return [
        pair
        for models in conditions.values()
        if len(models) <= MOST_COMPARED
        for pair in combinations(models, 2)
    ]


def _requested(entries: Sequence[Entry], options: ReportOptions) -> list[Pair]:
    """Return each requested pair, once for each condition that both were measured under."""
    out: list[Pair] = []
    for names in dict.fromkeys(options.compare):
        first, second = (_find(entries, name) for name in names)
        if len(first) == 1 and first == second:
            raise SpyBenchError(
                f"{names[0]} and {names[1]} are one row of this report. Compare two rows."
            )
        found = [
            (a, b)
            for a in first
            for b in second
            if a is not b and a.row.condition.key() == b.row.condition.key()
        ]
        if not found:
            listed = "; ".join(f"{e.row.id}: {_title(e.row.condition)}" for e in first + second)
            raise SpyBenchError(
                f"{names[0]} and {names[1]} were not measured under one condition ({listed}). "
                "Compare rows of the same benchmark, variant, protocol and judge."
            )
        out += found
    return out


def _title(about: Condition) -> str:
    return ", ".join(describe(about))


def _find(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Return the row with an id, or else all rows of a model."""
    exact = [entry for entry in entries if entry.row.id == name]
    wanted = {name, canonical_name(name)}
    of_model = [entry for entry in entries if entry.row.model in wanted]
    # A model's first row has its name as id: with several rows, the name means all of them.
    found = of_model or exact
    if not found:
        known = ", ".join(entry.row.id for entry in entries)
        raise SpyBenchError(f"no row is named {name!r}. Compare two of: {known}.")
    return found


def agree_judges(entries: Sequence[Entry], options: ReportOptions) -> list[Agreement]:
    """Compare judges of one model's answers; add examples on which they differ to its row."""
    out = []
    for a, b in combinations(entries, 2):
        one, two = a.row.condition, b.row.condition
        if a.row.model != b.row.model or one.judge is None or two.judge is None:
            continue
        if one.asked() != two.asked() or one.key() == two.key():
            continue
        rows_a, rows_b = common_samples(a.loaded.table, b.loaded.table)
        # In the order of the first file, which decides on the examples that are drawn.
        order = np.argsort(rows_a, kind="stable")
        rows_a, rows_b = rows_a[order], rows_b[order]
        first, second = a.loaded.table.outcome[rows_a], b.loaded.table.outcome[rows_b]
        found = agreement([OUTCOMES[c] for c in first], [OUTCOMES[c] for c in second])
        out.append(
            Agreement(
                model=a.row.model,
                first=one.judge.name,
                second=two.judge.name,
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
        )
        judged = (np.maximum(first, second) <= max(RESPOND, REJECT)) & (first != second)
        kinds = np.where(judged, JUDGES_DIFFER, "").tolist()
        chosen = choose(kinds, a.loaded.lines[rows_a], seed=options.seed)
        a.row.examples += make_examples(a.loaded, chosen, pictures=options.pictures)
    return out
