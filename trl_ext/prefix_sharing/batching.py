"""Batches that hold the rows of one picture together, so that a prefix tree computes it once.

In contrast to shuffled rows, rows of one picture share a step (or a few neighbouring ones, where
they are many). As with shuffled rows, every row is seen once per epoch and has the same weight.
Batches hold different numbers of rows, so a step's loss has to be the *sum* over its rows divided
by `mean_rows`, the same for all batches; then the expected gradient is that of shuffled rows. (A
mean over each batch's own rows would give rows of small batches more weight.)

Batches are balanced by tokens, largest part first to the emptiest batch, so that memory is bounded;
those that several processes take at the same time are alike in tokens, since each process waits for
the slowest.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Hashable, Iterator, Sequence
from math import ceil
from typing import Any

from torch.utils.data import Sampler

from spy_plugin.errors import SpyBenchError

ALIKE = 16
"""Turns of all processes among whose batches those of one turn are chosen: fewer leave them less
alike, and more put the same pictures together in every epoch."""
CLASSES = 32
"""Parts whose token counts differ by less than 1/32 of a batch are exchanged between epochs."""

Part = tuple[Hashable, int]
"""A picture, and a number of its rows."""


class GroupingError(SpyBenchError, ValueError):
    """The rows cannot be grouped with these options."""


class PictureBatchSampler(Sampler[list[int]]):
    """Sampler of batches of row indices, the rows of one picture together.

    The number of batches is the same in every epoch and a multiple of `processes`, which take
    them in turn (as Accelerate's `BatchSamplerShard` deals them out). Rows within a picture, the
    pictures that share a batch and the order of batches are shuffled again for every epoch;
    batches of one turn have about the same number of tokens.

    Args:
        pictures: Key of each row's picture; equal keys are the same picture.
        rows_per_batch: Mean rows per batch, and most rows of one picture in a batch.
        picture_tokens: Tokens that rows of a picture share, for each row (equal for equal
            pictures).
        row_tokens: Tokens that each row adds.
        token_budget: Most tokens per batch. Without a limit, `rows_per_batch` sets the number of
            batches.
        rows_per_step: Mean rows per optimizer step of all processes. It sets the number of steps
            per epoch, each of `batches_per_step` batches on every process.
        processes: Number of processes that step together.
        shuffle: Whether epochs differ; otherwise pictures and rows keep their order.
        seed: Seed of the shuffles, together with the epoch.
    """

    def __init__(
        self,
        pictures: Sequence[Hashable],
        rows_per_batch: int,
        *,
        picture_tokens: Sequence[int] | None = None,
        row_tokens: Sequence[int] | None = None,
        token_budget: int | None = None,
        rows_per_step: int | None = None,
        processes: int = 1,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        rows = len(pictures)
        steps = 1 if rows_per_step is None else max(1, round(rows / rows_per_step))
        if rows < steps * processes:
            raise GroupingError(
                f"{rows} rows are too few for {processes} processes"
                + (f" and {rows_per_step} rows per step" if rows_per_step else "")
                + "; use fewer processes or more rows per step"
            )
        self.options: dict[str, Any] = {
            "rows_per_batch": rows_per_batch,
            "token_budget": token_budget,
            "rows_per_step": rows_per_step,
            "processes": processes,
            "shuffle": shuffle,
            "seed": seed,
        }
        self._seed, self._shuffle, self.epoch, self._processes = seed, shuffle, 0, processes
        self._pictures = list(pictures)
        self._groups: dict[Hashable, list[int]] = {}
        for row, picture in enumerate(pictures):
            self._groups.setdefault(picture, []).append(row)
        self._shared = list(picture_tokens or [0] * rows)
        self._own = list(row_tokens or [1] * rows)
        self._parts = self._cut(rows_per_batch, token_budget)
        total = sum(self._tokens(*part) for part in self._parts)
        target = token_budget or total / ceil(rows / rows_per_batch)
        self._unit = max(1, ceil(target / CLASSES))
        multiple = steps * processes
        most = rows - rows % multiple  # a batch has at least a row
        self._number = min(most, _up_to(max(1, ceil(total / target)), multiple))
        self._split_parts()
        while token_budget is not None and self._exceeds(token_budget):
            if self._number == most:
                raise GroupingError(
                    f"{rows} rows do not go into a multiple of {multiple} batches of "
                    f"{token_budget} tokens; raise the budget, or use fewer processes or more rows "
                    "per step"
                )
            self._number += multiple
            self._split_parts()
        self.pictures = len(self._groups)
        self.mean_rows = rows / self._number
        self.batches_per_step = self._number // multiple

    def __len__(self) -> int:
        return self._number

    def set_epoch(self, epoch: int) -> None:
        """Draw the shuffles of `epoch` from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        draw = random.Random(f"{self._seed} {self.epoch}")
        left = {picture: list(reversed(own)) for picture, own in self._groups.items()}
        if self._shuffle:
            left = {picture: draw.sample(own, len(own)) for picture, own in left.items()}
        batches = self._deal(draw if self._shuffle else None)
        if self._shuffle:
            draw.shuffle(batches)
            batches = self._alike(batches, draw)
        else:
            batches.sort(key=lambda batch: min(self._groups[picture][0] for picture, _ in batch))
        for batch in batches:
            yield [left[picture].pop() for picture, size in batch for _ in range(size)]

    def tokens(self, rows: Sequence[int]) -> int:
        """Return the tokens of these rows in one batch."""
        shown = {self._pictures[row]: self._shared[row] for row in rows}
        return sum(shown.values()) + sum(self._own[row] for row in rows)

    def replanned(self, **options: Any) -> PictureBatchSampler:
        """Return a plan for the same rows with other `options`."""
        return PictureBatchSampler(
            self._pictures,
            picture_tokens=self._shared,
            row_tokens=self._own,
            **{**self.options, **options},
        )

    def _alike(self, batches: list[list[Part]], draw: random.Random) -> list[list[Part]]:
        """Order shuffled batches so that those of one turn of the processes are alike in tokens."""
        if self._processes == 1:
            return batches
        turns: list[list[list[Part]]] = []
        for some in _pieces(batches, ALIKE * self._processes):
            turns += _pieces(sorted(some, key=self._load), self._processes)
        draw.shuffle(turns)
        return [batch for turn in turns for batch in draw.sample(turn, len(turn))]

    def _load(self, batch: list[Part]) -> int:
        return sum(self._tokens(*part) for part in batch)

    def _cut(self, rows_per_batch: int, budget: int | None) -> list[Part]:
        """Cut each picture's rows into as few, even parts as batches can hold."""
        parts: list[Part] = []
        for picture, own in self._groups.items():
            most = min(rows_per_batch, len(own))
            if budget is not None:
                while most and self._tokens(picture, most) > budget:
                    most -= 1
            if not most:
                raise GroupingError(
                    f"a row of picture {picture!r} takes {self._tokens(picture, 1)} tokens, above "
                    f"the budget of {budget}; raise the budget or make pictures smaller"
                )
            number = ceil(len(own) / most)
            parts += [(picture, (len(own) + i) // number) for i in range(number)]
        return parts

    def _split_parts(self) -> None:
        """Halve the largest parts until there is one for every batch."""
        while len(self._parts) < self._number:
            self._parts.sort(key=lambda part: part[1])
            picture, size = self._parts.pop()
            self._parts += [(picture, size // 2), (picture, size - size // 2)]

    def _tokens(self, picture: Hashable, rows: int) -> int:
        """Return shared picture tokens plus `rows` times the mean row tokens."""
        own = self._groups[picture]
        return self._shared[own[0]] + ceil(rows * sum(self._own[row] for row in own) / len(own))

    def _classes(self, part: Part) -> int:
        return ceil(self._tokens(*part) / self._unit)

    def _exceeds(self, budget: int) -> bool:
        """Return whether a batch could, in some epoch, hold more tokens than `budget`."""
        return any(
            len(batch) > 1 and sum(map(self._classes, batch)) * self._unit > budget
            for batch in self._deal(None)
        )

    def _deal(self, draw: random.Random | None) -> list[list[Part]]:
        """Deal parts to batches: the largest first, each to the batch with the fewest tokens.

        Loads are counted in classes, so that which batch gets a part depends on its class alone:
        the shuffle decides among equals, and the largest load is the same in every epoch.
        """
        parts = [(self._classes(part), part) for part in self._parts]
        if draw is not None:
            draw.shuffle(parts)
        parts.sort(key=lambda sized: -sized[0])
        batches: list[list[Part]] = [[] for _ in range(self._number)]
        heap = [(0, index) for index in range(self._number)]
        for load, part in parts:
            least, index = heap[0]
            batches[index].append(part)
            heapq.heapreplace(heap, (least + load, index))
        return batches


def _pieces(batches: list[list[Part]], size: int) -> list[list[list[Part]]]:
    return [batches[start : start + size] for start in range(0, len(batches), size)]


def _up_to(number: int, multiple: int) -> int:
    return number + -number % multiple
