"""Widths and smallest differences agree with simulated benchmarks and with the test itself."""

from __future__ import annotations

import numpy as np
import pytest

from spy_plugin.cli.main import main
from spy_plugin.errors import SpyBenchError
from spy_plugin.scoring.compare import differences
from spy_plugin.scoring.power import Assumptions, Precision, precisions
from spy_plugin.scoring.simulation import pictures, simulate, two_models
from spy_plugin.scoring.stats import LEAKAGE, PRIVACY, estimates, point_scores


def one(pictures: int, assumed: Assumptions, figure: str = PRIVACY) -> Precision:
    (found,) = precisions([pictures], [figure], assumed)
    return found


def test_the_width_is_that_of_the_report_s_intervals() -> None:
    found = one(200, Assumptions(score=36.0, items=4))
    widths = []
    for seed in range(12):
        estimate = estimates(simulate(np.random.default_rng(seed), 200, right=0.4), resamples=500)[
            PRIVACY
        ]
        assert estimate.low is not None
        assert estimate.high is not None
        widths.append(estimate.high - estimate.low)
    assert found.width == pytest.approx(np.mean(widths), rel=0.15)


def test_the_smallest_difference_is_found_in_four_of_five_comparisons() -> None:
    """Against the permutation test of the report, at the difference that is said."""
    first, second = (
        float(point_scores(simulate(np.random.default_rng(1), 20_000, right=right))[PRIVACY])
        for right in (0.4, 0.45)
    )
    # As many pictures as make the difference between these models the smallest that is found.
    assumed = Assumptions(score=(first + second) / 2, items=4)
    at_100 = one(100, assumed).smallest
    number = round(100 * (at_100 / (second - first)) ** 2)
    assert one(number, assumed).smallest == pytest.approx(second - first, rel=0.08)
    found = 0
    for seed in range(150):
        pair = two_models(seed, number, right=0.4, better=0.45)
        p = differences(*pair, resamples=300, seed=seed)[PRIVACY].p
        assert p is not None
        found += p <= 0.05
    assert 0.70 <= found / 150 <= 0.90  # 80%, give or take three standard errors


def test_more_pictures_show_more() -> None:
    found = precisions([30, 120, 480], [PRIVACY, LEAKAGE], Assumptions())
    for figure in (PRIVACY, LEAKAGE):
        few, some, many = (each for each in found if each.figure == figure)
        # The error falls with the root of the number of pictures.
        assert few.width / some.width == pytest.approx(2, rel=0.15)
        assert some.smallest / many.smallest == pytest.approx(2, rel=0.15)


def test_alike_models_and_fewer_models_need_less() -> None:
    plain = one(100, Assumptions()).smallest
    assert one(100, Assumptions(alike=0.7)).smallest < 0.65 * plain
    # z(1 - 0.05 / 12) + z(0.8) over z(0.975) + z(0.8)
    assert one(100, Assumptions(models=4)).smallest == pytest.approx(1.242 * plain, rel=0.001)
    assert one(100, Assumptions(items=6)).smallest < plain


def test_a_score_that_no_model_has_is_refused() -> None:
    with pytest.raises(SpyBenchError, match=r"a privacy score of 100 is out of range"):
        one(100, Assumptions(score=100))


def test_pictures_have_the_items_that_are_asked_for() -> None:
    _, items = pictures(np.random.default_rng(0), 20_000, items=3)
    assert (items.min(), items.max()) == (1, 5)
    assert items.mean() == pytest.approx(3, abs=0.05)


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--pictures", "12", "200", "--figure", "ics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Models with a privacy score of 60, 2 items per picture, in points."
    few, many = (line.split() for line in lines[-2:])
    assert few[:2] == ["12", "ics"]
    assert few[-1] == "rough"
    assert many[:2] == ["200", "ics"]
    assert float(many[2]) > float(many[3]) > float(many[4]) > 1
    assert main(["power", "--figure", "icss"]) == 1
    assert main(["power", "--alike", "2"]) == 1
    assert main(["power", "--score", "100"]) == 1
    assert main(["power", "--pictures", "1000000"]) == 1
