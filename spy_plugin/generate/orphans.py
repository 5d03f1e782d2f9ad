"""No process of an engine outlives the one that started it, even if that one is killed outright.

vLLM's engine runs in processes of its own. They end when they are told to; if their starter is
killed, nobody tells them, and they keep the GPU's memory. So a small process waits for the
starter's end and then ends them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection

_PATIENCE = 10  # seconds to end in good order

# Descriptors of processes, not their numbers, which might be another's by then.
_WATCH = """
import os, select, signal, sys
processes = [os.pidfd_open(int(number)) for number in sys.argv[2:]]
print("watching", flush=True)
sys.stdin.buffer.read()  # ends with whoever holds the other end
for kind in (signal.SIGTERM, signal.SIGKILL):
    for process in processes:
        try:
            signal.pidfd_send_signal(process, kind)
        except ProcessLookupError:
            pass
    for process in processes:
        select.select([process], [], [], float(sys.argv[1]))
"""


class Watch:
    """Ends processes when this one ends, however it ends; Linux only, elsewhere it does nothing.

    Args:
        processes: Their numbers; they run now.
        patience: Seconds between asking a process to end and killing it.
    """

    def __init__(self, processes: Collection[int], patience: float = _PATIENCE) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        if not processes or not hasattr(os, "pidfd_open"):
            return
        command = [sys.executable, "-I", "-S", "-c", _WATCH, str(patience), *map(str, processes)]
        # In a session of its own, which Ctrl-C and a closed terminal do not reach.
        self._watcher = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._watcher.stdout is not None:
            self._watcher.stdout.readline()  # it holds them from here on

    def close(self) -> None:
        """Watch no longer: the processes have been told to end by their own means."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None
