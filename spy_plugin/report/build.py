"""Build a report: read the runs, keep the newest results of each model, compute, compare."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from spy_plugin import __version__
from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import canonical_name
from spy_plugin.report.comparisons import Loaded, ReportOptions, agree_judges, compare_rows
from spy_plugin.report.examples import choose, make_examples
from spy_plugin.report.model import Condition, Report, Row
from spy_plugin.report.readers import read_run
from spy_plugin.report.results import Found, GeneralResult, PrivacyResult
from spy_plugin.report.rows import OVERALL, condition, make_row, reference_policies, table_of
from spy_plugin.scoring.stats import LEVEL, PRIVACY

logger = logging.getLogger(__name__)

Key = tuple[str, ...]


def build_report(runs: Sequence[Path], options: ReportOptions | None = None) -> Report:
    """Read results of any host and compute the report.

    Args:
        runs: Each a work folder of VLMEvalKit, an output folder of lmms-eval, a folder of
            `*_verdicts.jsonl`, or a verdict file.
        options: Names, comparisons, pictures and resampling.

    Raises:
        NoResultsError: a run holds no results.
        DataError: a result file is broken.
        SpyBenchError: a model to be compared is not in the results.
    """
    chosen = options or ReportOptions()
    notes: list[str] = []
    found = _read(runs, chosen, notes)
    privacy = _newest_privacy(found.privacy, notes)
    general = _newest_general(found.general, notes)
    loaded = _load(privacy, general, chosen)
    rows = [entry.row for entry in loaded]
    with_privacy = {entry.row.model for entry in loaded}
    for model in sorted(set(general) - with_privacy):
        rows.append(
            make_row(
                _unique(model, rows),
                model,
                None,
                None,
                general[model],
                resamples=chosen.resamples,
                seed=chosen.seed,
            )
        )
    agreements = agree_judges(loaded, chosen)
    rows += _reference_policies(loaded)
    return Report(
        created=datetime.now(timezone.utc),
        spy_bench_version=__version__,
        resamples=chosen.resamples,
        seed=chosen.seed,
        level=LEVEL,
        rows=sorted(rows, key=_order),
        differences=compare_rows(loaded, chosen, notes),
        agreements=agreements,
        notes=notes,
    )


def _read(runs: Sequence[Path], options: ReportOptions, notes: list[str]) -> Found:
    """Read every run, each file once, and name the models as the user asked."""
    if not runs:
        raise SpyBenchError("no RUN was given. Name the folders or files to report on.")
    names = {path.resolve(): name for path, name in options.names.items()}
    everything = Found(notes=notes)
    seen: set[tuple[Path, str]] = set()
    for run in runs:
        found = read_run(run)
        given = names.get(run.resolve())
        notes += found.notes
        for p in found.privacy:
            if (p.verdicts.resolve(), "") not in seen:
                seen.add((p.verdicts.resolve(), ""))
                everything.privacy.append(replace(p, model=given or p.model))
        for g in found.general:
            if (g.source.resolve(), g.set) not in seen:
                seen.add((g.source.resolve(), g.set))
                everything.general.append(replace(g, model=given or g.model))
    return everything


def _newest_privacy(results: Iterable[PrivacyResult], notes: list[str]) -> list[PrivacyResult]:
    groups: dict[Key, list[PrivacyResult]] = defaultdict(list)
    for result in results:
        about = condition(result)
        judge, protocol = about.judge, about.protocol
        groups[
            canonical_name(result.model),
            about.benchmark,
            about.variant,
            str(about.self_moderation),
            protocol.fingerprint if protocol else "",
            f"{judge.name}/{judge.fingerprint}" if judge else "",
        ].append(result)
    kept = []
    for (model, benchmark, variant, *_), found in groups.items():
        found.sort(key=lambda result: result.finished)
        kept.append(found[-1])
        what = " ".join(part for part in ("SPY-Bench", benchmark, variant) if part)
        _say_conflict(model, what, [(r.finished, r.verdicts) for r in found], notes)
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
        _say_conflict(model, name, [(r.finished, r.source) for r in found], notes)
    return kept


def _say_conflict(
    model: str, what: str, found: Sequence[tuple[datetime, Path]], notes: list[str]
) -> None:
    if len(found) < 2:
        return
    *older, (time, newest) = sorted(found)
    left_out = ", ".join(f"{path} ({when:%Y-%m-%d %H:%M})" for when, path in older)
    notes.append(
        f"{model} has {len(found)} results for {what}: the newest counts, {newest} "
        f"({time:%Y-%m-%d %H:%M}), not {left_out}."
    )


def _load(
    results: Sequence[PrivacyResult],
    general: Mapping[str, Mapping[str, GeneralResult]],
    options: ReportOptions,
) -> list[Loaded]:
    from spy_plugin.scoring.verdicts import read_numbered_verdicts

    loaded: list[Loaded] = []
    # Sorted so that the row without self-moderation, if any, gets the plain name.
    for result in sorted(results, key=lambda result: condition(result).self_moderation):
        model = canonical_name(result.model)
        verdicts = read_numbered_verdicts(result.verdicts)
        table = table_of(verdicts, result)
        row = make_row(
            _unique(model, [entry.row for entry in loaded], condition(result)),
            model,
            result,
            table,
            general.get(model, {}),
            resamples=options.resamples,
            seed=options.seed,
        )
        chosen = choose(verdicts, seed=options.seed)
        row.examples = make_examples(result, chosen, pictures=options.pictures)
        loaded.append(Loaded(row, result, table, verdicts))
    return loaded


def _unique(model: str, rows: Sequence[Row], about: Condition | None = None) -> str:
    """Return a row's id: the model's name, with its condition and a number if that is taken."""
    taken = {row.id for row in rows}
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


def _reference_policies(loaded: Sequence[Loaded]) -> list[Row]:
    """Return the policies' rows for each data set, without policies that were run on it."""
    fullest: dict[Key, Loaded] = {}
    for entry in loaded:
        about = entry.row.condition
        key = (about.benchmark, about.variant, str(about.self_moderation))
        if key not in fullest or len(entry.table) > len(fullest[key].table):
            fullest[key] = entry
    out: list[Row] = []
    for (benchmark, variant, *_), entry in fullest.items():
        ran = {
            other.row.model
            for other in loaded
            if (other.row.condition.benchmark, other.row.condition.variant) == (benchmark, variant)
        }
        prefix = "-".join(part for part in (benchmark, variant) if part) or "samples"
        out += [r for r in reference_policies(entry.row, entry.table, prefix) if r.model not in ran]
    return out
