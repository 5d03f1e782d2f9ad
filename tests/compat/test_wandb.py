"""wandb is imported early, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spy_plugin.compat.wandb import import_wandb_early


def test_the_trainer_loads_wandb_before_torch(
    trainer_started: subprocess.CompletedProcess[str],
) -> None:
    pytest.importorskip("wandb")
    modules = trainer_started.stdout.split()
    assert modules.index("wandb") < modules.index("torch") < modules.index("trl")


def test_nothing_happens_without_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    import_wandb_early()
    assert sys.modules["wandb"] is None
