"""Run the real VLMEvalKit in a process for each run, and read its files."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.warm_process import WarmProcess

SECONDS = 600


@cache
def _warm() -> WarmProcess:
    """VLMEvalKit, imported once for all runs of this process.

    Without its `run`, which must be imported after our changes to other modules.
    """
    process = WarmProcess(
        "spy_plugin.compat.torchvision:declare_missing_ops",
        "spy_plugin.compat.torchao:quiet_torchao",
        "vlmeval.config",
        "vlmeval.dataset",
        "spy_plugin.hosts.vlmeval.run",
        "matplotlib.figure",
        environment=_environment(),
    )
    atexit.register(process.close)
    return process


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def run_host(
    *words: str, cwd: Path, script: Path = ROOT / "run.py", fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `run.py` to its end; skip the test where VLMEvalKit is not installed.

    Args:
        words: Arguments of `run.py`.
        cwd: The working folder.
        script: Runs instead of `run.py`.
        fresh: Start as a user does, with the imports. A checkout of the environment always is.
        environment: Additional variables.
    """
    if find_spec("vlmeval") is None:
        pytest.skip("VLMEvalKit is not installed")
    env = _environment(**environment)
    if not fresh and "VLMEVALKIT_DIR" not in env:
        return _warm().run(script, words, cwd=cwd, environment=env, timeout=SECONDS)
    return subprocess.run(
        [sys.executable, str(script), *words],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def one(folder: Path, pattern: str) -> Path:
    """Return the only file that matches the pattern."""
    (path,) = folder.glob(pattern)
    return path


def scores(folder: Path, model: str, dataset: str) -> dict[str, Any]:
    """The figures of the newest run, read through the host's link in the model's folder."""
    path = folder / "outputs" / model / f"{model}_{dataset}_spy_scores.json"
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures
