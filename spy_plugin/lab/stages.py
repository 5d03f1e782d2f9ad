"""The lab's stages: base, alignment by each method, evaluation in a host. Each stage runs once.

Alignment runs the scripts of `trl_ext` and evaluation the command line of the host, each in its own
process, so that the lab tests the commands that users run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from spy_plugin.embedded.lab import data
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.json import read_json
from spy_plugin.files.writing import write_atomically
from spy_plugin.lab import METHODS
from spy_plugin.lab.sizes import TINY, LabSize
from spy_plugin.lab.stage_process import launcher, run_logged
from spy_plugin.models.packaged import MAX_NEW_TOKENS

logger = logging.getLogger(__name__)

PROMPTS_PER_STEP = 32
"""The same for every method: a paired row holds two prompts, any other row one."""

PLAN = "lab_plan.json"
"""Settings of an alignment, written when it starts."""

RECORD = "lab_run.json"
"""Time and memory of an alignment, written when it is done."""


@dataclass(frozen=True)
class Plan:
    """What a lab runs.

    Attributes:
        out: Folder that receives all files.
        size: Model, data and settings.
        base: Folder of the base model to align; None trains one first.
        methods: Alignment methods.
        seeds: Alignments of each method.
        steps: Optimizer steps of each alignment.
        base_steps: Optimizer steps of the base.
        processes: Processes of each alignment (DDP on the CPU if more than one).
    """

    out: Path
    size: LabSize = TINY
    base: Path | None = None
    methods: tuple[str, ...] = METHODS
    seeds: int = 1
    steps: int = TINY.steps
    base_steps: int = TINY.base_steps
    processes: int = 1

    def runs(self) -> Iterator[tuple[str, int]]:
        """(method, seed) of every alignment."""
        yield from product(self.methods, range(self.seeds))


def base_model(plan: Plan) -> Path:
    """Return the folder of the base; train the base if the folder does not exist.

    Raises:
        SpyBenchError: The base belongs to another lab size, or cannot be trained.
    """
    folder = plan.base or plan.out / "base"
    if plan.base is None and not folder.is_dir():
        from tqdm import tqdm

        from spy_plugin.lab.base import train_base
        from spy_plugin.lab.recipe import load_recipe

        with tqdm(total=plan.base_steps, desc="base", unit="step", disable=None) as bar:

            def progress(_: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()

            recipe = load_recipe(plan.size.recipe)
            train_base(folder, recipe, steps=plan.base_steps, progress=progress)
    _check_size(folder, plan.size)
    return folder


def _check_size(base: Path, size: LabSize) -> None:
    """Refuse the base of another lab size."""
    config = read_json(base / "config.json", "Give the folder of a model.")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != size.model_type:
        raise SpyBenchError(
            f"{base} holds a {kind} model, but the base of size {size.name} is "
            f"a {size.model_type} model. Use the other --size, or another folder."
        )


def align(plan: Plan, base: Path, method: str, seed: int) -> Path:
    """Align the base by one method and return the new model's folder.

    A finished alignment is kept; an interrupted one resumes from its last checkpoint.

    Raises:
        SpyBenchError: The training failed, or the folder was started with other settings.
    """
    folder = plan.out / f"{method}-seed{seed}"
    _check_plan(plan, base, method, folder)
    if (folder / RECORD).is_file():
        logger.info("%s is already done", folder)
        return folder
    words = command(plan, base, method, seed, folder)
    seconds, memory = run_logged(words, folder / "train.log")
    record = {"seconds": seconds, "peak_memory_mib": memory}
    write_atomically(folder / RECORD, json.dumps(record) + "\n")
    return folder


def _check_plan(plan: Plan, base: Path, method: str, folder: Path) -> None:
    """Record the settings of an alignment; refuse a folder that was started with others."""
    weights = (base / "model.safetensors").read_bytes()
    wanted: dict[str, Any] = {"base": hashlib.sha256(weights).hexdigest()[:12]}
    wanted |= {"steps": plan.steps, "processes": plan.processes}
    wanted |= {"size": plan.size.name, **plan.size.settings[method]}
    path = folder / PLAN
    if not path.exists():
        write_atomically(path, json.dumps(wanted) + "\n")
        return
    found = read_json(path, "Delete its folder, or use another --out.")
    if found != wanted:
        raise SpyBenchError(
            f"{folder} was started with {found}, not with {wanted}. Use another --out."
        )


def command(plan: Plan, base: Path, method: str, seed: int, folder: Path) -> list[str]:
    """The command line of the training script."""
    rows = PROMPTS_PER_STEP // (2 if method == "nca_priv" else 1)
    options: dict[str, Any] = {
        "model_name_or_path": base,
        "data": data.build("train", plan.size.name),
        "output_dir": folder,
        "seed": seed,
        "max_steps": plan.steps,
        "per_device_train_batch_size": rows // plan.processes,
        "global_batch_size": rows,
        "per_device_eval_batch_size": 64,
        "dtype": "float32",
        "bf16": False,
        "gradient_checkpointing": False,
        "weight_decay": 0,
        "adam_beta2": 0.98,
        "score_steps": max(1, plan.steps // 8),
        "score_benchmark": plan.size.validation,
        "score_items": data.ITEMS["validation"],
        "score_max_new_tokens": MAX_NEW_TOKENS,
        "logging_steps": max(1, plan.steps // 30),
        "save_steps": 0.25,
        "report_to": "none",
        "resume_from_checkpoint": "last",
        **plan.size.options,
        **plan.size.settings[method],
    }
    if plan.processes > 1:
        options["use_cpu"] = True
    elif _on_gpu():
        options |= plan.size.gpu_options
    if method != "sft":  # TRL's SFTTrainer has no such option
        options["freeze_vision"] = True
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*launcher(plan.processes), f"trl_ext.scripts.{method}", *words]


def _on_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def evaluate(model: Path, work: Path, dataset: str) -> Path:
    """Run the test split in VLMEvalKit, judged by `rules`; return the file of verdicts.

    Raises:
        SpyBenchError: The host failed, or wrote no verdicts.
    """
    found = _verdict_file(work, dataset)
    if found is None:
        words = ["--data", dataset, "--model", f"hf:{model.resolve()}", "--judge", "rules"]
        words += ["--work-dir", str(work)]
        launch = [sys.executable, "-m", "spy_plugin.cli", "run", "vlmeval", "--", *words]
        work.mkdir(parents=True, exist_ok=True)
        run_logged(launch, work / "host.log")
        found = _verdict_file(work, dataset)
    if found is None:
        raise SpyBenchError(f"the host wrote no verdicts to {work}. Read {work / 'host.log'}.")
    return found


def _verdict_file(work: Path, dataset: str) -> Path | None:
    return next(iter(sorted(work.rglob(f"*_{dataset}_*verdicts.jsonl"))), None)


def training_log(folder: Path) -> list[dict[str, Any]]:
    """The trainer's log history in the last checkpoint of a run; empty without a checkpoint."""
    states = sorted(
        folder.glob("checkpoint-*/trainer_state.json"),
        key=lambda path: int(path.parent.name.rpartition("-")[2]),
    )
    if not states:
        return []
    state = json.loads(states[-1].read_text(encoding="utf-8"))  # as the trainer wrote it, with NaN
    logged: list[dict[str, Any]] = state["log_history"]
    return logged
