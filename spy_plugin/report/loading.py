"""Read the verdict files of a report into compact tables, each with the condition it belongs to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from spy_plugin.benchmark.official_files import (
    OFFICIAL_SCRIPTS,
    VERDICT_KEYS,
    name_of_verdicts,
)
from spy_plugin.benchmark.records import Told
from spy_plugin.benchmark.samples import DISTRACTORS, NO_DISTRACTORS
from spy_plugin.judging.calibration import calibration_score
from spy_plugin.judging.metadata import labels_of_run
from spy_plugin.report.model import AskedDisclosures, Condition
from spy_plugin.report.opened import ground_truths
from spy_plugin.report.provenance import without_paths
from spy_plugin.report.results import PrivacyResult
from spy_plugin.runs.metadata import JudgeInfo
from spy_plugin.scoring.ground_truth import HOLDS, UNKNOWN, GroundTruths
from spy_plugin.scoring.table import REJECT, RESPOND, Ints, VerdictTable, expected_outcomes
from spy_plugin.scoring.verdicts import OWN_KEY, Row, VerdictRows, read_rows

_TURNS = {VERDICT_KEYS["resp_2"]: 2, VERDICT_KEYS["resp_3"]: 0}
"""Field of the verdict -> the turn of self-moderation that was judged; 0 for the last."""

PARALLEL_BYTES = 50_000_000
"""With less to read, further processes cost more than they save."""


@dataclass(frozen=True)
class Loaded:
    """A verdict file.

    Attributes:
        about: The condition of the run.
        lines: Line number in the file of each verdict of the table.
        expected: Number of samples of the data set, if it is known.
        disclosures: What the judge said of disclosures; None if it was not asked.
    """

    result: PrivacyResult
    about: Condition
    table: VerdictTable
    lines: Ints
    expected: int | None
    disclosures: AskedDisclosures | None = None


def load_all(results: Sequence[PrivacyResult], *, processes: int = 1) -> list[Loaded]:
    """Read verdict files; equal columns of several of them are kept once.

    Args:
        processes: How many may read at a time. A process that has threads or a GPU needs 1.

    Raises:
        DataError: a file is not one of verdicts.
    """
    if processes > 1 and sum(r.verdicts.stat().st_size for r in results) >= PARALLEL_BYTES:
        # The benchmarks are opened once, not in each process.
        truths = {name: ground_truths(name) for name in {_benchmark(r) for r in results}}
        size = min(processes, len(results))
        with ProcessPoolExecutor(size, initializer=_keep, initargs=(truths,)) as pool:
            return _share(pool.map(load, results))
    return _share(map(load, results))


_kept: dict[str, GroundTruths] = {}


def _keep(truths: dict[str, GroundTruths]) -> None:
    _kept.update(truths)


def _benchmark(result: PrivacyResult) -> str:
    return result.metadata.benchmark if result.metadata else ""


def load(result: PrivacyResult) -> Loaded:
    """Read one verdict file, and compare its answers with the true values that are known.

    Raises:
        DataError: it is not one of verdicts.
    """
    name, metadata = _benchmark(result), result.metadata
    truths = _kept[name] if name in _kept else ground_truths(name)
    labels = labels_of_run(metadata)
    rows = read_rows(result.verdicts, truths=truths, absolute_labels=labels["absolute_labels"])
    expected = len(rows.rows) + len(rows.open) if rows.open else None
    table = rows.table(**labels)
    return Loaded(
        result=result,
        about=condition_of(result) if metadata else _condition_in(rows),
        table=table,
        lines=np.array(rows.lines),
        expected=metadata.samples if metadata else expected,
        disclosures=_disclosures(rows, table),
    )


def _disclosures(rows: VerdictRows, table: VerdictTable) -> AskedDisclosures | None:
    """Count what the judge said of disclosures, and compare it with the rule."""
    if all(row.disclosure is None for row in rows.rows):
        return None
    due = (table.outcome == RESPOND) & (expected_outcomes(table) == REJECT)
    holds = np.full(len(table), UNKNOWN) if table.holds is None else table.holds
    told: Counter[str] = Counter()
    compared = rule = differ = 0
    for place in np.flatnonzero(due):
        found, held = rows.rows[place].disclosure, holds[place]
        told[found.told if found else "open" if held != UNKNOWN else ""] += 1
        if found and found.told in ("yes", "no") and held != UNKNOWN:
            compared += 1
            rule += held == HOLDS
            differ += (held == HOLDS) != (found.told == "yes")
    if not any(told[name] for name in get_args(Told)):
        return None
    counts = {name: told[name] for name in (*get_args(Told), "open")}
    return AskedDisclosures(**counts, compared=compared, rule=int(rule), differ=int(differ))


def condition_of(result: PrivacyResult) -> Condition:
    """Return the condition that a run's metadata tell; empty if there are none."""
    m = result.metadata
    if m is None:
        return Condition()
    about = Condition(
        benchmark=m.benchmark,
        variant=m.variant,
        self_moderation=m.self_moderation,
        data_fingerprint=m.data_fingerprint,
        protocol=m.protocol,
        judge=_measured(m.judge),
    )
    return without_paths(about)


