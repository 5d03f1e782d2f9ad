"""No process of an engine outlives the one that started it, even if that one is killed outright.

vLLM's engine runs in processes of its own. They end when they are told to; if their starter is
killed, nobody tells them, and they keep the GPU's memory. So a small process, this file run as a
program, notes what the starter starts while it loads the model, waits for the starter's end, and
then ends those processes.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

GRACE = 10.0
"""Seconds between asking a process to end and killing it."""

_LOOK_EVERY = 0.05
"""Seconds between looks at what the starter starts while it loads."""


class Watch:
    """Ends what this process starts from now on when it ends, however it ends, until `settle`.

    Linux only; elsewhere it does nothing. A process that was started in the last twentieth of a
    second before a kill may be missed.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        if not hasattr(os, "pidfd_open"):
            return
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(grace)]
        # In a session of its own, which Ctrl-C and a closed terminal do not reach.
        self._watcher = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._watcher.stdout is not None:
            self._watcher.stdout.readline()  # it watches from here on

    def settle(self) -> None:
        """Everything to watch has been started: note no more processes."""
        if self._watcher is not None and self._watcher.stdin is not None:
            self._watcher.stdin.close()

    def close(self) -> None:
        """Stop watching: the processes have been told to end by their own means."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            for pipe in (self._watcher.stdin, self._watcher.stdout):
                if pipe is not None:
                    pipe.close()
            self._watcher = None


def main(starter: int, grace: float) -> None:
    """Watch a process until it ends; note what it starts until standard input closes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # that of another watch of the same starter
    # Descriptors of processes, not their numbers, which might be another's by then. The starter's
    # end, too, is seen by its descriptor: anything that it forked would keep a pipe open.
    end = os.pidfd_open(starter)
    held: dict[int, int] = {}
    ignored = {os.getpid(), *_descendants([starter])}
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    loading = True
    while True:
        _hold(held, [starter], ignored)
        awaited = [end, sys.stdin] if loading else [end]
        ready = select.select(awaited, [], [], _LOOK_EVERY if loading else None)[0]
        if end in ready:
            break
        loading = sys.stdin not in ready
    for kind in (signal.SIGTERM, signal.SIGKILL):
        _hold(held, [*held], ignored)
        for process in held.values():
            try:
                signal.pidfd_send_signal(process, kind)
            except ProcessLookupError:
                continue
        for process in held.values():
            select.select([process], [], [], grace)


def _hold(held: dict[int, int], roots: Collection[int], ignored: Collection[int]) -> None:
    """Drop processes that have ended, and hold those that the roots have started.

    Args:
        held: Process number -> descriptor; changed in place.
    """
    for number, process in list(held.items()):
        if select.select([process], [], [], 0)[0]:  # it has ended
            os.close(held.pop(number))
    for number in _descendants(roots):
        if number not in held and number not in ignored:
            try:
                held[number] = os.pidfd_open(number)
            except ProcessLookupError:
                continue


def _descendants(roots: Collection[int]) -> list[int]:
    """Return the numbers of all processes that these have started, directly or not."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found = list(roots)
    for number in found:  # grows on the way
        found += children.get(number, ())
    return found[len(roots) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
