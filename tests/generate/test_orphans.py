"""`Watch`: what a killed process had started ends, too."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

from spy_plugin.generate.orphans import Watch

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")

STARTER = """
import subprocess, sys, time
from spy_plugin.generate.orphans import Watch
engine = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
engine.stdout.readline()
watch = Watch([engine.pid], patience=0.5)
print(engine.pid, flush=True)
time.sleep(600)
"""
PLAIN = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PLAIN}"


def ended(process: int, seconds: float) -> bool:
    """Whether the process ends within so many seconds; `process` is a descriptor."""
    return bool(select.select([process], [], [], seconds)[0])


@pytest.mark.parametrize("engine", [PLAIN, STUBBORN], ids=["plain", "deaf to SIGTERM"])
def test_a_killed_process_leaves_nothing_running(engine: str) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, engine], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    number = int(starter.stdout.readline())
    process = os.pidfd_open(number)
    try:
        assert not ended(process, 0.2)
        starter.kill()
        assert ended(process, 20)
    finally:
        starter.kill()
        starter.communicate()
        if not ended(process, 0):
            os.kill(number, 9)
        os.close(process)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", PLAIN], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_nothing_is_ended_once_the_watch_is_closed(sleeper: subprocess.Popen[bytes]) -> None:
    watch = Watch([sleeper.pid], patience=0.1)
    watch.close()
    watch.close()
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.5)


def test_without_processes_nothing_is_started() -> None:
    Watch([]).close()
