"""Run a stage of the lab in a process of its own; measure its time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TypeAlias

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.processes import end_family
from spy_plugin.files.text import storable
from spy_plugin.models.watchdog import Watch

Launch: TypeAlias = Callable[[list[str], Path], tuple[float, float]]
"""`run_logged` with its options, from the command and the log to seconds and MiB."""

LAST_LINES = 5
"""Lines of a failed stage's log that its error repeats."""

GRACE = 2.0
"""Seconds between asking a stage to end and killing it."""


class StageStoppedError(SpyBenchError):
    """A stage was ended because the lab is stopping; it resumes with the next run."""


def launcher(processes: int) -> list[str]:
    """The words that run a module in `processes` processes; append the module and its options."""
    if processes == 1:
        return [sys.executable, "-m"]
    # `accelerate launch --cpu` starts only one process if MPI is not installed.
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    return [sys.executable, "-m", *torchrun]


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_logged(
    words: list[str], log: Path, *, stop: Event | None = None, threads: int | None = None
) -> tuple[float, float]:
    """Run a command and append its output to a log.

    Args:
        stop: Once it is set, the command and its children are ended.
        threads: Threads of each process, unless OMP_NUM_THREADS is set already.

    Returns:
        Wall clock seconds, and peak resident memory in MiB.

    Raises:
        SpyBenchError: The command failed; a StageStoppedError after `stop`.
    """
    stop = stop or Event()
    if stop.is_set():
        raise StageStoppedError(f"not started: {log.parent}")
    started = time.monotonic()
    environment = {**os.environ, "SPY_BENCH_BATCH_SIZE": "64", "TOKENIZERS_PARALLELISM": "false"}
    if threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    with log.open("ab") as output:
        watch = Watch(GRACE)  # the next lab must not find a killed one's stage at work
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
        watch.settle()
        try:
            memory = _wait(process, stop)
        finally:
            stopped = process.returncode is None  # by Ctrl-C, or by `stop`
            if stopped:
                end_family(process, grace=GRACE)
            watch.close()
    if stopped:
        raise StageStoppedError(f"stopped: {log.parent}")
    if process.returncode:
        raise SpyBenchError(
            f"a stage of the lab failed with exit code {process.returncode}. Its last messages:\n"
            f"{_last_lines(log)}\nThe others are in {log}. After a remedy, run the same command "
            "again: it resumes."
        )
    return time.monotonic() - started, memory


def _last_lines(log: Path) -> str:
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = deque((line for line in file if line.strip()), LAST_LINES)
    return "\n".join(f"  {storable(line.rstrip(), 300)}" for line in lines)


def _wait(process: subprocess.Popen[bytes], stop: Event) -> float:
    """Wait for a process or for `stop`; return the peak resident memory of it and its children.

    Memory, in MiB, is sampled four times a second, so processes that end at once are missed.
    `ru_maxrss` is not used: it starts from the memory of the parent at the fork.
    """
    peak = 0.0
    while process.returncode is None and not stop.is_set():
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
