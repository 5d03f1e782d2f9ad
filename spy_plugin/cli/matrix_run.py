"""Runs the commands of a matrix side by side; Ray gives each its GPUs when there are some."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from spy_plugin.cli.matrix_plan import Chain, Step
from spy_plugin.files.writing import write_atomically
from spy_plugin.models.watchdog import Watch

logger = logging.getLogger(__name__)

_LOOK_EVERY = 2.0
"""Seconds between two looks at what was written."""

_STOPPING = 60.0
"""Seconds that a stopped command is given to write what it has."""


class Board:
    """The state of every step, and the page that shows them.

    Attributes:
        failed: Steps whose command has failed.
    """

    def __init__(self, chains: Sequence[Chain], page: Path) -> None:
        self._chains, self._page = chains, page
        self._states: dict[Step, str] = {}
        self._lock = threading.Lock()
        self._before = ""
        self.failed: list[Step] = []

    def set(self, step: Step, state: str) -> None:
        """Note what became of a step."""
        with self._lock:
            self._states[step] = state
            if state.startswith("failed"):
                self.failed.append(step)

    def show(self) -> None:
        """Write the page where something has changed, and print it on a terminal."""
        with self._lock:
            text = self.text()
        if text != self._before:
            self._before = text
            write_atomically(self._page, text)
            if sys.stdout.isatty():
                sys.stdout.write(f"\x1b[H\x1b[2J{text}")
                sys.stdout.flush()

    def text(self) -> str:
        """The page: one line per step."""
        steps = [step for chain in self._chains for step in chain.steps]
        done = sum(self._states.get(step) == "done" for step in steps)
        lines = [f"{done} of {len(steps)} steps done"]
        width = max(len(step.title) for step in steps)
        for step in steps:
            state = self._states.get(step, "waiting")
            count = f"{step.lines_written:>7} lines" if state != "waiting" else ""
            lines.append(f"{step.title:<{width}}  {state:<9} {count}".rstrip())
        return "\n".join(lines) + "\n"


def run_chains(chains: Sequence[Chain], parallel: int, page: Path) -> list[Step]:
    """Run every model's steps in order, several models side by side.

    A model whose step fails ends there; the others continue. An interrupt stops every command in
    an orderly way.

    Returns:
        The steps that failed.
    """
    board, stop = Board(chains, page), threading.Event()
    with ThreadPoolExecutor(parallel) as pool:
        running = [pool.submit(_run_chain, chain, board, stop) for chain in chains]
        try:
            while not all(each.done() for each in running):
                board.show()
                stop.wait(_LOOK_EVERY)
        finally:
            stop.set()
            for each in running:
                each.cancel()
            wait(running)  # until every command has ended
            board.show()
    for each in running:
        each.result()
    return board.failed


def _run_chain(chain: Chain, board: Board, stop: threading.Event) -> None:
    for step in chain.steps:
        if stop.is_set():
            return
        board.set(step, "running")
        code = _run(step, stop)
        ended = "stopped" if stop.is_set() else f"failed: see {step.log}"
        board.set(step, "done" if code == 0 else ended)
        if code != 0:
            return


def _run(step: Step, stop: threading.Event) -> int:
    """Run a command to its end, or until all are to stop; returns its exit code."""
    step.log.parent.mkdir(parents=True, exist_ok=True)
    with step.log.open("ab") as log:
        log.write(f"$ {step.command}\n".encode())
        log.flush()
        watch = Watch()  # the command does not outlive this process, even if it is killed
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "spy_plugin.cli", *step.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            watch.settle()
            return _wait(process, stop)
        finally:
            watch.close()


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> int:
    """Wait for a command's end, which is asked for once all are to stop; returns its exit code."""
    while process.poll() is None and not stop.is_set():
        time.sleep(0.1)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
