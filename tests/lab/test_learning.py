"""The lab command aligns the shipped base in a shortened run and raises its score."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spy_plugin.lab.results import LabResults, Run

STEPS = 300
RISE = 60
"""Required gain in points of held-out ICS."""


def run_lab(out: Path, steps: int) -> dict[str, Run]:
    """Align the shipped base by NCA-P; return the runs of `lab.json` by method."""
    words = ["--base", "shipped", "--methods", "nca_priv", "--steps", str(steps)]
    lab = [sys.executable, "-m", "spy_plugin.cli", "lab", *words, "--out", str(out)]
    done = subprocess.run(lab, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "lab.html").is_file()
    return {run.method: run for run in LabResults.from_json(out / "lab.json").runs}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_held_out_ics_rises_by_sixty_points(tmp_path: Path) -> None:
    runs = run_lab(tmp_path / "lab", STEPS)
    base, aligned = runs["base"], runs["nca_priv"]
    assert base.samples == aligned.samples == 600
    assert base.ics is not None
    assert aligned.ics is not None
    assert aligned.ics - base.ics >= RISE
    assert aligned.curve[-1].step == STEPS
