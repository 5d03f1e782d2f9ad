"""Batches by picture: every row once, equal weights, a token budget, shuffled, any processes."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from trl_ext.prefix_sharing.batching import GroupingError, PictureBatchSampler

PICTURES = [f"picture {row // 4}" for row in range(48)]

row_lists = st.lists(st.integers(0, 9), min_size=4, max_size=60)


def batches(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return list(sampler)


@settings(max_examples=60, deadline=None)
@given(row_lists, st.integers(1, 8), st.integers(1, 4), st.integers(0, 3))
def test_every_row_comes_once_an_epoch_and_no_batch_is_empty(pictures, size, processes, epoch):
    sampler = PictureBatchSampler(pictures, size, processes=processes)
    found = batches(sampler, epoch)
    assert sorted(row for batch in found for row in batch) == list(range(len(pictures)))
    assert all(found)
    assert len(found) == len(sampler)
    assert len(found) % processes == 0


@settings(max_examples=60, deadline=None)
@given(row_lists, st.integers(0, 3), st.data())
def test_no_batch_exceeds_the_token_budget_in_any_epoch(pictures, epoch, data):
    shared = [100 + 10 * picture for picture in pictures]
    own = [data.draw(st.integers(10, 40)) for _ in pictures]
    sampler = PictureBatchSampler(
        pictures, 8, picture_tokens=shared, row_tokens=[30] * len(own), token_budget=300
    )
    for batch in batches(sampler, epoch):
        tokens = sum({pictures[row]: shared[row] for row in batch}.values()) + 30 * len(batch)
        assert tokens <= 300


def test_rows_of_a_picture_stay_together_where_they_fit():
    found = batches(PictureBatchSampler(PICTURES, 8))
    assert len(found) == 6
    for batch in found:
        assert len(batch) == 8
        assert Counter(PICTURES[row] for row in batch).most_common()[-1][1] == 4


def test_more_rows_of_a_picture_than_a_batch_holds_go_into_even_parts():
    found = batches(PictureBatchSampler(["one"] * 10, 4))
    assert sorted(map(len, found)) == [3, 3, 4]


def test_epochs_differ_in_order_in_company_and_within_a_picture():
    sampler = PictureBatchSampler(PICTURES, 8, seed=1)
    first, second = batches(sampler, 0), batches(sampler, 1)
    assert first == batches(sampler, 0)
    company = [
        {frozenset(PICTURES[row] for row in batch) for batch in epoch} for epoch in (first, second)
    ]
    assert company[0] != company[1]
    assert [[PICTURES[row] for row in batch] for batch in first] != [
        [PICTURES[row] for row in batch] for batch in second
    ]
    many = PictureBatchSampler(["one"] * 8, 8)
    assert batches(many, 0) != batches(many, 1)
    assert batches(sampler, 0) != batches(PictureBatchSampler(PICTURES, 8, seed=2), 0)


def test_the_number_of_batches_is_the_same_in_every_epoch():
    pictures = [row // (1 + row % 5) for row in range(200)]
    tokens = [50 + 13 * (picture % 7) for picture in pictures]
    sampler = PictureBatchSampler(pictures, 8, picture_tokens=tokens, token_budget=400, processes=4)
    assert {len(batches(sampler, epoch)) for epoch in range(6)} == {len(sampler)}


def test_a_sum_over_mean_rows_weighs_every_row_alike():
    pictures = [0] * 5 + [1] * 2 + [2] * 7 + [3]
    sampler = PictureBatchSampler(pictures, 4, processes=2)
    gradient = [float(row**2) for row in range(len(pictures))]
    steps = [sum(gradient[row] for row in batch) / sampler.mean_rows for batch in batches(sampler)]
    assert sum(steps) / len(steps) == pytest.approx(sum(gradient) / len(gradient))


def test_batches_hold_about_equal_tokens():
    pictures = [row // 3 for row in range(300)]
    tokens = [300 + 37 * (picture % 29) for picture in pictures]
    sampler = PictureBatchSampler(
        pictures, 8, picture_tokens=tokens, row_tokens=[100] * 300, processes=2
    )
    loads = [
        sum({pictures[row]: tokens[row] for row in batch}.values()) + 100 * len(batch)
        for batch in batches(sampler)
    ]
    assert max(loads) < 1.25 * sum(loads) / len(loads)


def time_of(sampler, processes, tokens):
    """Share of the time that processes work, where each batch takes its tokens and all wait for the
    slowest of a turn; over three epochs."""
    work = waited = 0
    for epoch in range(3):
        found = [tokens(batch) for batch in batches(sampler, epoch)]
        turns = [found[i : i + processes] for i in range(0, len(found), processes)]
        work += sum(found)
        waited += processes * sum(map(max, turns))
    return work / waited


@pytest.mark.parametrize("processes", [2, 4])
def test_batches_that_processes_take_at_the_same_time_are_alike(processes):
    pictures = [row // 8 for row in range(640)]
    shared = [300 + 37 * (picture % 28) for picture in pictures]
    sampler = PictureBatchSampler(
        pictures, 8, picture_tokens=shared, row_tokens=[60] * 640, rows_per_step=32,
        processes=processes,
    )  # fmt: skip

    def tokens(batch):
        return sum({pictures[row]: shared[row] for row in batch}.values()) + 60 * len(batch)

    assert len(sampler) == 80
    assert time_of(sampler, processes, tokens) > 0.96  # of batches in any order 0.8
    # Which pictures are trained on in one step still changes.
    steps = [
        {
            frozenset(pictures[row] for batch in found[i : i + 4] for row in batch)
            for i in range(0, len(found), 4)
        }
        for found in (batches(sampler, 0), batches(sampler, 1))
    ]
    assert len(steps[0] & steps[1]) < 3


@pytest.mark.parametrize("processes", [2, 4])
def test_pictures_that_are_alike_give_all_processes_the_same_work(processes):
    pictures = [row // 8 for row in range(640)]
    sampler = PictureBatchSampler(
        pictures, 8, picture_tokens=[1000] * 640, row_tokens=[150] * 640, token_budget=3831,
        rows_per_step=32, processes=processes,
    )  # fmt: skip
    assert {len(batch) for batch in batches(sampler)} == {8}
    assert sampler.batches_per_step == 4 // processes


def test_a_row_above_the_budget_is_named():
    with pytest.raises(
        GroupingError, match="picture 'a' takes 900 tokens, above the budget of 500"
    ):
        PictureBatchSampler(["a"], 1, picture_tokens=[800], row_tokens=[100], token_budget=500)


def test_fewer_rows_than_processes_are_refused():
    with pytest.raises(GroupingError, match="3 rows are too few for 4 processes"):
        PictureBatchSampler([1, 2, 3], 1, processes=4)


def test_two_processes_get_disjoint_batches_that_cover_everything():
    accelerate = pytest.importorskip("accelerate.data_loader")
    sampler = PictureBatchSampler(PICTURES, 4, processes=2)
    shards = [
        accelerate.BatchSamplerShard(sampler, 2, index, even_batches=False) for index in range(2)
    ]
    found = [list(shard) for shard in shards]
    assert len(found[0]) == len(found[1]) == len(sampler) // 2
    rows = [row for shard in found for batch in shard for row in batch]
    assert sorted(rows) == list(range(len(PICTURES)))
