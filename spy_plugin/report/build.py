"""Build a report: read the runs, keep the newest results of each model, compute, compare."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from spy_plugin import __version__
from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import canonical_name
from spy_plugin.report.comparisons import (
    Entry,
    ReportOptions,
    agree_judges,
    compare_rows,
    compare_with_policies,
)
from spy_plugin.report.examples import choose, kinds_of, make_examples
from spy_plugin.report.loading import Loaded, condition_of, load_all
from spy_plugin.report.model import Condition, Report, Row
from spy_plugin.report.provenance import cut_paths, model_name, place_of, plain_name
from spy_plugin.report.readers import read_run
from spy_plugin.report.results import BrokenResult, Found, GeneralResult, PrivacyResult
from spy_plugin.report.rows import add_general, general_row, policy_row, privacy_row
from spy_plugin.report.sentences import sentences
from spy_plugin.report.summary import OVERALL
from spy_plugin.scoring.resampling import LEVEL
from spy_plugin.scoring.stats import PRIVACY
from spy_plugin.scoring.summaries import Summary, summarize

logger = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[str, ...]


def build_report(runs: Sequence[Path], options: ReportOptions | None = None) -> Report:
    """Read results of any host and compute the report.

    Args and errors are those of `build_with_entries`.
    """
    return build_with_entries(runs, options)[0]


def build_with_entries(
    runs: Sequence[Path], options: ReportOptions | None = None
) -> tuple[Report, list[Entry]]:
    """Read results of any host; return the report, and the verdicts that it was computed from.

    Args:
        runs: Each a work folder of VLMEvalKit, an output folder of lmms-eval, a log of inspect_ai
            or a folder of them, a folder of `*_verdicts.jsonl`, a folder of the official scripts,
            or a verdict file.
        options: Names, comparisons, pictures and resampling.

    Raises:
        NoResultsError: a run holds no results.
        DataError: a result file is broken.
        SpyBenchError: a model to be compared is not in the results.
    """
    chosen = options or ReportOptions()
    notes: list[str] = []
    found = _read(runs, chosen, notes)
    entries = _entries(_load(found.privacy, chosen, notes), chosen)
    rows = [entry.row for entry in entries]
    general = _newest_general(found.general, notes)
    broken: dict[str, list[BrokenResult]] = defaultdict(list)
    for result in found.broken:
        broken[canonical_name(result.model)].append(result)
        notes.append(f"{result.place} counts as not run: {result.reason}")
    for model in sorted({*general, *(m for m in broken if m)} - {row.model for row in rows}):
        rows.append(general_row(_unique(model, {row.id for row in rows}), model))
    draws = {entry.row.id: entry.privacy for entry in entries}
    for row in rows:
        add_general(
            row,
            general.get(row.model, {}),
            broken[row.model],
            draws.get(row.id),
            resamples=chosen.resamples,
            seed=chosen.seed,
        )
    agreements = agree_judges(entries, chosen)
    against = compare_with_policies(entries, chosen)
    by_row = {difference.first: difference for difference in against}
    for row in rows:
        row.sentences = sentences(row, by_row.get(row.id))
    rows += _reference_policies(entries)
    report = Report(
        created=datetime.now(timezone.utc),
        spy_bench_version=__version__,
        resamples=chosen.resamples,
        seed=chosen.seed,
        level=LEVEL,
        rows=sorted(rows, key=_order),
        differences=compare_rows(entries, chosen, notes),
        against_policies=against,
        agreements=agreements,
        notes=notes,
    )
    return report, entries


def read_verdict_files(
    runs: Sequence[Path], options: ReportOptions, notes: list[str]
) -> list[tuple[str, str, Loaded]]:
    """Read the verdicts that a report on these runs is computed from, without its figures.

    Args:
        notes: Receives what the report would note of the files.

    Returns:
        (the row's id in the report, name of the model, its verdicts) for each model and condition.

    Raises:
        NoResultsError: a run holds no results.
        DataError: a result file is broken.
    """
    return _named(_load(_read(runs, options, notes).privacy, options, notes))


def load_runs(runs: Sequence[Path], options: ReportOptions, notes: list[str]) -> list[Loaded]:
    """Read the newest verdicts of each model and condition in some runs.

    Args:
        notes: Gets what was left out, and why.

    Raises:
        NoResultsError: a run holds no results.
        DataError: a result file is broken.
    """
    return _load(_read(runs, options, notes).privacy, options, notes)


def _read(runs: Sequence[Path], options: ReportOptions, notes: list[str]) -> Found:
    """Read every run, each file once, and name the models as the user asked."""
    if not runs:
        raise SpyBenchError("no RUN was given. Name the folders or files to report on.")
    names = {path.resolve(): name for path, name in options.names.items()}
    everything = Found(notes=notes)
    seen: set[tuple[Path, str]] = set()

    def is_new(path: Path, part: str = "") -> bool:
        key = path.resolve(), part
        new = key not in seen
        seen.add(key)
        return new

    for run in runs:
        found = read_run(run)
        given = plain_name(names.get(run.resolve(), ""))
        notes += found.notes
        for p in found.privacy:
            if is_new(p.verdicts):
                place = place_of(p.source or p.verdicts, run)
                everything.privacy.append(
                    replace(p, model=given or model_name(p.model), place=place)
                )
        for g in found.general:
            if is_new(g.source, g.set):
                place = place_of(g.source, run)
                everything.general.append(
                    replace(g, model=given or model_name(g.model), place=place)
                )
        for b in found.broken:
            if is_new(b.source, b.set):
                place, reason = place_of(b.source, run), cut_paths(b.reason)
                everything.broken.append(
                    replace(b, model=given or model_name(b.model), place=place, reason=reason)
                )
    return everything


def _load(
    results: Iterable[PrivacyResult], options: ReportOptions, notes: list[str]
) -> list[Loaded]:
    """Read the newest verdict file of each model and condition."""

    def key(result: PrivacyResult, about: Condition) -> Key:
        return canonical_name(result.model), *about.key()

    # Of runs with metadata only the newest is read. What other files are of, their rows tell.
    told = [r for r in results if r.metadata is not None]
    newest = _newest(told, lambda r: key(r, condition_of(r)), lambda r: r, notes)
    rest = [r for r in results if r.metadata is None]
    loaded = load_all([*newest, *rest], processes=options.processes)
    return _newest(loaded, lambda e: key(e.result, e.about), lambda e: e.result, notes)


def _newest(
    results: Sequence[T],
    key: Callable[[T], Key],
    source: Callable[[T], PrivacyResult],
    notes: list[str],
) -> list[T]:
    groups: dict[Key, list[T]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    kept = []
    for (model, benchmark, variant, *_), found in groups.items():
        found.sort(key=lambda result: source(result).finished)
        kept.append(found[-1])
        what = " ".join(part for part in ("SPY-Bench", benchmark, variant) if part)
        sources = [source(result) for result in found]
        _say_conflict(model, what, [(s.finished, s.place) for s in sources], notes)
    return kept


def _newest_general(
    results: Iterable[GeneralResult], notes: list[str]
) -> dict[str, dict[str, GeneralResult]]:
    groups: dict[tuple[str, str], list[GeneralResult]] = defaultdict(list)
    for result in results:
        groups[canonical_name(result.model), result.set].append(result)
    kept: dict[str, dict[str, GeneralResult]] = defaultdict(dict)
    for (model, name), found in groups.items():
        found.sort(key=lambda result: result.finished)
        kept[model][name] = found[-1]
        _say_conflict(model, name, [(r.finished, r.place) for r in found], notes)
    return kept


def _say_conflict(
    model: str, what: str, found: Sequence[tuple[datetime, str]], notes: list[str]
) -> None:
    """Say which of several results counts: the last, as they are sorted by time."""
    if len(found) < 2:
        return
    *older, (time, newest) = found
    left_out = ", ".join(f"{place} ({when:%Y-%m-%d %H:%M})" for when, place in older)
    notes.append(
        f"{model} has {len(found)} results for {what}: the newest counts, {newest} "
        f"({time:%Y-%m-%d %H:%M}), not {left_out}."
    )


def _entries(loaded: Sequence[Loaded], options: ReportOptions) -> list[Entry]:
    """Make a row of each verdict file, with examples of what went wrong."""
    named = _named(loaded)
    summaries = _summaries([entry for _, _, entry in named], options)
    out: list[Entry] = []
    for (row_id, model, entry), summary in zip(named, summaries, strict=True):
        row = privacy_row(row_id, model, entry, summary)
        chosen = choose(kinds_of(entry.table), entry.lines, seed=options.seed)
        row.examples = make_examples(entry, chosen, pictures=options.pictures)
        out.append(Entry(row, entry, summary.privacy))
    return out


def _named(loaded: Sequence[Loaded]) -> list[tuple[str, str, Loaded]]:
    """Name each verdict file: (id of its row, name of its model, the file)."""
    out: list[tuple[str, str, Loaded]] = []
    # Sorted so that the row without self-moderation, if any, gets the plain name.
    for entry in sorted(loaded, key=lambda entry: entry.about.self_moderation):
        model = canonical_name(entry.result.model)
        out.append((_unique(model, {row_id for row_id, _, _ in out}, entry.about), model, entry))
    return out


def _summaries(loaded: Sequence[Loaded], options: ReportOptions) -> list[Summary]:
    """Summarize the runs on the same pictures together."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, entry in enumerate(loaded):
        groups[entry.table.images].append(place)
    found: dict[int, Summary] = {}
    for places in groups.values():
        tables = [loaded[place].table for place in places]
        summaries = summarize(tables, resamples=options.resamples, seed=options.seed)
        found |= dict(zip(places, summaries, strict=True))
    return [found[place] for place in range(len(loaded))]


def _unique(model: str, taken: Set[str], about: Condition | None = None) -> str:
    """Return a row's id: the model's name, with its condition and a number if that is taken."""
    parts = [about.benchmark, about.variant.replace("_", " ")] if about else []
    if about and about.self_moderation:
        parts.append("self-moderation")
    if about and about.judge:
        parts.append(about.judge.name)
    name = model
    if name in taken and any(parts):
        name = model = f"{model} ({', '.join(part for part in parts if part)})"
    number = 1
    while name in taken:
        number += 1
        name = f"{model} #{number}"
    return name


def _order(row: Row) -> tuple[bool, str, str, float, str]:
    """Sort models before reference policies, by condition, the best first."""
    scores = [row.figures[name].score for name in (OVERALL, PRIVACY) if name in row.figures]
    best = next((score for score in scores if score is not None), -1.0)
    return row.yardstick, row.condition.benchmark, row.condition.variant, -best, row.id


def _reference_policies(entries: Sequence[Entry]) -> list[Row]:
    """Compute the reference policies in each condition in which they were not run."""
    conditions: dict[Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        conditions[entry.row.condition.key()].append(entry)
    out: list[Row] = []
    taken = [entry.row for entry in entries]
    for members in conditions.values():
        ran = {entry.row.model for entry in members}
        fullest = max(members, key=lambda entry: len(entry.loaded.table))
        about = fullest.row.condition
        for policy in POLICIES:
            if policy not in ran:
                prefix = "-".join(p for p in (about.benchmark, about.variant) if p) or "samples"
                row_id = _unique(f"{prefix}-{policy}", {row.id for row in [*taken, *out]})
                out.append(policy_row(row_id, policy, about, fullest.loaded.table))
    return out
