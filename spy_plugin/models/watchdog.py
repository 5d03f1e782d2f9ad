"""No process of an engine outlives the one that started it, even if that one is killed outright.

vLLM's engine runs in processes of its own. They end when they are told to; if their starter is
killed, nobody tells them, and they keep the GPU's memory. So a small process notes what the starter
starts while it loads the model, waits for the starter's end, and then ends those processes.
"""

from __future__ import annotations

import os
import subprocess
import sys

_PATIENCE = 10  # seconds to end in good order

# Descriptors of processes, not their numbers, which might be another's by then. The starter's end
# is seen by its descriptor, too: a pipe's other end would be held by whatever it has forked.
_WATCH = """
import os, select, signal, sys

starter, budget = int(sys.argv[1]), float(sys.argv[2])

def descendants(roots):
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(name))
    found = list(roots)
    for number in found:  # grows as we go
        found += children.get(number, ())
    return found[len(roots):]

def hold(roots):
    for number, process in list(held.items()):
        if select.select([process], [], [], 0)[0]:  # it has ended
            os.close(held.pop(number))
    for number in descendants(roots):
        if number not in held and number not in earlier:
            try:
                held[number] = os.pidfd_open(number)
            except ProcessLookupError:
                pass

end = os.pidfd_open(starter)
held, earlier = {}, {os.getpid(), *descendants([starter])}
print("watching", flush=True)
loading = True
while True:
    hold([starter])
    awaited = [end, sys.stdin] if loading else [end]
    ready = select.select(awaited, [], [], 0.05 if loading else None)[0]
    if end in ready:
        break
    loading = sys.stdin not in ready
for kind in (signal.SIGTERM, signal.SIGKILL):
    hold([*held])
    for process in held.values():
        try:
            signal.pidfd_send_signal(process, kind)
        except ProcessLookupError:
            pass
    for process in held.values():
        select.select([process], [], [], budget)
"""


class Watch:
    """Ends what this process starts from now on when it ends, however it ends, until `settle`.

    Linux only; elsewhere it does nothing. A process that was started in the last twentieth of a
    second before a kill may be missed.

    Args:
        budget: Seconds between asking a process to end and killing it.
    """

    def __init__(self, budget: float = _PATIENCE) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        if not hasattr(os, "pidfd_open"):
            return
        command = [sys.executable, "-I", "-S", "-c", _WATCH, str(os.getpid()), str(budget)]
        # In a session of its own, which Ctrl-C and a closed terminal do not reach.
        self._watcher = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._watcher.stdout is not None:
            self._watcher.stdout.readline()  # it looks from here on

    def settle(self) -> None:
        """Whatever there is to watch has been started: note no more processes."""
        if self._watcher is not None and self._watcher.stdin is not None:
            self._watcher.stdin.close()

    def close(self) -> None:
        """Watch no longer: the processes have been told to end by their own means."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            for pipe in (self._watcher.stdin, self._watcher.stdout):
                if pipe is not None:
                    pipe.close()
            self._watcher = None
