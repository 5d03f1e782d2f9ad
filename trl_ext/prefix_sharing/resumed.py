"""Batches of a run that resumes with another number of processes, or another limit of tokens.

Which rows share a batch depends on both. A run that made another plan in the middle of an
epoch would see rows of that epoch twice and others not at all. So it keeps the optimizer steps of
the run that wrote the checkpoint, row by row, and deals the batches of each step to its own
processes, in parts where they are too few or too large.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path
from typing import Any

import xxhash
from torch.utils.data import Sampler

from trl_ext.prefix_sharing.batching import GroupingError, PictureBatchSampler
from trl_ext.prefix_sharing.dataset import set_accumulation

logger = logging.getLogger(__name__)

NAME = "PictureBatchSampler"
"""Key of the plan in `stateful_callbacks` of a checkpoint's `trainer_state.json`."""

Batch = list[int]


class ResumedBatches(Sampler[list[int]]):
    """The optimizer steps of a plan, their batches dealt to other processes.

    Args:
        planned: The plan of the run that wrote the checkpoint.
        processes: Processes of this run.
        token_budget: Most tokens per batch of this run.
        epochs: Epochs that this run will ask for.

    Raises:
        GroupingError: a step has fewer rows than it needs batches.
    """

    def __init__(
        self,
        planned: PictureBatchSampler,
        processes: int,
        token_budget: int | None,
        epochs: Iterable[int],
    ) -> None:
        self.planned = planned
        self._budget = token_budget
        self._planned_per_step: int = planned.batches_per_step * planned.options["processes"]
        steps = [step for epoch in epochs for step in self._steps(epoch)]
        most = max(map(len, steps))
        self._per_step = most + -most % processes
        fewest = min(sum(map(len, step)) for step in steps)
        if fewest < self._per_step:
            raise GroupingError(
                f"an optimizer step of {fewest} rows does not go into {self._per_step} batches; "
                "resume with fewer processes"
            )
        self.batches_per_step = self._per_step // processes
        self.mean_rows = planned.mean_rows * self._planned_per_step / self._per_step
        planned.set_epoch(0)

    def __len__(self) -> int:
        steps: int = len(self.planned) // self._planned_per_step
        return steps * self._per_step

    def set_epoch(self, epoch: int) -> None:
        """Draw the shuffles of `epoch` from now on."""
        self.planned.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        for step in self._steps(self.planned.epoch):
            batches = step
            while len(batches) < self._per_step:
                largest = max(batches, key=len)
                batches = [each for each in batches if each is not largest] + _halves(largest)
            # Processes wait for each other: those that take a turn together get batches alike.
            yield from sorted(batches, key=self.planned.tokens)

    def _steps(self, epoch: int) -> list[list[Batch]]:
        """Return the steps of an epoch, each as batches within the limit of tokens."""
        self.planned.set_epoch(epoch)
        batches = list(self.planned)
        size = self._planned_per_step
        return [
            [part for batch in batches[start : start + size] for part in self._fitting(batch)]
            for start in range(0, len(batches), size)
        ]

    def _fitting(self, batch: Batch) -> list[Batch]:
        if self._budget is None or len(batch) == 1 or self.planned.tokens(batch) <= self._budget:
            return [batch]
        return [part for half in _halves(batch) for part in self._fitting(half)]


def _halves(batch: Batch) -> list[Batch]:
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


def record(batches: PictureBatchSampler | ResumedBatches) -> dict[str, Any]:
    """Return what a checkpoint keeps of a plan, in the form of transformers' callback states."""
    planned = batches.planned if isinstance(batches, ResumedBatches) else batches
    return {"args": {}, "attributes": {**planned.options, "order": _order(planned)}}


def resumed(
    batches: PictureBatchSampler, checkpoint: Path, args: Any
) -> PictureBatchSampler | ResumedBatches:
    """Return the batches with which a run resumes that has planned `batches` for itself.

    Args:
        batches: The plan of this run.
        checkpoint: Folder of the checkpoint; one without a plan has that of this run.
        args: The trainer's; their `gradient_accumulation_steps` are set.
    """
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    kept = (state.get("stateful_callbacks") or {}).get(NAME)
    if not kept or kept["attributes"] == record(batches)["attributes"]:
        return batches
    options = dict(kept["attributes"])
    order = options.pop("order")
    ours = batches.options
    alike = all(options[name] == ours[name] for name in ("rows_per_step", "shuffle", "seed"))
    limited = [each["token_budget"] is not None for each in (options, ours)]
    if alike and ours["rows_per_step"] and limited[0] == limited[1]:
        planned = batches.replanned(**options)
        if _order(planned) == order:
            logger.info(
                "the optimizer steps are those of the checkpoint, of %d processes",
                options["processes"],
            )
            first, last = int(state.get("epoch") or 0), _epochs(batches, args)
            epochs = range(first, max(last, first + 1))
            dealt = ResumedBatches(planned, args.world_size, ours["token_budget"], epochs)
            set_accumulation(args, dealt.batches_per_step)
            return dealt
    logger.warning(
        "the batches are not those of the run that wrote %s (its rows, seed or options of batches "
        "differ): in the epoch that it was in, rows may come twice or not at all",
        checkpoint,
    )
    return batches


def _epochs(batches: PictureBatchSampler, args: Any) -> int:
    """Return the epochs of a run, the last one perhaps not whole."""
    if args.max_steps <= 0:
        return ceil(float(args.num_train_epochs))
    steps: int = len(batches) // (batches.batches_per_step * batches.options["processes"])
    return ceil(int(args.max_steps) / steps)


def _order(planned: PictureBatchSampler) -> str:
    """Return a digest of the plan's first epoch."""
    kept = planned.epoch
    planned.set_epoch(0)
    digest = xxhash.xxh3_64_hexdigest(repr(list(planned)).encode())
    planned.set_epoch(kept)
    return digest
