"""Run a stage of the lab in a process of its own; measure its time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from spy_plugin.errors import SpyBenchError

_SECONDS_TO_END = 2.0
"""Seconds that a stage is given to end before it is killed."""


def launcher(processes: int) -> list[str]:
    """The words that run a module in `processes` processes; append the module and its options."""
    if processes == 1:
        return [sys.executable, "-m"]
    # `accelerate launch --cpu` starts only one process if MPI is not installed.
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    return [sys.executable, "-m", *torchrun]


def run_logged(words: list[str], log: Path) -> tuple[float, float]:
    """Run a command and append its output to a log.

    Returns:
        Wall clock seconds, and peak resident memory in MiB.

    Raises:
        SpyBenchError: The command failed.
    """
    started = time.monotonic()
    environment = {**os.environ, "SPY_BENCH_BATCH_SIZE": "64", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("ab") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
        try:
            memory = _wait(process)
        except KeyboardInterrupt:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
    if process.returncode:
        raise SpyBenchError(
            f"a stage of the lab failed with exit code {process.returncode}. Read {log}, then run "
            "the same command again: it resumes."
        )
    return time.monotonic() - started, memory


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; return the peak resident memory of it and its children in MiB.

    Memory is sampled four times a second, so processes that end at once are missed. `ru_maxrss` is
    not used: it starts from the memory of the parent at the fork.
    """
    peak = 0.0
    while process.returncode is None:
        peak = max(peak, _resident_mib(process.pid))
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.25)
    return peak


def _resident_mib(pid: int) -> float:
    """Resident memory of a process and its children in MiB; 0 if it has ended."""
    import psutil

    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total / 2**20
