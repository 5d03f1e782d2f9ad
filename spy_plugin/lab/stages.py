"""The lab's stages: base, alignment by each method, evaluation in a host. Each stage runs once.

Alignment runs the scripts of `trl_ext` and evaluation the command line of the host, each in its own
process, so that the lab tests the commands that users run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spy_plugin.embedded.lab import data
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.json import read_json
from spy_plugin.files.writing import write_atomically
from spy_plugin.judging.metadata import judged_run_file
from spy_plugin.lab import METHODS, PREFIX_SHARING
from spy_plugin.lab.arms import BASE, Arm, arm_of
from spy_plugin.lab.sizes import TINY, LabSize
from spy_plugin.lab.stage_process import Launch, cores, launcher, run_logged
from spy_plugin.models.packaged import MAX_NEW_TOKENS

logger = logging.getLogger(__name__)

PROMPTS_PER_STEP = 32
"""The same for every method: a paired row holds two prompts, any other row one."""

PLAN = "lab_plan.json"
"""Settings of an alignment, written when it starts."""

RECORD = "lab_run.json"
"""Time, memory, device and versions of a training, written when it is done."""

_PACKAGES = ("torch", "transformers", "trl")


@dataclass(frozen=True)
class Alignment:
    """One training of the base.

    Attributes:
        prefix_sharing: The trainer's option; None for SFT, which has none.
    """

    method: str
    seed: int = 0
    prefix_sharing: str | None = None

    @property
    def arm(self) -> Arm:
        """What alignments with other seeds share."""
        return arm_of(self.method, self.prefix_sharing)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arm}-seed{self.seed}"


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
        prefix_sharing: Each alignment but SFT is done with each of these.
        jobs: Alignments and evaluations that run at the same time.
    """

    out: Path
    size: LabSize = TINY
    base: Path | None = None
    methods: tuple[str, ...] = METHODS
    seeds: int = 1
    steps: int = TINY.steps
    base_steps: int = TINY.base_steps
    processes: int = 1
    prefix_sharing: tuple[str, ...] = PREFIX_SHARING[:1]
    jobs: int = 1

    def alignments(self) -> Iterator[Alignment]:
        """Every alignment, in the order in which they start."""
        for method in self.methods:
            # TRL's SFTTrainer knows nothing of shared prefixes.
            for sharing in (None,) if method == "sft" else self.prefix_sharing:
                yield from (Alignment(method, seed, sharing) for seed in range(self.seeds))


