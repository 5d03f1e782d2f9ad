"""What the processes of `test_sharded_update` do; each writes what it saw as JSON.

python -m torch.distributed.run --nproc-per-node 3 -m tests.trl_ext.sharded_steps DIR
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torchao.optim import AdamW8bit

from trl_ext.rounding import flattened

SHAPES = ((64, 256), (128,), (96, 128), (300,), (32, 160), (1, 4096))
NEVER = 4
"""The place of a weight that has no gradient in the first steps."""


def optimizer_of(weights: list[Any], rounded: bool) -> Any:
    decayed, others = weights[::2], weights[1::2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return flattened(AdamW8bit)(groups, lr=1e-2, bf16_stochastic_round=rounded)


def new_weights(dtype: Any) -> list[Any]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]


def take_steps(weights: list[Any], optimizer: Any, first: int, number: int) -> None:
    for step in range(first, first + number):
        torch.manual_seed(step)
        for place, weight in enumerate(weights):
            grad = torch.randn(weight.shape).to(weight.dtype)
            weight.grad = None if place == NEVER and step < 3 else grad
        optimizer.step()


def same(some: list[Any], others: list[Any]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def parts(states: dict[int, dict[str, Any]]) -> list[Any]:
    """The tensors that a state dict's states hold, in order."""
    return [
        part
        for _, state in sorted(states.items())
        for _, each in sorted(state.items())
        for part in ((each.codes, each.scale) if hasattr(each, "codes") else (each,))
    ]


def against_one(folder: Path) -> dict[str, Any]:
    """Steps, a checkpoint, and steps after it, with shared updates and without."""
    alone, shared = new_weights(torch.float32), new_weights(torch.float32)
    one, ours = optimizer_of(alone, False), optimizer_of(shared, False)
    ours.shard()
    found: dict[str, Any] = {"owned": [], "checkpoint": [], "weights": []}
    for first in (0, 2, 4):  # the weight without a gradient has no state yet, a new one, an old one
        take_steps(alone, one, first, 2)
        take_steps(shared, ours, first, 2)
        found["weights"].append(same(alone, shared))
        found["owned"].append([place for place, w in enumerate(shared) if ours.state.get(w)])
        with ours.sharded.whole_states(ours):
            if dist.get_rank() == 0:
                saved = ours.state_dict()
                torch.save(saved, folder / f"{first}.pt")
                expected = parts(one.state_dict()["state"])
                found["checkpoint"].append(same(parts(saved["state"]), expected))
        dist.barrier()
        after = new_weights(torch.float32)
        for weight, trained in zip(after, shared, strict=True):
            weight.data.copy_(trained)
        shared, ours = after, optimizer_of(after, False)  # as a run that is resumed has them
        ours.shard()
        ours.load_state_dict(torch.load(folder / f"{first}.pt", weights_only=True))
    return found


def rounded() -> list[float]:
    """Sums of weights after stochastic rounding, where replicas must be equal."""
    weights = new_weights(torch.bfloat16)
    optimizer = optimizer_of(weights, True)
    optimizer.shard()
    take_steps(weights, optimizer, 0, 4)
    return [weight.double().sum().item() for weight in weights]


def main() -> None:
    torch.set_num_threads(1)
    torch.compiler.set_stance("force_eager")
    dist.init_process_group("gloo")
    folder = Path(sys.argv[1])
    found = against_one(folder) | {"rounded": rounded()}
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
