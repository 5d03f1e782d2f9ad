"""What `test_two_processes` launches under FSDP and ZeRO-3; the first process writes `found.json`.

accelerate launch --config_file FILE -m tests.trl_ext.prefix_sharing.launched WHAT DIR
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import SpyBenchError
from tests.trl_ext import tiny_models
from tests.trl_ext.rows import paired_rows
from tests.trl_ext.trainers import config, losses

declare_missing_ops()


def mixed_rows() -> list[dict[str, Any]]:
    """Every other row has no picture: with one row each, so has every other process."""
    with_pictures, without = paired_rows(4), paired_rows(4, images=0)
    return [
        row
        for pair in zip(with_pictures, without, strict=True)
        for row in (pair[0], {**pair[1], "images": []})
    ]


def run(folder: Path, rows: list[dict[str, Any]], model: Any, **options: Any) -> Any:
    """A trainer after training in the order of the rows."""
    from trl_ext import NCAPrivTrainer

    arguments = {"per_device_train_batch_size": 1, **options.pop("args", {})}
    args = config(folder, use_cpu=True, train_sampling_strategy="sequential", **arguments)
    trainer = NCAPrivTrainer(model, args=args, train_dataset=Dataset.from_list(rows), **options)
    trainer.train()
    return trainer


def mixed(folder: Path) -> list[float]:
    """Losses of rows with and without pictures; the model lies in the folder."""
    return losses(run(folder, mixed_rows(), str(folder / "model"), args={"max_steps": 4}))


def in_memory(folder: Path) -> dict[str, Any]:
    """What becomes of a model that no file holds."""
    found: dict[str, Any] = {}
    for way in ("alone", "precompute", "ref_model"):
        model, processor = tiny_models.build("qwen2_vl")
        options: dict[str, Any] = {"processing_class": processor}
        if way == "ref_model":
            options["ref_model"] = copy.deepcopy(model)
        args = {"precompute_ref_log_probs": way == "precompute"}
        try:
            trainer = run(folder / way, paired_rows(4), model, args=args, **options)
        except SpyBenchError as error:
            found[way] = str(error)
            continue
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        saved = [entry["prefix_sharing/tokens_saved"] for entry in history]
        found[way] = [*losses(trainer), *saved]
    return found


def main() -> None:
    from accelerate import PartialState

    what, folder = sys.argv[1], Path(sys.argv[2])
    found = {"mixed": mixed, "in_memory": in_memory}[what](folder)
    if PartialState().is_main_process:
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
