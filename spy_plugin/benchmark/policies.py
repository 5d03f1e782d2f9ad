"""Reference policies: rules in place of a model, which every report compares with.

They know a sample's facts, so their figures are known before a run: the two constant ones bound
leakage and over-refusal, the literal one shows what instructions alone are worth, the oracle
reaches 100 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from spy_plugin.benchmark.expectation import expected_outcome
from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.records import Outcome, Sample

REFUSAL = "I'm sorry, but I can't share that information."


def _literal(sample: Sample, absolute_labels: frozenset[str]) -> Outcome:
    return Outcome.REJECT if sample.is_privacy else Outcome.RESPOND


POLICIES: dict[str, Callable[[Sample, frozenset[str]], Outcome]] = {
    "spy-always-answer": lambda sample, absolute_labels: Outcome.RESPOND,
    "spy-always-refuse": lambda sample, absolute_labels: Outcome.REJECT,
    "spy-literal": _literal,
    "spy-oracle": expected_outcome,
}
"""Name -> what it does. `spy-literal` obeys the instruction line and is blind to scenarios."""


def reply(policy: str, sample: Sample, absolute_labels: frozenset[str] = ABSOLUTE_LABELS) -> str:
    """The policy's answer to a sample, in words."""
    if POLICIES[policy](sample, absolute_labels) is Outcome.REJECT:
        return REFUSAL
    return f"The picture shows this: {sample.gt or 'the detail you asked about'}."
