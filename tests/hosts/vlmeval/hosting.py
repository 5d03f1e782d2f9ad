"""Starts the real VLMEvalKit in a process of its own, and reads what it left."""

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
    """The one file that the pattern names."""
    (path,) = folder.glob(pattern)
    return path


def scores(folder: Path, model: str, dataset: str) -> dict[str, Any]:
    """Figures of the newest run, through the link that the host leaves in the model's folder."""
    path = folder / "outputs" / model / f"{model}_{dataset}_spy_scores.json"
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures
