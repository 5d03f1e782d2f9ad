"""No process of an engine outlives the one that started it, even if that one is killed outright.

vLLM's engine runs in processes of its own. They end when they are told to; if their starter is
killed, nobody tells them, and they keep the GPU's memory. So a small process, of
`watchdog_program`, notes what the starter starts while it loads the model, waits for the starter's
end, and then ends those processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_GRACE = 10  # seconds for an orderly end

_PROGRAM = Path(__file__).with_name("watchdog_program.py")


class Watch:
    """Ends what this process starts from now on when it ends, however it ends, until `settle`.

    Linux only; elsewhere it does nothing. A process that was started in the last twentieth of a
    second before a kill may be missed.

    Args:
        budget: Seconds between asking a process to end and killing it.
    """

    def __init__(self, budget: float = _GRACE) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        if not hasattr(os, "pidfd_open"):
            return
        command = [sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid()), str(budget)]
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
