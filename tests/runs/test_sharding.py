"""Samples of one picture run together, and a shard consists of whole pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby

import pytest

from spy_plugin.benchmark.records import Sample
from spy_plugin.errors import SpyBenchError
from spy_plugin.runs.sharding import Shard, by_picture, samples_of_shard


def test_a_pictures_samples_stand_in_a_row_across_items(samples: list[Sample]) -> None:
    ordered = by_picture(samples)
    runs = [image for image, _ in groupby(ordered, key=lambda sample: sample.image_path)]
    assert runs == ["0.png", "1.png", "2.png", "3.png"]
    assert sorted(s.sample_id for s in ordered) == sorted(s.sample_id for s in samples)
    # Within a picture, in the order of the benchmark.
    first = [s.sample_id for s in ordered if s.image_path == "0.png"]
    assert first == [s.sample_id for s in samples if s.image_path == "0.png"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_every_sample_is_in_one_shard_with_all_of_its_picture(
    samples: list[Sample], count: int
) -> None:
    uneven = [
        replace(sample, image_path=f"{number * number // 97}.png", sample_id=str(number))
        for number, sample in enumerate(samples * 5)
    ]
    parts = [samples_of_shard(uneven, Shard(n, count)) for n in range(1, count + 1)]
    seen = Counter(sample.sample_id for part in parts for sample in part)
    assert seen == {sample.sample_id: 1 for sample in uneven}
    pictures = Counter(image for part in parts for image in {s.image_path for s in part})
    assert set(pictures.values()) == {1}
    largest = max(Counter(sample.image_path for sample in uneven).values())
    assert max(map(len, parts)) - min(map(len, parts)) <= largest


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(SpyBenchError, match="1/8 for the first of eight"):
        Shard.parse(text)
