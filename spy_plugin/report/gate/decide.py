"""Apply the rules of a gate: passed, failed, or cannot tell.

The interval decides, not the point. It is measured from the limit towards the good side:

- it lies wholly beyond the limit: *failed*;
- it lies wholly within the limit: *passed*;
- the limit is inside it: *passed* if it is at most as wide as the precision that was asked for, so
  that the figure is at most that much beyond the limit; else *cannot tell*.

Nothing is told from too few pictures, from a run that is partial or lacks verdicts, or against a
baseline of another condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import canonical_name
from spy_plugin.report.build import load_runs
from spy_plugin.report.comparisons import ReportOptions
from spy_plugin.report.gate.rules import Gate, Rule, Settings
from spy_plugin.report.loading import Loaded
from spy_plugin.report.summary import describe
from spy_plugin.scoring.compare import Difference, differences
from spy_plugin.scoring.resampling import RESAMPLES
from spy_plugin.scoring.stats import ERRORS, Estimate
from spy_plugin.scoring.summaries import summarize
from spy_plugin.scoring.table import REJECT, RESPOND, VerdictTable


class Status(str, Enum):
    """What became of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Check:
    """A rule and what became of it.

    Attributes:
        value, low, high: The figure, or the difference run minus baseline, and its interval.
        images: Number of pictures behind it.
        reason: Why it cannot be told.
    """

    rule: Rule
    status: Status
    value: float | None = None
    low: float | None = None
    high: float | None = None
    images: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Gated:
    """The checks of one model under one condition."""

    model: str
    condition: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class GateResult:
    """What a gate found.

    Attributes:
        notes: Files that were left out, and why.
    """

    runs: tuple[Gated, ...]
    settings: Settings
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Failed if a rule failed, else cannot tell if one cannot be told, else passed."""
        found = {check.status for run in self.runs for check in run.checks}
        order = (Status.FAILED, Status.CANNOT_TELL, Status.PASSED)
        return next(status for status in order if status in found)


def apply_gate(
    gate: Gate,
    run: Path,
    baseline: Path | None = None,
    *,
    model: str = "",
    baseline_model: str = "",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GateResult:
    """Apply every rule to every model and condition of a run.

    Args:
        baseline: The run that differences are taken to.
        model, baseline_model: Only this model of a run that has several.

    Raises:
        SpyBenchError: there are no rules, a rule needs a baseline, a run has no such model, or no
            run has such a label.
        NoResultsError: a run holds no results.
        DataError: a result file is broken.
    """
    if not gate.rules:
        raise SpyBenchError("the gate has no rules. Add --min, --max, --max-drop or --rules.")
    needing = [rule for rule in gate.rules if rule.differs]
    if needing and baseline is None:
        raise SpyBenchError(f"'{needing[0]}' needs an earlier run. Add --baseline RUN.")
    notes: list[str] = []
    own = _of_model(_load(run, notes), model, run)
    old = _of_model(_load(baseline, notes), baseline_model, baseline) if baseline else []
    _refuse_unknown_labels(gate.rules, own)
    found = [_gated(gate, entry, old, resamples, seed) for entry in own]
    return GateResult(tuple(found), gate.settings, tuple(notes))


def _load(run: Path, notes: list[str]) -> list[Loaded]:
    loaded = load_runs([run], ReportOptions(), notes)
    if not loaded:
        raise SpyBenchError(f"{run} holds no verdicts of SPY-Bench. Give the folder of such a run.")
    return loaded


def _of_model(entries: list[Loaded], model: str, run: Path) -> list[Loaded]:
    """Return the rows of a model, or else all but those of reference policies, if there are any.

    Raises:
        SpyBenchError: the run has no such model.
    """
    if not model:
        return [e for e in entries if canonical_name(e.result.model) not in POLICIES] or entries
    wanted = {model, canonical_name(model)}
    found = [e for e in entries if wanted & {e.result.model, canonical_name(e.result.model)}]
    if not found:
        known = ", ".join(sorted({entry.result.model for entry in entries}))
        raise SpyBenchError(f"{run} has no model {model!r}. It has {known}.")
    return found


def _refuse_unknown_labels(rules: Sequence[Rule], entries: Sequence[Loaded]) -> None:
    known = sorted({label for entry in entries for label in entry.table.labels})
    for rule in rules:
        if rule.label and rule.label not in known:
            raise SpyBenchError(f"the run has no label {rule.label!r}. It has {', '.join(known)}.")


def _gated(gate: Gate, entry: Loaded, old: Sequence[Loaded], resamples: int, seed: int) -> Gated:
    settings = gate.settings
    level = settings.confidence

    @cache
    def figures(label: str) -> dict[str, Estimate]:
        table = only_label(entry.table, label)
        return summarize([table], resamples=resamples, seed=seed, level=level)[0].figures

    @cache
    def changes(label: str) -> dict[str, Difference]:
        tables = (only_label(each.table, label) for each in (entry, earlier))
        return differences(*tables, resamples=resamples, seed=seed, level=level)

    problem = problem_of(entry, settings)
    earlier, other = _baseline(entry, old, settings) if old else (entry, "")
    checks = []
    for rule in gate.rules:
        reason = problem or (other if rule.differs else "")
        if reason:
            checks.append(Check(rule, Status.CANNOT_TELL, reason=reason))
            continue
        try:
            found = (changes if rule.differs else figures)(rule.label)[rule.key]
        except SpyBenchError as error:  # no sample in common
            checks.append(Check(rule, Status.CANNOT_TELL, reason=str(error)))
            continue
        value = found.difference if isinstance(found, Difference) else found.score
        checks.append(decide(rule, value, found.low, found.high, found.images, settings))
    condition = ", ".join(describe(entry.about))
    return Gated(entry.result.model, condition, tuple(checks))


def decide(
    rule: Rule,
    value: float | None,
    low: float | None,
    high: float | None,
    images: int,
    settings: Settings,
) -> Check:
    """Apply a rule to a figure, or to a difference run minus baseline, in percent."""

    def check(status: Status, reason: str = "") -> Check:
        return Check(rule, status, value, low, high, images, reason)

    if value is None:
        return check(Status.CANNOT_TELL, "no sample counts in it")
    if images < settings.min_pictures:
        few = f"only {images} pictures, and {settings.min_pictures} are needed"
        return check(Status.CANNOT_TELL, few)
    if low is None or high is None:
        return check(Status.CANNOT_TELL, "it has no interval")
    lower_is_better = rule.key in ERRORS
    allowed = (rule.limit if lower_is_better else -rule.limit) if rule.differs else rule.limit
    worst, best = (allowed - high, allowed - low) if lower_is_better else (
        low - allowed, high - allowed
    )  # fmt: skip
    if best < 0:
        return check(Status.FAILED)
    if worst >= 0 or high - low <= settings.precision:
        return check(Status.PASSED)
    wide = f"its interval is {high - low:.1f} points wide and lies across the limit"
    return check(Status.CANNOT_TELL, f"{wide}; at most {settings.precision:g} were asked for")


def problem_of(entry: Loaded, settings: Settings) -> str:
    """Say why nothing can be told from a run; empty if something can."""
    table, expected = entry.table, entry.expected
    if expected and len(table) < expected and not settings.allow_partial:
        return f"the run is partial: {len(table)} of {expected} samples were asked"
    missing = int(((table.outcome != RESPOND) & (table.outcome != REJECT)).sum())
    share = 100 * missing / len(table)
    if share > settings.max_missing:
        return (
            f"{missing} of {len(table)} samples have no verdict, which is {share:.1f}%; at most "
            f"{settings.max_missing:g}% may"
        )
    return ""


def _baseline(entry: Loaded, old: Sequence[Loaded], settings: Settings) -> tuple[Loaded, str]:
    """Find the earlier run of the same condition.

    Returns:
        It, and why nothing can be told against it; any other, with the reason, if there is none.
    """
    if not entry.about.benchmark:
        return old[0], "the run does not record its data and its protocol"
    same = [each for each in old if each.about.key() == entry.about.key()]
    of_model = [
        each
        for each in same
        if canonical_name(each.result.model) == canonical_name(entry.result.model)
    ]
    chosen = of_model or same
    if len(chosen) > 1:
        names = ", ".join(sorted(each.result.model for each in chosen))
        return chosen[0], f"the baseline has several models ({names}): name one"
    if chosen:
        problem = problem_of(chosen[0], settings)
        return chosen[0], f"of the baseline: {problem}" if problem else ""
    apart = min((_apart(entry, each) for each in old), key=len)
    return old[0], f"the baseline was measured under another condition: {'; '.join(apart)}"


def _apart(one: Loaded, two: Loaded) -> list[str]:
    """Name what differs between two conditions, with both values."""

    def parts(entry: Loaded) -> dict[str, str]:
        about = entry.about
        protocol, judge = about.protocol, about.judge
        return {
            "benchmark": about.benchmark,
            "variant": about.variant,
            "self-moderation": f"{about.self_moderation} {about.turn}",
            "data": about.data_fingerprint,
            "protocol": f"{protocol.name} {protocol.fingerprint}" if protocol else "",
            "judge": f"{judge.name} {judge.fingerprint}" if judge else "",
            "judge's model": ", ".join(judge.answered_by) if judge else "",
        }

    new, old = parts(one), parts(two)
    return [
        f"{name} {new[name] or 'not recorded'}, the baseline's is {old[name] or 'not recorded'}"
        for name in new
        if new[name] != old[name]
    ]


def only_label(table: VerdictTable, label: str) -> VerdictTable:
    """Return the verdicts on one label, or all without a label.

    Names stay, so that pictures keep their resamples.
    """
    if not label:
        return table
    rows = table.label == (table.labels.index(label) if label in table.labels else -1)
    columns = ("outcome", "is_privacy", "kind", "label", "scenario", "image", "item", "absolute")
    holds = None if table.holds is None else table.holds[rows]
    return replace(table, holds=holds, **{name: getattr(table, name)[rows] for name in columns})
