"""Paired differences: false positives, power, symmetry, and the correction over labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.scoring.compare import differences, holm, label_differences
from spy_plugin.scoring.metrics import ACCURACY, HMS, ICS, units
from spy_plugin.scoring.simulation import two_models
from spy_plugin.scoring.stats import ERRORS, FIGURES, PRIVACY, estimates, per_image, point_scores
from spy_plugin.scoring.table import REJECT, RESPOND, expected_outcomes
from tests.simulated import mirrored_models, with_outcome

HEADLINE = (ICS, HMS, PRIVACY)


def false_alarms(runs: int, images: int, resamples: int) -> dict[str, float]:
    """Share of comparisons of two equally good models with p <= 0.05."""
    alarms = dict.fromkeys(HEADLINE, 0)
    for seed in range(runs):
        found = differences(*two_models(seed, images), resamples=resamples, seed=seed)
        for name in HEADLINE:
            p = found[name].p
            assert p is not None
            alarms[name] += p <= 0.05
    return {name: count / runs for name, count in alarms.items()}


def test_equal_models_differ_in_about_one_comparison_of_twenty() -> None:
    for name, share in false_alarms(runs=600, images=120, resamples=400).items():
        assert 0.03 <= share <= 0.07, name


@pytest.mark.slow
@pytest.mark.parametrize("images", [60, 120, 400])
def test_false_alarms_stay_near_five_percent_at_every_size(images: int) -> None:
    for name, share in false_alarms(runs=3000, images=images, resamples=2000).items():
        assert 0.03 <= share <= 0.07, name


@pytest.mark.slow
def test_equal_hms_of_models_that_fail_differently_is_no_alarm() -> None:
    alarms = 0
    for seed in range(1500):
        first, second = mirrored_models(seed, 150)
        alarms += differences(first, second, resamples=1000, seed=seed)[HMS].p <= 0.05
    assert 0.03 <= alarms / 1500 <= 0.07


def test_labels_of_equal_models_rarely_differ_after_correction() -> None:
    alarms = 0
    for seed in range(150):
        found = label_differences(*two_models(seed, 60), ACCURACY, resamples=400, seed=seed)
        alarms += any(d.p_corrected is not None and d.p_corrected <= 0.05 for d in found.values())
    assert alarms / 150 <= 0.08


def test_a_real_difference_is_found_in_its_direction_and_size() -> None:
    first, second = two_models(1, 300, right=0.6, better=0.4)
    found = differences(first, second)
    one, two = point_scores(first), point_scores(second)
    for name in FIGURES:
        assert found[name].difference == pytest.approx(one[name] - two[name])
    assert found[PRIVACY].low > 0
    assert found[PRIVACY].p == pytest.approx(1 / 2001)
    assert found[PRIVACY].images == 300


def test_swapping_the_models_turns_the_sign() -> None:
    first, second = two_models(2, 50, right=0.5)
    forth, back = differences(first, second), differences(second, first)
    for name in FIGURES:
        assert forth[name].difference == pytest.approx(-back[name].difference)
        assert forth[name].low == pytest.approx(-back[name].high)


def test_a_model_does_not_differ_from_itself() -> None:
    table, _ = two_models(3, 20)
    for difference in differences(table, table).values():
        assert (difference.difference, difference.p) == (0, 1)
        # The pictures that were not seen may differ; 0.025 ** (1 / pictures) of them do not.
        assert difference.high == pytest.approx(100 - 100 * 0.025 ** (1 / difference.images))
        assert difference.low == -difference.high


def test_all_right_against_all_wrong_is_no_certainty() -> None:
    table, _ = two_models(8, 27)
    right = with_outcome(table, expected_outcomes(table))
    wrong = with_outcome(table, np.where(expected_outcomes(table) == REJECT, RESPOND, REJECT))
    every = differences(right, wrong)
    assert [every[name].difference for name in ERRORS] == [-100, -100]
    for name in FIGURES:
        found = every[name]
        share = 0.025 ** (1 / found.images)
        assert (found.difference, found.high) == (100, pytest.approx(100)), name
        assert found.low == pytest.approx(100 * share - 100 * (1 - share)), name
        assert found.p <= max(2 / 2**found.images, 1 / 2001), name


def test_one_picture_gives_a_difference_without_an_interval() -> None:
    first, second = two_models(9, 1, right=0.9, better=0.1)
    found = differences(first, second)[ACCURACY]
    assert (found.low, found.high, found.images, found.p) == (None, None, 1, 1)


def test_few_pictures_give_the_exact_p_value() -> None:
    first, second = two_models(10, 9, right=0.8, better=0.3)
    found = differences(first, second, resamples=50)
    hits = [per_image(units(table)[ACCURACY], 9) for table in (first, second)]

    def gap(one: np.ndarray, two: np.ndarray) -> float:
        return abs(float(one[:, 0].sum() / one[:, 1].sum() - two[:, 0].sum() / two[:, 1].sum()))

    gaps = []
    for swaps in product((False, True), repeat=9):
        swap = np.array(swaps)[:, None]
        gaps.append(gap(np.where(swap, *hits), np.where(swap, *hits[::-1])))
    share = np.mean(np.array(gaps) >= gap(*hits) - 1e-9)
    assert found[ACCURACY].p == pytest.approx(share)


def test_pairing_is_tighter_than_two_separate_intervals() -> None:
    first, second = two_models(4, 200)
    paired = differences(first, second)[PRIVACY]
    apart = [estimates(table)[PRIVACY] for table in (first, second)]
    separate = sum((e.high - e.low) ** 2 for e in apart) ** 0.5
    assert paired.high - paired.low < separate


def test_a_label_with_few_pictures_cannot_be_significant() -> None:
    first, second = two_models(5, 36, right=0.999, better=0.001)
    # Swapping k pictures gives 2**k differences, two of which are as large as the complete one.
    for difference in label_differences(first, second, ACCURACY).values():
        assert difference.difference > 60
        assert difference.p >= 2 / 2**difference.images
        assert difference.p_corrected > 0.05


def test_runs_on_other_pictures_cannot_be_compared() -> None:
    table, _ = two_models(6, 5)
    other = replace(table, images=tuple(f"other{i}.jpg" for i in range(5)))
    with pytest.raises(SpyBenchError, match="no sample in common"):
        differences(table, other)


def test_only_common_pictures_are_compared() -> None:
    table, other = two_models(7, 40)
    renamed = replace(other, images=(*other.images[:30], *(f"x{i}" for i in range(10))))
    assert differences(table, renamed)[ICS].images == 30


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9}) == pytest.approx(
        {"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.9}
    )
    assert holm({}) == {}
