"""Replicas of a model on several processes that share the work of their optimizer.

Each process updates some of the weights, keeps their moving averages alone, and sends the new
weights to the others while it updates the next: the first stage of ZeRO (arXiv:1910.02054), for
the gradients that DistributedDataParallel has summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class ShardedUpdate:
    """Which process updates which weight: the largest first, each to the one with least to do.

    Args:
        weights: The same on all processes, in the same order; contiguous.

    Attributes:
        owners: Weight -> the rank of its process.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self.rank = dist.get_rank()
        self.owners: dict[Tensor, int] = {}
        sizes = [0] * dist.get_world_size()
        for weight in sorted(weights, key=torch.numel, reverse=True):
            owner = self.owners[weight] = sizes.index(min(sizes))
            sizes[owner] += weight.numel()

    def step(self, update: Callable[[Tensor], None]) -> None:
        """Update the weights that have gradients, on all processes.

        Args:
            update: Called with each weight of this process.
        """
        sent = []
        for weight, owner in self.owners.items():
            if weight.grad is None:
                continue
            if owner == self.rank:
                update(weight)
            sent.append(dist.broadcast(weight.detach(), owner, async_op=True))
        for each in sent:
            each.wait()

    def drop_states_of_others(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget what a checkpoint holds for other processes."""
        for weight, owner in self.owners.items():
            if owner != self.rank:
                optimizer.state.pop(weight, None)

    @contextmanager
    def whole_states(self, optimizer: Any) -> Iterator[None]:
        """Give the first process all states, in main memory, for a checkpoint as one process saves
        it. All processes must call this.

        Args:
            optimizer: Of torchao, with a `step`, `exp_avg` and `exp_avg_sq` for each weight.
        """
        for weight, owner in self.owners.items():
            mine = owner == self.rank
            state = optimizer.state.get(weight, {})
            step = state.get("step", torch.tensor(0.0)).to(weight.device, copy=True)
            dist.broadcast(step, owner)
            if not step:
                continue
            received: dict[str, Tensor] = {"step": step.cpu()}
            for name in ("exp_avg", "exp_avg_sq"):
                average = state[name] if mine else optimizer.empty_state(weight, name)
                for part in (average.codes, average.scale):
                    dist.broadcast(part, owner)
                received[name] = average
            if not mine and self.rank == 0:
                optimizer.state[weight] = {key: each.cpu() for key, each in received.items()}
        try:
            yield
        finally:
            self.drop_states_of_others(optimizer)
