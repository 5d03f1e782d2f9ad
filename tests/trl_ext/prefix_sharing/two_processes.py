"""What two (or three) processes do in `test_two_processes`; each writes what it saw as JSON.

python -m torch.distributed.run --nproc-per-node 2 -m tests.trl_ext.prefix_sharing.two_processes DIR
"""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from spy_plugin.compat.torchvision import declare_missing_ops
from tests.trl_ext import tiny_models
from tests.trl_ext.loops import train_naively
from tests.trl_ext.rows import paired_rows
from tests.trl_ext.trainers import config

declare_missing_ops()

RATE, BETA = 1e-3, 0.3
PICTURES = [5, 1, 3, 2, 3]
"""Rows of each picture."""


def rows() -> list[dict[str, Any]]:
    owners = [picture for picture, size in enumerate(PICTURES) for _ in range(size)]
    return [
        {
            **row,
            "images": [tiny_models.picture(owner)],
            "image_id": f"image-{owner}",
            "item_id": str(number),
        }
        for number, (row, owner) in enumerate(zip(paired_rows(len(owners)), owners, strict=True))
    ]


class Run:
    """A trainer that notes the rows of each batch, and whether it exchanges gradients after it."""

    def __init__(self, folder: Path, model: Any, processor: Any, **options: Any) -> None:
        from datasets import Dataset

        from trl_ext import NCAPrivTrainer

        options = {"beta": BETA, "learning_rate": RATE, "max_grad_norm": 0.0, **options}
        options = {"num_train_epochs": 2, **options}
        args = config(
            folder,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_steps=-1,
            remove_unused_columns=False,
            save_steps=1,
            use_cpu=True,
            **options,
        )
        self.seen: list[list[int]] = []
        self.trainer = NCAPrivTrainer(
            copy.deepcopy(model),
            copy.deepcopy(model),
            args=args,
            train_dataset=Dataset.from_list(rows()),
            processing_class=processor,
        )
        self.collate = self.trainer.data_collator
        self.trainer.data_collator = self.noting
        self.synced: list[bool] = []
        self.views = False
        self.compute_loss = self.trainer.compute_loss
        self.trainer.compute_loss = self.noting_sync

    def noting(self, batch: list[dict[str, Any]]) -> Any:
        self.seen.append([int(row["item_id"]) for row in batch])
        return self.collate(batch)

    def noting_sync(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        self.synced.append(model.require_backward_grad_sync)
        self.views = model.gradient_as_bucket_view
        return self.compute_loss(model, *args, **kwargs)

    def train(self, resume: str | None = None) -> Run:
        self.trainer.train(resume_from_checkpoint=resume)
        return self


def resumed_in_last_epoch(folder: Path, sharing: str, epochs: int = 2) -> dict[str, Any]:
    """A run that is killed one step into its last epoch, and one that is not."""
    model, processor = tiny_models.build("qwen2_vl")
    size = 3 if sharing == "image" else 1
    options = {"prefix_sharing": sharing, "per_device_train_batch_size": size}
    options |= {"num_train_epochs": epochs}
    whole = Run(folder, model, processor, save_strategy="steps", **options).train()
    steps = whole.trainer.state.global_step // epochs
    batches = len(whole.seen) // epochs
    killed = steps * (epochs - 1) + 1
    again = Run(folder, model, processor, save_strategy="no", **options)
    again.train(f"{folder}/checkpoint-{killed}")
    last = whole.seen[-batches:]
    return {
        "epoch": last[:1] + again.seen[-(batches - 1) :],
        "whole": last,
        "apart": apart(whole.trainer.model, again.trainer.model),
    }


def shared_update(folder: Path) -> dict[str, Any]:
    """An 8-bit optimizer whose updates the processes share, resumed as the runs above are."""
    from accelerate.utils import gather_object

    model, processor = tiny_models.build("qwen2_vl", dtype=torch.bfloat16)
    options = {"optim": "adamw_torch_8bit", "optim_args": "bf16_stochastic_round=True"}
    options |= {"save_strategy": "steps", "num_train_epochs": 1, "per_device_train_batch_size": 3}
    whole = Run(folder, model, processor, **options).train()
    again = Run(folder, model, processor, **options).train(f"{folder}/checkpoint-1")
    optimizer = whole.trainer.optimizer.optimizer
    weights = [each for group in optimizer.param_groups for each in group["params"]]
    sums = [each.double().sum().item() for each in weights]
    return {
        "steps": whole.trainer.state.global_step,
        "apart": apart(whole.trainer.model, again.trainer.model),
        "moved": apart(model.to(whole.trainer.args.device), whole.trainer.model),
        "states": [each in optimizer.state for each in weights],
        "replicas": gather_object([sums]),
    }


def apart(one: Any, other: Any) -> float:
    """Root of the summed squares of what the weights differ by."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return float(sum((a - b).square().sum().item() for a, b in pairs) ** 0.5)


STEPS = {
    "prefix_sharing": "image", "rows_per_step": 7, "per_device_train_batch_size": 2
}  # fmt: skip
KILLED = 3
"""The checkpoint in the second epoch of two steps with which other numbers of processes resume."""


def whole_run(folder: Path) -> dict[str, Any]:
    """A run whose checkpoints and weights are kept."""
    model, processor = tiny_models.build("qwen2_vl")
    run = Run(folder, model, processor, save_strategy="steps", **STEPS).train()
    weights = run.trainer.accelerator.unwrap_model(run.trainer.model).state_dict()
    if run.trainer.is_world_process_zero():
        torch.save(weights, folder / "whole.pt")
    return {"seen": run.seen, "accumulated": run.trainer.args.gradient_accumulation_steps}


def resumed_elsewhere(folder: Path) -> dict[str, Any]:
    """The same run, resumed by the processes there are here."""
    model, processor = tiny_models.build("qwen2_vl")
    run = Run(folder, model, processor, save_strategy="no", **STEPS)
    run.train(f"{folder}/checkpoint-{KILLED}")
    trained = run.trainer.accelerator.unwrap_model(run.trainer.model)
    whole = copy.deepcopy(trained)
    whole.load_state_dict(torch.load(folder / "whole.pt"))
    return {
        "seen": run.seen,
        "accumulated": run.trainer.args.gradient_accumulation_steps,
        "apart": apart(trained, whole),
    }


def steps_of_unequal_groups(folder: Path) -> dict[str, Any]:
    """Grouped by picture, accumulated, on both processes, against the loop that knows neither."""
    from accelerate.utils import gather_object

    model, processor = tiny_models.build("qwen2_vl", dtype=torch.float64)
    run = Run(
        folder, model, processor, prefix_sharing="image", rows_per_step=7, save_strategy="no",
        per_device_train_batch_size=1, accelerator_config={"split_batches": True},
    )  # fmt: skip
    run.trainer.train()
    batches = gather_object([run.seen])
    count = run.trainer.args.gradient_accumulation_steps
    steps = [
        [batch for seen in batches for batch in seen[start : start + count]]
        for start in range(0, len(run.seen), count)
    ]
    start = copy.deepcopy(model)
    train_naively(
        model, None, processor, rows(), steps, beta=BETA, learning_rate=RATE,
        mean_rows=run.trainer.batches.mean_rows,
    )  # fmt: skip
    return {
        "sizes": sorted(len(batch) for step in steps for batch in step),
        "rows": [sum(map(len, step)) for step in steps],
        "apart": apart(run.trainer.model, model),
        "moved": apart(start, model),
    }


def exchanges(folder: Path) -> tuple[list[bool], bool]:
    """Whether gradients are exchanged after each batch, of which a step has two; and whether they
    are views of the memory that is summed."""
    model, processor = tiny_models.build("qwen2_vl")
    run = Run(
        folder, model, processor, prefix_sharing="image", per_device_train_batch_size=2,
        gradient_accumulation_steps=2, num_train_epochs=1, save_strategy="no",
    )  # fmt: skip
    run.train()
    return run.synced, run.views


def split_batches(folder: Path) -> list[list[int]]:
    """Accelerate's `split_batches`: a batch is that of all processes together."""
    model, processor = tiny_models.build("qwen2_vl")
    run = Run(
        folder, model, processor, save_strategy="no", per_device_train_batch_size=4,
        accelerator_config={"split_batches": True},
    )  # fmt: skip
    return run.train().seen


def main() -> None:
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    found: dict[str, Any]
    if (folder / "whole").exists():
        found = resumed_elsewhere(folder / "whole")
    elif os.environ["WORLD_SIZE"] == "3":
        found = {"image": resumed_in_last_epoch(folder / "image", "image", 3)}
    else:
        found = {
            "row": resumed_in_last_epoch(folder / "row", "row"),
            "image": resumed_in_last_epoch(folder / "image", "image"),
            "steps": steps_of_unequal_groups(folder / "steps"),
            "split": split_batches(folder / "split"),
            "shared_update": shared_update(folder / "shared_update"),
            "synced": exchanges(folder / "synced"),
            "whole": whole_run(folder / "whole"),
        }
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
