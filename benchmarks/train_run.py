"""Time the README's training command from start to end, against the official algorithm.

    python benchmarks/train_run.py prepare FOLDER --size 7b --pictures 160
    python benchmarks/train_run.py ours FOLDER --out benchmarks/results/NAME.jsonl
    python benchmarks/train_run.py official FOLDER --out benchmarks/results/NAME.jsonl

`prepare` writes a model of random weights and a SPY-Tune folder (`train_case.py`). `ours` starts
`spy-bench train nca_priv` on them and reads its output as it appears: everything counts, from the
start of Python to the saved model. `official` runs `official_loop.py` on some of the same rows.
Each appends a line to `--out`. Further options of `ours` go to the command.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spy_plugin.compat.torchvision import declare_missing_ops

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets", "torchao", "deepspeed")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("prepare", "ours", "official"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="tiny", help="prepare: a size of workload.py")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--rows", type=int, default=8, help="rows per picture; official: in all")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--accelerate", default="ddp", help="strategy of several processes")
    parser.add_argument("--name", default="", help="name of the line in --out")
    parser.add_argument("--output-dir", type=Path, default=None, help="of the command")
    parser.add_argument("--out", type=Path, default=None)
    options, command = parser.parse_known_args(argv)
    declare_missing_ops()
    if options.what == "prepare":
        prepare(options.folder, options.size, options.pictures, options.rows)
        return
    if options.what == "ours":
        command += ["--output_dir", str((options.output_dir or options.folder / "out").absolute())]
        result = ours(options.folder, options.processes, options.accelerate, command)
    else:
        from benchmarks.official_loop import measure

        result = measure(options.folder / "model", options.folder / "data", options.rows, device())
    line = {"name": options.name or options.what, **result, **machine()}
    print(json.dumps(line, indent=1))
    if options.out is not None:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def prepare(folder: Path, size: str, pictures: int, rows: int) -> None:
    import torch

    from benchmarks.train_case import write_data, write_model

    gpu = device() == "cuda"
    write_data(folder / "data", pictures, rows)
    dtype = torch.bfloat16 if gpu else torch.float32
    write_model(folder / "model", size, dtype, torch.device(device()))


def ours(folder: Path, processes: int, accelerate: str, options: Sequence[str]) -> dict[str, Any]:
    """Run the command, and read from its output when what began."""
    command = [sys.executable, "-m", "spy_plugin.cli", "train", "nca_priv"]
    folder = folder.absolute()
    command += ["--model_name_or_path", str(folder / "model"), "--data", str(folder / "data")]
    command += ["--report_to", "none", *options]
    if processes > 1:
        command += ["--accelerate", accelerate, "--num-processes", str(processes)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "TQDM_DISABLE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    memory = PeakMemory()
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,  # `python -m` looks there first: not another checkout that is stood in
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = [(time.perf_counter() - began, line.rstrip()) for line in _echoed(process.stdout)]
    code = process.wait()
    total = time.perf_counter() - began
    memory.stop()
    if code:
        raise SystemExit(f"the command ended with exit code {code}")
    return {"command": " ".join(command[2:]), **read_log(lines, total), "peak_gib": memory.gib}


def _echoed(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        sys.stdout.write(line)
        yield line


def read_log(lines: Sequence[tuple[float, str]], total: float) -> dict[str, Any]:
    """What a run's output says: rows, seconds of its parts, and rows per second.

    Args:
        lines: Each with the second at which it appeared.
        total: Seconds of the whole command.
    """
    result: dict[str, Any] = {"total_seconds": total}
    logged: list[tuple[float, float]] = []
    for second, line in lines:
        if match := re.search(r"(\d+) rows of (\d+) pictures: .*?, ([\d.]+) rows per step", line):
            result["rows"], result["pictures"] = int(match[1]), int(match[2])
            result["rows_per_step"] = float(match[3])
            result["planned_after"] = second
        if match := re.search(r"reference of (\d+) training rows: ([\d.]+) s", line):
            result["reference_seconds"] = float(match[2])
            result["reference_rows_per_second"] = int(match[1]) / float(match[2])
            result["training_began_after"] = second
        if line.startswith("{") and "'epoch'" in line:
            entry = ast.literal_eval(line)
            if "loss" in entry:
                logged.append((second, float(entry["epoch"])))
                result["loss"] = float(entry["loss"])
                result["tokens_saved"] = float(entry.get("prefix_sharing/tokens_saved", 0))
            if "train_runtime" in entry:
                result["train_seconds"] = float(entry["train_runtime"])
                result["training_ended_after"] = second
        if "the model is in" in line:
            result["saved_after"] = second
        if "chosen for a GPU" in line:
            result["chosen"] = line.partition("chosen for ")[2]
    rows, epochs = result.get("rows", 0), logged[-1][1] if logged else 0.0
    result["epochs"] = epochs
    result["rows_per_second_all"] = rows * epochs / total
    rates = [(b[1] - a[1]) * rows / (b[0] - a[0]) for a, b in pairwise(logged)]
    # Between two log lines there may be a checkpoint: the median interval has none.
    result["rows_per_second_steady"] = sorted(rates)[len(rates) // 2] if rates else None
    return result


class PeakMemory:
    """The most memory in use on any visible GPU, asked for twice a second."""

    def __init__(self) -> None:
        self.gib: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
            command += ["-i", visible]
        while not self._stop.wait(0.5):
            try:
                found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            except (OSError, subprocess.CalledProcessError):
                return  # no GPU
            most = max(float(each) for each in found.split()) / 1024
            self.gib = max(self.gib or 0.0, most)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def machine() -> dict[str, Any]:
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {"device": gpu, "date": date.today().isoformat(), "versions": versions}


if __name__ == "__main__":
    main()
