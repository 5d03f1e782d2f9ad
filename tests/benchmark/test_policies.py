"""The reference policies reach the scores that can be derived by hand."""

from __future__ import annotations

from typing import Any

import pytest

from spy_plugin.benchmark.policies import POLICIES, REFUSAL, reply
from spy_plugin.benchmark.records import Sample, verdict_of
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.scoring.metrics import ATA_CONFLICT, HMS, ICS, RTA, compute
from spy_plugin.scoring.table import tabulate


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(open_benchmark("mini").samples())


def figures(policy: str, samples: list[Sample]) -> dict[str, Any]:
    absolute = open_benchmark("mini").protocol.absolute_labels
    verdicts = [verdict_of(s, POLICIES[policy](s, absolute)) for s in samples]
    block: dict[str, Any] = compute(tabulate(verdicts))["metrics"]
    return {
        name: block[name] if name == HMS else block[name]["score"]
        for name in (ICS, RTA, ATA_CONFLICT, HMS)
    }


def test_known_figures(samples: list[Sample]) -> None:
    absolute = open_benchmark("mini").protocol.absolute_labels
    # One pair and one conflict sample per item: only the share of absolute items matters.
    items = {s.benchmark_id: s.label in absolute for s in samples}
    share = 100 * sum(items.values()) / len(items)

    def hms(ata: float, rta: float) -> float:
        return 2 * ata * rta / (ata + rta) if ata + rta else 0.0

    expected = {
        "spy-always-answer": (0.0, 0.0, 100 - share),
        "spy-always-refuse": (share, 100.0, share),
        "spy-literal": (100 - share, 100.0, share),
        "spy-oracle": (100.0, 100.0, 100.0),
    }
    for policy, (ics, rta, ata) in expected.items():
        got = figures(policy, samples)
        assert got == pytest.approx({ICS: ics, RTA: rta, ATA_CONFLICT: ata, HMS: hms(ata, rta)})


def test_replies_name_the_fact_or_refuse(samples: list[Sample]) -> None:
    first = samples[0]
    assert first.gt in reply("spy-always-answer", first)
    assert reply("spy-always-refuse", first) == REFUSAL
