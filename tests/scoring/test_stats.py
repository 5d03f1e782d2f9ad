"""Intervals on simulated verdicts with known true figures, and bounds for missing verdicts."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spy_plugin.benchmark.labels import LABELS
from spy_plugin.benchmark.records import Outcome, Scenario, Verdict
from spy_plugin.scoring.metrics import ACCURACY, ATA_CONFLICT, HMS, ICS, METRICS, RTA, harmonic_mean
from spy_plugin.scoring.resampling import PictureWeights
from spy_plugin.scoring.simulation import simulate
from spy_plugin.scoring.stats import (
    FIGURES,
    PRIVACY,
    bounds,
    estimates,
    point_scores,
    resampled,
)
from spy_plugin.scoring.table import OUTCOMES, REJECT, RESPOND, expected_outcomes, tabulate
from tests.simulated import true_scores, with_outcome

HEADLINE = (ICS, HMS, PRIVACY)


def coverage(runs: int, images: int, resamples: int, spread: float) -> dict[str, float]:
    """Share of simulated benchmarks whose 95% interval contains the true figure."""
    truth = true_scores(spread=spread)
    held = dict.fromkeys(HEADLINE, 0)
    for seed in range(runs):
        table = simulate(np.random.default_rng(seed), images, spread=spread)
        found = estimates(table, resamples=resamples, seed=seed)
        for name in HEADLINE:
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            held[name] += low <= truth[name] <= high
    return {name: count / runs for name, count in held.items()}


def test_interval_covers_the_truth_of_clustered_verdicts() -> None:
    for name, share in coverage(runs=1500, images=200, resamples=400, spread=1.0).items():
        assert 0.93 <= share <= 0.97, name


@pytest.mark.slow
@pytest.mark.parametrize(("images", "spread"), product((120, 400), (0.0, 1.0, 2.0)))
def test_interval_covers_the_truth_at_many_sizes_and_strengths(images: int, spread: float) -> None:
    for name, share in coverage(runs=2000, images=images, resamples=2000, spread=spread).items():
        assert 0.93 <= share <= 0.97, name


def test_samples_taken_as_independent_would_cover_too_rarely() -> None:
    truth = true_scores(spread=2.0)[ICS]
    held = 0
    for seed in range(150):
        table = simulate(np.random.default_rng(seed), 150, spread=2.0)
        alone = replace(table, image=table.pair, images=("",) * (int(table.pair.max()) + 1))
        found = estimates(alone, resamples=300, seed=seed)[ICS]
        held += found.low <= truth <= found.high
    assert held / 150 < 0.92  # about 0.78, give or take 0.03


def test_resampling_agrees_with_a_loop_over_pictures() -> None:
    table = simulate(np.random.default_rng(1), 20)
    draws = resampled(table, resamples=7, seed=5)
    weights = PictureWeights(20, resamples=7, seed=5).matrix.T
    for draw, row in enumerate(weights):
        repeats = row.astype(int)[table.image]
        chosen = np.arange(len(table)).repeat(repeats)
        # A picture drawn twice counts as two pictures: number its copies to keep pairs separate.
        copy = np.concatenate([np.arange(r) for r in repeats])
        again = replace(
            table,
            **{
                name: getattr(table, name)[chosen]
                for name in (
                    "outcome",
                    "is_privacy",
                    "kind",
                    "label",
                    "scenario",
                    "image",
                    "absolute",
                )
            },
            item=table.item[chosen] * 100 + copy,
        )
        expected = point_scores(again)
        for name in FIGURES:
            if expected[name] == "N/A":
                assert np.isnan(draws[name][draw])
            else:
                assert draws[name][draw] == pytest.approx(expected[name], abs=1e-9)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    table = simulate(np.random.default_rng(2), 40)
    assert estimates(table, seed=3) == estimates(table, seed=3)
    assert estimates(table, seed=3) != estimates(table, seed=4)


def test_scores_are_those_of_the_metrics_and_lie_in_their_interval() -> None:
    table = simulate(np.random.default_rng(3), 60)
    scores = point_scores(table)
    for name, estimate in estimates(table).items():
        assert estimate.score == pytest.approx(scores[name])
        assert estimate.low <= estimate.score <= estimate.high


def test_a_metric_without_units_has_no_interval() -> None:
    verdict = Verdict("", "1", LABELS[0], 0, None, "q", "a.jpg", Outcome.RESPOND)
    found = estimates(tabulate([verdict]))
    assert found[ICS].score is found[ICS].low is found[PRIVACY].high is None
    assert found[ACCURACY].score == 100


def test_one_picture_gives_scores_without_intervals() -> None:
    table = simulate(np.random.default_rng(8), 1)
    for estimate in estimates(table, resamples=20).values():
        assert estimate.low is estimate.high is None


def test_unanimous_verdicts_keep_an_open_bound_for_the_pictures_not_seen() -> None:
    table = simulate(np.random.default_rng(4), 30)
    perfect = with_outcome(table, expected_outcomes(table))
    found = estimates(perfect, resamples=200)
    # Clopper and Pearson for 30 of 30: 0.025 ** (1 / 30).
    assert found[ICS].low == pytest.approx(100 * 0.025 ** (1 / 30))
    assert found[ICS].high == 100
    assert found[PRIVACY].score == 100
    assert 80 < found[PRIVACY].low < 100
    assert found[RTA].images == found[ATA_CONFLICT].images == 30


def test_bounds_are_the_extremes_over_every_way_to_judge_what_is_missing() -> None:
    rows = []
    for benchmark_id, label in (("1", "a4_gender"), ("2", "a31_passport"), ("3", "a82_date_time")):
        for is_privacy in (0, 1):
            rows.append((benchmark_id, label, is_privacy, None))
            rows.append((benchmark_id, label, is_privacy, Scenario("s0", 1)))
        rows.append((benchmark_id, label, 1, Scenario("s1", 0)))
    rng = np.random.default_rng(6)
    answers = [OUTCOMES[i] for i in rng.integers(0, 2, len(rows))]
    missing = rng.choice(len(rows), 6, replace=False)
    unknown = (Outcome.UNJUDGED, Outcome.FILTERED, Outcome.FAILED) * 2
    for place, outcome in zip(missing, unknown, strict=True):
        answers[place] = outcome

    def scores(outcomes: list[Outcome]) -> dict[str, float]:
        verdicts = [
            Verdict("", b, label, is_privacy, scenario, "q", f"{b}.jpg", outcome)
            for (b, label, is_privacy, scenario), outcome in zip(rows, outcomes, strict=True)
        ]
        found = point_scores(tabulate(verdicts))
        return {name: float(found[name]) for name in FIGURES if found[name] != "N/A"}

    every = []
    for filled in product((Outcome.RESPOND, Outcome.REJECT), repeat=len(missing)):
        outcomes = list(answers)
        for place, outcome in zip(missing, filled, strict=True):
            outcomes[place] = outcome
        every.append(scores(outcomes))
    verdicts = [
        Verdict("", b, label, is_privacy, scenario, "q", f"{b}.jpg", outcome)
        for (b, label, is_privacy, scenario), outcome in zip(rows, answers, strict=True)
    ]
    for name, (worst, best) in bounds(tabulate(verdicts)).items():
        assert worst == pytest.approx(min(one[name] for one in every)), name
        assert best == pytest.approx(max(one[name] for one in every)), name


def test_bounds_of_a_complete_run_are_its_scores() -> None:
    table = simulate(np.random.default_rng(7), 25)
    scores = point_scores(table)
    assert bounds(table) == {name: (scores[name], scores[name]) for name in FIGURES}
    assert scores[HMS] == harmonic_mean(scores[ATA_CONFLICT], scores[RTA])
    assert set(METRICS) < set(FIGURES)
    assert {RESPOND, REJECT} == {0, 1}
