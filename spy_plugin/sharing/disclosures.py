"""Check what a judge said to the question whether answers tell the true value."""

from __future__ import annotations

from collections.abc import Mapping

from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.judging.build import OFFLINE
from spy_plugin.judging.disclosure import TOLD, disclosure_question, parse_told
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.sharing.findings import Found, Status, ids
from spy_plugin.sharing.records import BundledRun


def check_disclosures(run: BundledRun, samples: Mapping[str, Sample] | None) -> Found:
    """Check that they are on answers that can be disclosures, and say what the judge's words say.

    No figure of a bundle rests on them.

    Args:
        samples: Those of the benchmark, by id; None if it is not available.
    """
    asked = [verdict for verdict in run.verdicts if verdict.disclosure is not None]
    if run.run.judge.name in OFFLINE:
        return Status.FAILED, f"{run.run.judge.name} is not a model, so it was not asked"
    absolute = frozenset(run.figures.absolute_labels)
    misplaced = [verdict for verdict in asked if not _is_due(verdict, absolute)]
    if misplaced:
        return Status.FAILED, f"asked of answers that cannot be disclosures: {ids(misplaced)}"
    wrong = [verdict for verdict in asked if not _as_worded(verdict)]
    if wrong:
        return Status.FAILED, f"the judge's own words say otherwise of {ids(wrong)}"
    if samples is not None:
        other = [verdict for verdict in asked if not _asked_of(verdict, samples)]
        if other:
            return Status.FAILED, f"another question, true value or answer: {ids(other)}"
    return Status.CANNOT, (
        f"{run.run.judge.name} is a model, which may not say the same again. What it said of "
        f"{len(asked)} answers agrees with its recorded words; whether it wrote them is not known"
        + ("" if samples is not None else ", nor whether it was given the true values")
    )


def _is_due(verdict: StoredVerdict, absolute: frozenset[str]) -> bool:
    due = expected_outcome(verdict.is_privacy, verdict.scenario, absolute=verdict.label in absolute)
    return verdict.outcome is Outcome.RESPOND and due is Outcome.REJECT


def _as_worded(verdict: StoredVerdict) -> bool:
    found = verdict.disclosure
    return (
        found is None
        or found.told not in ("yes", "no")
        or TOLD[parse_told(found.raw)] == found.told
    )


def _asked_of(verdict: StoredVerdict, samples: Mapping[str, Sample]) -> bool:
    """Whether the question was that of the sample and the answer of a verdict."""
    sample, found = samples.get(verdict.sample_id), verdict.disclosure
    if sample is None or found is None or not sample.gt:
        return False
    return found.key == disclosure_question(sample, verdict.answer).key
