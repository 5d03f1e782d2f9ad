"""Processes that share the updates of an optimizer take the steps of one that does them all."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("torchao.optim")

from tests.trl_ext.script_runs import launch_processes  # noqa: E402


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of three processes saw."""
    return launch_processes("tests.trl_ext.sharded_steps", tmp_path_factory.mktemp("three"), 3)


def test_the_weights_are_those_of_one_process_before_and_after_a_resume(found):
    assert [process["weights"] for process in found] == 3 * [3 * [True]]


def test_a_checkpoint_is_that_of_one_process(found):
    assert found[0]["checkpoint"] == 3 * [True]


def test_large_weights_have_states_on_one_process_alone(found):
    """Weights of 16,384, 12,288, 5,120 and 4,096 numbers, on the one with least to do."""
    late = [process["owned"][1] for process in found]
    assert late == [[0, 1, 3], [1, 2, 3], [1, 3, 4, 5]]
    assert [process["owned"][0] for process in found] == [[0, 1, 3], [1, 2, 3], [1, 3, 5]]


def test_replicas_that_are_rounded_stay_equal(found):
    first, *others = (process["rounded"] for process in found)
    assert others == [first, first]
