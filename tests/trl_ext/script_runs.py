"""Run the training scripts on a tiny model, in this process or under `accelerate launch`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.trl_ext import spy_tune, tiny_models
from trl_ext import configs

SETTINGS = {
    "bf16": "false",
    "use_cpu": "true",
    "dtype": "float32",
    "min_pixels": "784",
    "max_pixels": "3136",
    "max_steps": "3",
    "logging_steps": "1",
    "global_batch_size": "4",
    "learning_rate": "1e-3",
    "warmup_steps": "0",
    "save_strategy": "no",
    "report_to": "none",
}


def prepare(folder: Path) -> dict[str, str]:
    """Write a model and data; return the options that name them."""
    tiny_models.build("qwen2_vl", directory=folder / "model")
    data = spy_tune.write_many(folder / "data")
    return {"model_name_or_path": str(folder / "model"), "data": str(data)}


def words(*options: dict[str, Any], **more: Any) -> list[str]:
    """The options of `SETTINGS` followed by these."""
    merged: dict[str, Any] = dict(SETTINGS)
    for each in (*options, more):
        merged |= each
    return [word for name, value in merged.items() for word in (f"--{name}", str(value))]


def train(method: str, argv: list[str]) -> Any:
    """Run a script in this process and return its trainer."""
    from importlib import import_module

    from trl_ext.scripts import _common

    return _common.train(import_module(f"trl_ext.scripts.{method}").METHOD, argv)


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }


def start(module: str, argv: list[str]) -> subprocess.Popen[bytes]:
    """Run a script in its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", f"trl_ext.scripts.{module}", *argv],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def launch(strategy: str, method: str, argv: list[str], processes: int = 2) -> None:
    """Run a script under `accelerate launch` with one of the ready accelerate files."""
    launch_module(strategy, f"trl_ext.scripts.{method}", argv, processes)


def launch_module(strategy: str, module: str, argv: list[str], processes: int = 2) -> None:
    """Run a module under `accelerate launch` with one of the ready accelerate files."""
    if strategy == "fsdp2":
        module, argv = "tests.trl_ext.sharded_on_cpu", [module, *argv]
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(configs.find(strategy, "accelerate"))]
    command += ["--num_processes", str(processes), "--mixed_precision", "no"]
    command += ["--main_process_port", str(free_port()), "-m", module, *argv]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def launch_processes(module: str, folder: Path, number: int) -> list[Any]:
    """What each process of a module under torchrun writes into a folder as `RANK.json`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(number)]
    command += ["--master-port", str(free_port()), "-m", module, str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(number)]


def losses(history: list[dict[str, Any]], name: str = "loss") -> list[float]:
    """The logged values of a name by step."""
    return [entry[name] for entry in history if name in entry]


def saved_history(output_dir: Path) -> list[dict[str, Any]]:
    """The log history of the last checkpoint in a folder."""
    states = sorted(
        output_dir.glob("checkpoint-*/trainer_state.json"),
        key=lambda path: int(path.parent.name.split("-")[1]),
    )
    history: list[dict[str, Any]] = json.loads(states[-1].read_text())["log_history"]
    return history
