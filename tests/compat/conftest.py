"""One start of Python that imports the trainer, for what several tests ask about it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = "import sys, trl_ext; trl_ext.NCAPrivTrainer; print(*sys.modules)"


@pytest.fixture(scope="session")
def trainer_started() -> subprocess.CompletedProcess[str]:
    """The modules it loads, in their order, and what it writes to stderr."""
    pytest.importorskip("trl")
    return subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
