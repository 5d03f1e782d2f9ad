"""Intervals of the lab's figures: what they cover, and that they cover it as often as stated."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from spy_plugin.benchmark.records import Outcome, verdict_of
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.lab.arms import Arm
from spy_plugin.lab.intervals import RunCounts, compare, count_run
from spy_plugin.lab.results import Comparison, Difference, Figure
from spy_plugin.scoring.metrics import HMS, ICS, compute
from spy_plugin.scoring.resampling import Floats
from spy_plugin.scoring.stats import estimates
from spy_plugin.scoring.table import tabulate

PICTURES = tuple(f"{i:03}.png" for i in range(120))
T_OF_THREE = 4.303
"""97.5% quantile of Student's t with two degrees of freedom."""


def counted(arm: Arm, seed: int, right: Floats | float, units: int = 1) -> RunCounts:
    """A run with `right` hits of `units` on each picture, in each of the four figures."""
    counts = np.zeros((len(PICTURES), 4, 2), np.float32)
    counts[..., 0] = np.broadcast_to(np.asarray(right).T, (4, len(PICTURES))).T
    counts[..., 1] = units
    return RunCounts(arm, seed, PICTURES, counts)


def drawn(seed: int, rate: float, pictures: int = len(PICTURES)) -> Floats:
    """1 or 0 for each picture: exactly this rate of ones, in an order given by the seed."""
    right = np.arange(pictures) < round(rate * pictures)
    return np.random.default_rng(seed).permutation(right).astype(np.float64)


def difference(found: Comparison, second: Arm = "sft", figure: Figure = "ics") -> Difference:
    return next(d for d in found.differences if (d.second, d.figure) == (second, figure))


def bounds(of: object) -> tuple[float, float]:
    low, high = getattr(of, "low"), getattr(of, "high")  # noqa: B009
    assert low is not None
    assert high is not None
    return low, high


def test_one_seed_has_the_interval_over_pictures_that_the_package_gives_elsewhere() -> None:
    samples = list(open_benchmark("mini").samples())
    rng = np.random.default_rng(5)
    verdicts = [
        verdict_of(s, Outcome.RESPOND if told else Outcome.REJECT, answer="x", judge="rules")
        for s, told in zip(samples, rng.random(len(samples)) < 0.6, strict=True)
    ]
    benchmark = open_benchmark("mini")
    table = tabulate(
        verdicts,
        absolute_labels=benchmark.protocol.absolute_labels,
        known_labels=benchmark.label_words,
    )
    found = compare([count_run("nca_priv", 0, table, [(table.images[0], True)])])
    expected = estimates(table, resamples=20_000)
    pairs: Sequence[tuple[Figure, str]] = (("ics", ICS), ("hms", HMS))
    for name, metric in pairs:
        ours, theirs = found.estimates["nca_priv"][name], expected[metric]
        assert ours.mean == pytest.approx(theirs.score)
        assert bounds(ours) == pytest.approx(bounds(theirs), abs=0.5)
    assert found.estimates["nca_priv"]["hms"].mean == compute(table)["metrics"][HMS]


def test_without_spread_between_pictures_it_is_the_t_interval_over_seeds() -> None:
    runs = [counted("nca_priv", seed, right, 100) for seed, right in enumerate((50, 52, 57))]
    estimate = compare(runs).estimates["nca_priv"]["ics"]
    half = T_OF_THREE * np.std((50, 52, 57), ddof=1) / np.sqrt(3)
    assert estimate.mean == pytest.approx(53)
    assert estimate.seeds == 3
    assert bounds(estimate) == pytest.approx((53 - half, 53 + half), rel=0.05)


def test_seeds_that_differ_widen_the_interval() -> None:
    same = [counted("nca_priv", seed, drawn(0, 0.8)) for seed in range(3)]
    apart = [counted("nca_priv", seed, drawn(0, rate)) for seed, rate in enumerate((0.7, 0.8, 0.9))]
    widths = []
    for runs in (same, apart):
        low, high = bounds(compare(runs).estimates["nca_priv"]["ics"])
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_differences_are_paired_on_pictures() -> None:
    hard = drawn(1, 0.5)
    better = hard.copy()
    better[np.flatnonzero(hard == 0)[:12]] = 1  # right wherever the other is, and on 12 more
    alike = compare([counted("nca_priv", 0, better), counted("sft", 0, hard)])
    shuffled = compare([counted("nca_priv", 0, drawn(2, 0.6)), counted("sft", 0, hard)])
    for found in (alike, shuffled):
        assert difference(found).difference == pytest.approx(10)
    assert difference(alike).verdict == "better"
    assert difference(shuffled).verdict == "no difference shown"


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(0.9, 0.2, "better"), (0.2, 0.9, "worse"), (0.5, 0.5, "no difference shown")],
)
def test_the_verdict_follows_the_interval(first: float, second: float, verdict: str) -> None:
    runs = [counted("nca_priv", 0, drawn(1, first)), counted("sft", 0, drawn(2, second))]
    assert difference(compare(runs)).verdict == verdict


