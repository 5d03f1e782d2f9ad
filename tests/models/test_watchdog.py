"""`Watch`: processes that a killed process had started end as well."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from spy_plugin.models.watchdog import Watch

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")

# Processes started before the watch are not watched; the engine starts its own worker.
STARTER = """
import subprocess, sys, time
from spy_plugin.models.watchdog import Watch
def start(*command):
    process = subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.PIPE)
    return int(process.stdout.readline())
other = start(sys.argv[2])
watch = Watch(grace=0.5)
engine = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
numbers = [other, engine.pid, int(engine.stdout.readline())]
if sys.argv[3] == "loaded":
    watch.settle()
time.sleep(1)  # time to look, on a busy machine too
print(*numbers, flush=True)
time.sleep(600)
"""
PLAIN = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PLAIN}"
# Prints the id of its forked worker; vLLM forks workers if the model is not on a CPU.
ENGINE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = os.fork()
if worker:
    print(worker, flush=True)
time.sleep(600)
"""


def ended(process: int, seconds: float) -> bool:
    """Whether the process of a descriptor ends within `seconds`."""
    return bool(select.select([process], [], [], seconds)[0])


@pytest.mark.parametrize("when", ["loading", "loaded"])
def test_a_killed_process_leaves_nothing_running(when: str) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, ENGINE, STUBBORN, when], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    numbers = [int(word) for word in starter.stdout.readline().split()]
    other, engine, worker = processes = [os.pidfd_open(number) for number in numbers]
    try:
        assert not any(ended(process, 0.1) for process in processes)
        starter.kill()
        assert ended(engine, 20)
        assert ended(worker, 20)
        assert not ended(other, 0.1)
    finally:
        starter.kill()
        starter.communicate()
        for process in processes:
            if not ended(process, 0):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)


def test_nothing_is_ended_once_the_watch_is_closed() -> None:
    watch = Watch(grace=0.1)
    with subprocess.Popen([sys.executable, "-c", PLAIN], stdout=subprocess.PIPE) as process:
        try:
            watch.settle()
            watch.close()
            watch.close()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        finally:
            process.kill()
