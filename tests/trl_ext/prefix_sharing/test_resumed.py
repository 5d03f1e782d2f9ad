"""Plans of batches that a run with other processes, or less memory, continues."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("datasets")
pytest.importorskip("trl")

from trl_ext.prefix_sharing import resumed
from trl_ext.prefix_sharing.batching import GroupingError, PictureBatchSampler

ROWS = [picture for picture, size in enumerate([5, 1, 3, 2, 3, 4, 6, 2, 1, 5]) for _ in range(size)]


def plan(processes=2, budget=120, rows=ROWS, **options):
    options = {"rows_per_step": 8, "seed": 4, **options}
    return PictureBatchSampler(
        rows, 8, picture_tokens=[40] * len(rows),
        row_tokens=[10 + row % 3 for row in range(len(rows))],
        token_budget=budget, processes=processes, **options,
    )  # fmt: skip


def steps(batches, processes, epoch):
    """The batches of each optimizer step of an epoch."""
    batches.set_epoch(epoch)
    dealt, size = list(batches), batches.batches_per_step * processes
    assert len(dealt) == len(batches)
    return [dealt[start : start + size] for start in range(0, len(dealt), size)]


def rows_of(step):
    return sorted(row for batch in step for row in batch)


@pytest.mark.parametrize(
    ("processes", "budget"), [(1, 120), (2, 120), (3, 120), (5, 120), (1, 80), (2, 80), (3, 80)]
)
def test_steps_keep_their_rows_and_every_row_its_weight(processes, budget):
    planned = plan()
    found = resumed.ResumedBatches(plan(), processes, budget, range(3))
    for epoch in range(3):
        theirs, ours = steps(planned, 2, epoch), steps(found, processes, epoch)
        assert [rows_of(step) for step in ours] == [rows_of(step) for step in theirs]
        assert len({len(step) for step in ours}) == 1
        assert all(batch for step in ours for batch in step)
        tokens = [planned.tokens(batch) for step in ours for batch in step]
        assert max(tokens) <= budget
    # The loss of a step is a sum over batches of rows / mean_rows, divided by their number.
    per_step = len(ours[0]) * found.mean_rows, len(theirs[0]) * planned.mean_rows
    assert per_step[0] == pytest.approx(per_step[1]) == pytest.approx(len(ROWS) / len(theirs))


def test_tokens_are_those_of_the_pictures_and_the_rows():
    assert plan().tokens([0, 1, 5]) == 40 + 10 + 11 + 40 + 12


def test_more_processes_than_rows_of_a_step_are_refused():
    with pytest.raises(GroupingError, match="does not go into 40 batches; resume with fewer"):
        resumed.ResumedBatches(plan(), 40, 120, range(1))


def checkpoint(folder, batches):
    state = {"epoch": 1.25, "stateful_callbacks": {resumed.NAME: resumed.record(batches)}}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def arguments(processes):
    return SimpleNamespace(
        world_size=processes, num_train_epochs=2, max_steps=-1, gradient_accumulation_steps=1
    )


def test_the_plan_of_a_checkpoint_is_kept_also_when_resumed_again(tmp_path):
    first, args = plan(), arguments(1)
    again = resumed.resumed(plan(1, budget=100), checkpoint(tmp_path, first), args)
    assert rows_of(steps(again, 1, 1)[2]) == rows_of(steps(first, 2, 1)[2])
    assert args.gradient_accumulation_steps == again.batches_per_step > 1
    third = resumed.resumed(plan(3), checkpoint(tmp_path, again), arguments(3))
    assert rows_of(steps(third, 3, 1)[2]) == rows_of(steps(first, 2, 1)[2])
    same = plan()
    assert resumed.resumed(same, checkpoint(tmp_path, first), arguments(2)) is same


def test_a_checkpoint_of_before_says_nothing(tmp_path):
    (tmp_path / "trainer_state.json").write_text('{"epoch": 1.0}')
    ours = plan()
    assert resumed.resumed(ours, tmp_path, arguments(2)) is ours


@pytest.mark.parametrize(
    "theirs",
    [
        {"rows": [*ROWS, 10]},
        {"seed": 5},
        {"rows_per_step": 9},
        {"budget": None},
    ],
)
def test_other_rows_or_options_are_warned_about(tmp_path, caplog, theirs):
    ours = plan(1)
    assert resumed.resumed(ours, checkpoint(tmp_path, plan(**theirs)), arguments(1)) is ours
    assert "rows may come twice or not at all" in caplog.text
