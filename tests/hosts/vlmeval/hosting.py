"""Run the real VLMEvalKit in its own process, and read its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT


def run_host(
    *words: str, cwd: Path, script: Path = ROOT / "run.py", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `run.py` to its end; skip the test where VLMEvalKit is not installed."""
    if find_spec("vlmeval") is None:
        pytest.skip("VLMEvalKit is not installed")
    return subprocess.run(
        [sys.executable, str(script), *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=600,
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
