"""Which samples run, and in what order: a picture's samples together, shards by whole pictures.

An engine that caches prefixes encodes a picture once if all its samples are consecutive; a shard
keeps this true, since no picture is split between two.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spy_plugin.benchmark.records import Sample
from spy_plugin.errors import SpyBenchError


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` parts, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``.

        Raises:
            SpyBenchError: the text is not a part.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise SpyBenchError(f"{text!r} is not a shard. Write 1/8 for the first of eight.")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def by_picture(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples with those of one picture consecutive, otherwise in order of mention."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.image_path].append(sample)
    return [sample for group in groups.values() for sample in group]


def samples_of_shard(samples: Sequence[Sample], shard: Shard) -> list[Sample]:
    """The samples of one shard, in order: whole pictures, about equally many samples a shard.

    Every sample is in exactly one shard, the same one on every machine.
    """
    sizes = Counter(sample.image_path for sample in samples)
    loads = [0] * shard.count
    chosen: set[str] = set()
    # The largest first, each to the shard that has least: no shard exceeds another by more than
    # one picture's samples.
    for image_path, size in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])):
        least = loads.index(min(loads))
        loads[least] += size
        if least == shard.number - 1:
            chosen.add(image_path)
    return [sample for sample in samples if sample.image_path in chosen]