def base_model(plan: Plan) -> Path:
    """Return the folder of the base; train the base if the folder does not exist.

    Raises:
        SpyBenchError: The base belongs to another lab size, or cannot be trained.
    """
    folder = plan.base or plan.out / BASE
    if plan.base is None and not folder.is_dir():
        from tqdm import tqdm

        from spy_plugin.lab.base import train_base
        from spy_plugin.lab.recipe import load_recipe

        with tqdm(total=plan.base_steps, desc="base", unit="step", disable=None) as bar:

            def progress(_: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()

            recipe, started = load_recipe(plan.size.recipe), time.monotonic()
            train_base(folder, recipe, steps=plan.base_steps, progress=progress)
            seconds = time.monotonic() - started
            _record(folder, _device(), seconds=seconds, steps=plan.base_steps)
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


def _record(folder: Path, device: str, **measured: float) -> None:
    """Write down what a training took, and on what."""
    record = {**measured, "device": device, "versions": versions()}
    write_atomically(folder / RECORD, json.dumps(record) + "\n")


def versions() -> dict[str, str]:
    """Package -> version in this environment."""
    return {package: version(package) for package in _PACKAGES}


def read_record(folder: Path) -> dict[str, Any]:
    """What a training took, and on what; empty if it left no record."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    record: dict[str, Any] = read_json(path, "Delete its folder: the training is done again.")
    return record


def align(plan: Plan, base: Path, alignment: Alignment, launch: Launch = run_logged) -> Path:
    """Align the base once and return the new model's folder.

    A finished alignment is kept; an interrupted one resumes from its last checkpoint.

    Raises:
        SpyBenchError: The training failed, or the folder was started with other settings.
    """
    folder = plan.out / alignment.name
    _check_plan(plan, base, alignment, folder)
    if (folder / RECORD).is_file():
        logger.info("%s is already done", folder)
        return folder
    words = command(plan, base, alignment, folder)
    resumed = any(folder.glob("checkpoint-*"))
    seconds, memory = launch(words, folder / "train.log")
    measured = {"seconds": seconds, "peak_memory_mib": memory, "jobs": plan.jobs}
    measured["resumed"] = resumed
    _record(folder, _device(plan.processes), **measured)
    return folder


def _check_plan(plan: Plan, base: Path, alignment: Alignment, folder: Path) -> None:
    """Record the settings of an alignment; refuse a folder that was started with others."""
    weights = (base / "model.safetensors").read_bytes()
    wanted: dict[str, Any] = {"base": hashlib.sha256(weights).hexdigest()[:12]}
    wanted |= {"steps": plan.steps, "processes": plan.processes}
    wanted |= {"size": plan.size.name, "prefix_sharing": alignment.prefix_sharing}
    wanted |= plan.size.settings[alignment.method]
    path = folder / PLAN
    if not path.exists():
        write_atomically(path, json.dumps(wanted) + "\n")
        return
    found = read_json(path, "Delete its folder, or use another --out.")
    if isinstance(found, dict):
        # Earlier versions had one way to share prefixes, that of the ready settings.
        first = None if alignment.method == "sft" else PREFIX_SHARING[0]
        found = {"prefix_sharing": first} | found
    if found != wanted:
        raise SpyBenchError(
            f"{folder} was started with {found}, not with {wanted}. Use another --out."
        )


def command(plan: Plan, base: Path, alignment: Alignment, folder: Path) -> list[str]:
    """The command line of the training script."""
    method = alignment.method
    rows = PROMPTS_PER_STEP // (2 if method == "nca_priv" else 1)
    options: dict[str, Any] = {
        "model_name_or_path": base,
        "data": data.build("train", plan.size.name),
        "output_dir": folder,
        "seed": alignment.seed,
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
        if plan.jobs > 1:  # the trainer would choose as many as if it were alone
            options["dataloader_num_workers"] = max(1, min(8, cores() // plan.jobs - 1))
    if alignment.prefix_sharing is not None:
        options |= {"prefix_sharing": alignment.prefix_sharing, "freeze_vision": True}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*launcher(plan.processes), f"trl_ext.scripts.{method}", *words]


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _device(processes: int = 1) -> str:
    """Name of what a training in `processes` processes runs on."""
    import torch

    if processes > 1:
        return "CPU"
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "CPU" if accelerator is None else accelerator.type.upper()


def evaluate(model: Path, work: Path, dataset: str, launch: Launch = run_logged) -> Path:
    """Run the test split in VLMEvalKit, judged by `rules`; return the file of verdicts.

    Raises:
        SpyBenchError: The host failed, or wrote no verdicts.
    """
    found = _verdict_file(work, dataset)
    if found is None:
        words = ["--data", dataset, "--model", f"hf:{model.resolve()}", "--judge", "rules"]
        words += ["--work-dir", str(work)]
        words = [sys.executable, "-m", "spy_plugin.cli", "run", "vlmeval", "--", *words]
        work.mkdir(parents=True, exist_ok=True)
        launch(words, work / "host.log")
        found = _verdict_file(work, dataset)
    if found is None:
        raise SpyBenchError(f"the host wrote no verdicts to {work}. Read {work / 'host.log'}.")
    return found


def _verdict_file(work: Path, dataset: str) -> Path | None:
    """The verdicts of a host that has come to its end: it writes their run file last."""
    found = sorted(work.rglob(f"*_{dataset}_*verdicts.jsonl"))
    return next((path for path in found if judged_run_file(path).is_file()), None)


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
