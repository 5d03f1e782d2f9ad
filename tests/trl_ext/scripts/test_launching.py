"""`spy-bench train --accelerate`: what it has launched ends with it."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")

LAUNCH = """
import sys
from trl_ext.scripts import cli
cli._launch([sys.executable, "-c", sys.argv[1]])
"""
LAUNCHED = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def test_a_killed_command_leaves_no_training_running() -> None:
    """It runs in a session of its own, so nobody else would end it."""
    words = [sys.executable, "-c", LAUNCH, LAUNCHED]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        training = os.pidfd_open(int(command.stdout.readline()))
        assert not select.select([training], [], [], 1)[0]
        command.kill()
        assert select.select([training], [], [], 60)[0]
        os.close(training)
