"""One agreement of two judges, for every command; what unjudged and failed count as."""

from __future__ import annotations

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError
from spy_plugin.scoring.agreement import agreement

YES, NO, NONE = Outcome.RESPOND, Outcome.REJECT, Outcome.UNJUDGED


def test_kappa_by_hand() -> None:
    # 20 both yes, 5 yes/no, 10 no/yes, 15 both no: the textbook case, kappa 0.4.
    first = [YES] * 25 + [NO] * 25
    second = [YES] * 20 + [NO] * 5 + [YES] * 10 + [NO] * 15
    found = agreement(first, second)
    assert (found.n, found.observed) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.table == {(YES, YES): 20, (YES, NO): 5, (NO, YES): 10, (NO, NO): 15}


def test_unjudged_is_an_answer_that_counts() -> None:
    # 8 equal of 10; by chance 0.5 * 0.4 + 0.5 * 0.4 + 0 * 0.2 = 0.4.
    found = agreement([YES] * 5 + [NO] * 5, [YES] * 4 + [NONE] + [NO] * 4 + [NONE])
    assert (found.n, found.observed) == (10, 0.8)
    assert found.kappa == pytest.approx((0.8 - 0.4) / 0.6)
    assert agreement([NONE, YES], [NONE, NO]).observed == 0.5


@pytest.mark.parametrize("missing", [Outcome.FAILED, Outcome.FILTERED])
def test_what_nobody_judged_is_left_out_and_shown(missing: Outcome) -> None:
    first, second = [YES, NO, NO], [YES, NO, YES]
    more = agreement([*first, missing, YES], [*second, missing, missing])
    assert (more.n, more.observed, more.kappa) == (
        3,
        agreement(first, second).observed,
        agreement(first, second).kappa,
    )
    assert more.table[YES, missing] == more.table[missing, missing] == 1


def test_kappa_is_undefined_where_chance_explains_all() -> None:
    found = agreement([YES, YES], [YES, YES])
    assert (found.observed, found.kappa) == (1, None)
    nothing = agreement([Outcome.FAILED], [YES])
    assert (nothing.n, nothing.observed, nothing.kappa) == (0, None, None)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="1 and 0 outcomes cannot be compared"):
        agreement([YES], [])
