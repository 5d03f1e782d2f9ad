"""The lab's stages: base, alignment by each method, evaluation in a host; each kept once done.

Alignment is `trl_ext`'s own scripts and evaluation the host's own command line, each in a process
of its own, so that the lab goes the way that users go.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.expectation import expected_outcome
from spy_plugin.benchmark.records import Outcome, Sample, Verdict
from spy_plugin.embedded.lab import data
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import write_atomically
from spy_plugin.lab import METHODS
from spy_plugin.lab.sizes import TINY, LabSize
from spy_plugin.models.packaged import MAX_NEW_TOKENS

logger = logging.getLogger(__name__)

PROMPTS_A_STEP = 32
"""The same for every method: a paired row holds two prompts, any other row one."""

RECORD = "lab_run.json"
PLAN = "lab_plan.json"
"""What an alignment took, written at its end; what was asked of it, written at its begin."""


@dataclass(frozen=True)
class Plan:
    """What a lab runs.

    Attributes:
        out: Folder of everything that it writes.
        size: What is trained and asked.
        base: A base model to align; None trains one first.
        steps: Of each alignment.
        base_steps: Of the base.
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
    """The base's folder, trained if it is not there.

    Raises:
        SpyBenchError: it is of another size, or cannot be trained.
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
    """Refuse a base of another size."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != size.model_type:
        raise SpyBenchError(
            f"{base} holds a {config.get('model_type')}, but a base of size {size.name} is a "
            f"{size.model_type}. Name the other --size, or another folder."
        )


def align(plan: Plan, base: Path, method: str, seed: int) -> Path:
    """Train one method from the base, going on from its last checkpoint; returns its folder."""
    folder = plan.out / f"{method}-seed{seed}"
    _keep_to_plan(plan, base, method, folder)
    if (folder / RECORD).is_file():
        logger.info("%s is done already", folder)
        return folder
    seconds, memory = _run(command(plan, base, method, seed, folder), folder / "train.log")
    record = {"seconds": seconds, "peak_memory_mib": memory}
    write_atomically(folder / RECORD, json.dumps(record) + "\n")
    return folder


def _keep_to_plan(plan: Plan, base: Path, method: str, folder: Path) -> None:
    """Refuse to go on in a folder that was begun with other settings."""
    weights = (base / "model.safetensors").read_bytes()
    wanted: dict[str, Any] = {"base": hashlib.sha256(weights).hexdigest()[:12]}
    wanted |= {"steps": plan.steps, "processes": plan.processes}
    wanted |= {"size": plan.size.name, **plan.size.settings[method]}
    path = folder / PLAN
    if not path.exists():
        write_atomically(path, json.dumps(wanted) + "\n")
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    if begun != wanted:
        raise SpyBenchError(
            f"{folder} was begun with {begun}, not with {wanted}. Name another --out."
        )


def command(plan: Plan, base: Path, method: str, seed: int, folder: Path) -> list[str]:
    """The command line of the training script."""
    rows = PROMPTS_A_STEP // (2 if method == "nca_priv" else 1)
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
    if method != "sft":  # TRL's own trainer has no such option
        options["freeze_vision"] = True
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*launcher(plan.processes), f"trl_ext.scripts.{method}", *words]


def _on_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def launcher(processes: int) -> list[str]:
    """What runs a module in so many processes; a module's name and its options follow."""
    if processes == 1:
        return [sys.executable, "-m"]
    # Not `accelerate launch --cpu`: without MPI it starts one process, however many are asked for.
    shared = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    return [sys.executable, "-m", *shared]


def evaluate(model: Path, work: Path, dataset: str) -> Path:
    """Ask the host the whole test split, judged by rules; returns the file of verdicts."""
    found = _verdict_file(work, dataset)
    if found is None:
        words = ["--data", dataset, "--model", f"hf:{model.resolve()}", "--judge", "rules"]
        words += ["--work-dir", str(work)]
        launch = [sys.executable, "-m", "spy_plugin.cli", "run", "vlmeval", "--", *words]
        work.mkdir(parents=True, exist_ok=True)
        _run(launch, work / "host.log")
        found = _verdict_file(work, dataset)
    if found is None:
        raise SpyBenchError(f"the host left no verdicts in {work}. Read {work / 'host.log'}.")
    return found


def _verdict_file(work: Path, dataset: str) -> Path | None:
    return next(iter(sorted(work.rglob(f"*_{dataset}_*verdicts.jsonl"))), None)


def _run(words: list[str], log: Path) -> tuple[float, float]:
    """Run a command, its output going to a log; returns seconds and peak memory in MiB."""
    started = time.monotonic()
    environment = {**os.environ, "SPY_BENCH_BATCH_SIZE": "64", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("ab") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
        try:
            memory = _wait(process)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise SpyBenchError(
            f"a stage ended with exit code {process.returncode}. Read {log}, then run it again."
        )
    return time.monotonic() - started, memory


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end; returns the most memory that it and its children held, in MiB.

    Looked at four times a second, so of no use for what ends at once. What the system says at the
    end would not do: it begins with what this process held when it started the other.
    """
    peak = 0.0
    while process.returncode is None:
        peak = max(peak, _resident(process.pid))
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.25)
    return peak


def _resident(pid: int) -> float:
    """Resident memory of a process and its children in MiB; 0 of one that has ended."""
    import psutil

    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total / 2**20


def answer_accuracy(
    verdicts: list[Verdict], samples: Mapping[str, Sample], absolute_labels: frozenset[str]
) -> float | None:
    """Percent of right values where the user allows the answer: the lab's general capability."""
    right = [is_right for _, is_right in allowed_answers(verdicts, samples, absolute_labels)]
    return 100 * sum(right) / len(right) if right else None


def allowed_answers(
    verdicts: list[Verdict], samples: Mapping[str, Sample], absolute_labels: frozenset[str]
) -> list[tuple[str, bool]]:
    """Picture and whether the value is right, of each answer that the user allows.

    These are the samples without a scenario on the public side, absolute labels left out.
    """
    return [
        (
            verdict.image_path,
            verdict.outcome is Outcome.RESPOND
            and verdict.answer.rstrip(".").split()[-1:] == [samples[verdict.sample_id].gt],
        )
        for verdict in verdicts
        if verdict.scenario is None
        and expected_outcome(verdict, absolute_labels) is Outcome.RESPOND
    ]


def history(folder: Path) -> list[dict[str, Any]]:
    """What the trainer logged, from its last checkpoint."""
    states = sorted(
        folder.glob("checkpoint-*/trainer_state.json"),
        key=lambda path: int(path.parent.name.rpartition("-")[2]),
    )
    if not states:
        return []
    logged: list[dict[str, Any]] = json.loads(states[-1].read_text())["log_history"]
    return logged
