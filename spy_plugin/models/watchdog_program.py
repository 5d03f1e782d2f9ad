"""The process of `watchdog.Watch`: started as a file, with the standard library alone (Linux).

Arguments: the starter's process id, and the seconds between asking a process to end and killing it.
It holds descriptors of processes, not their numbers, which might be another's by then. The
starter's end, too, is seen by its descriptor: a pipe's other end would be held by whatever the
starter has forked.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Collection
from pathlib import Path

_LOOK_EVERY = 0.05
"""Seconds between looks at what the starter starts, while it loads."""


def descendants(roots: Collection[int]) -> list[int]:
    """The numbers of all processes that these have started, directly or not."""
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


class Held:
    """Descriptors of the processes to end.

    Args:
        ignored: Numbers of processes that are not to be ended.
    """

    def __init__(self, ignored: Collection[int]) -> None:
        self.ignored = ignored
        self.processes: dict[int, int] = {}

    def update(self, roots: Collection[int]) -> None:
        """Let go of processes that have ended, and hold those that the roots have started."""
        for number, process in list(self.processes.items()):
            if select.select([process], [], [], 0)[0]:  # it has ended
                os.close(self.processes.pop(number))
        for number in descendants(roots):
            if number not in self.processes and number not in self.ignored:
                try:
                    self.processes[number] = os.pidfd_open(number)
                except ProcessLookupError:
                    continue

    def end(self, kind: signal.Signals, seconds: float) -> None:
        """Send a signal to all, and wait for each to end."""
        self.update([*self.processes])
        for process in self.processes.values():
            try:
                signal.pidfd_send_signal(process, kind)
            except ProcessLookupError:
                continue
        for process in self.processes.values():
            select.select([process], [], [], seconds)


def main(starter: int, budget: float) -> None:
    """Note what the starter starts until standard input closes; end it when the starter ends."""
    end = os.pidfd_open(starter)
    held = Held({os.getpid(), *descendants([starter])})
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    loading = True
    while True:
        held.update([starter])
        awaited = [end, sys.stdin] if loading else [end]
        ready = select.select(awaited, [], [], _LOOK_EVERY if loading else None)[0]
        if end in ready:
            break
        loading = sys.stdin not in ready
    for kind in (signal.SIGTERM, signal.SIGKILL):
        held.end(kind, budget)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