def test_nothing_but_hits_has_an_interval_and_shows_no_difference() -> None:
    methods: Sequence[Arm] = ("nca_priv", "sft")
    runs = [counted(method, seed, 1.0) for method in methods for seed in range(3)]
    found = compare(runs)
    figures: Sequence[Figure] = ("ics", "hms", "answers")
    for figure in figures:
        low, high = bounds(found.estimates["nca_priv"][figure])
        assert (round(low, 2), high) == (96.97, 100)
    gap = difference(found)
    assert gap.difference == 0
    assert gap.verdict == "no difference shown"
    assert bounds(gap) == pytest.approx((-3.03, 3.03), abs=0.01)


def test_nothing_but_refusals_leaves_hms_open_above() -> None:
    right = np.stack([drawn(s, 0.5) for s in range(4)], axis=1)
    right[:, 1] = 0  # RtA
    low, high = bounds(compare([counted("base", 0, right)]).estimates["base"]["hms"])
    assert low == 0
    assert 3.03 < high < 2 * 3.04  # a harmonic mean is at most twice its smaller part


def test_a_figure_that_one_seed_lacks_is_not_measured() -> None:
    lacking = counted("sft", 1, drawn(1, 0.5))
    lacking.counts[:, 3] = 0
    runs = [counted("nca_priv", 0, drawn(0, 0.5)), counted("sft", 0, drawn(2, 0.5)), lacking]
    found = compare(runs)
    assert found.estimates["sft"]["answers"].mean is None
    assert difference(found, figure="answers").verdict == "not measured"
    assert difference(found, figure="answers").low is None
    assert difference(found, figure="ics").low is not None


def test_which_differences_there_are() -> None:
    order: Sequence[Arm] = ("base", "sft", "dpo", "nca_priv")
    found = compare([counted(method, 0, drawn(i, 0.5)) for i, method in enumerate(order)])
    assert [(d.first, d.second, d.figure) for d in found.differences] == [
        *[("nca_priv", other, f) for f in ("ics", "hms", "answers") for other in ("sft", "dpo")],
        *[(method, "base", "answers") for method in ("sft", "dpo", "nca_priv")],
    ]
    assert compare([counted("sft", 0, 1.0)]).differences == ()


def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says() -> None:
    """The rates of the runs vary with picture and seed; their true difference is 8 points."""
    rng = np.random.default_rng(0)
    rates_of: dict[Arm, float] = {"nca_priv": 0.58, "sft": 0.50}
    held = 0
    rounds = 150
    for _ in range(rounds):
        ease = rng.normal(0, 0.15, len(PICTURES))
        runs = []
        for method, rate in rates_of.items():
            for seed in range(3):
                rates = np.clip(rate + ease + rng.normal(0, 0.03), 0, 1)
                right = rng.binomial(4, rates).astype(np.float64)
                runs.append(counted(method, seed, right, units=4))
        low, high = bounds(difference(compare(runs, resamples=1000)))
        held += low <= 8 <= high
    assert held / rounds >= 0.92


def test_a_whole_lab_takes_under_two_seconds() -> None:
    methods: Sequence[Arm] = ("sft", "dpo", "nca", "nca_priv")
    runs = [counted(m, s, drawn(s, 0.7)) for m in methods for s in range(5)]
    start = time.process_time()  # of this process: the machine may be busy
    compare([counted("base", 0, 1.0), *runs])
    assert time.process_time() - start < 2


def test_ways_to_share_prefixes_are_compared_within_their_method() -> None:
    rates = {"nca": 0.7, "nca-row": 0.6, "nca_priv": 0.9, "nca_priv-row": 0.8}
    runs = [counted(arm, seed, drawn(seed, rate)) for arm, rate in rates.items() for seed in (0, 1)]
    found = compare([counted("base", 0, 0.5), *runs])
    pairs = [(d.first, d.second) for d in found.differences if d.figure == "ics"]
    assert pairs == [("nca_priv", "nca"), ("nca", "nca-row"), ("nca_priv", "nca_priv-row")]
    grouping = difference(found, "nca_priv-row")
    assert grouping.difference == pytest.approx(10)
    assert grouping.within_method
    against_base = [d.first for d in found.differences if d.second == "base"]
    assert against_base == list(rates)