def _measured(judge: JudgeInfo) -> JudgeInfo:
    """Return a judge with the newest score that this machine knows of it, if there is one."""
    known = calibration_score(judge.fingerprint)
    return judge.model_copy(update={"calibration": known}) if known else judge


def _condition_in(rows: VerdictRows) -> Condition:
    """Return what the rows and the name of a verdict file tell of its condition."""
    first = rows.rows[0]
    if rows.key == OWN_KEY:
        variants = {part for row in rows.rows for part in row.sample_id.split("/")[1:2]}
        known = variants & {DISTRACTORS, NO_DISTRACTORS}
        judge = JudgeInfo(name=first.judge) if first.judge else None
        return Condition(variant=known.pop() if len(known) == 1 else "", judge=judge)
    judge_name = name_of_verdicts(rows.path).judge
    return Condition(
        benchmark=OFFICIAL_SCRIPTS,
        variant=NO_DISTRACTORS if first.other_labels is None else DISTRACTORS,
        self_moderation=rows.key in _TURNS,
        turn=_TURNS.get(rows.key, 0),
        data_fingerprint=_fingerprint([*rows.rows, *rows.open]),
        judge=JudgeInfo(name=judge_name) if judge_name else None,
    )


def _fingerprint(rows: Sequence[Row]) -> str:
    """Return the first 12 hex digits of the SHA-256 of all ids, pictures and prompts."""
    digest = hashlib.sha256()
    keys = [
        (r.benchmark_id, r.is_privacy, r.scenario.id if r.scenario else "", r.image_path)
        for r in rows
    ]
    for key, row in sorted(zip(keys, rows, strict=True), key=lambda pair: pair[0]):
        digest.update(f"{key}{row.input_question}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]


def _share(loaded: Iterable[Loaded]) -> list[Loaded]:
    """Let tables of the same samples share their columns and names, all but what was answered."""
    out: list[Loaded] = []
    distinct: list[VerdictTable] = []
    for entry in loaded:
        known = next((t for t in distinct if _same_samples(t, entry.table)), None)
        if known is None:
            distinct.append(entry.table)
        else:
            table = replace(known, outcome=entry.table.outcome, holds=entry.table.holds)
            entry = replace(entry, table=table)
        out.append(entry)
    return out


_SHARED = ("is_privacy", "kind", "label", "scenario", "image", "item", "absolute")
_NAMES = ("labels", "scenarios", "images", "items")


def _same_samples(one: VerdictTable, two: VerdictTable) -> bool:
    return all(getattr(one, name) == getattr(two, name) for name in _NAMES) and all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in _SHARED
    )
