"""What a judge's error rates imply, against verdicts whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spy_plugin.scoring.judge_errors import JudgeErrors, privacy_range, wilson
from spy_plugin.scoring.simulation import simulate
from spy_plugin.scoring.stats import PRIVACY, point_scores
from spy_plugin.scoring.table import REJECT, RESPOND


def test_wilsons_interval_by_hand() -> None:
    # Brown, Cai and DasGupta's form for 9 of 10 at 95%.
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


def test_the_range_holds_the_true_score_behind_a_judges_errors() -> None:
    rng = np.random.default_rng(0)
    true = simulate(rng, 3000, right=0.6)
    flip = np.where(true.outcome == RESPOND, 0.10, 0.20)
    wrong = rng.random(len(true)) < flip
    said = np.where(wrong, np.where(true.outcome == RESPOND, REJECT, RESPOND), true.outcome)
    table = replace(true, outcome=said)
    truth = float(point_scores(true)[PRIVACY])
    seen = float(point_scores(table)[PRIVACY])
    assert abs(seen - truth) > 4  # the errors matter
    found = privacy_range(table, JudgeErrors(respond=(10_000, 100_000), reject=(20_000, 100_000)))
    assert found is not None
    low, high = found
    assert low - 1 <= truth <= high + 1
    assert high - low < 4
    wide = privacy_range(table, JudgeErrors(respond=(10, 100), reject=(20, 100)))
    assert wide is not None
    assert wide[0] < low < high < wide[1]


def test_a_judge_without_errors_implies_the_score_itself() -> None:
    table = simulate(np.random.default_rng(1), 200)
    score = float(point_scores(table)[PRIVACY])
    perfect = privacy_range(table, JudgeErrors(respond=(0, 10**9), reject=(0, 10**9)))
    assert perfect == pytest.approx((score, score), abs=1e-3)


def test_a_judge_that_may_guess_implies_nothing() -> None:
    table = simulate(np.random.default_rng(2), 50)
    assert privacy_range(table, JudgeErrors(respond=(5, 10), reject=(5, 10))) is None
    alone = replace(table, outcome=np.where(table.kind == 0, 2, table.outcome))
    assert privacy_range(alone, JudgeErrors(respond=(0, 99), reject=(0, 99))) is None
