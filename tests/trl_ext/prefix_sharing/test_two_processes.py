"""Two processes: every row once in a resumed epoch, and the weights of one loop over all rows."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.prefix_sharing.launched import mixed_rows, run  # noqa: E402
from tests.trl_ext.prefix_sharing.two_processes import PICTURES, RATE  # noqa: E402
from tests.trl_ext.script_runs import launch_module, launch_processes  # noqa: E402
from tests.trl_ext.trainers import losses  # noqa: E402


def processes(number, folder):
    """What each process saw."""
    return launch_processes("tests.trl_ext.prefix_sharing.two_processes", folder, number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def found(folder):
    return processes(2, folder)


def rows_of(found, name, kind):
    return sorted(row for process in found for batch in process[name][kind] for row in batch)


@pytest.mark.parametrize("sharing", ["row", "image"])
def test_a_run_resumed_in_its_second_epoch_sees_each_row_once(found, sharing):
    assert rows_of(found, sharing, "epoch") == rows_of(found, sharing, "whole")
    expected = list(range(sum(PICTURES)))
    assert rows_of(found, sharing, "whole") == expected
    assert all(process[sharing]["apart"] < 1e-6 for process in found)


@pytest.mark.slow
def test_three_processes_resume_in_their_third_epoch(tmp_path):
    found = processes(3, tmp_path)
    assert rows_of(found, "image", "epoch") == rows_of(found, "image", "whole")
    assert rows_of(found, "image", "whole") == list(range(sum(PICTURES)))
    assert all(process["image"]["apart"] < 1e-6 for process in found)


@pytest.mark.parametrize("number", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_another_number_of_processes_resumes_with_the_same_steps(found, folder, number):
    """Killed after the first step of the second epoch, of two processes."""
    whole = [process["whole"] for process in found]
    batches = whole[0]["accumulated"]
    first, second = (
        sorted(row for process in whole for batch in process["seen"][start:][:batches]
               for row in batch)
        for start in (2 * batches, 3 * batches)
    )  # fmt: skip
    assert sorted(first + second) == list(range(sum(PICTURES)))
    resumed = processes(number, folder)
    assert (
        sorted(row for process in resumed for batch in process["seen"] for row in batch) == second
    )
    assert {process["accumulated"] for process in resumed} == {2 if number == 1 else 1}
    assert all(process["apart"] < 1e-5 for process in resumed)


def test_unequal_groups_on_two_processes_take_the_steps_of_one_loop(found):
    for process in found:
        steps = process["steps"]
        assert len(set(steps["sizes"])) > 1
        # Batches of a step are alike in tokens, so that steps are not: seven rows on average.
        assert sum(steps["rows"][:2]) == sum(steps["rows"][2:]) == sum(PICTURES) == 2 * 7
        assert steps["moved"] > RATE
        # Adam divides by a gradient's size: where that is rounding, so is the step's direction.
        assert steps["apart"] < 2e-3 * steps["moved"]


def test_gradients_are_exchanged_once_a_step_and_held_once(found):
    assert [process["synced"] for process in found] == 2 * [[[False, True, False, True], True]]


def test_an_update_that_processes_share_resumes_with_the_same_weights(found):
    first, second = (process["shared_update"] for process in found)
    assert first["steps"] == second["steps"] > 2
    assert first["apart"] == second["apart"] == 0
    assert first["moved"] > RATE
    assert first["replicas"][0] == first["replicas"][1]
    assert all(map(max, first["states"], second["states"]))
    shared = [one != other for one, other in zip(first["states"], second["states"], strict=True)]
    assert 2 < sum(shared) < len(shared)


def test_a_split_batch_is_shared_by_the_processes(found):
    first, second = (process["split"] for process in found)
    assert [len(batch) for batch in first[:3]] == [2, 2, 2]
    epoch = [
        row for process in (first, second) for batch in process[: len(first) // 2] for row in batch
    ]
    assert set(epoch) == set(range(sum(PICTURES)))


LAUNCHED = "tests.trl_ext.prefix_sharing.launched"


@pytest.mark.slow
def test_a_model_built_in_memory_under_fsdp_says_what_to_do_and_that_works(tmp_path):
    launch_module("fsdp2", LAUNCHED, ["in_memory", str(tmp_path)])
    found = json.loads((tmp_path / "found.json").read_text())
    assert "ref_model=copy.deepcopy(model)" in found["alone"]
    assert "precompute_ref_log_probs=True" in found["alone"]
    assert found["precompute"] == pytest.approx(found["ref_model"], abs=1e-5)
    first, second, *saved = found["ref_model"]
    assert second < first
    assert all(share > 0.3 for share in saved)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp2", "zero3"])
def test_rows_without_pictures_meet_rows_with_them_where_weights_are_split(tmp_path, strategy):
    if strategy == "zero3":
        pytest.importorskip("deepspeed")
    model = str(tmp_path / "model")
    tiny_models.build("qwen2_vl", directory=model)
    launch_module(strategy, LAUNCHED, ["mixed", str(tmp_path)])
    found = json.loads((tmp_path / "found.json").read_text())
    alone = run(
        tmp_path / "one",
        mixed_rows(),
        model,
        args={"max_steps": 4, "per_device_train_batch_size": 2},
    )
    assert found == pytest.approx(losses(alone), rel=2e-4)
