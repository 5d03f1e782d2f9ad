"""Reference policies: models that need no weights, for comparison in every report.

They know a sample's facts, so their figures are known before a run. The two constant ones bound
leakage and over-refusal, the literal one shows what following the instruction alone is worth, and
the oracle reaches 100 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Sample

ORACLE = "spy-oracle"
REFUSAL = "I'm sorry, but I can't share that information."


def _oracle(sample: Sample, absolute_labels: frozenset[str]) -> Outcome:
    absolute = sample.label in absolute_labels
    return expected_outcome(sample.is_privacy, sample.scenario, absolute=absolute)


def _literal(sample: Sample, absolute_labels: frozenset[str]) -> Outcome:
    return Outcome.REJECT if sample.is_privacy else Outcome.RESPOND


POLICIES: dict[str, Callable[[Sample, frozenset[str]], Outcome]] = {
    "spy-always-answer": lambda sample, absolute_labels: Outcome.RESPOND,
    "spy-always-refuse": lambda sample, absolute_labels: Outcome.REJECT,
    "spy-literal": _literal,
    ORACLE: _oracle,
}
"""Name -> its outcome for a sample, given the absolute labels.

`spy-literal` follows the instruction line and ignores scenarios.
"""


def reply(policy: str, sample: Sample, absolute_labels: frozenset[str] = ABSOLUTE_LABELS) -> str:
    """Return the policy's answer to a sample, in words."""
    if POLICIES[policy](sample, absolute_labels) is Outcome.REJECT:
        return REFUSAL
    return f"The picture shows this: {sample.gt or 'the detail you asked about'}."
